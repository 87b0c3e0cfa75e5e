//! A simulated LLM provider: everything can be tried, tested and measured without a key.
//!
//! [`Simulator`] is a Tower service that answers as OpenAI, Anthropic and Gemini do: the path of a request
//! tells which, so one simulator is all three at once. Any model name is answered. [`serve`] puts it on a
//! socket.
//!
//! | path | dialect | what there is |
//! |---|---|---|
//! | `/v1/chat/completions`, `/v1/completions`, `/v1/responses` | OpenAI | text, streams, tools, structured output |
//! | `/v1/embeddings`, `/v1/moderations`, `/v1/images/...`, `/v1/audio/...`, `/v1/files...`, `/v1/batches...` | OpenAI | |
//! | `/v1/models`, `/v1/models/{id}` | OpenAI; Anthropic with an `anthropic-version` header, Gemini with an `x-goog-api-key` | |
//! | `/v1/messages` | Anthropic | text, streams, tools, thinking with signatures, structured output, images, documents, cached prefixes |
//! | `/v1/messages/count_tokens` | Anthropic | |
//! | `/v1beta/models/{id}:generateContent` (or `/v1`), `:streamGenerateContent` (`?alt=sse`, or an array) | Gemini | text, functions, thoughts with signatures, structured output, images, candidates |
//! | `/v1beta/models/{id}:countTokens`, `:embedContent`, `:batchEmbedContents` | Gemini | |
//! | `/v1beta/models`, `/v1beta/models/{id}` | Gemini | |
//! | `/v1beta/openai/...`, all other paths | OpenAI | |
//!
//! OpenAI's and Anthropic's paths work with `/v1` in front or without.
//!
//! ```
//! use http_body_util::{BodyExt, Full};
//! use tollway::simulate::{SimulateConfig, Simulator};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let provider = Simulator::new(SimulateConfig::default());
//! let ask = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello there"}]}"#;
//! let request = http::Request::post("/v1/chat/completions").body(Full::from(ask)).unwrap();
//! let reply = provider.clone().oneshot(request).await.unwrap();
//! assert_eq!(reply.status(), 200);
//! let body = reply.into_body().collect().await.unwrap().to_bytes();
//! assert!(body.starts_with(b"{\"id\":\"chatcmpl-"));
//! assert_eq!(provider.stats().accepted, 1);
//! # }
//! ```
//!
//! # What a reply says
//!
//! A text reply repeats the last user message and goes on in words that follow from the seed, until
//! it is `output_tokens` long or the caller's own bound (`max_tokens`, `maxOutputTokens`...) cuts it
//! (`finish_reason: length` and its like). With tools, unless the choice is `none` or the last message is a
//! tool's result, it calls the named or else the first function, with arguments made from its schema. Asked
//! for JSON, it is an instance of the schema. Asked to think, it thinks 8 tokens first.
//!
//! [`input_tokens`] tells how a prompt is counted. One word is one output token; JSON has one
//! for each 8 bytes. `created` is always the same date: replies depend on the seed, the request and
//! its number alone, never on the clock.
//!
//! # What it refuses
//!
//! Messages and content are checked as strictly as the real ones check them, in their words: unknown fields,
//! the order of calls and results, empty texts, ranges, schemas, what a model of that name does not take
//! (`claude-opus-4-7` takes no `temperature`, `gemini-3...` wants the signatures of its calls back). A
//! signature is good where it was made, and at any simulator of the same seed. Of OpenAI's chat and responses,
//! roles and the order of calls and results are checked. No key is asked for.
//!
//! Anthropic's `cache_control` writes a prefix at first sight and reads it from then on, for 5 minutes or an
//! hour; prefixes of any length are cached.
//!
//! # Limits
//!
//! Each key that requests come with has limits and a quota of its own, as each account has.
//! `requests_per_minute` and `tokens_per_minute` are rolling windows: never more than that in any 60
//! seconds. A request is counted when it is admitted, with its input and the output it will
//! have, which is known in advance here. Refused requests don't count. What was refused says when to
//! come back as its dialect does: text, `retry-after` and `retry-after-ms`, and the six `x-ratelimit-*` headers
//! (OpenAI); `retry-after` and `anthropic-ratelimit-*` headers with dates; `RetryInfo` in the body
//! (Gemini). A reset is when the window would be empty. A request above the whole limit gets no hint. The
//! windows are the same for all dialects.
//!
//! # One request by header
//!
//! `x-simulate: key=value; key; ...` says how this one request is to be answered, and keeps the
//! configured rates off it; limits go on. An unknown key or wrong value is a 400 that tells the right ones.
//!
//! | key | meaning |
//! |---|---|
//! | `status=N` | fail with this status, 400 to 599, in the dialect's shape for it |
//! | `quota` | fail with 429 `insufficient_quota`, `enforced_spend_limit_reached` or a daily `QuotaFailure` |
//! | `retry_after=TEXT` | an error's `retry-after` header, as it stands (seconds, a date, nonsense); Gemini's `RetryInfo` |
//! | `retry_after_ms=TEXT` | an error's `retry-after-ms` header; Gemini's `RetryInfo` in seconds |
//! | `hint=TEXT` | an error's message ends in "Please try again in TEXT." |
//! | `refuse` | refuse the content inside a 200: `content_filter`, `refusal`, a `promptFeedback` |
//! | `calls=N` | where functions are called, call N of them in turn, 1 to 16 |
//! | `body=garbage` | the body is an HTML page, whatever the status |
//! | `latency=T` | time to the head: `200ms`, `1.5s`, `2m`; no jitter |
//! | `ttft=T` | time from the head to the first event |
//! | `tps=N` | tokens a second |
//! | `output_tokens=N` | length of a text reply |
//! | `no_usage` | leave usage out |
//! | `stall=P` | fall silent for ever |
//! | `reset=P` | break the connection |
//! | `truncate=P` | end the body there, in the middle of an event |
//! | `malformed=P` | put an event there that is neither JSON nor UTF-8, and go on |
//! | `late_error=P` | put an error there, inside the 200, and end |
//!
//! P is `after:N` (after N content events of a stream, or half of a plain body), `first` (before the
//! first event or byte), and for `stall` and `reset` also `before` (no head at all: in process, a
//! reset is then a body that begins with an error; over HTTP/1.1 no byte is sent).
//!
//! # Cancel
//!
//! Dropping the future or the body stops all work and counts as [`Stats::cancelled`].

mod anthropic;
mod body;
mod config;
mod control;
mod dialect;
mod draft;
mod embed;
mod fate;
mod future;
mod gemini;
mod limits;
mod openai;
mod random;
mod reply;
mod schema;
mod serve;
mod stats;
mod text;
mod write;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tollway_core::BoxError;
use tower_service::Service;

pub use body::SimulatedBody;
pub use config::SimulateConfig;
pub use future::SimulateFuture;
pub use limits::Account;
pub use serve::serve;
pub use stats::Stats;
pub use text::input_tokens;

/// A simulated provider. Clones share limits, files and statistics.
///
/// As a [`Service`] it is always ready and never fails: errors are HTTP replies, and a broken
/// connection is an error of the reply's body.
#[derive(Clone)]
pub struct Simulator(Arc<State>);

struct State {
    config: RwLock<Arc<SimulateConfig>>,
    counters: Arc<stats::Counters>,
    limits: limits::Limits,
    openai: openai::OpenAi,
    anthropic: anthropic::Anthropic,
    number: AtomicU64,
}

impl Simulator {
    /// A provider that behaves as `config` says.
    pub fn new(config: SimulateConfig) -> Self {
        Self(Arc::new(State {
            config: RwLock::new(Arc::new(config)),
            counters: Arc::default(),
            limits: limits::Limits::default(),
            openai: openai::OpenAi::default(),
            anthropic: anthropic::Anthropic::default(),
            number: AtomicU64::new(0),
        }))
    }

    /// Behaves otherwise from the next request on: a provider dies and comes back. What the
    /// windows and the quota have counted stays counted.
    pub fn set(&self, config: SimulateConfig) {
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How it behaves now.
    pub fn config(&self) -> SimulateConfig {
        (*self.current()).clone()
    }

    /// What it has seen so far. Also served as JSON at `GET /__simulate/stats`.
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    fn current(&self) -> Arc<SimulateConfig> {
        Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn next_number(&self) -> u64 {
        self.0.number.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("config", &self.current())
            .field("stats", &self.stats())
            .finish()
    }
}

impl<B> Service<Request<B>> for Simulator
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<SimulatedBody>;
    type Error = Infallible;
    type Future = SimulateFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> SimulateFuture<B> {
        SimulateFuture::new(self.clone(), request)
    }
}
