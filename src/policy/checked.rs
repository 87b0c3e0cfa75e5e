//! The policy after checking: what the rest of the program reads. Holds no live state.
//!
//! Names that refer to something (a target's provider, an alias's model) were looked up; shares
//! lie in their range; counts that must not be zero are not.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use tollway_core::{Dialect, ErrorClass};

pub use crate::simulate::SimulateConfig;

use super::{glob::Glob, registry::Registry};

/// A secret of the policy; its `Debug` shows nothing of it.
pub type Secret = secrecy::SecretString;

/// A whole policy, checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: Admin,
    /// Caps and timeouts of the listener.
    pub server: Server,
    /// How the program logs.
    pub log: Log,
    /// How callers are told apart.
    pub callers: Callers,
    /// At least one; names are unique.
    pub providers: Vec<Provider>,
    /// Empty: no limit layer in the stack.
    pub limits: Vec<Limit>,
    /// `None`: no breaker in the stack.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `None`: no retry; the first target's answer is the answer.
    pub retry: Option<Retry>,
    /// In the order they are tried. Empty: a model that the registry knows goes to its provider
    /// where the policy has that provider, anything else to the first provider.
    pub routes: Vec<Route>,
    /// Model names that stand for other names, looked up before routes match.
    pub aliases: Vec<Alias>,
    /// What happens to streams.
    pub streams: Streams,
    /// Known providers and models, the policy's own overrides included.
    pub registry: Registry,
    /// What is allowed but probably not meant.
    pub warnings: Vec<super::Warning>,
}

impl Policy {
    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| &*provider.name == name)
    }
}

/// The admin listener: health, readiness, metrics.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Never the same as the policy's own `listen`.
    pub listen: SocketAddr,
    /// `None`: no token is asked for.
    pub token: Option<Secret>,
}

/// Caps and timeouts of the client side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Bytes of all request headers together.
    pub max_header_bytes: usize,
    /// Number of request headers.
    pub max_headers: usize,
    /// Bytes of a request body.
    pub max_body: u64,
    /// From the connection's first byte to the end of the request's head.
    pub header_timeout: Duration,
    /// The longest silence inside a request's body.
    pub body_timeout: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long running requests may take to finish after SIGTERM.
    pub drain: Duration,
    /// Whole life of a request, retries and body included.
    pub request_deadline: Duration,
    /// Worker threads; `None`: one per core.
    pub workers: Option<NonZeroUsize>,
}

/// How the program logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// A `tracing` filter: `info`, or `info,tollway=debug`.
    pub level: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub struct Callers {
    /// In the order they are tried; never empty.
    pub identify: Vec<Source>,
    /// Whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Tollway keys. Not empty: a request without a valid one is refused (401).
    pub keys: Vec<CallerKey>,
}

/// Where a caller's identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Tollway key.
    Key,
    /// A header that something in front of Tollway sets.
    Header(HeaderName),
    /// The provider key that the client sent, hashed.
    ProviderKey,
    /// The client's address.
    Ip,
}

/// A Tollway key; the policy knows only its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerKey {
    /// Unique; what logs and limits call the key.
    pub name: Arc<str>,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// Whose key it is; the key's name where the policy says nothing.
    pub user: Arc<str>,
    /// Labels: `team: search`.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// The models it may use; `None`: all.
    pub models: Option<Vec<Glob>>,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Unique.
    pub name: Arc<str>,
    /// The known provider whose models and prices are its own, if it is one.
    pub known: Option<Arc<str>>,
    /// How it is reached.
    pub endpoint: Endpoint,
}

/// How a provider is reached.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Over HTTP.
    Http(Box<HttpEndpoint>),
    /// Inside this process.
    Simulate(SimulateConfig),
}

/// A provider over HTTP.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// `http` or `https`, a host, maybe a path without a slash at its end; no query.
    pub base_url: Uri,
    /// What it speaks.
    pub dialect: Dialect,
    /// How the credential is sent.
    pub auth: Auth,
    /// The name by which limits and breakers know the key.
    pub key_name: Arc<str>,
    /// Sent with every request; values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Upstream timeouts.
    pub timeouts: Timeouts,
    /// Idle connections kept.
    pub idle_connections: usize,
    /// HTTP version.
    pub http2: Http2,
    /// A PEM file with certificates to trust besides the usual ones.
    pub extra_ca: Option<PathBuf>,
}

/// How a credential is sent upstream.
#[derive(Clone, Debug)]
pub enum Auth {
    /// `Authorization: Bearer` and this key.
    Bearer(Secret),
    /// This header with this key.
    Header(HeaderName, Secret),
    /// None at all; the client's own is taken away.
    None,
    /// The client's own credential goes through.
    Passthrough,
}

/// Timeouts of one attempt upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS.
    pub connect: Duration,
    /// From the request sent to the reply's head.
    pub first_byte: Duration,
    /// The longest silence inside a reply.
    pub between_chunks: Duration,
    /// The whole attempt.
    pub total: Duration,
}

/// Use of HTTP/2 upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// As the TLS handshake decides.
    Auto,
    /// Always (prior knowledge where there is no TLS).
    Only,
    /// HTTP/1.1 alone.
    Never,
}

/// A limit: one name, one scope, one or more quotas that are decided together.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Unique.
    pub name: Arc<str>,
    /// One scope or a pair.
    pub per: Vec<Scope>,
    /// At least one; at most one of a unit.
    pub quotas: Vec<Quota>,
    /// What happens to a request that finds it full.
    pub when_full: WhenFull,
    /// `false`: a shadow that only tells what it would have refused.
    pub enforce: bool,
    /// Share of every quota held back, 0..1. The quotas are as written, not reduced.
    pub headroom: f64,
    /// Share of use at which it warns, above 0 and at most 1.
    pub warn_at: Option<f64>,
    /// Only for models that one of these matches; empty: for every request.
    pub models: Vec<Glob>,
}

/// Whose requests share a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's together.
    All,
    /// Each user.
    User,
    /// Each caller key.
    Key,
    /// Each client address.
    Ip,
    /// Each provider; decided at each attempt.
    Provider,
    /// Each model.
    Model,
    /// Each value of this tag.
    Tag(Arc<str>),
}

/// How much of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What is counted.
    pub unit: Unit,
    /// How many, in the unit's smallest part: requests, tokens, nano-USD.
    pub amount: NonZeroU64,
    /// Over which time.
    pub shape: Shape,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Money, in nano-USD.
    Usd,
    /// Requests that run at the same time.
    Concurrent,
}

/// Over which time a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A token bucket: `amount` flows in over `per`, at most `burst` wait in it.
    Bucket {
        /// The time in which `amount` flows in.
        per: Duration,
        /// The bucket's size; `amount` where the policy says nothing.
        burst: NonZeroU64,
    },
    /// Never more than `amount` in any window of this length.
    Sliding {
        /// The window.
        window: Duration,
    },
    /// `amount` in each period of the calendar, UTC.
    Calendar(Period),
    /// `amount` at the same time (only [`Unit::Concurrent`]).
    Concurrent,
}

/// A period of the calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From the full hour.
    Hour,
    /// From midnight.
    Day,
    /// From the first of the month.
    Month,
}

/// What happens to a request that finds a limit full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// 429 at once.
    Reject,
    /// Waits its turn, this long at most, then 429.
    Wait(Duration),
}

/// When a target is left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// Failures in a row.
    pub open_after: NonZeroU32,
    /// Share of failures over a window.
    pub failure_ratio: Option<RatioTrip>,
    /// Share of slow calls over a window.
    pub slow_calls: Option<SlowTrip>,
    /// How long it stays open the first time.
    pub recover_after: Duration,
    /// Growth of that time for each failed recovery; at least 1.
    pub recover_factor: f64,
    /// Cap of that growth.
    pub recover_max: Duration,
    /// Requests let through to find out whether the target works again.
    pub trial_requests: NonZeroU32,
    /// Time over which traffic comes back after recovery; zero: at once.
    pub ramp: Duration,
    /// Weight of a failure of a class; a class not named keeps the breaker's own weight.
    pub weights: Vec<(ErrorClass, f64)>,
}

/// Opens on a share of failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioTrip {
    /// Above 0, at most 1.
    pub ratio: f64,
    /// Over the last calls of this long.
    pub window: Duration,
    /// Not before this many calls.
    pub min_calls: NonZeroU32,
}

/// Opens on a share of slow calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowTrip {
    /// What counts as slow: time to the reply's head.
    pub slower_than: Duration,
    /// Above 0, at most 1.
    pub ratio: f64,
    /// Over the last calls of this long.
    pub window: Duration,
    /// Not before this many calls.
    pub min_calls: NonZeroU32,
}

/// How often and when to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts altogether, the first included.
    pub attempts: NonZeroU32,
    /// Waits between attempts at the same target.
    pub backoff: Backoff,
    /// The longest Retry-After that is waited for; longer ones go to the next target.
    pub obey_retry_after: Duration,
    /// Bound on the share of retries; `None`: none.
    pub budget: Option<RetryBudget>,
    /// The classes that are tried again or elsewhere; `None`: as each class suggests.
    pub on: Option<Vec<ErrorClass>>,
}

/// Exponential backoff.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First wait.
    pub first: Duration,
    /// Growth; at least 1.
    pub factor: f64,
    /// Longest wait.
    pub max: Duration,
    /// How waits vary.
    pub jitter: Jitter,
}

/// How waits vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// By this share in both directions, above 0 and at most 1.
    Share(f64),
    /// Anything between zero and the wait.
    Full,
    /// Between the first wait and three times the last one.
    Decorrelated,
}

/// Bound on retries: a storm must not feed itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries allowed as a share of requests, above 0 and at most 1.
    pub ratio: f64,
    /// Retries a second that are always allowed.
    pub min_per_second: u32,
}

/// Which requests go where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique; `route-1`, `route-2`... by place where the policy says nothing.
    pub name: Arc<str>,
    /// What a request has to be; every part has to match.
    pub matches: Match,
    /// How targets are ordered.
    pub strategy: Strategy,
    /// Never empty.
    pub targets: Vec<RouteTarget>,
}

/// What a request has to be for a route. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// One of these matches the model that was asked for.
    pub models: Vec<Glob>,
    /// One of these matches the path.
    pub paths: Vec<Glob>,
    /// All of these headers are there and match.
    pub headers: Vec<(HeaderName, Glob)>,
    /// One of these matches the caller's user or key name.
    pub callers: Vec<Glob>,
    /// All of these tags are there and match.
    pub tags: Vec<(Arc<str>, Glob)>,
}

/// How a route orders its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// In the order written.
    Failover,
    /// Each in turn first.
    RoundRobin,
    /// Each first as often as its weight says.
    Weighted,
}

/// A place a route sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// A provider of this policy.
    pub provider: Arc<str>,
    /// The model sent upstream; `None`: the one asked for.
    pub model: Option<Arc<str>>,
    /// At least 1; only [`Strategy::Weighted`] reads it.
    pub weight: NonZeroU32,
}

/// A model name that stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What the client writes.
    pub name: Arc<str>,
    /// What it stands for.
    pub model: Arc<str>,
}

/// What happens to streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// What becomes of the upstream when the client hangs up.
    pub on_hangup: OnHangup,
    /// From when on a reply is final.
    pub commit: Commit,
}

/// What becomes of the upstream reply when the client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangup {
    /// It is cancelled.
    Cancel,
    /// It is read to its end, so that its usage is known.
    Drain,
}

/// From when on a reply is final and can't fail over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// From the first content token.
    FirstToken,
    /// From the reply's head.
    Head,
}
