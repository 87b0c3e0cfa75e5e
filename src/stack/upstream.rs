use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::HeaderName;
use http_body::Body;
use rustls::ClientConfig;
use tollway_core::{BoxError, ErrorClass};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit, InspectConfig, InspectLayer};

use super::{StackError, rehearse::DRY_RUN, retry};
use crate::{
    policy::{self, Endpoint, HttpEndpoint, Policy},
    server,
    simulate::Simulator,
    upstream::{self, Provider, Upstream},
};

/// TLS settings by provider; made once, shared by all workers' pools.
pub(super) type Tls = HashMap<Arc<str>, Arc<ClientConfig>>;

pub(super) fn inspect(policy: &Policy) -> Result<InspectLayer, StackError> {
    let mut config = InspectConfig::default();
    config.max_body = policy.server.max_body.try_into().unwrap_or(usize::MAX);
    config.max_upload = policy.server.max_upload;
    InspectLayer::with_config(config).map_err(|error| StackError::new("server", error))
}

pub(super) fn attempt(policy: &Policy) -> Result<AttemptLayer, StackError> {
    let mut config = AttemptConfig::default();
    let on = policy.retry.as_ref().and_then(|retry| retry.on.as_ref());
    config.fail_refusals = on.is_some_and(|on| on.contains(&ErrorClass::ContentFilter));
    // With one attempt there is nobody to fail over to: no reason to hold a head back.
    config.commit = match policy.streams.commit {
        policy::Commit::FirstToken if retry::tries_again(policy) => Commit::FirstToken,
        policy::Commit::FirstToken | policy::Commit::Head => Commit::Head,
    };
    AttemptLayer::with_config(config).map_err(|error| StackError::new("streams", error))
}

pub(super) fn simulators(policy: &Policy) -> HashMap<Arc<str>, Simulator> {
    let simulated = |provider: &policy::Provider| match &provider.endpoint {
        Endpoint::Simulate(config) => Some((provider.name.clone(), Simulator::new(config.clone()))),
        Endpoint::Http(_) => None,
    };
    policy.providers.iter().filter_map(simulated).collect()
}

fn over_http(policy: &Policy) -> impl Iterator<Item = (&policy::Provider, &HttpEndpoint)> {
    policy.providers.iter().filter_map(|provider| match &provider.endpoint {
        Endpoint::Http(http) => Some((provider, &**http)),
        Endpoint::Simulate(_) => None,
    })
}

/// Reads certificate files and builds each pool once, so that what can't be built shows now.
pub(super) fn tls(policy: &Policy) -> Result<Tls, StackError> {
    let mut all = Tls::new();
    let mut usual: Option<Arc<ClientConfig>> = None;
    for (provider, http) in over_http(policy) {
        let name = &provider.name;
        let wrong = |error| StackError::new(format!("provider {name}"), error);
        let config = match (&http.extra_ca, &usual) {
            (None, Some(config)) => config.clone(),
            (None, None) => {
                let config = upstream::tls_config(None).map_err(wrong)?;
                usual.insert(config).clone()
            }
            (Some(path), _) => upstream::tls_config(Some(path)).map_err(wrong)?,
        };
        upstream::Endpoint::<http_body_util::Full<Bytes>>::new(
            http,
            &provider.forms,
            &provider.keys,
            config.clone(),
            Arc::new([]),
            1,
        )
        .map_err(wrong)?;
        all.insert(name.clone(), config);
    }
    Ok(all)
}

/// Headers by which whatever stands in front tells this proxy who asks, and those by which clients tell
/// it what they want of it: no provider's business.
fn private(policy: &Policy) -> Arc<[HeaderName]> {
    let named = policy.callers.identify.iter().filter_map(|source| match source {
        policy::Source::Header(name) => Some(name.clone()),
        _ => None,
    });
    let forwarded = ["forwarded", "x-forwarded-for"].map(HeaderName::from_static);
    let behind_proxies = !policy.callers.trusted_proxies.is_empty();
    let asked = tollway_route::HEADERS.map(HeaderName::from_static);
    let asked = asked.into_iter().chain([DRY_RUN.clone()]);
    named.chain(forwarded.into_iter().filter(|_| behind_proxies)).chain(asked).collect()
}

/// The leaf, with pools of its own.
pub(super) fn service<B>(
    policy: &Policy,
    simulators: &HashMap<Arc<str>, Simulator>,
    tls: &Tls,
) -> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let pools = server::workers(&policy.server);
    let private = private(policy);
    let remote = over_http(policy).filter_map(|(provider, http)| {
        let (tls, private) = (tls.get(&provider.name)?.clone(), private.clone());
        let policy::Provider { forms, keys, .. } = provider;
        let endpoint = upstream::Endpoint::new(http, forms, keys, tls, private, pools).ok()?;
        Some((provider.name.clone(), Provider::Http(Arc::new(endpoint))))
    });
    let simulated = simulators
        .iter()
        .map(|(name, simulator)| (name.clone(), Provider::Simulated(simulator.clone())));
    Upstream::new(remote.chain(simulated).collect())
}
