//! The policy as its author writes it. Each section stands here once: the reader, the schema and
//! the suggestions are made from it, and its comments are what an editor shows.

mod keys;
mod limits;
mod models;
mod resilience;
mod routes;
mod routing;
mod rules;
mod state;

use std::net::SocketAddr;

pub(in crate::policy) use keys::*;
pub(in crate::policy) use limits::*;
pub(in crate::policy) use models::*;
pub(in crate::policy) use resilience::*;
pub(in crate::policy) use routes::*;
pub(in crate::policy) use routing::*;
pub(in crate::policy) use rules::*;
pub(in crate::policy) use state::*;

use super::{
    read::{List, Named, OneOrMany},
    section::section,
    values::*,
};

section! {
    /// A Tollway policy: who may call, how much, and where requests go.
    PolicyWritten {
        /// Where clients connect. Default 127.0.0.1:8080.
        may listen: SocketAddr,
        /// The admin listener: health, readiness, metrics.
        may admin: AdminWritten,
        /// Caps and timeouts towards clients.
        may server: ServerWritten,
        /// How the program logs.
        may log: LogWritten,
        /// How callers are told apart, and the keys they have.
        may callers: CallersWritten,
        /// Where requests can go. A known name (openai, anthropic, groq, gemini, xai, deepseek,
        /// moonshot) brings base URL, dialect and prices; the first provider gets what no route sends.
        must providers: Named<ProviderWritten>,
        /// How much may be used. All limits that concern a request are decided together.
        may limits: List<LimitWritten>,
        /// Who is told when a limit with a mark to warn at (`warn_at`; budgets have one) crosses it, is
        /// used up, and begins anew.
        may alerts: AlertsWritten,
        /// Goes by what providers say of their own limits.
        may pacing: PacingWritten,
        /// When a failing target is left alone. Without this section there is no breaker.
        may circuit_breaker: BreakerWritten,
        /// When a request is tried again. Without this section each target of a route has one turn,
        /// without waits.
        may retry: RetryWritten,
        /// What happens to streams.
        may streams: StreamsWritten,
        /// What becomes of what a provider's API has no place for, where a request is translated.
        may translation: TranslationWritten,
        /// Names that stand for models: `fast: gpt-4o-mini`. Looked up before routes match.
        may aliases: Named<Text>,
        /// How routes that go by figures decide.
        may routing: RoutingWritten,
        /// When a target counts as degraded or down, and whether it is probed.
        may health: HealthWritten,
        /// Which requests go where; the first route that matches decides.
        may routes: List<RouteWritten>,
        /// Where state lives: `memory`, `{ sqlite: FILE }` or `{ redis: URL }`. Default memory.
        may state: StateWritten,
        /// The time zone of calendar windows, of the days and months of totals, and of the hours that rules
        /// name: `Europe/Berlin`.
        /// Default UTC.
        may time_zone: Text,
        /// Models to add to the registry, or whose figures differ from it.
        may models: List<ModelWritten>,
    }
}

section! {
    /// The admin listener.
    AdminWritten {
        /// Its address. Default 127.0.0.1:8081.
        may listen: SocketAddr,
        /// Bearer token that it asks for. Default: none.
        may token: Hidden,
    }
}

section! {
    /// Caps and timeouts towards clients.
    ServerWritten {
        /// All headers of a request together. Default 64KiB.
        may max_header_bytes: Size,
        /// Number of headers of a request. Default 100.
        may max_headers: Count,
        /// A JSON body, which is held in memory. Default 32MiB.
        may max_body: Size,
        /// Any other body (uploads, files), which streams through. Default 512MiB.
        may max_upload: Size,
        /// For a request's head to arrive, from its first byte on.
        /// Default 10s.
        may header_timeout: Time,
        /// The longest silence inside a request's body. Default 30s.
        may body_timeout: Time,
        /// For an idle connection. Default 120s.
        may idle_timeout: Time,
        /// For running requests to finish after SIGTERM. Default 30s.
        may drain: Time,
        /// From a request's head to its reply's: body, waits and retries included. Default 600s.
        may request_deadline: Time,
        /// Worker threads. Default: one a core.
        may workers: Count,
    }
}

section! {
    /// How the program logs.
    LogWritten {
        /// `json` for machines, `pretty` for people. Default json.
        may format: LogFormatName,
        /// A filter: `info`, or `info,tollway=debug`. Default info.
        may level: Text,
    }
}

section! {
    /// How callers are told apart.
    CallersWritten {
        /// Ways to tell, in order: `key`, `header NAME`, `provider_key`, `ip`.
        /// Default: key, provider_key, ip.
        may identify: OneOrMany<SourceName>,
        /// Proxies whose Forwarded and X-Forwarded-For headers are believed. Default: none.
        may trusted_proxies: OneOrMany<Net>,
        /// Tollway keys. With any, a request without a valid one is refused.
        may keys: List<KeyWritten>,
        /// Refuses a request without a valid Tollway key also where no key is in the policy: `tollway
        /// keys new --name NAME` makes them at run time. Default: true with `keys`, else false.
        may require_key: bool,
    }
}

section! {
    /// A Tollway key; `tollway keys new` makes one.
    KeyWritten {
        /// Its name in logs and limits.
        must name: Text,
        /// SHA-256 of the key: the key itself is nowhere in the policy.
        must sha256: Digest,
        /// Whose it is; keys of one user share the user's limits. Default: the key's name.
        may user: Text,
        /// Labels for limits and routes: `team: search`.
        may tags: Named<Text>,
        /// Models it may use (`*` stands for any text). Default: all.
        may models: OneOrMany<Text>,
    }
}

section! {
    /// A provider: a known name needs nothing more than a key.
    ProviderWritten {
        /// Of which known provider it takes what is not said here; default: its own name.
        may like: Text,
        /// Where its API is, up to and with `/v1`.
        may base_url: Url,
        /// What it speaks. Default: what the known provider does, or openai.
        may dialect: DialectName,
        /// The APIs it offers, the one to translate to first: chat, responses (OpenAI), messages
        /// (Anthropic), generate (Gemini). Clients that speak one of them pass byte for byte, all
        /// others are translated. Default: what the known provider does, or its dialect's.
        may forms: List<FormName>,
        /// How the key is sent: bearer, `header NAME`, none, passthrough (the client's own).
        /// Default: bearer with `api_key`, passthrough without.
        may auth: AuthName,
        /// The key: `${NAME}`, or `file:/path`.
        may api_key: Hidden,
        /// The key's name in limits and logs. Default: default.
        may key_name: Text,
        /// Several keys in place of `api_key`, each under a name: `main: ${NAME}`, or with its share
        /// `main: { api_key: ${NAME}, weight: 3 }`. A key that is refused or out of money is set aside alone.
        may keys: Named<KeyOrSecret>,
        /// Headers to send with every request.
        may headers: Named<HeaderText>,
        /// Timeouts of an attempt.
        may timeouts: TimeoutsWritten,
        /// Idle connections kept open. Default 20.
        may idle_connections: Count,
        /// auto, only or never. Default auto.
        may http2: Http2Name,
        /// PEM file with certificates to trust besides the usual ones.
        may extra_ca: Text,
        /// The region it is in, for the strategy `nearest`.
        may region: Text,
        /// Its models cost nothing, as in a free tier: for routing; budgets go by their prices.
        /// Default false.
        may free: bool,
        /// Its own probe: what it says differs from `health.probe`; or off.
        may probe: ProbeOrOff,
        /// Answers from inside this process: no key, no network.
        may simulate: SimulateWritten,
    }
}

section! {
    /// Timeouts of an attempt upstream.
    TimeoutsWritten {
        /// TCP and TLS. Default 5s.
        may connect: Time,
        /// From the request sent to the reply's head. Default 120s.
        may first_byte: Time,
        /// The longest silence inside a reply. Default 60s.
        may between_chunks: Time,
        /// The whole attempt. Default 600s.
        may total: Time,
    }
}

section! {
    /// A simulated provider. All rates are 0% by default.
    SimulateWritten {
        /// Time before the reply's head. Default 0.
        may latency: Time,
        /// By how much `latency` varies in both directions. Default 0%.
        may jitter: Share,
        /// From a stream's head to its first token. Default 0.
        may time_to_first_token: Time,
        /// Pace of a stream. Default: as fast as can be.
        may tokens_per_second: Number,
        /// Tokens in a reply. Default 16.
        may output_tokens: Count,
        /// Requests a minute before it answers 429. Default: no limit.
        may requests_per_minute: Count,
        /// Tokens a minute before it answers 429. Default: no limit.
        may tokens_per_minute: Count,
        /// Requests altogether before it answers insufficient_quota. Default: no end.
        may quota_requests: Count,
        /// Requests answered with `error_status`.
        may error_rate: Share,
        /// Status of those errors, 400 to 599. Default 500.
        may error_status: Count,
        /// Replies that stop in the middle.
        may stall_rate: Share,
        /// Replies whose connection is reset.
        may reset_rate: Share,
        /// Replies that end early.
        may truncate_rate: Share,
        /// Replies that are no proper JSON.
        may malformed_rate: Share,
        /// Replies with an error inside a 200.
        may late_error_rate: Share,
        /// Start of the random sequence. Default 0.
        may seed: Count,
    }
}
