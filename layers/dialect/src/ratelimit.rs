//! The rate-limit headers of every provider.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

pub use crate::duration::parse_duration;
use crate::duration::rfc3339;

/// When a limit is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// After this time from the reply on.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

impl Reset {
    /// The time left at `now`; zero if it has passed.
    pub fn after(self, now: SystemTime) -> Duration {
        match self {
            Self::After(wait) => wait,
            Self::At(at) => at.duration_since(now).unwrap_or(Duration::ZERO),
        }
    }
}

/// The state of one limit, as far as the provider tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// What the limit allows when full.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: Option<u64>,
    /// When it is full again: not the least wait.
    pub reset: Option<Reset>,
}

/// What a reply's headers say about the provider's limits.
///
/// The window's length is not told: Groq counts requests by the day and tokens by the minute, xAI
/// requests by the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Requests.
    pub requests: Option<Window>,
    /// Tokens, input and output together.
    pub tokens: Option<Window>,
    /// Tokens of the project (OpenAI).
    pub project_tokens: Option<Window>,
    /// Input tokens (Anthropic).
    pub input_tokens: Option<Window>,
    /// Output tokens (Anthropic).
    pub output_tokens: Option<Window>,
    /// Input tokens of the priority tier (Anthropic); beyond it requests are served at the standard one.
    pub priority_input_tokens: Option<Window>,
    /// Output tokens of the priority tier (Anthropic).
    pub priority_output_tokens: Option<Window>,
    /// Input tokens of fast mode (Anthropic), which has limits of its own.
    pub fast_input_tokens: Option<Window>,
    /// Output tokens of fast mode (Anthropic).
    pub fast_output_tokens: Option<Window>,
}

const PREFIXES: [&str; 2] = ["x-ratelimit-", "anthropic-"];

/// Names of limit, remaining and reset as OpenAI writes them.
macro_rules! openai {
    ($kind:literal) => {
        [
            concat!("x-ratelimit-limit-", $kind),
            concat!("x-ratelimit-remaining-", $kind),
            concat!("x-ratelimit-reset-", $kind),
        ]
    };
}

/// The same as Anthropic writes them.
macro_rules! anthropic {
    ($kind:literal) => {
        [
            concat!("anthropic-", $kind, "-limit"),
            concat!("anthropic-", $kind, "-remaining"),
            concat!("anthropic-", $kind, "-reset"),
        ]
    };
}

impl RateLimits {
    /// Reads `x-ratelimit-*` (OpenAI, Groq, xAI, Azure, Anthropic's OpenAI form),
    /// `anthropic-ratelimit-*`, `anthropic-priority-*` and `anthropic-fast-*`. Unreadable values
    /// count as absent.
    ///
    /// ```
    /// use tollway_dialect::ratelimit::RateLimits;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("x-ratelimit-remaining-tokens", "150".parse().unwrap());
    /// assert_eq!(RateLimits::from_headers(&headers).tokens.unwrap().remaining, Some(150));
    /// ```
    pub fn from_headers(headers: &HeaderMap) -> Self {
        // Most replies tell nothing; they are not to pay for some forty look-ups.
        let told = |name: &HeaderName| PREFIXES.iter().any(|it| name.as_str().starts_with(it));
        if !headers.keys().any(told) {
            return Self::default();
        }
        let read = |names| window(headers, names);
        Self {
            requests: read(openai!("requests")).or_else(|| read(anthropic!("ratelimit-requests"))),
            tokens: read(openai!("tokens"))
                .or_else(|| read(openai!("tokens_usage_based")))
                .or_else(|| read(anthropic!("ratelimit-tokens"))),
            project_tokens: read(openai!("project-tokens")),
            input_tokens: read(anthropic!("ratelimit-input-tokens")),
            output_tokens: read(anthropic!("ratelimit-output-tokens")),
            priority_input_tokens: read(anthropic!("priority-input-tokens")),
            priority_output_tokens: read(anthropic!("priority-output-tokens")),
            fast_input_tokens: read(anthropic!("fast-input-tokens")),
            fast_output_tokens: read(anthropic!("fast-output-tokens")),
        }
    }

    /// No header told anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn window(headers: &HeaderMap, [limit, remaining, reset]: [&str; 3]) -> Option<Window> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let found = Window {
        limit: text(limit).and_then(|text| text.parse().ok()),
        remaining: text(remaining).and_then(|text| text.parse().ok()),
        reset: text(reset).and_then(|text| {
            parse_duration(text).map(Reset::After).or_else(|| rfc3339(text).map(Reset::At))
        }),
    };
    (found != Window::default()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> RateLimits {
        let value = http::HeaderValue::from_static;
        let headers =
            headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text)));
        RateLimits::from_headers(&headers.collect())
    }

    #[test]
    fn every_providers_set_is_read() {
        let seconds = |n| Some(Reset::After(Duration::from_secs(n)));
        let all = |limit, remaining, reset| {
            Some(Window { limit: Some(limit), remaining: Some(remaining), reset })
        };
        let azure = read(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "7"),
        ]);
        assert_eq!(azure.requests, all(60, 59, seconds(7)), "plain seconds");
        let xai = read(&[
            ("x-ratelimit-limit-requests", "8"),
            ("x-ratelimit-remaining-requests", "7"),
            ("x-ratelimit-limit-tokens", "500000"),
            ("x-ratelimit-remaining-tokens", "499000"),
        ]);
        assert_eq!((xai.requests, xai.tokens), (all(8, 7, None), all(500_000, 499_000, None)));
        let groq = read(&[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
        ]);
        let reset = Some(Reset::After(Duration::from_millis(179_560)));
        assert_eq!(groq.requests, all(14_400, 14_370, reset));
        let anthropic = read(&[
            ("anthropic-priority-input-tokens-limit", "10000"),
            ("anthropic-priority-input-tokens-remaining", "9618"),
            ("anthropic-priority-input-tokens-reset", "2026-01-12T23:11:59Z"),
            ("anthropic-fast-output-tokens-remaining", "5000"),
        ]);
        let priority = anthropic.priority_input_tokens.unwrap();
        assert_eq!((priority.limit, priority.remaining), (Some(10_000), Some(9618)));
        assert!(matches!(priority.reset, Some(Reset::At(_))));
        assert_eq!(anthropic.fast_output_tokens.unwrap().remaining, Some(5000));
        assert!(anthropic.input_tokens.is_none() && anthropic.priority_output_tokens.is_none());
    }

    #[test]
    fn what_is_no_number_is_not_told() {
        assert!(read(&[("x-ratelimit-limit-requests", "-1")]).is_empty());
        assert!(read(&[("x-ratelimit-reset-tokens", "soon")]).is_empty());
        assert!(
            read(&[("x-request-id", "1"), ("server", "x-ratelimit-limit-requests")]).is_empty()
        );
    }
}
