use std::{collections::HashSet, sync::Arc};

use http::{Extensions, request};
use tollway_circuit_breaker::FindKey;
use tollway_core::{Caller, NameMap, Target};

use crate::policy::{Auth, Endpoint, Policy, Provider};

/// The key name of targets that get the client's own credential.
pub(super) const CALLERS_OWN: &str = "caller's own";

/// Names of the keys by which a provider is called, with their shares.
pub(super) fn of(provider: &Provider) -> Vec<(Arc<str>, u32)> {
    if !provider.keys.is_empty() {
        return provider.keys.iter().map(|key| (key.name.clone(), key.weight.get())).collect();
    }
    let passes =
        matches!(&provider.endpoint, Endpoint::Http(http) if http.auth == Auth::Passthrough);
    vec![(if passes { CALLERS_OWN } else { "default" }.into(), 1)]
}

/// Whether any provider has several keys to choose from.
pub(super) fn has_pool(policy: &Policy) -> bool {
    policy.providers.iter().any(|provider| provider.keys.len() > 1)
}

/// The client's own credential, hashed, where that is what goes to `target`.
pub(super) fn callers_own(target: &Target, known: &Extensions) -> Option<Arc<str>> {
    let own = &**target.key() == CALLERS_OWN;
    if own { known.get::<Caller>()?.key.clone() } else { None }
}

/// What a provider is called with: one of its keys, whatever the model; with providers that get the
/// client's own credential, one client's, so that nobody's bad key shuts out others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The key's name.
    pub key: Arc<str>,
    /// The client's own credential, hashed, where it goes upstream.
    pub own: Option<Arc<str>>,
}

impl Credential {
    /// A key of the policy's.
    pub fn new(provider: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self { provider: provider.into(), key: key.into(), own: None }
    }

    /// The policy's own key of a target.
    pub(super) fn of(target: &Target) -> Self {
        Self::new(target.provider().clone(), target.key().clone())
    }

    pub(super) fn is_callers_own(&self) -> bool {
        &*self.key == CALLERS_OWN
    }
}

/// Finds the credentials that may be set aside: all where the policy has a breaker, else those of
/// providers with several keys, where others take over.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    /// `None`: of all providers.
    of: Option<Arc<HashSet<Arc<str>>>>,
}

impl Guarded {
    pub(super) fn new(policy: &Policy) -> Self {
        let pools = policy.providers.iter().filter(|provider| provider.keys.len() > 1);
        let of = pools.map(|provider| provider.name.clone()).collect();
        Self { of: policy.circuit_breaker.is_none().then(|| Arc::new(of)) }
    }
}

impl FindKey<Credential> for Guarded {
    fn find_key(&self, request: &request::Parts) -> Option<Credential> {
        let target = request.extensions.get::<Target>()?;
        if self.of.as_ref().is_some_and(|of| !of.contains(target.provider())) {
            return None;
        }
        let mut found = Credential::of(target);
        if found.is_callers_own() {
            // Clients that can't be told apart must not answer for each other.
            found.own = Some(callers_own(target, &request.extensions)?);
        }
        Some(found)
    }
}

/// The accounts that limits `per: provider_key` count: `provider/key`, made once.
#[derive(Clone, Debug)]
pub(super) struct Accounts(Arc<NameMap<Arc<str>, ByKey>>);

type ByKey = NameMap<Arc<str>, Arc<str>>;

impl Accounts {
    pub(super) fn new(policy: &Policy) -> Self {
        let each = policy.providers.iter().map(|provider| {
            let keys = of(provider).into_iter().map(|(key, _)| {
                let account = format!("{}/{key}", provider.name).into();
                (key, account)
            });
            (provider.name.clone(), keys.collect())
        });
        Self(Arc::new(each.collect()))
    }

    /// The account that a target draws on.
    pub(super) fn of(&self, target: &Target) -> Option<&Arc<str>> {
        self.0.get(target.provider())?.get(target.key())
    }
}
