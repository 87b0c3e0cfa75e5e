use std::time::Duration;

/// How a simulated provider behaves. The default answers at once, without limits or faults.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulateConfig {
    /// Time before the reply's head.
    pub latency: Duration,
    /// Share of `latency` by which it varies in both directions, 0..=1.
    pub jitter: f64,
    /// Time from the head of a stream to its first token.
    pub time_to_first_token: Duration,
    /// Pace of a stream; `None`: as fast as it can be sent.
    pub tokens_per_second: Option<f64>,
    /// Tokens in an ordinary reply.
    pub output_tokens: u32,
    /// Requests a minute before it answers 429; `None`: no limit.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute before it answers 429; `None`: no limit.
    pub tokens_per_minute: Option<u64>,
    /// Requests altogether before it answers `insufficient_quota`; `None`: no end.
    pub quota_requests: Option<u64>,
    /// Share of requests answered with `error_status`, 0..=1.
    pub error_rate: f64,
    /// Status of those errors.
    pub error_status: u16,
    /// Share of replies that stop in the middle and never go on, 0..=1.
    pub stall_rate: f64,
    /// Share of replies whose connection is reset, 0..=1.
    pub reset_rate: f64,
    /// Share of replies that end early without a proper close, 0..=1.
    pub truncate_rate: f64,
    /// Share of replies with an event or body that is no JSON, 0..=1.
    pub malformed_rate: f64,
    /// Share of replies with an error inside a 200, 0..=1.
    pub late_error_rate: f64,
    /// Start of the random sequence: the same seed gives the same behaviour.
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
