//! What the registry knows of targets, as the router asks for it.

use std::{collections::HashMap, sync::Arc};

use tollway_core::Target;
use tollway_dialect::translate::{Form, goes_along};
use tollway_route::{Catalog, PriceTier, Traits, Wider};

use crate::policy::{
    Endpoint, Policy, Provider,
    registry::{Model, Price},
};

/// Traits by provider and model. Of a model that nobody knows, only where it would be.
#[derive(Debug)]
pub(super) struct Known(HashMap<Arc<str>, Seller>);

#[derive(Debug)]
struct Seller {
    free: bool,
    region: Option<Arc<str>>,
    models: HashMap<Arc<str>, Traits>,
}

impl Known {
    /// Reads the registry. A simulated provider plays any provider.
    pub(super) fn new(policy: &Policy) -> Self {
        let seller = |provider: &Provider| {
            let known = provider.known.as_ref().unwrap_or(&provider.name);
            let plays_any = matches!(provider.endpoint, Endpoint::Simulate(_));
            let all = policy.registry.models.iter();
            let mut models = HashMap::new();
            for model in all.filter(|model| plays_any || model.provider == *known) {
                let mut traits = traits(model);
                traits.free |= provider.free;
                traits.region = provider.region.clone();
                widen(&mut traits, model, provider);
                for id in std::iter::once(&model.id).chain(&model.aliases) {
                    models.entry(id.clone()).or_insert_with(|| traits.clone());
                }
            }
            Seller { free: provider.free, region: provider.region.clone(), models }
        };
        Self(policy.providers.iter().map(|one| (one.name.clone(), seller(one))).collect())
    }
}

impl Catalog for Known {
    fn traits(&self, target: &Target) -> Traits {
        let Some(seller) = self.0.get(target.provider()) else { return Traits::default() };
        let known = target.model().and_then(|model| seller.models.get(model));
        known.cloned().unwrap_or_else(|| seller.traits())
    }
}

impl Seller {
    /// Of a model that nobody knows.
    fn traits(&self) -> Traits {
        Traits { free: self.free, region: self.region.clone(), ..Traits::default() }
    }
}

fn traits(model: &Model) -> Traits {
    Traits {
        can: model.can(),
        window: model.max_input_tokens.or(model.context_window),
        max_output: model.max_output_tokens,
        size: model.size,
        free: model.is_free(),
        region: None,
        prices: prices(model),
        ..Traits::default()
    }
}

/// Windows that clients may ask for, as far as what they say reaches the provider: a translation drops
/// some headers, and one that the policy sets itself takes the place of the client's.
fn widen(traits: &mut Traits, model: &Model, provider: &Provider) {
    let set = match &provider.endpoint {
        Endpoint::Http(http) => &http.headers[..],
        Endpoint::Simulate(_) => &[],
    };
    let mut open = vec![];
    for wider in &model.windows {
        match set.iter().rev().find(|(name, _)| *name == wider.header) {
            Some((_, line)) if wider.is_asked_by(line) => {
                traits.window = traits.window.map(|window| window.max(wider.window));
            }
            Some(_) => {}
            None => {
                let is_lost = |asked: &Form| {
                    let (forms, to) = (&provider.forms, provider.forms.first());
                    !forms.contains(asked)
                        && to.is_some_and(|to| !goes_along(&wider.header, *asked, *to))
                };
                let lost = Form::ALL.into_iter().filter(is_lost).map(Form::operation).collect();
                open.push(Wider { lost, ..wider.clone() });
            }
        }
    }
    traits.wider = open.into();
}

/// Tiers by rising bound; a tier without a price ends what is known.
fn prices(model: &Model) -> Arc<[PriceTier]> {
    let tier = |from: u64, price: &Price| {
        let input = price.input?;
        let cached = price.cached_input.unwrap_or(input);
        Some(PriceTier { from, input, cached, output: price.output? })
    };
    let higher = model.tiers.iter();
    let higher = higher.map(|it| tier(it.over_prompt_tokens.saturating_add(1), &it.price));
    std::iter::once(tier(0, &model.price)).chain(higher).map_while(|tier| tier).collect()
}
