use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::BoxError;

/// What went wrong with an attempt, in the terms that retry, failover and breakers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// A limit is full for now (429): wait for the hint or go elsewhere.
    RateLimit,
    /// No money, or a hard cap (402, `insufficient_quota`): this key is of no use until somebody acts.
    Quota,
    /// The provider is overloaded (503, 529).
    Overloaded,
    /// The provider failed (500, 502, 504, a broken reply).
    Server,
    /// Nothing came in time.
    Timeout,
    /// No connection, or it broke.
    Network,
    /// The provider refused the credential (401, 403).
    Auth,
    /// The request itself is wrong (400, 413, 415, 422): no other try will help.
    Invalid,
    /// The provider has no such model or route (404).
    NotFound,
    /// Prompt and output do not fit the model's window.
    ContextLength,
    /// Refused by a content policy.
    ContentFilter,
    /// The caller left.
    Cancelled,
}

/// How loudly a failure should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Part of ordinary life: the caller's own mistake or departure.
    Info,
    /// Passes by itself.
    Warning,
    /// The provider is at fault.
    Error,
    /// A person has to act: a revoked key, an empty account.
    Critical,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuggestedAction {
    /// Wait for the hint or a backoff, then try again.
    Wait,
    /// Try again with a backoff, or another target.
    Retry,
    /// Another target, at once.
    Failover,
    /// Another key or target; this key won't work until somebody acts.
    BenchKey,
    /// A target with a larger context window.
    LargerContext,
    /// Hand the failure to the caller.
    GiveUp,
}

impl ErrorClass {
    /// Every class, for tables and labels.
    pub const ALL: [Self; 12] = [
        Self::RateLimit,
        Self::Quota,
        Self::Overloaded,
        Self::Server,
        Self::Timeout,
        Self::Network,
        Self::Auth,
        Self::Invalid,
        Self::NotFound,
        Self::ContextLength,
        Self::ContentFilter,
        Self::Cancelled,
    ];

    /// What a reply's status says by itself, where nobody has read its body; `None` of one that is no
    /// error.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tollway_core::ErrorClass;
    ///
    /// let class = ErrorClass::of_status(StatusCode::TOO_MANY_REQUESTS);
    /// assert_eq!(class, Some(ErrorClass::RateLimit));
    /// assert_eq!(ErrorClass::of_status(StatusCode::NOT_MODIFIED), None);
    /// ```
    pub fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            401 | 403 => Self::Auth,
            402 => Self::Quota,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            429 => Self::RateLimit,
            400..=499 => Self::Invalid,
            503 | 529 => Self::Overloaded,
            500..=599 => Self::Server,
            _ => return None,
        })
    }

    /// The snake_case name used in policies, labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Quota => "quota",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Auth => "auth",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the same request to the same target can succeed later without anybody acting.
    pub fn is_retryable(self) -> bool {
        matches!(self.action(), SuggestedAction::Wait | SuggestedAction::Retry)
    }

    /// Whether another target may do better.
    pub fn can_fail_over(self) -> bool {
        self != Self::Cancelled && self.action() != SuggestedAction::GiveUp
    }

    /// How loudly to tell it.
    pub fn severity(self) -> Severity {
        match self {
            Self::Invalid | Self::ContextLength | Self::ContentFilter | Self::Cancelled => {
                Severity::Info
            }
            Self::RateLimit | Self::Overloaded | Self::NotFound => Severity::Warning,
            Self::Server | Self::Timeout | Self::Network => Severity::Error,
            Self::Quota | Self::Auth => Severity::Critical,
        }
    }

    /// What to do about it.
    pub fn action(self) -> SuggestedAction {
        match self {
            Self::RateLimit => SuggestedAction::Wait,
            Self::Overloaded | Self::Server | Self::Timeout | Self::Network => {
                SuggestedAction::Retry
            }
            Self::Quota | Self::Auth => SuggestedAction::BenchKey,
            Self::NotFound => SuggestedAction::Failover,
            Self::ContextLength => SuggestedAction::LargerContext,
            Self::Invalid | Self::ContentFilter | Self::Cancelled => SuggestedAction::GiveUp,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt's failure: its class, when to come back, and what happened.
///
/// Travels in the extensions of an error response, or as an error by itself.
#[derive(Clone, Debug)]
pub struct Failure {
    class: ErrorClass,
    message: Arc<str>,
    retry_after: Option<Duration>,
    never_fits: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure of this class; `message` is shown to the caller, so it names no secret.
    pub fn new(class: ErrorClass, message: impl Into<Arc<str>>) -> Self {
        Self { class, message: message.into(), retry_after: None, never_fits: false, source: None }
    }

    /// With the wait that the provider asked for.
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The request is larger than the limit itself: the same target will never take it.
    pub fn that_never_fits(mut self) -> Self {
        self.never_fits = true;
        self
    }

    /// With the error underneath.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// What kind of failure.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// What happened, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the provider asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same target may take the same request later.
    pub fn retryable_on_same_target(&self) -> bool {
        self.class.is_retryable() && !self.never_fits
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
