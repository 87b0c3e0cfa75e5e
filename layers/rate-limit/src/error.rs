use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;
use tollway_core::{ErrorClass, Failure, Usd};

use crate::{KeyQuota, Quota, Unit, headers};

/// How a limit stands for one key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// The quota as it was set: the key's own, where it has one.
    pub quota: Quota,
    /// The key's [own quota](crate::Handle::set_quota), if it has one.
    pub own: Option<KeyQuota>,
    /// The most that can be taken at once.
    pub capacity: u64,
    /// What is used, reserved included; above the capacity while a debt is owed.
    pub used: u64,
    /// What can be taken now; 0 while a debt is owed.
    pub remaining: u64,
    /// Reserved by requests that have not ended.
    pub held: u64,
    /// Requests in line.
    pub waiting: usize,
    /// Until the whole capacity is there again; `None` where no time brings it (concurrency).
    pub reset: Option<Duration>,
}

impl Standing {
    /// Sets `RateLimit-Policy`, `RateLimit` and, for limits on requests or tokens, OpenAI's
    /// `x-ratelimit-*`. Does not touch `Retry-After`.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers::write(self, headers);
    }
}

/// A limit refused a request. The layer's error, found in the chain of the
/// [`BoxError`](tollway_core::BoxError) that the service answers with.
#[derive(Clone, Debug)]
pub struct LimitExceeded {
    standing: Box<Standing>,
    retry_after: Option<Duration>,
    never_fits: bool,
    /// The same in core's terms, for layers that know of failures but not of limits.
    failure: Failure,
}

/// A request that goes on although limits would have refused it
/// ([`WhenFull::Downgrade`](crate::WhenFull::Downgrade)) carries this in its extensions from then on.
#[derive(Clone, Debug)]
pub struct Downgraded(pub(crate) Arc<[LimitExceeded]>);

impl Downgraded {
    /// What each of them would have said. Never empty.
    pub fn limits(&self) -> &[LimitExceeded] {
        &self.0
    }
}

impl LimitExceeded {
    pub(crate) fn new(standing: Standing, retry_after: Option<Duration>, never_fits: bool) -> Self {
        let words = Words { standing: &standing, retry_after, never_fits };
        let failure = Failure::new(ErrorClass::RateLimit, words.to_string());
        let failure = failure.with_retry_after(retry_after);
        let failure = if never_fits { failure.that_never_fits() } else { failure };
        Self { standing: Box::new(standing), retry_after, never_fits, failure }
    }

    /// Name of the limit.
    pub fn limit(&self) -> &Arc<str> {
        &self.standing.limit
    }

    /// What the limit counts.
    pub fn unit(&self) -> Unit {
        self.standing.unit
    }

    /// The limit's numbers for this request's key.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// When the same request would be admitted if nothing else came: not before, and not later.
    /// `None` if it [never fits](Self::never_fits), or waits for others to end (concurrency).
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The request is larger than the limit itself: trying again is of no use.
    pub fn never_fits(&self) -> bool {
        self.never_fits
    }

    /// Sets `Retry-After` (whole seconds, rounded up) where it is known, and the headers of
    /// [`Standing::write_headers`].
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.retry_after {
            headers.insert(http::header::RETRY_AFTER, headers::seconds(wait).into());
        }
        self.standing.write_headers(headers);
    }
}

/// A limit that is [closed](crate::WhenStoreIsAway::Closed) while the store is away refused a
/// request.
#[derive(Clone, Debug)]
pub struct StoreAway {
    limit: Arc<str>,
    failure: Failure,
}

impl StoreAway {
    pub(crate) fn new(limit: Arc<str>) -> Self {
        let words = format!("limit \"{limit}\" can't be asked at present, try again in 1 s");
        let failure = Failure::new(ErrorClass::Overloaded, words);
        Self { limit, failure: failure.with_retry_after(Some(Duration::from_secs(1))) }
    }

    /// Name of the limit.
    pub fn limit(&self) -> &Arc<str> {
        &self.limit
    }

    /// When to try again. Nobody knows; a store that comes back is found within a second.
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure.retry_after()
    }
}

impl fmt::Display for StoreAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.message())
    }
}

impl std::error::Error for StoreAway {
    /// A [`Failure`] of class `Overloaded`.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}

struct Words<'a> {
    standing: &'a Standing,
    retry_after: Option<Duration>,
    never_fits: bool,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { limit, unit, capacity, remaining, .. } = self.standing;
        let (capacity, remaining, unit): (&dyn fmt::Display, &dyn fmt::Display, _) = match unit {
            Unit::NanoUsd => (&Usd::from_nanos(*capacity), &Usd::from_nanos(*remaining), "USD"),
            other => (capacity, remaining, other.as_str()),
        };
        if self.never_fits {
            return write!(f, "the request is larger than limit \"{limit}\" ({capacity} {unit})");
        }
        write!(f, "limit \"{limit}\" is full: {remaining} of {capacity} {unit} left")?;
        match self.retry_after {
            Some(wait) => write!(f, ", try again in {} s", headers::seconds(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.message())
    }
}

impl std::error::Error for LimitExceeded {
    /// A [`Failure`] of class `RateLimit`.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}
