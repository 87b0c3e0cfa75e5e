//! Circuits that an operator opens and closes.

use tollway_core::Target;

use super::{Circuit, Credential, Stack, keys};

impl Stack {
    /// Closes the circuits of a provider, of one of its models or of all, and forgets their past; where
    /// it is all of them, keys that are set aside are tried again, too. How many there were.
    pub fn reset_circuits(&self, provider: &str, model: Option<&str>) -> usize {
        let breakers = self.breakers();
        let is_of = |circuit: &Circuit| is(&circuit.target, provider, model);
        let known = breakers.list().into_iter().map(|status| status.key);
        let mut count = known.filter(|key| is_of(key) && breakers.reset(key)).count();
        if model.is_none() {
            let benches = self.benches();
            let known = benches.list().into_iter().map(|status| status.key);
            let is_of = |key: &Credential| *key.provider == *provider;
            count += known.filter(|key| is_of(key) && benches.reset(key)).count();
        }
        count
    }

    /// Lets no request go to a provider, with one model or with any that it had requests for, that a
    /// route names or that is known to be its own; until it is reset. The targets.
    pub fn open_circuits(&self, provider: &str, model: Option<&str>) -> Vec<Target> {
        let Some(named) = self.policy.provider(provider) else { return Vec::new() };
        let models: Vec<_> = match model {
            Some(model) => vec![model.into()],
            None => {
                let routes = self.policy.routes.iter().flat_map(|route| route.places());
                let routed = routes.filter(|place| place.provider == named.name);
                let own = named.known.as_ref().unwrap_or(&named.name);
                let models = self.policy.registry.models.iter();
                let its = models.filter(|known| known.provider == *own);
                let routed = routed.filter_map(|place| place.model.clone());
                routed.chain(its.map(|known| known.id.clone())).collect()
            }
        };
        let keys = keys::of(named);
        let targets = keys.iter().flat_map(|(key, _)| {
            let target = |model: &_| Target::new(&*named.name, &**key, Some(Clone::clone(model)));
            models.iter().map(target).collect::<Vec<_>>()
        });
        let breakers = self.breakers();
        let known = breakers.list().into_iter().map(|status| status.key);
        let mut circuits: Vec<Circuit> =
            known.filter(|circuit| is(&circuit.target, provider, model)).collect();
        for circuit in targets.map(|target| Circuit::of(&target)) {
            if !circuits.contains(&circuit) {
                circuits.push(circuit);
            }
        }
        circuits.retain(|circuit| breakers.force_open(circuit));
        let mut opened: Vec<Target> = circuits.into_iter().map(|circuit| circuit.target).collect();
        opened.dedup();
        opened
    }
}

fn is(target: &Target, provider: &str, model: Option<&str>) -> bool {
    let of_model = model.is_none_or(|model| target.model().is_some_and(|its| **its == *model));
    **target.provider() == *provider && of_model
}
