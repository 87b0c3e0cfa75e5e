//! The rate-limit headers of every provider.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

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
}

impl RateLimits {
    /// Reads `x-ratelimit-*` (OpenAI, Groq, xAI, Azure, Anthropic's OpenAI form) and
    /// `anthropic-ratelimit-*`. Unreadable values count as absent.
    ///
    /// ```
    /// use tollway_dialect::ratelimit::RateLimits;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("x-ratelimit-remaining-tokens", "150".parse().unwrap());
    /// assert_eq!(RateLimits::from_headers(&headers).tokens.unwrap().remaining, Some(150));
    /// ```
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let openai = |kind: [&'static str; 3]| window(headers, kind);
        let requests = openai([
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ]);
        let tokens = openai([
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ])
        .or_else(|| {
            openai([
                "x-ratelimit-limit-tokens_usage_based",
                "x-ratelimit-remaining-tokens_usage_based",
                "x-ratelimit-reset-tokens_usage_based",
            ])
        });
        let project_tokens = openai([
            "x-ratelimit-limit-project-tokens",
            "x-ratelimit-remaining-project-tokens",
            "x-ratelimit-reset-project-tokens",
        ]);
        Self {
            requests: requests.or_else(|| {
                window(
                    headers,
                    [
                        "anthropic-ratelimit-requests-limit",
                        "anthropic-ratelimit-requests-remaining",
                        "anthropic-ratelimit-requests-reset",
                    ],
                )
            }),
            tokens: tokens.or_else(|| {
                window(
                    headers,
                    [
                        "anthropic-ratelimit-tokens-limit",
                        "anthropic-ratelimit-tokens-remaining",
                        "anthropic-ratelimit-tokens-reset",
                    ],
                )
            }),
            project_tokens,
            input_tokens: window(
                headers,
                [
                    "anthropic-ratelimit-input-tokens-limit",
                    "anthropic-ratelimit-input-tokens-remaining",
                    "anthropic-ratelimit-input-tokens-reset",
                ],
            ),
            output_tokens: window(
                headers,
                [
                    "anthropic-ratelimit-output-tokens-limit",
                    "anthropic-ratelimit-output-tokens-remaining",
                    "anthropic-ratelimit-output-tokens-reset",
                ],
            ),
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
