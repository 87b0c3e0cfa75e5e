use tollway_core::Target;

/// Whether a target can take a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Availability {
    /// It can.
    Ready,
    /// Its circuit breaker is open, and refuses whatever comes.
    BreakerOpen,
    /// One of its limits is full.
    LimitFull,
    /// Its key is benched: refused by the provider, or out of money. What comes is refused.
    KeyBenched,
    /// Out for another reason, in a few words.
    Out(&'static str),
}

impl Availability {
    /// Why it is out; `None` when it is ready.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::BreakerOpen => Some("breaker open"),
            Self::LimitFull => Some("limit full"),
            Self::KeyBenched => Some("key benched"),
            Self::Out(reason) => Some(reason),
        }
    }

    /// Whether a request that is sent there all the same is refused on the way, so that its provider
    /// never sees it.
    pub(crate) fn is_guarded(&self) -> bool {
        matches!(self, Self::BreakerOpen | Self::KeyBenched)
    }
}

/// Where the router learns which targets are out. `()` knows of none; a closure is one.
///
/// Called on the request's path for each target of the matched route: it must be quick.
pub trait TargetState {
    /// The state of one target, whose model is filled in where the request names one.
    fn availability(&self, target: &Target) -> Availability;
}

impl TargetState for () {
    fn availability(&self, _: &Target) -> Availability {
        Availability::Ready
    }
}

impl<F: Fn(&Target) -> Availability> TargetState for F {
    fn availability(&self, target: &Target) -> Availability {
        self(target)
    }
}
