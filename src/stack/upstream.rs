use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::HeaderName;
use http_body::Body;
use rustls::ClientConfig;
use tollway_core::{BoxError, ErrorClass};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit, InspectConfig, InspectLayer};

use super::{StackError, retry};
use crate::{
    policy::{self, Endpoint, HttpEndpoint, Policy},
    server,
    simulate::Simulator,
    upstream::{self, Provider, SentBody, Upstream},
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

fn over_http(policy: &Policy) -> impl Iterator<Item = (&policy::Provider, &HttpEndpoint)> {
    policy.providers.iter().filter_map(|provider| match &provider.endpoint {
        Endpoint::Http(http) => Some((provider, &**http)),
        Endpoint::Simulate(_) => None,
    })
}

/// Reads certificate files and builds each pool once, so that what can't be built shows now. The
/// usual authorities are read once a process.
pub(super) fn tls(policy: &Policy, before: Option<(&Policy, &Tls)>) -> Result<Tls, StackError> {
    let mut all = Tls::new();
    let mut usual: Option<Arc<ClientConfig>> = before.and_then(|(policy, tls)| {
        let (one, _) = over_http(policy).find(|(_, http)| http.extra_ca.is_none())?;
        tls.get(&one.name).cloned()
    });
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

/// Headers by which whatever stands in front tells this proxy who asks: no provider's business.
fn private(policy: &Policy) -> Arc<[HeaderName]> {
    let named = policy.callers.identify.iter().filter_map(|source| match source {
        policy::Source::Header(name) => Some(name.clone()),
        _ => None,
    });
    let forwarded = ["forwarded", "x-forwarded-for"].map(HeaderName::from_static);
    let behind_proxies = !policy.callers.trusted_proxies.is_empty();
    named.chain(forwarded.into_iter().filter(|_| behind_proxies)).collect()
}

/// Connection pools of one worker, to be handed from one policy's service to the next one's. Those
/// of providers that changed are dropped once no request needs them.
pub type Pools = PoolsOf<tollway_dialect::RequestBody<server::RequestBody>>;

/// The same for any body of requests.
#[derive(Debug)]
pub struct PoolsOf<B>(HashMap<Arc<str>, Pool<B>>);

/// A pool and what it was built of.
#[derive(Debug)]
struct Pool<B> {
    provider: policy::Provider,
    private: Arc<[HeaderName]>,
    tls: Arc<ClientConfig>,
    endpoint: Arc<upstream::Endpoint<SentBody<B>>>,
}

impl<B> Default for PoolsOf<B> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// The leaf, with these pools where they fit, and new ones of its own; all of them are in `pools` then.
pub(super) fn service<B>(
    policy: &Policy,
    simulators: &HashMap<Arc<str>, Simulator>,
    tls: &Tls,
    pools: &mut PoolsOf<B>,
) -> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let workers = server::workers(&policy.server);
    let private = private(policy);
    let mut old = std::mem::take(&mut pools.0);
    for (provider, http) in over_http(policy) {
        let Some(tls) = tls.get(&provider.name).cloned() else { continue };
        let same = |pool: &Pool<B>| {
            pool.provider == *provider && pool.private == private && Arc::ptr_eq(&pool.tls, &tls)
        };
        let pool = old.remove(&provider.name).filter(same).or_else(|| {
            let policy::Provider { forms, keys, .. } = provider;
            let (tls, private) = (tls.clone(), private.clone());
            let made =
                upstream::Endpoint::new(http, forms, keys, tls.clone(), private.clone(), workers);
            let endpoint = Arc::new(made.ok()?);
            Some(Pool { provider: provider.clone(), private, tls, endpoint })
        });
        pools.0.extend(pool.map(|pool| (provider.name.clone(), pool)));
    }
    let remote =
        pools.0.iter().map(|(name, pool)| (name.clone(), Provider::Http(pool.endpoint.clone())));
    let simulated = simulators
        .iter()
        .map(|(name, simulator)| (name.clone(), Provider::Simulated(simulator.clone())));
    Upstream::new(remote.chain(simulated).collect())
}
