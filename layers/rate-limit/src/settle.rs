use http::{request, response};
use tollway_core::Ending;

use crate::Unit;

/// Tells what a request really used, once that is known. `()` keeps every estimate.
///
/// Asked once for each limit that a request drew on, outside of any lock. Limits on
/// [concurrency](crate::Quota::Concurrent) don't ask: their places are always given back.
///
/// ```
/// use http::{request, response};
/// use tollway_core::{Ending, Metered};
/// use tollway_rate_limit::{Settle, Unit};
///
/// /// Settles token limits to what the reply's meter has read.
/// struct ByMeter;
///
/// impl Settle for ByMeter {
///     type Ticket = Option<Metered>;
///
///     fn open(&self, _: &request::Parts) -> Self::Ticket {
///         None
///     }
///     fn head(&self, ticket: &mut Self::Ticket, response: &response::Parts) {
///         *ticket = response.extensions.get().cloned();
///     }
///     fn spent(&self, ticket: &Self::Ticket, unit: Unit, _: Ending) -> Option<u64> {
///         match unit {
///             Unit::Tokens => Some(ticket.as_ref()?.usage()?.total()),
///             _ => None,
///         }
///     }
/// }
/// ```
pub trait Settle: Send + Sync + 'static {
    /// What is remembered of a request until its reply ends.
    type Ticket: Send;

    /// A request was admitted.
    fn open(&self, request: &request::Parts) -> Self::Ticket;

    /// Its response head came.
    fn head(&self, ticket: &mut Self::Ticket, response: &response::Parts) {
        let _ = (ticket, response);
    }

    /// What was used of `unit`, now that the reply's body has ended; `None` keeps the estimate.
    /// Less is given back; more is a debt, which delays the requests that follow.
    fn spent(&self, ticket: &Self::Ticket, unit: Unit, ending: Ending) -> Option<u64>;

    /// What was used of `unit` by a request that got no response head: the inner service failed,
    /// or the future was dropped. By default a request still counts as one, and everything else
    /// that was `reserved` is given back.
    fn failed(&self, ticket: &Self::Ticket, unit: Unit, reserved: u64) -> u64 {
        let _ = ticket;
        if unit == Unit::Requests { reserved } else { 0 }
    }
}

impl Settle for () {
    type Ticket = ();

    fn open(&self, _: &request::Parts) {}

    fn spent(&self, (): &(), _: Unit, _: Ending) -> Option<u64> {
        None
    }
}
