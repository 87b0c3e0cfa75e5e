use http::response;
use tollway_core::{BoxError, Ending, ErrorClass, Failure, Metered, find_error};

use crate::CircuitOpen;
use std::time::Duration;

/// What a reply says about its provider's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider did what it should.
    Success,
    /// The provider, or the way to it, failed; counts by the class's weight in the config.
    Failure(ErrorClass),
    /// The key is of no use until somebody acts: set it aside.
    Bench {
        /// Why; told in events and reasons.
        class: ErrorClass,
        /// For how long; `None`: as long as the config says.
        bench_for: Option<Duration>,
    },
    /// Nothing can be learnt from it: neither success nor failure.
    Ignore,
}

/// What can be said of a reply by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement<T> {
    /// All there is to say; the body isn't watched.
    Now(Verdict),
    /// The body decides; the ticket comes back to [`Classify::end`] when it ends.
    AtEnd(T),
}

/// Judges replies.
///
/// A closure from a reply's head (or error) to a [`Verdict`] is a classifier whose successes stand
/// only if the body doesn't fail:
///
/// ```
/// use http::response::Parts;
/// use tollway_circuit_breaker::{Classify, Verdict};
/// use tollway_core::{BoxError, ErrorClass};
///
/// fn check(_: &impl Classify) {}
/// check(&|reply: Result<&Parts, &BoxError>| match reply {
///     Ok(head) if head.status == 503 => Verdict::Failure(ErrorClass::Overloaded),
///     Ok(_) => Verdict::Success,
///     Err(_) => Verdict::Failure(ErrorClass::Network),
/// });
/// ```
pub trait Classify {
    /// What the classifier wants to keep until the body ends.
    type Ticket;

    /// Judges a reply's head, or the error in its stead.
    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<Self::Ticket>;

    /// Judges a reply whose body has ended. Must not panic: it may run while a body is dropped.
    fn end(&self, ticket: Self::Ticket, ending: Ending) -> Verdict;
}

impl<F: Fn(Result<&response::Parts, &BoxError>) -> Verdict> Classify for F {
    type Ticket = ();

    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<()> {
        match self(reply) {
            Verdict::Success if reply.is_ok() => Judgement::AtEnd(()),
            verdict => Judgement::Now(verdict),
        }
    }

    fn end(&self, (): (), ending: Ending) -> Verdict {
        judge_ending(ending)
    }
}

fn judge_ending(ending: Ending) -> Verdict {
    match ending {
        Ending::Complete => Verdict::Success,
        Ending::Failed => Verdict::Failure(ErrorClass::Network),
        Ending::Dropped => Verdict::Ignore,
    }
}

/// The classifier for providers of LLM APIs; the default.
///
/// - A [`Failure`] in the response's extensions or inside the error decides by its class; without
///   one, a status does: 401, 402 and 403 bench, 408 and 504 are timeouts, 503 and 529 overload,
///   other 5xx server failures. An error without a `Failure` is a network failure.
/// - Auth and quota failures bench the key. Rate limits, and what the caller is to blame for,
///   count for nothing: a provider that says 400 is alive, but whether it can do its work is not
///   known.
/// - Any other reply is judged at its end: a failure that the [`Metered`] in its extensions has
///   noted, even if the client left on seeing it; then a broken body as a network failure. A
///   client that hangs up counts for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByFailure;

impl Classify for ByFailure {
    type Ticket = Option<Metered>;

    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<Self::Ticket> {
        let class = match reply {
            Ok(head) => match head.extensions.get::<Failure>() {
                Some(failure) => Some(failure.class()),
                None => ErrorClass::of_status(head.status),
            },
            // Another breaker, further in, refused: no request was made.
            Err(error) if find_error::<CircuitOpen>(&**error).is_some() => {
                return Judgement::Now(Verdict::Ignore);
            }
            Err(error) => {
                let failure = find_error::<Failure>(&**error);
                Some(failure.map_or(ErrorClass::Network, Failure::class))
            }
        };
        match (class, reply) {
            (None, Ok(head)) => Judgement::AtEnd(head.extensions.get::<Metered>().cloned()),
            (class, _) => Judgement::Now(class.map_or(Verdict::Ignore, judge)),
        }
    }

    fn end(&self, meter: Self::Ticket, ending: Ending) -> Verdict {
        match meter.as_ref().and_then(|meter| meter.failure()) {
            Some(failure) => judge(failure.class()),
            None => judge_ending(ending),
        }
    }
}

fn judge(class: ErrorClass) -> Verdict {
    match class {
        ErrorClass::Auth | ErrorClass::Quota => Verdict::Bench { class, bench_for: None },
        // Which of the others count is for the weights to say.
        class => Verdict::Failure(class),
    }
}
