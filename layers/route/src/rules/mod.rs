//! What is asked decides where it goes.

mod ready;
mod time;
mod when;

use std::{sync::Arc, time::Duration};

use tollway_core::Usd;

use crate::{Group, Size, Strategy};

pub use ready::{READY, ready};
pub use time::{Days, Moment, TimeRange};
pub(crate) use when::Judge;
pub use when::{Between, SizeClass, When};

/// For some of a route's requests, an order of their own. The first rule that holds decides.
///
/// ```
/// use tollway_core::Needs;
/// use tollway_route::{Prefer, Rule, Size, Strategy, Then, When};
///
/// let images = Rule {
///     name: "images".into(),
///     when: When { needs: Needs::VISION, ..When::default() },
///     then: Then {
///         prefer: Prefer::Sizes(vec![vec![Size::Large, Size::Reasoning]]),
///         strategy: Some(Strategy::Cost),
///         ..Then::default()
///     },
/// };
/// assert_eq!(&*images.name, "images");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the route; it appears in plans.
    pub name: Arc<str>,
    /// The requests it holds for.
    pub when: When,
    /// What it changes for them.
    pub then: Then,
}

/// What a rule changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Then {
    /// Who comes first.
    pub prefer: Prefer,
    /// Orders the route's own group, in place of its strategy.
    pub strategy: Option<Strategy>,
    /// Places that cost nothing come first.
    pub free_first: bool,
    /// Places that would cost more, by estimate, come last.
    pub max_cost: Option<Usd>,
    /// Places that would take longer, by estimate, come last.
    pub max_latency: Option<Duration>,
}

/// Who comes first under a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Nobody in particular: the route's own group, as it is.
    #[default]
    Nobody,
    /// This group, and the route's own behind it.
    Group(Group),
    /// The route's places of the sizes named together first, in the order of its strategy, then those
    /// of the next sizes; the others behind them. Under strategies that compare nothing and take no
    /// turns (failover, capability), sizes come one after the other also where they are named together.
    Sizes(Vec<Vec<Size>>),
}
