//! What a request may use and cost, before it is known where it goes.

use std::{collections::HashMap, sync::Arc};

use http::request;
use tokio::time::Instant;
use tollway_core::{Ask, Caller, Target, Usage};
use tollway_cost::Price;
use tollway_route::{Match, Query};

use super::{
    aliases::Aliases,
    estimate::{self, Estimates},
    prices::Prices,
};
use crate::policy::{Policy, Reserve, Unit};

/// Prices and lengths of replies of all that routes send to. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Quotes {
    prices: Prices,
    pub(super) aliases: Aliases,
    /// The longest reply of a model, whoever sells it.
    longest: Arc<HashMap<Arc<str>, u64>>,
    /// The routes, where a limit asks for them.
    ways: Arc<[Way]>,
}

/// A route, as far as a price hangs on it.
#[derive(Debug)]
struct Way {
    when: Match,
    /// In the order written, each once.
    places: Box<[Place]>,
}

#[derive(Debug, PartialEq)]
struct Place {
    provider: Arc<str>,
    /// `None`: the one asked for.
    model: Option<Arc<str>>,
}

/// What one place sells.
#[derive(Clone, Copy)]
struct Offer<'a> {
    price: Option<&'a Price>,
    longest: Option<u64>,
}

impl Offer<'_> {
    fn nanos(&self, usage: &Usage) -> u64 {
        // What nobody has priced can't be held against a budget; `tollway check` warns of it.
        self.price.map_or(0, |price| price.cost(usage).nanos())
    }

    /// The most output that this ask can bring.
    fn output(&self, ask: &Ask) -> Option<u64> {
        let longest = self.longest.map(|each| each.saturating_mul(ask.choices.max(1).into()));
        // Some take a bound of 0 for none.
        match (ask.max_output_tokens.filter(|bound| *bound > 0), longest) {
            (Some(asked), Some(longest)) => Some(asked.min(longest)),
            (asked, longest) => asked.or(longest),
        }
    }

    /// The most that it can cost: all of the input may be written to a cache, at its price.
    fn most(&self, input: u64, output: u64) -> u64 {
        let plain = Usage::new(input, output);
        let mut hour = plain;
        hour.cache_write_1h = input;
        let mut short = plain;
        short.cache_write = input;
        [plain, short, hour].iter().map(|usage| self.nanos(usage)).max().unwrap_or(0)
    }
}

/// The route that a request takes, to be asked again when its reply has ended.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    way: usize,
    asked: Option<Arc<str>>,
}

impl Quotes {
    pub(super) fn new(policy: &Policy, prices: Prices) -> Self {
        let asks = policy.limits.iter().any(|limit| {
            let units = &mut limit.quotas.iter().map(|quota| quota.unit);
            limit.reserve == Reserve::Most || units.any(|unit| unit == Unit::Usd)
        });
        let ways = policy.routes.iter().filter(|_| asks).map(|route| {
            let mut places = Vec::new();
            for place in route.places() {
                let place = Place { provider: place.provider.clone(), model: place.model.clone() };
                if !places.contains(&place) {
                    places.push(place);
                }
            }
            Way { when: route.matches.clone(), places: places.into() }
        });
        let mut longest = HashMap::new();
        for model in &policy.registry.models {
            let Some(most) = model.max_output_tokens.or(model.context_window) else { continue };
            for id in std::iter::once(&model.id).chain(&model.aliases) {
                let known: &mut u64 = longest.entry(id.clone()).or_default();
                *known = most.max(*known);
            }
        }
        let (ways, longest) = (ways.collect(), Arc::new(longest));
        Self { prices, aliases: Aliases::new(policy), longest, ways }
    }

    /// What `usage` costs at `target`, in nano-dollars; 0 where nobody knows.
    pub(super) fn nanos(&self, target: Option<&Target>, usage: &Usage) -> u64 {
        self.prices.cost(target, None, usage).map_or(0, tollway_core::Usd::nanos)
    }

    fn offer<'a>(&'a self, provider: Option<&str>, model: &str) -> Offer<'a> {
        let at = |provider| self.prices.book.get(provider, model);
        let price = provider.and_then(at).or_else(|| self.prices.anywhere(model));
        Offer { price: price.map(|price| &**price), longest: self.longest.get(model).copied() }
    }

    /// What the request's target sells, or what all those do that it may come to: in the order
    /// written.
    fn each(&self, request: &request::Parts, ask: &Ask, mut on: impl FnMut(&Offer<'_>)) {
        let asked = ask.model.as_ref().map(|model| self.aliases.resolve(model));
        if let Some(target) = request.extensions.get::<Target>() {
            let model = target.model().or(asked);
            let longest = model.and_then(|model| self.longest.get(model).copied());
            let price = model.and_then(|model| self.prices.book.get(target.provider(), model));
            return on(&Offer { price: price.map(|price| &**price), longest });
        }
        match self.way(request, ask) {
            Some(way) => self.sold(way, asked).for_each(|offer| on(&offer)),
            None => asked.iter().for_each(|asked| on(&self.offer(None, asked))),
        }
    }

    fn sold<'a>(
        &'a self,
        way: usize,
        asked: Option<&'a Arc<str>>,
    ) -> impl Iterator<Item = Offer<'a>> {
        let places = self.ways.get(way).map_or(&[][..], |way| &way.places);
        let offer = move |place: &'a Place| {
            Some(self.offer(Some(&place.provider), place.model.as_ref().or(asked)?))
        };
        places.iter().filter_map(offer)
    }

    /// The route that takes the request.
    fn way(&self, request: &request::Parts, ask: &Ask) -> Option<usize> {
        if self.ways.is_empty() {
            return None;
        }
        let query = Query::new(request.uri.path(), &request.headers, Instant::now()).with_ask(ask);
        let caller = request.extensions.get::<Caller>();
        let query = caller.into_iter().fold(query, Query::with_caller);
        let model = ask.model.as_ref().map(|model| &**self.aliases.resolve(model));
        self.ways.iter().position(|way| way.when.holds(&query, model))
    }

    /// The route that takes the request, where its price hangs on the target that it gets.
    pub(super) fn taken(&self, request: &request::Parts, ask: &Ask) -> Option<Taken> {
        if request.extensions.get::<Target>().is_some() {
            return None;
        }
        let way = self.way(request, ask)?;
        let plural = self.ways.get(way).is_some_and(|way| way.places.len() > 1);
        let asked = || ask.model.as_ref().map(|model| self.aliases.resolve(model).clone());
        plural.then(|| Taken { way, asked: asked() })
    }

    /// By how much less than at the dearest target of its route a request was served: in millionths.
    pub(super) fn share(&self, taken: &Taken, usage: &Usage, nanos: u64) -> Option<u64> {
        let sold = self.sold(taken.way, taken.asked.as_ref());
        let dearest = sold.map(|offer| offer.nanos(usage)).max().filter(|most| *most > 0)?;
        let share = u128::from(nanos) * u128::from(MILLION) / u128::from(dearest);
        u64::try_from(share).ok()
    }

    /// Output tokens to reserve.
    pub(super) fn output(
        &self,
        reserve: Reserve,
        request: &request::Parts,
        ask: &Ask,
        estimates: &Estimates,
    ) -> u64 {
        let usual = || estimates.output(request.extensions.get(), ask);
        if reserve == Reserve::Usual || !ask.operation.has_output() {
            return usual();
        }
        let mut most = None;
        self.each(request, ask, |offer| most = most.max(offer.output(ask)));
        most.unwrap_or_else(usual)
    }

    /// Nano-dollars to reserve.
    pub(super) fn money(
        &self,
        reserve: Reserve,
        request: &request::Parts,
        ask: &Ask,
        estimates: &Estimates,
    ) -> u64 {
        let caller = request.extensions.get::<Caller>();
        let usual = Usage::new(ask.input_tokens, estimates.output(caller, ask));
        if reserve == Reserve::Most {
            let mut most = 0;
            let has_output = ask.operation.has_output();
            self.each(request, ask, |offer| {
                let output = offer.output(ask).filter(|_| has_output).unwrap_or(usual.output);
                most = offer.most(ask.input_tokens, output).max(most);
            });
            return most;
        }
        let (mut first, mut dearest, mut alike) = (0, 0, true);
        self.each(request, ask, |offer| {
            let nanos = offer.nanos(&usual);
            first = if first == 0 { nanos } else { first };
            alike &= nanos == first;
            dearest = nanos.max(dearest);
        });
        if alike {
            return first;
        }
        // Until a reply has told: as if it went to the first that the route names.
        let Some(share) = estimates.share(estimate::key(caller, ask)) else { return first };
        let usual = u128::from(dearest) * u128::from(share) / u128::from(MILLION);
        u64::try_from(usual).unwrap_or(u64::MAX)
    }
}

const MILLION: u64 = 1_000_000;
