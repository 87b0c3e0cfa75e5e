//! Which targets can take a request now, and what room their limits have.

use std::sync::Arc;

use tollway_circuit_breaker::CircuitBreakerHandle;
use tollway_core::Target;
use tollway_pace::{PaceHandle, PaceLayer};
use tollway_rate_limit::{Handle, Key, Part, RateLimitLayer, Standing};
use tollway_route::{Availability as Answer, Glob, TargetState};

use super::{
    Facts,
    aliases::Aliases,
    breaker::{Benches, Breakers, Circuit},
    keys::{Accounts, CALLERS_OWN, Credential},
    limits::{self, BySpending},
    pace,
};
use crate::policy::{self, Policy, Scope};

/// Which targets are out: their key is set aside, their breaker is open, or a limit of their
/// provider has nothing left, be it the policy's or the provider's own.
#[derive(Clone, Debug)]
pub(super) struct Availability {
    benches: CircuitBreakerHandle<Credential>,
    breakers: CircuitBreakerHandle<Circuit>,
    limits: Handle,
    accounts: Accounts,
    pace: PaceHandle<Circuit>,
    aliases: Aliases,
    /// Limits that a target alone decides.
    buckets: Arc<[Bucket]>,
    /// What is given in place of all of this.
    given: Option<Facts>,
}

#[derive(Clone, Debug)]
struct Bucket {
    rule: Arc<str>,
    per: Vec<Scope>,
    models: Vec<Glob>,
    enforced: bool,
}

impl TargetState for Availability {
    fn availability(&self, target: &Target) -> Answer {
        if let Some(given) = &self.given {
            return given.availability(target);
        }
        // Whose own credential it will be is not known here.
        let own = &**target.key() == CALLERS_OWN;
        if !own && !self.benches.allows(&Credential::of(target)) {
            return Answer::KeyBenched;
        }
        if !self.breakers.allows(&Circuit::of(target)) {
            return Answer::BreakerOpen;
        }
        let full = self.buckets.iter().filter(|bucket| bucket.enforced).any(|bucket| {
            self.key(bucket, target)
                .is_some_and(|key| !self.limits.would_admit_key(&bucket.rule, &key, 1))
        });
        if full || !pace::has_room(&self.pace, target) { Answer::LimitFull } else { Answer::Ready }
    }
}

impl Availability {
    pub(super) fn new(
        policy: &Policy,
        (benches, breakers, attempt_limits, pace): (
            &Benches,
            &Breakers,
            &RateLimitLayer<BySpending>,
            &PaceLayer<Circuit>,
        ),
        given: Option<Facts>,
    ) -> Self {
        let decides = |limit: &&policy::Limit| {
            let by_target =
                |scope: &Scope| scope.is_of_target() || matches!(scope, Scope::Model | Scope::All);
            limit.per.iter().any(Scope::is_of_target) && limit.per.iter().all(by_target)
        };
        let buckets = policy.limits.iter().filter(decides).flat_map(|limit| {
            limit.quotas.iter().map(|quota| Bucket {
                rule: limits::rule_name(limit, quota),
                per: limit.per.clone(),
                models: limit.models.clone(),
                enforced: limit.enforce,
            })
        });
        Self {
            benches: benches.handle(),
            breakers: breakers.handle(),
            limits: attempt_limits.handle(),
            accounts: Accounts::new(policy),
            pace: pace.handle(),
            aliases: Aliases::new(policy),
            buckets: buckets.collect(),
            given,
        }
    }

    /// How each limit that a target alone decides stands for it, and whether it is enforced.
    pub(super) fn room(&self, target: &Target) -> Vec<(Standing, bool)> {
        let room = |bucket: &Bucket| {
            let room = self.limits.standing(&bucket.rule, &self.key(bucket, target)?)?;
            Some((room, bucket.enforced))
        };
        self.buckets.iter().filter_map(room).collect()
    }

    /// Whose quota of a limit a target draws on; `None`: the limit isn't of this target.
    fn key(&self, bucket: &Bucket, target: &Target) -> Option<Key> {
        let model = target.model().map(|model| self.aliases.resolve(model));
        let named = |glob: &Glob| model.is_some_and(|model| glob.matches(&**model));
        if !bucket.models.is_empty() && !bucket.models.iter().any(named) {
            return None;
        }
        let part = |scope: &Scope| match scope {
            Scope::Provider => Some(Part::Name(target.provider().clone())),
            Scope::ProviderKey if &**target.key() == CALLERS_OWN => None,
            Scope::ProviderKey => self.accounts.of(target).cloned().map(Part::Name),
            Scope::Model => model.cloned().map(Part::Name),
            _ => None,
        };
        match &bucket.per[..] {
            [Scope::All, one] | [one, Scope::All] | [one] => part(one).map(Key::One),
            [one, two] => Some(Key::Two(part(one)?, part(two)?)),
            _ => None,
        }
    }
}
