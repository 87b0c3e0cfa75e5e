use std::time::Duration;

use tollway_core::ErrorClass;
use tollway_retry::Config;

use super::{Check, server::positive};
use crate::policy::{
    Backoff, Bench, CircuitBreaker, Jitter, Pacing, RatioTrip, Retry, RetryBudget, SlowTrip,
    read::{At, Scalar},
    values::{ClassName, Number, Share},
    written::{BackoffWritten, BreakerWritten, PolicyWritten, RetryWritten},
};

const SECOND: Duration = Duration::from_secs(1);

impl From<ClassName> for ErrorClass {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::RateLimit => Self::RateLimit,
            ClassName::Quota => Self::Quota,
            ClassName::Overloaded => Self::Overloaded,
            ClassName::Server => Self::Server,
            ClassName::Timeout => Self::Timeout,
            ClassName::Network => Self::Network,
            ClassName::Auth => Self::Auth,
            ClassName::Invalid => Self::Invalid,
            ClassName::NotFound => Self::NotFound,
            ClassName::ContextLength => Self::ContextLength,
            ClassName::ContentFilter => Self::ContentFilter,
            ClassName::Cancelled => Self::Cancelled,
        }
    }
}

/// A growth factor: at least 1.
fn factor(at: &Option<At<Number>>, check: &mut Check<'_, '_>) -> f64 {
    match at {
        Some(at) if !(1.0..=100.0).contains(&at.value.0) => {
            let quote = check.reader.quote(at);
            check
                .reader
                .wrong(at, format!("`{quote}` is no factor to grow by"))
                .expected("a number from 1 to 100");
            2.0
        }
        Some(at) => at.value.0,
        None => 2.0,
    }
}

/// A share that must not be zero.
fn share(at: &Option<At<Share>>, default: f64, check: &mut Check<'_, '_>) -> f64 {
    match at {
        Some(at) if at.value.0 == 0.0 => {
            check
                .reader
                .wrong(at, "a share of `0%` does not work here")
                .expected("above 0%, up to 100%");
            default
        }
        Some(at) => at.value.0,
        None => default,
    }
}

pub(super) fn pacing(written: &PolicyWritten) -> Option<Pacing> {
    let written = written.pacing.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let wait = written.wait.map_or(5 * SECOND, |at| at.value.0);
    written.enabled.is_none_or(|at| at.value).then_some(Pacing { wait })
}

pub(super) fn breaker(written: &BreakerWritten, check: &mut Check<'_, '_>) -> CircuitBreaker {
    let open_after = written.open_after.as_ref().map(|at| At {
        value: crate::policy::values::Count(at.value.0),
        span: at.span,
        path: at.path.clone(),
    });
    let recover_after = positive(&written.recover_after, 300 * SECOND, check);
    let recover_max = positive(&written.recover_max, recover_after.max(3600 * SECOND), check);
    if let (Some(at), true) = (&written.recover_max, recover_max < recover_after) {
        check
            .reader
            .wrong(at, "`recover_max` is shorter than `recover_after`")
            .help("the time starts at `recover_after` and grows up to `recover_max`");
    }
    let failure_ratio = written.failure_ratio.as_ref().map(|at| RatioTrip {
        ratio: share(&at.value.ratio, 0.5, check),
        window: positive(&at.value.window, 60 * SECOND, check),
        min_calls: check.at_least_one_u32(&at.value.min_calls, 20),
    });
    let slow_calls = written.slow_calls.as_ref().map(|at| SlowTrip {
        slower_than: positive(&at.value.slower_than, 10 * SECOND, check),
        ratio: share(&at.value.ratio, 0.8, check),
        window: positive(&at.value.window, 60 * SECOND, check),
        min_calls: check.at_least_one_u32(&at.value.min_calls, 20),
    });
    if let (Some(failed), Some(slow), Some(at)) = (failure_ratio, slow_calls, &written.slow_calls)
        && (failed.window, failed.min_calls) != (slow.window, slow.min_calls)
    {
        check
            .reader
            .wrong(at, "`failure_ratio` and `slow_calls` look at different calls")
            .help("give both the same `window` and `min_calls`: a breaker keeps one window");
    }
    CircuitBreaker {
        open_after: check.at_least_one_u32(&open_after, 5),
        failure_ratio,
        slow_calls,
        recover_after,
        recover_factor: factor(&written.recover_factor, check),
        recover_max,
        trial_requests: check.at_least_one_u32(&written.trial_requests, 3),
        ramp: written.ramp.as_ref().map_or(Duration::ZERO, |at| at.value.0),
        weights: weights(written, check),
        bench: written.bench.as_ref().map_or_else(Bench::default, |at| Bench {
            auth: positive(&at.value.auth, Bench::default().auth, check),
            quota: positive(&at.value.quota, Bench::default().quota, check),
        }),
    }
}

fn weights(written: &BreakerWritten, check: &mut Check<'_, '_>) -> Vec<(ErrorClass, f64)> {
    let named = written.weights.iter().flat_map(|named| &named.value.0);
    let weights = named.filter_map(|(name, weight)| {
        let Ok(class) = ClassName::parse(&name.value) else {
            let quote = check.reader.quote(name);
            check
                .reader
                .wrong(name, format!("`{quote}` is no kind of failure"))
                .did_you_mean(&quote, ClassName::NAMES.iter().copied());
            return None;
        };
        let weight = weight.as_ref()?;
        if weight.value.0 > 100.0 {
            check
                .reader
                .wrong(weight, "a weight of more than 100")
                .expected("a number from 0 to 100");
        }
        Some((class.into(), weight.value.0))
    });
    weights.collect()
}

pub(super) fn retry(written: &RetryWritten, check: &mut Check<'_, '_>) -> Retry {
    let on = written.on.as_ref().map(|many| {
        if many.value.0.is_empty() {
            check
                .reader
                .wrong(many, "nothing would ever be tried again")
                .help("leave the section `retry` out instead");
        }
        many.value.0.iter().map(|at| at.value.into()).collect()
    });
    let attempts = check.at_least_one_u32(&written.attempts, 3);
    if let (Some(at), true) = (&written.attempts, attempts.get() > Config::MOST_ATTEMPTS) {
        let quote = check.reader.quote(at);
        let expected = format!("1 to {}", Config::MOST_ATTEMPTS);
        check.reader.wrong(at, format!("`{quote}` attempts are a storm")).expected(expected);
    }
    let obey = written.retry_after.as_ref().and_then(|at| at.value.obey_up_to.as_ref());
    Retry {
        attempts,
        backoff: backoff(written.backoff.as_ref().map(|at| &at.value), check),
        obey_retry_after: obey.map_or(60 * SECOND, |at| at.value.0),
        budget: written.budget.as_ref().map(|at| RetryBudget {
            ratio: share(&at.value.ratio, 0.2, check),
            min_per_second: at
                .value
                .min_per_second
                .as_ref()
                .map_or(10, |at| u32::try_from(at.value.0).unwrap_or(u32::MAX)),
        }),
        on,
    }
}

fn backoff(written: Option<&BackoffWritten>, check: &mut Check<'_, '_>) -> Backoff {
    let written = written.cloned().unwrap_or_default();
    let first = positive(&written.first, SECOND / 2, check);
    let max = positive(&written.max, first.max(30 * SECOND), check);
    if let (Some(at), true) = (&written.max, max < first) {
        check
            .reader
            .wrong(at, "`max` is shorter than `first`")
            .help("waits start at `first` and grow up to `max`");
    }
    Backoff {
        first,
        factor: factor(&written.factor, check),
        max,
        jitter: written.jitter.map_or(Jitter::Share(0.25), |at| at.value.0),
    }
}
