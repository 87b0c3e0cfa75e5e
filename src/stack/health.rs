//! How the whole stands: what is available, and what is the matter, in words.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};
use tollway_circuit_breaker::State;
use tollway_core::Target;
use tollway_route::{Health, facts::TargetFacts};

use super::{
    Stack,
    keys::{self, Credential},
    providers,
};

impl Stack {
    /// How the whole stands, and the same as JSON: what is the matter, in words, and which providers
    /// and models are available. It is down when no provider is left.
    pub fn show_health(&self) -> (Health, String) {
        let standing = Standings::new(self);
        let providers: Vec<_> = self.policy.providers.iter().map(|one| &one.name).collect();
        let each = providers.iter().map(|name| standing.provider(name));
        let healths: Vec<Health> = each.collect();
        let whole = match together(healths.iter().copied()) {
            Health::Healthy if !standing.issues.is_empty() => Health::Degraded,
            health => health,
        };
        let provider = |(name, health): (&&Arc<str>, &Health)| json!({ "name": &***name, "status": health.as_str(), "available": *health != Health::Down });
        let shown = json!({
            "status": whole.as_str(),
            "issues": standing.issues,
            "providers": providers.iter().zip(&healths).map(provider).collect::<Vec<_>>(),
            "models": self.models(&standing),
        });
        (whole, shown.to_string())
    }

    /// The models that routes name and those that somebody was known to have, with who can serve them
    /// now.
    fn models(&self, standing: &Standings<'_>) -> Vec<Value> {
        let mut models: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for place in self.policy.routes.iter().flat_map(|route| route.places()) {
            if let Some(model) = &place.model {
                models.entry(model).or_default().insert(&place.provider);
            }
        }
        for facts in standing.targets.values() {
            if let Some(model) = facts.target.model() {
                models.entry(model).or_default().insert(facts.target.provider());
            }
        }
        let model = |(name, providers): (&str, BTreeSet<&str>)| {
            let each: Vec<_> =
                providers.iter().map(|one| (*one, standing.model(one, name))).collect();
            let health = together(each.iter().map(|(_, health)| *health));
            let able = each.iter().filter(|(_, health)| *health != Health::Down);
            json!({
                "name": name,
                "status": health.as_str(),
                "available": health != Health::Down,
                "providers": able.map(|(provider, _)| *provider).collect::<Vec<_>>(),
            })
        };
        models.into_iter().map(model).collect()
    }
}

/// Healthy or down if all are, else degraded.
fn together(each: impl IntoIterator<Item = Health>) -> Health {
    let mut each = each.into_iter();
    let Some(first) = each.next() else { return Health::Healthy };
    each.fold(first, |all, one| if all == one { all } else { Health::Degraded })
}

/// How everything stands at one moment.
struct Standings<'a> {
    stack: &'a Stack,
    targets: HashMap<Target, TargetFacts>,
    /// Those that are not closed.
    circuits: HashMap<Target, Health>,
    issues: Vec<Value>,
}

impl<'a> Standings<'a> {
    fn new(stack: &'a Stack) -> Self {
        let mut all =
            Self { stack, targets: HashMap::new(), circuits: HashMap::new(), issues: Vec::new() };
        all.add_keys();
        all.add_circuits();
        for facts in stack.known_targets().targets {
            for issue in &facts.issues {
                all.issues.push(issue_of(&facts.target, &issue.to_string()));
            }
            all.targets.insert(facts.target.clone(), facts);
        }
        all
    }

    fn add_keys(&mut self) {
        for provider in &self.stack.policy.providers {
            for (key, _) in keys::of(provider) {
                let target = Target::new(provider.name.clone(), key, None);
                let status = self.stack.benches().status(&Credential::of(&target));
                let is_out = |state| matches!(state, State::Benched { .. } | State::Advised { .. });
                let Some(status) = status.filter(|it| is_out(it.state)) else { continue };
                let why = providers::why(&status).map_or("set aside", providers::in_words);
                self.issues.push(issue_of(&target, &format!("the key is set aside: {why}")));
            }
        }
    }

    fn add_circuits(&mut self) {
        let mut circuits = self.stack.breakers().list();
        // One client's own credential says nothing of all others.
        circuits.retain(|status| status.key.credential.is_none());
        circuits.sort_by_cached_key(|status| status.key.target.to_string());
        for status in circuits {
            let (health, said) = match status.state {
                State::Open { .. } | State::ForcedOpen | State::Advised { .. } => {
                    (Health::Down, "is open")
                }
                State::HalfOpen => (Health::Degraded, "lets a few requests through"),
                State::Ramping { .. } => (Health::Degraded, "lets more and more requests through"),
                _ => continue,
            };
            let why = status.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let target = status.key.target;
            self.issues.push(issue_of(&target, &format!("its circuit {said}{why}")));
            self.circuits.insert(target, health);
        }
    }

    /// Of one target; of a model that nobody has asked for yet, what is known of its provider.
    fn target(&self, target: &Target) -> Health {
        if !self.stack.benches().allows(&Credential::of(target)) {
            return Health::Down;
        }
        let circuit = self.circuits.get(target).copied().unwrap_or_default();
        let known = self.targets.get(target).or_else(|| {
            self.targets.get(&Target::new(target.provider().clone(), target.key().clone(), None))
        });
        known.map_or(Health::Healthy, |facts| facts.figures.health).max(circuit)
    }

    /// Of one provider's model, by whichever key.
    fn model(&self, provider: &str, model: &str) -> Health {
        let Some(provider) = self.stack.policy.provider(provider) else { return Health::Down };
        together(keys::of(provider).into_iter().map(|(key, _)| {
            self.target(&Target::new(provider.name.clone(), key, Some(model.into())))
        }))
    }

    /// Of all that is known of one provider; of its keys, if nothing is.
    fn provider(&self, name: &Arc<str>) -> Health {
        let keys = self.stack.policy.provider(name).map(keys::of).unwrap_or_default();
        together(keys.into_iter().map(|(key, _)| {
            let of_key = |target: &&Target| target.provider() == name && *target.key() == key;
            let known: BTreeMap<_, _> = (self.targets.keys().chain(self.circuits.keys()))
                .filter(of_key)
                .map(|target| (target.model(), self.target(target)))
                .collect();
            match known.is_empty() {
                true => self.target(&Target::new(name.clone(), key, None)),
                false => together(known.into_values()),
            }
        }))
    }
}

fn issue_of(target: &Target, said: &str) -> Value {
    json!({ "target": target.to_string(), "key": &**target.key(), "issue": said })
}
