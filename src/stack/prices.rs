use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tollway_core::{Target, Usage, Usd};
use tollway_cost::{Price, PriceBook, PromptBound, Rate, Rates, Tier};

use super::StackError;
use crate::{
    policy::{self, Endpoint, Policy, registry},
    telemetry::Pricing,
};

/// What models cost.
#[derive(Clone, Debug)]
pub(super) struct Prices {
    /// By the policy's provider names.
    pub(super) book: PriceBook,
    /// By model alone, for a reservation that is made before routing.
    anywhere: Arc<HashMap<Arc<str>, Arc<Price>>>,
}

impl Prices {
    /// Reads the registry. A simulated provider plays any provider, so that costs can be rehearsed.
    pub(super) fn new(policy: &Policy) -> Result<Self, StackError> {
        let mut book = PriceBook::builder();
        let mut anywhere = HashMap::new();
        let mut priced: HashSet<(&str, &str)> = HashSet::new();
        for model in &policy.registry.models {
            let wrong =
                |error| StackError::new(format!("price of {}/{}", model.provider, model.id), error);
            let Some(price) = price(model).map_err(wrong)?.map(Arc::new) else { continue };
            let sellers = policy.providers.iter().filter(|provider| sells(provider, model));
            let ids = || std::iter::once(&model.id).chain(&model.aliases);
            for (seller, id) in sellers.flat_map(|seller| ids().map(move |id| (seller, id))) {
                if priced.insert((&seller.name, id)) {
                    book.set(&seller.name, id, price.clone());
                }
                anywhere.entry(id.clone()).or_insert_with(|| price.clone());
            }
        }
        Ok(Self { book: book.build(), anywhere: Arc::new(anywhere) })
    }

    /// The cost of `usage` at `target`, or of the asked model where no target is chosen yet.
    pub(super) fn cost(
        &self,
        target: Option<&Target>,
        asked: Option<&str>,
        usage: &Usage,
    ) -> Option<Usd> {
        let model = target.and_then(Target::model).map(|model| &**model).or(asked)?;
        let price = match target {
            Some(target) => self.book.get(target.provider(), model),
            None => self.anywhere.get(model),
        };
        Some(price?.cost(usage))
    }

    /// The price of a model at whoever sells it.
    pub(super) fn anywhere(&self, model: &str) -> Option<&Arc<Price>> {
        self.anywhere.get(model)
    }

    pub(super) fn pricing(&self) -> Pricing {
        let prices = self.clone();
        Arc::new(move |target: &Target, usage: &Usage| prices.cost(Some(target), None, usage))
    }
}

fn sells(provider: &policy::Provider, model: &registry::Model) -> bool {
    let known = provider.known.as_ref().unwrap_or(&provider.name);
    *known == model.provider || matches!(provider.endpoint, Endpoint::Simulate(_))
}

fn price(model: &registry::Model) -> Result<Option<Price>, tollway_cost::ConfigError> {
    let (Some(input), Some(output)) = (model.price.input, model.price.output) else {
        return Ok(None);
    };
    let rate = |pico: u64| Rate::from_picos(pico);
    let rates = Rates {
        input: rate(input),
        output: rate(output),
        cached_input: model.price.cached_input.map(rate),
        cache_write: model.price.cache_write.map(rate),
        ..Rates::default()
    };
    let tiers = model.tiers.iter().map(|tier| {
        let price = &tier.price;
        Tier {
            cache_write: price.cache_write.map(rate),
            ..Tier::new(
                PromptBound::Over(tier.over_prompt_tokens),
                price.input.map(rate),
                price.cached_input.map(rate),
                price.output.map(rate),
            )
        }
    });
    Price::new(rates, tiers).map(Some)
}
