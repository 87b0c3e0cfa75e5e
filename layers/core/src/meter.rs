use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::{Failure, Operation, Usage};

/// What a reply has used so far: written by the body that reads the wire format, read by every
/// guard that settles when the reply ends.
///
/// The writer sits nearest to the provider, so by the time an outer body ends or is dropped the
/// figures are final.
#[derive(Debug, Default)]
pub struct Meter {
    usage: std::sync::Mutex<Option<Usage>>,
    output_bytes: AtomicU64,
    first_token: OnceLock<Instant>,
    failure: OnceLock<Failure>,
}

impl Meter {
    /// A provider's report; a later one replaces an earlier one.
    pub fn report(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(usage);
    }

    /// Notes `bytes` of content (text, reasoning, tool arguments) passed on to the caller.
    pub fn saw_output(&self, bytes: u64) {
        self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes when the first content token passed; later calls change nothing.
    pub fn saw_first_token(&self, at: Instant) {
        let _ = self.first_token.set(at);
    }

    /// Notes that the reply failed after its head had gone out; the first failure stays.
    pub fn fail(&self, failure: Failure) {
        let _ = self.failure.set(failure);
    }

    /// What the provider reported, if it has.
    pub fn usage(&self) -> Option<Usage> {
        *self.usage.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Bytes of content that passed.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes.load(Ordering::Relaxed)
    }

    /// When the first content token passed.
    pub fn first_token(&self) -> Option<Instant> {
        self.first_token.get().copied()
    }

    /// The failure found in the reply's body: an error event, or an end without a proper close.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// What a reply to `operation` has used, for whoever settles by it: what was reported; else, for
    /// a success of an operation that uses tokens, an estimate. `None` is unknown or nothing: an
    /// error, or one inside a success before any content, which providers don't bill.
    ///
    /// ```
    /// use tollway_core::{Meter, Operation};
    ///
    /// let meter = Meter::default();
    /// meter.saw_output(10);
    /// let used = meter.used(Operation::ChatCompletions, 7, true).unwrap();
    /// assert_eq!((used.input, used.output, used.is_estimate()), (7, 3, true));
    /// assert_eq!(meter.used(Operation::ChatCompletions, 7, false), None);
    /// assert_eq!(meter.used(Operation::Moderations, 7, true), None);
    /// ```
    pub fn used(&self, operation: Operation, input_tokens: u64, succeeded: bool) -> Option<Usage> {
        let nothing_served = self.failure().is_some() && self.output_bytes() == 0;
        self.usage().or_else(|| {
            (succeeded && operation.uses_tokens() && !nothing_served)
                .then(|| self.usage_or_estimate(input_tokens))
        })
    }

    /// The reported usage, or an estimate from `input_tokens` and the content that passed
    /// (four bytes a token, rounded up).
    pub fn usage_or_estimate(&self, input_tokens: u64) -> Usage {
        self.usage().unwrap_or_else(|| {
            Usage::new(input_tokens, self.output_bytes().div_ceil(4)).estimated()
        })
    }
}

/// A reply's [`Meter`], in the response's extensions.
#[derive(Clone, Debug, Default)]
pub struct Metered(pub Arc<Meter>);

impl std::ops::Deref for Metered {
    type Target = Meter;

    fn deref(&self) -> &Meter {
        &self.0
    }
}
