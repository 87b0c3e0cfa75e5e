//! The policy after checking: what the rest of the program reads. Holds no live state.
//!
//! Names that refer to something (a target's provider, an alias's model) were looked up; shares
//! lie in their range; counts that must not be zero are not.

mod limits;
mod resilience;
mod routes;
mod routing;
mod state;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use tollway_core::Dialect;
use tollway_dialect::translate::{Form, Strictness};

pub use crate::simulate::SimulateConfig;
pub use limits::*;
pub use resilience::*;
pub use routes::*;
pub use routing::*;
pub use state::*;

use tollway_route::{Glob, facts::Thresholds};

use super::registry::Registry;

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
    /// Who is told of budgets.
    pub alerts: Alerts,
    /// `None`: what providers say of their own limits is passed on, and no more.
    pub pacing: Option<Pacing>,
    /// `None`: no breaker in the stack.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `None`: each target of a route has one turn, without waits.
    pub retry: Option<Retry>,
    /// How routes that go by figures decide.
    pub routing: Routing,
    /// When a target counts as degraded or down.
    pub health: Thresholds,
    /// The policy says so itself, or has probes: then routes that go by order, turns or weights
    /// alone pass over a target that is down, too.
    pub minds_health: bool,
    /// In the order they are tried. Empty: a model that the registry knows goes to its provider
    /// where the policy has that provider, anything else to the first provider.
    pub routes: Vec<Route>,
    /// Model names that stand for other names, looked up before routes match.
    pub aliases: Vec<Alias>,
    /// What happens to streams.
    pub streams: Streams,
    /// What is done about what can't be translated.
    pub translation: Strictness,
    /// Where state lives.
    pub state: State,
    /// Of calendar windows, and of the days and months of totals.
    pub time_zone: TimeZone,
    /// Known providers and models, the policy's own overrides included.
    pub registry: Registry,
    /// What is allowed but probably not meant.
    pub warnings: Vec<super::Warning>,
    /// What it was read from.
    pub origin: Origin,
}

/// The file that a policy was read from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// What errors call it.
    pub name: String,
    /// What is in it, as it may be shown: without comments, and with stars in the place of secrets.
    pub text: Arc<str>,
    /// SHA-256 of what is in it, in hex. What a variable or a file of secrets stands for is no part of it.
    pub sha256: String,
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
    /// Bytes of a JSON body, which is held.
    pub max_body: u64,
    /// Bytes of any other body, which streams through.
    pub max_upload: u64,
    /// From the first byte to the end of a request's head.
    pub header_timeout: Duration,
    /// The longest silence inside a request's body.
    pub body_timeout: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long running requests may take to finish after SIGTERM.
    pub drain: Duration,
    /// From a request's head to its reply's head: its body, waits and retries included.
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
    /// Tollway keys.
    pub keys: Vec<CallerKey>,
    /// A request without a valid key is refused (401): one of these, or one made at run time. True
    /// wherever there are keys.
    pub require_key: bool,
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
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Unique.
    pub name: Arc<str>,
    /// The known provider whose models and prices are its own, if it is one.
    pub known: Option<Arc<str>>,
    /// The APIs it offers, the one to translate to first; never empty.
    pub forms: Vec<Form>,
    /// The proxy's own keys there, each used as often as its weight says. Empty: none is sent, or
    /// the client's own goes through.
    pub keys: Vec<ProviderKey>,
    /// Where it is, for [`Nearest`](super::Strategy::Nearest).
    pub region: Option<Arc<str>>,
    /// Its models cost nothing, whatever their prices.
    pub free: bool,
    /// How it is asked whether it answers; `None`: it is not.
    pub probe: Option<Probe>,
    /// How it is reached.
    pub endpoint: Endpoint,
}

/// A key of the proxy's own at a provider.
#[derive(Clone, Debug)]
pub struct ProviderKey {
    /// Unique at its provider; what limits, breakers, metrics and logs call it.
    pub name: Arc<str>,
    /// The key itself.
    pub secret: Secret,
    /// Its share beside the provider's other keys.
    pub weight: NonZeroU32,
}

impl PartialEq for ProviderKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.weight) == (&other.name, other.weight) && self.is_same_secret(other)
    }
}

impl ProviderKey {
    /// Whether both are the same key, whatever their names and weights.
    pub fn is_same_secret(&self, other: &Self) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// How a provider is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoint {
    /// Over HTTP.
    Http(Box<HttpEndpoint>),
    /// Inside this process.
    Simulate(SimulateConfig),
}

/// A provider over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// `http` or `https`, a host, maybe a path without a slash at its end; no query.
    pub base_url: Uri,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it takes OpenAI's form, behind `base_url`, if its dialect is another one.
    pub openai_path: Option<Arc<str>>,
    /// How the credential is sent.
    pub auth: Auth,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer` and the provider's key.
    Bearer,
    /// This header with the provider's key.
    Header(HeaderName),
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

/// What becomes of a provider's work when the client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangup {
    /// It is cancelled.
    Cancel,
    /// It goes on to the reply's end, so that its usage is known.
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
