//! What a stack leaves to the one that takes its place: this is the list of it.
//!
//! | what | how it goes on | why |
//! |---|---|---|
//! | quotas of single keys | as they were written, where their limits still are | an operator gave them until a date |
//! | limits | by name, under their new shape | nobody gets a fresh quota by an edit, nobody loses theirs |
//! | circuits, benches | by target and key, under the new thresholds | what is ill stays known; not what was known of a secret or an address that changed |
//! | what other instances found | as circuits and benches do, of which it is | an outage goes on |
//! | turns of groups | by route, where the members are the same | the first of each would get them all, were there many edits |
//! | retry budget | under the new share | a reload in a storm must not feed it |
//! | pace | by target | providers count on, too |
//! | figures of targets | all, judged anew | routes need them from the first request on |
//! | output and input estimates | all | replies taught them, no policy |
//! | totals, ledger | all | money spent stays spent |
//! | documents written at run time, and who follows them | all | what an operator set holds until they take it back |
//! | alerts | what was told, what waits for the webhook; by the new webhook | nothing is told twice |
//! | metrics, latest decisions | all | one process has one set; counters never fall |
//! | simulated providers | by name, under their new settings | a rehearsal of an outage goes on |
//! | TLS settings, connections | of providers that are the same | a new connection costs a round trip or three |
//!
//! All else is made of the policy alone. Nothing of it changes before the new stack is whole: what
//! can't be built leaves the old one as it was.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;
use tollway_cost::{Totals, TotalsConfig};
use tollway_route::facts::Tracker;

use super::{
    Stack, StackError,
    aliases::Aliases,
    estimate::Estimates,
    keys::{self, Credential},
    routes, tell,
    tokens::InputTokens,
};
use crate::{
    policy::{Endpoint, Policy, Provider},
    simulate::Simulator,
    telemetry::{Telemetry, names},
};

/// What is shared as it is.
pub(super) struct Carried {
    pub(super) estimates: Arc<Estimates>,
    pub(super) input_tokens: InputTokens,
    pub(super) totals: Totals,
    pub(super) tracker: Tracker,
    pub(super) simulators: HashMap<Arc<str>, Simulator>,
}

impl Carried {
    /// What `before` leaves to this policy, or new ones of all.
    pub(super) fn to(
        policy: &Policy,
        aliases: Aliases,
        before: Option<&Stack>,
    ) -> Result<Self, StackError> {
        let figures = routes::figures(policy)?;
        let known = |name: &Arc<str>| before.and_then(|before| before.simulators.get(name));
        let simulators = policy.providers.iter().filter_map(|provider| match &provider.endpoint {
            Endpoint::Simulate(config) => {
                let fresh = || Simulator::new(config.clone());
                Some((
                    provider.name.clone(),
                    known(&provider.name).map_or_else(fresh, Clone::clone),
                ))
            }
            Endpoint::Http(_) => None,
        });
        let simulators = simulators.collect();
        Ok(match before {
            Some(before) => Self {
                estimates: before.estimates.clone(),
                input_tokens: before.input_tokens.under(aliases),
                totals: before.cost.totals().clone(),
                tracker: before.facts().clone(),
                simulators,
            },
            None => Self {
                estimates: Arc::default(),
                input_tokens: InputTokens::new(aliases),
                totals: totals(policy)?,
                tracker: Tracker::new(figures).map_err(|error| StackError::new("health", error))?,
                simulators,
            },
        })
    }
}

impl Stack {
    /// The stack of another policy, which goes on with all that this one knows: limits by their names,
    /// circuits, figures, totals, metrics. From then on the new policy's settings hold for that, also
    /// where requests still go through this one.
    ///
    /// # Errors
    ///
    /// Names the part that can't be built; then nothing is changed.
    ///
    /// ```
    /// use tollway::{policy::{Env, Policy}, rate_limit::Key, stack::Stack};
    ///
    /// let policy = |burst: u32| {
    ///     let limit = format!("{{ name: all, per: all, requests: 60/min, burst: {burst} }}");
    ///     let text = format!("providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {limit}\n");
    ///     Policy::parse("policy.yaml", &text, &Env::new(|_| None))
    /// };
    /// let old = Stack::new(&policy(60)?)?;
    /// let new = old.next(&policy(120)?)?;
    /// assert_eq!(new.request_limits().standing("all", &Key::All).unwrap().capacity, 120);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next(&self, policy: &Policy) -> Result<Self, StackError> {
        let with = (self.telemetry.clone(), self.stores.clone());
        let next = Self::built(policy, None, with, Some(self))?;
        next.take_over(self);
        Ok(next)
    }

    /// Everything has been built: from here on nothing fails.
    fn take_over(&self, before: &Self) {
        let policy = &self.policy;
        self.telemetry.keep_by(tell::known_models(policy), policy.routing.decisions);
        if let Ok(figures) = routes::figures(policy) {
            let _ = self.facts().keep_by(figures, Instant::now());
        }
        self.decider.resume(&before.decider);
        self.request_limits.take_over();
        self.attempt_limits.take_over();
        self.alerts.take_over();
        self.count_limits();
        self.hold_quotas();
        for provider in &policy.providers {
            let old = before.policy.provider(&provider.name);
            if let Endpoint::Simulate(config) = &provider.endpoint
                && let Some(simulator) = self.simulators.get(&provider.name)
                && old.is_some_and(|old| old.endpoint != provider.endpoint)
            {
                simulator.set(config.clone());
            }
        }
        self.forget_what_is_not_so_any_more(before);
    }

    /// A key's bench is of its secret, a circuit of its address; neither says anything of another.
    fn forget_what_is_not_so_any_more(&self, before: &Self) {
        let mut moved = HashSet::new();
        for old in &before.policy.providers {
            let new = self.policy.provider(&old.name);
            if new.is_none_or(|new| address(new) != address(old)) {
                moved.insert(&old.name);
            }
            for (key, _) in keys::of(old) {
                if !new.is_some_and(|new| has_same_key(old, new, &key)) {
                    let credential = Credential::new(old.name.clone(), key);
                    self.benches().reset(&credential);
                    tell::works(&self.telemetry, &credential);
                }
            }
        }
        for status in self.breakers().list() {
            if moved.contains(status.key.target.provider()) {
                self.breakers().reset(&status.key);
                tell::unguarded(&self.telemetry, &status.key.target);
            }
        }
    }
}

/// By days and months of the policy's time zone.
fn totals(policy: &Policy) -> Result<Totals, StackError> {
    let config = TotalsConfig { zone: policy.time_zone.clone(), ..TotalsConfig::default() };
    Totals::new(config).map_err(|error| StackError::new("totals", error))
}

fn address(provider: &Provider) -> Option<&http::Uri> {
    match &provider.endpoint {
        Endpoint::Http(http) => Some(&http.base_url),
        Endpoint::Simulate(_) => None,
    }
}

fn has_same_key(old: &Provider, new: &Provider, name: &str) -> bool {
    let of = |provider: &Provider| provider.keys.iter().find(|key| &*key.name == name).cloned();
    match (of(old), of(new)) {
        (Some(old), Some(new)) => old.is_same_secret(&new),
        (None, None) => keys::of(new).iter().any(|(key, _)| &**key == name),
        _ => false,
    }
}

/// Held by a stack and by all services made of it: how many policies are in use.
pub(super) struct InUse(Telemetry);

impl InUse {
    pub(super) fn new(telemetry: &Telemetry) -> Arc<Self> {
        telemetry.add(names::POLICIES, 1.0);
        Arc::new(Self(telemetry.clone()))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.add(names::POLICIES, -1.0);
    }
}
