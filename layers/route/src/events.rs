use tollway_core::Plan;

use crate::{NoRoute, NoneAble};

/// What the layer decided, told through its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The request goes on with this plan: route, strategy, candidates (the first is the choice)
    /// and what was rejected.
    Routed(Plan),
    /// The request was refused: no route takes it.
    NoRoute(NoRoute),
    /// The request was refused: its route has no target that can serve it.
    NoneAble(NoneAble),
}
