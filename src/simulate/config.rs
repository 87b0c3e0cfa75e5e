use std::time::Duration;

/// How a simulated provider behaves. The default answers at once and never fails.
///
/// Rates are shares of all requests, `0.0` (never) to `1.0` (always); what falls on which request
/// follows from `seed` and the request's number, so two runs of the same requests are the same.
/// A single request overrides most of it with an [`x-simulate`](crate::simulate#one-request-by-header) header.
///
/// ```
/// use std::time::Duration;
/// use tollway::simulate::SimulateConfig;
///
/// let slow = SimulateConfig {
///     latency: Duration::from_millis(300),
///     jitter: 0.2,
///     tokens_per_second: Some(50.0),
///     requests_per_minute: Some(50),
///     ..SimulateConfig::default()
/// };
/// assert_eq!(slow.output_tokens, 16);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SimulateConfig {
    /// Time from the whole request to the head of the reply.
    pub latency: Duration,
    /// Spread of `latency`, as a share of it (`0.0` to `1.0`): 0.2 means ±20 %, evenly spread.
    pub jitter: f64,
    /// Time from the head of a streamed reply to its first event; added to a plain reply's latency.
    pub time_to_first_token: Duration,
    /// Output tokens a second; `None`: all at once. A plain reply comes when its last token would.
    pub tokens_per_second: Option<f64>,
    /// Length of a text reply, in tokens (one word is one token), unless the caller's own bound is lower.
    pub output_tokens: u32,
    /// Requests allowed in any 60 seconds; `None`: no limit. More get a 429.
    pub requests_per_minute: Option<u64>,
    /// Tokens (input and output) allowed in any 60 seconds; `None`: no limit. More get a 429.
    pub tokens_per_minute: Option<u64>,
    /// Requests accepted before the money runs out; then every request gets `insufficient_quota`.
    pub quota_requests: Option<u64>,
    /// Share of requests that fail with `error_status`.
    pub error_rate: f64,
    /// HTTP status of those failures, 400 to 599.
    pub error_status: u16,
    /// Share of replies that fall silent for ever, before the head or somewhere in the body.
    pub stall_rate: f64,
    /// Share of replies whose connection breaks, before the head or somewhere in the body.
    pub reset_rate: f64,
    /// Share of replies that end too early, cleanly as far as HTTP can tell.
    pub truncate_rate: f64,
    /// Share of replies with something in them that is no JSON.
    pub malformed_rate: f64,
    /// Share of replies that say 200 and then carry an error instead of the rest.
    pub late_error_rate: f64,
    /// Where ids, words and faults come from.
    pub seed: u64,
}

impl Default for SimulateConfig {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: 0.0,
            time_to_first_token: Duration::ZERO,
            tokens_per_second: None,
            output_tokens: 16,
            requests_per_minute: None,
            tokens_per_minute: None,
            quota_requests: None,
            error_rate: 0.0,
            error_status: 500,
            stall_rate: 0.0,
            reset_rate: 0.0,
            truncate_rate: 0.0,
            malformed_rate: 0.0,
            late_error_rate: 0.0,
            seed: 0,
        }
    }
}
