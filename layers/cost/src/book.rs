use std::sync::Arc;

use tollway_core::{NameMap, Target};

use crate::{
    Price,
    error::{ConfigError, Kind},
};

/// Where the layer finds a model's price; closures implement it.
///
/// ```
/// use std::sync::Arc;
/// use tollway_core::{NameMap, Target};
/// use tollway_cost::{Price, Pricing};
///
/// let one = Arc::new(Price::flat("1".parse().unwrap(), "2".parse().unwrap()));
/// let pricing = move |_: &Target, _asked: Option<&str>| Some(one.clone());
/// assert!(pricing.price(&Target::new("lab", "main", None), None).is_some());
/// ```
pub trait Pricing {
    /// The price of what `target` served. `asked` is the model the caller named; it is the one
    /// served where the target names none. `None`: unknown, and so is the cost.
    fn price(&self, target: &Target, asked: Option<&str>) -> Option<Arc<Price>>;
}

impl<F: Fn(&Target, Option<&str>) -> Option<Arc<Price>>> Pricing for F {
    fn price(&self, target: &Target, asked: Option<&str>) -> Option<Arc<Price>> {
        self(target, asked)
    }
}

/// Prices by provider and model, never changed once built; looking one up allocates nothing.
///
/// Cheap to clone.
///
/// ```
/// use tollway_cost::{Price, PriceBook};
///
/// let mut book = PriceBook::builder();
/// let price = Price::flat("0.15".parse().unwrap(), "0.6".parse().unwrap());
/// book.add("openai", "gpt-4o-mini-2024-07-18", ["gpt-4o-mini"], price).unwrap();
/// let book = book.build();
/// assert!(book.get("openai", "gpt-4o-mini").is_some());
/// assert!(book.get("openai", "gpt-4o").is_none(), "unknown, not free");
/// ```
#[derive(Clone, Debug, Default)]
pub struct PriceBook(Arc<NameMap<Box<str>, Models>>);

type Models = NameMap<Box<str>, Arc<Price>>;

impl PriceBook {
    /// An empty book to fill.
    pub fn builder() -> PriceBookBuilder {
        PriceBookBuilder::default()
    }

    /// The price of `model` (its exact id or an alias) at `provider`.
    pub fn get(&self, provider: &str, model: &str) -> Option<&Arc<Price>> {
        self.0.get(provider)?.get(model)
    }
}

impl Pricing for PriceBook {
    fn price(&self, target: &Target, asked: Option<&str>) -> Option<Arc<Price>> {
        let model = target.model().map(|model| &**model).or(asked)?;
        self.get(target.provider(), model).cloned()
    }
}

/// Fills a [`PriceBook`].
#[derive(Debug, Default)]
pub struct PriceBookBuilder(NameMap<Box<str>, Models>);

impl PriceBookBuilder {
    /// Adds the price of `model` at `provider`, to be found by its id and its aliases.
    ///
    /// # Errors
    /// When one of the names has a price there already; nothing is added then.
    pub fn add<'a>(
        &mut self,
        provider: &str,
        model: &'a str,
        aliases: impl IntoIterator<Item = &'a str>,
        price: impl Into<Arc<Price>>,
    ) -> Result<&mut Self, ConfigError> {
        let price = price.into();
        let models = self.0.entry(provider.into()).or_default();
        let mut names = vec![model];
        for alias in aliases {
            if !names.contains(&alias) {
                names.push(alias);
            }
        }
        if let Some(name) = names.iter().find(|name| models.contains_key(**name)) {
            return Err(Kind::SameName { provider: provider.into(), name: (*name).into() }.into());
        }
        for name in names {
            models.insert(name.into(), price.clone());
        }
        Ok(self)
    }

    /// Sets the price of one name, whether it had one or not: an operator's own price over the
    /// registry's.
    pub fn set(&mut self, provider: &str, model: &str, price: impl Into<Arc<Price>>) -> &mut Self {
        self.0.entry(provider.into()).or_default().insert(model.into(), price.into());
        self
    }

    /// The finished book.
    pub fn build(self) -> PriceBook {
        PriceBook(Arc::new(self.0))
    }
}
