use std::sync::Arc;

use tollway_circuit_breaker::{CircuitBreakerHandle, State};
use tollway_core::Target;
use tollway_pace::{PaceHandle, PaceLayer};
use tollway_rate_limit::{Handle, Key, Part, RateLimitLayer};
use tollway_route::{
    Availability as Standing, Glob, Match, Route, RouteLayer, RouteTarget, Router, Strategy,
    TargetState,
};

use super::{
    StackError,
    breaker::{Breakers, CALLERS_OWN, Circuit},
    limits::{self, BySpending},
    pace, tell,
};
use crate::{
    policy::{self, Auth, Endpoint, Policy, Scope},
    telemetry::Telemetry,
};

/// Told of every plan.
pub(super) type Hook = tell::Routes;

/// Which targets are out: their breaker is open, or a limit of their provider has nothing left, be
/// it the policy's or the provider's own.
#[derive(Clone, Debug)]
pub(super) struct Availability {
    breakers: CircuitBreakerHandle<Circuit>,
    limits: Handle,
    pace: PaceHandle<Circuit>,
    /// Enforced limits that a target alone decides.
    buckets: Arc<[Bucket]>,
}

#[derive(Clone, Debug)]
struct Bucket {
    rule: Arc<str>,
    per: Vec<Scope>,
}

impl TargetState for Availability {
    fn availability(&self, target: &Target) -> Standing {
        let circuit = Circuit::of(target);
        if !self.breakers.allows(&circuit) {
            let benched = matches!(self.breakers.state(&circuit), State::Benched { .. });
            return if benched { Standing::KeyBenched } else { Standing::BreakerOpen };
        }
        let full = self.buckets.iter().any(|bucket| {
            bucket
                .key(target)
                .is_some_and(|key| !self.limits.would_admit_key(&bucket.rule, &key, 1))
        });
        if full || !pace::has_room(&self.pace, target) {
            Standing::LimitFull
        } else {
            Standing::Ready
        }
    }
}

impl Bucket {
    fn key(&self, target: &Target) -> Option<Key> {
        let part = |scope: &Scope| match scope {
            Scope::Provider => Some(Part::Name(target.provider().clone())),
            Scope::Model => target.model().cloned().map(Part::Name),
            _ => None,
        };
        match &self.per[..] {
            [Scope::All, one] | [one, Scope::All] | [one] => part(one).map(Key::One),
            [one, two] => Some(Key::Two(part(one)?, part(two)?)),
            _ => None,
        }
    }
}

pub(super) fn layer(
    policy: &Policy,
    breakers: &Breakers,
    attempt_limits: &RateLimitLayer<BySpending>,
    pace: &PaceLayer<Circuit>,
    telemetry: &Telemetry,
) -> Result<RouteLayer<Availability, Hook>, StackError> {
    let wrong = |error| StackError::new("routes", error);
    let aliases = policy.aliases.iter().map(|alias| (alias.name.clone(), alias.model.clone()));
    let router = Router::with_aliases(routes(policy), aliases).map_err(wrong)?;
    let decides = |limit: &&policy::Limit| {
        let by_target = |scope| matches!(scope, &Scope::Provider | &Scope::Model | &Scope::All);
        limit.enforce
            && limit.models.is_empty()
            && limit.per.contains(&Scope::Provider)
            && limit.per.iter().all(by_target)
    };
    let buckets = policy.limits.iter().filter(decides).flat_map(|limit| {
        limit
            .quotas
            .iter()
            .map(|quota| Bucket { rule: limits::rule_name(limit, quota), per: limit.per.clone() })
    });
    let state = Availability {
        breakers: breakers.handle(),
        limits: attempt_limits.handle(),
        pace: pace.handle(),
        buckets: buckets.collect(),
    };
    Ok(RouteLayer::with(router, state, tell::routes(telemetry.clone())))
}

fn routes(policy: &Policy) -> Vec<Route> {
    if !policy.routes.is_empty() {
        return policy.routes.iter().map(|route| written(policy, route)).collect();
    }
    // Each known model goes to its provider, anything else to the first provider.
    let mut routes: Vec<Route> = policy
        .providers
        .iter()
        .skip(1)
        .filter_map(|provider| {
            let models = models_of(policy, provider);
            let when = Match { models, ..Match::default() };
            (!when.models.is_empty()).then(|| only(policy, &provider.name, when))
        })
        .collect();
    routes
        .extend(policy.providers.first().map(|first| only(policy, &first.name, Match::default())));
    routes
}

fn only(policy: &Policy, provider: &Arc<str>, when: Match) -> Route {
    Route {
        name: provider.clone(),
        when,
        strategy: Strategy::Failover,
        targets: vec![target(policy, provider, None).into()],
    }
}

fn models_of(policy: &Policy, provider: &policy::Provider) -> Vec<Glob> {
    let known = provider.known.as_ref().unwrap_or(&provider.name);
    let models = policy.registry.models.iter().filter(|model| model.provider == *known);
    models
        .flat_map(|model| std::iter::once(&model.id).chain(&model.aliases))
        .filter_map(|id| id.parse().ok())
        .collect()
}

fn written(policy: &Policy, route: &policy::Route) -> Route {
    Route {
        name: route.name.clone(),
        when: route.matches.clone(),
        strategy: match route.strategy {
            policy::Strategy::Failover => Strategy::Failover,
            policy::Strategy::RoundRobin => Strategy::RoundRobin,
            policy::Strategy::Weighted => Strategy::Weighted,
        },
        targets: route
            .targets
            .iter()
            .map(|to| RouteTarget {
                target: target(policy, &to.provider, to.model.clone()),
                weight: to.weight.get(),
            })
            .collect(),
    }
}

fn target(policy: &Policy, provider: &Arc<str>, model: Option<Arc<str>>) -> Target {
    let key = match policy.provider(provider).map(|provider| &provider.endpoint) {
        Some(Endpoint::Http(http)) if matches!(http.auth, Auth::Passthrough) => CALLERS_OWN.into(),
        Some(Endpoint::Http(http)) => http.key_name.clone(),
        _ => "default".into(),
    };
    Target::new(provider.clone(), key, model)
}
