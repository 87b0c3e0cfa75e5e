use crate::policy::{
    read::{Named, OneOrMany},
    section::section,
    values::*,
};

section! {
    /// Goes by what providers say of their own limits (rate-limit headers, `Retry-After`): what they
    /// would refuse goes elsewhere, or waits, before it is sent.
    PacingWritten {
        /// Whether. Default true.
        may enabled: bool,
        /// How long a request waits for its turn where there is no other target; 0s: not at all.
        /// Default 5s.
        may wait: Time,
    }
}

section! {
    /// When a failing target is left alone.
    BreakerWritten {
        /// Failures in a row. Default `5 failures`.
        may open_after: Failures,
        /// Also on a share of failures.
        may failure_ratio: RatioWritten,
        /// Also on a share of slow calls.
        may slow_calls: SlowWritten,
        /// How long it is left alone the first time. Default 300s.
        may recover_after: Time,
        /// By how much that time grows with each failed recovery. Default 2.
        may recover_factor: Number,
        /// The longest such time. Default 1h, or `recover_after` where that is longer.
        may recover_max: Time,
        /// Requests that find out whether it works again. Default 3.
        may trial_requests: Count,
        /// Over which time traffic comes back. Default 0: at once.
        may ramp: Time,
        /// How much a failure of a kind weighs: `{ timeout: 2, rate_limit: 0 }`.
        may weights: Named<Number>,
        /// How long a provider's key is set aside that is of no use.
        may bench: BenchWritten,
    }
}

section! {
    /// How long a provider's key is set aside before one request tries it again.
    BenchWritten {
        /// When the provider refused it (401). Default 15m.
        may auth: Time,
        /// When it is out of money (402, insufficient_quota). Default 15m.
        may quota: Time,
    }
}

section! {
    /// A share of failures over a time.
    RatioWritten {
        /// Share of failures, such as 50%.
        must ratio: Share,
        /// Over the calls of this time. Default 60s.
        may window: Time,
        /// Not before this many calls. Default 20.
        may min_calls: Count,
    }
}

section! {
    /// A share of slow calls over a time.
    SlowWritten {
        /// What is slow: time to the reply's head.
        must slower_than: Time,
        /// Share of slow calls, such as 80%.
        must ratio: Share,
        /// Over the calls of this time. Default 60s.
        may window: Time,
        /// Not before this many calls. Default 20.
        may min_calls: Count,
    }
}

section! {
    /// When a request is tried again.
    RetryWritten {
        /// Attempts altogether, the first included. Default 3.
        may attempts: Count,
        /// Waits between attempts at the same target.
        may backoff: BackoffWritten,
        /// What is done with a provider's Retry-After.
        may retry_after: RetryAfterWritten,
        /// Bound on the share of retries, against storms.
        may budget: BudgetWritten,
        /// Kinds of failure that are tried again. Default: those that can pass.
        may on: OneOrMany<ClassName>,
    }
}

section! {
    /// Exponential backoff.
    BackoffWritten {
        /// First wait. Default 500ms.
        may first: Time,
        /// Growth. Default 2.
        may factor: Number,
        /// Longest wait. Default 30s.
        may max: Time,
        /// How waits vary: none, 25%, full, decorrelated. Default 25%.
        may jitter: JitterText,
    }
}

section! {
    /// What is done with a provider's Retry-After.
    RetryAfterWritten {
        /// Up to here it is waited for; longer ones go to the next target. Default 60s.
        may obey_up_to: Time,
    }
}

section! {
    /// Bound on the share of retries.
    BudgetWritten {
        /// Retries as a share of requests. Default 20%.
        may ratio: Share,
        /// Retries a second that are always allowed. Default 10.
        may min_per_second: Count,
    }
}
