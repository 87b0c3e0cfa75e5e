//! What the registry knows of targets, as the router asks for it.

use std::{collections::HashMap, sync::Arc};

use tollway_core::Target;
use tollway_route::{Catalog, PriceTier, Traits};

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
        wider: model.windows.as_slice().into(),
        max_output: model.max_output_tokens,
        size: model.size,
        free: model.is_free(),
        region: None,
        prices: prices(model),
    }
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
