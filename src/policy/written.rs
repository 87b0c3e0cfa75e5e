//! The policy as its author writes it. Each section stands here once: the reader, the schema and
//! the suggestions are made from it, and its comments are what an editor shows.

use std::net::SocketAddr;

use http::HeaderName;
use jiff::civil::Date;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    node::{Node, Value},
    read::{At, List, Named, OneOrMany, Read, Reader, section},
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
        /// When a failing target is left alone. Without this section there is no breaker.
        may circuit_breaker: BreakerWritten,
        /// When a request is tried again. Without this section nothing is.
        may retry: RetryWritten,
        /// What happens to streams.
        may streams: StreamsWritten,
        /// Names that stand for models: `fast: gpt-4o-mini`. Looked up before routes match.
        may aliases: Named<Text>,
        /// Which requests go where; the first route that matches decides.
        may routes: List<RouteWritten>,
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
        /// A request's body; JSON is held in memory up to here. Default 32MiB.
        may max_body: Size,
        /// For a request's head to arrive. Default 10s.
        may header_timeout: Time,
        /// The longest silence inside a request's body. Default 30s.
        may body_timeout: Time,
        /// For an idle connection. Default 120s.
        may idle_timeout: Time,
        /// For running requests to finish after SIGTERM. Default 30s.
        may drain: Time,
        /// For a whole request, retries and reply included. Default 600s.
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
        /// What it speaks; this version: openai.
        may dialect: DialectName,
        /// How the key is sent: bearer, `header NAME`, none, passthrough (the client's own).
        /// Default: bearer with `api_key`, passthrough without.
        may auth: AuthName,
        /// The key: `${NAME}`, or `file:/path`.
        may api_key: Hidden,
        /// The key's name in limits and logs. Default: default.
        may key_name: Text,
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

section! {
    /// A limit: for whom, and how much. Several quotas in one limit are decided together.
    LimitWritten {
        /// Its name in refusals, logs and metrics.
        must name: Text,
        /// Whose requests share it: all, user, key, ip, provider, model, `tag NAME`; or two of them.
        must per: OneOrMany<ScopeName>,
        /// Requests: `100/min`.
        may requests: Rate,
        /// How many requests (or units of the only quota) may come at once. Default: the whole amount.
        may burst: Count,
        /// Input and output tokens: `50k/min`.
        may tokens: Rate,
        /// Input tokens: `40k/min`.
        may input_tokens: Rate,
        /// Output tokens: `10k/min`.
        may output_tokens: Rate,
        /// How many tokens may come at once. Default: the whole amount.
        may burst_tokens: Count,
        /// Money in USD: `20/day`.
        may usd: Rate,
        /// Requests at the same time.
        may concurrent: Count,
        /// bucket (a rate and a burst), sliding (never more in any such time) or calendar.
        /// Default: bucket up to an hour, calendar for a day, a month and for money by the hour.
        may shape: ShapeName,
        /// `reject` (429 at once) or `{ wait: 15s }` (first come, first served). Default reject.
        may when_full: WhenFullWritten,
        /// false: only tells what it would have refused. Default true.
        may enforce: bool,
        /// Share of the quota that stays unused: 10% keeps a provider from ever answering 429.
        may headroom: Share,
        /// Share of use at which it warns: 80%.
        may warn_at: Share,
        /// Only for these requests. Default: all.
        may r#match: LimitMatchWritten,
    }
}

section! {
    /// The requests that a limit counts.
    LimitMatchWritten {
        /// Models (`*` stands for any text).
        must model: OneOrMany<Text>,
    }
}

/// `reject`, or `{ wait: 15s }`.
#[derive(Clone, Debug)]
pub(super) enum WhenFullWritten {
    Reject,
    Wait(Option<At<Time>>),
}

section! {
    /// Waits its turn.
    WaitWritten {
        /// At most this long.
        must wait: Time,
    }
}

impl Read for WhenFullWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return WaitWritten::read(node, path, reader).map(|written| Self::Wait(written.wait));
        }
        Rejecting::read(node, path, reader).map(|_| Self::Reject)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let wait = WaitWritten::schema(generator);
        json_schema!({ "anyOf": [{ "const": "reject" }, wait] })
    }
}

/// The word `reject`.
struct Rejecting;

impl super::read::Scalar for Rejecting {
    const EXPECTED: &'static str = "`reject` or `{ wait: 15s }`";
    const NAMES: &'static [&'static str] = &["reject"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "reject" { Ok(Self) } else { Err("is not a choice here".into()) }
    }

    fn schema() -> Schema {
        json_schema!({ "const": "reject" })
    }
}

section! {
    /// When a failing target is left alone.
    BreakerWritten {
        /// Failures in a row. Default `5 failures`.
        may open_after: Failures,
        /// Also on a share of failures.
        may failure_ratio: RatioWritten,
        /// Also on a share of slow calls.
        may slow_calls: SlowWritten,
        /// How long it is left alone the first time. Default 300s.
        may recover_after: Time,
        /// By how much that time grows with each failed recovery. Default 2.
        may recover_factor: Number,
        /// The longest such time. Default 1h, or `recover_after` where that is longer.
        may recover_max: Time,
        /// Requests that find out whether it works again. Default 3.
        may trial_requests: Count,
        /// Over which time traffic comes back. Default 0: at once.
        may ramp: Time,
        /// How much a failure of a kind weighs: `{ timeout: 2, rate_limit: 0 }`.
        may weights: Named<Number>,
    }
}

section! {
    /// A share of failures over a time.
    RatioWritten {
        /// Share of failures, such as 50%.
        must ratio: Share,
        /// Over the calls of this time. Default 60s.
        may window: Time,
        /// Not before this many calls. Default 20.
        may min_calls: Count,
    }
}

section! {
    /// A share of slow calls over a time.
    SlowWritten {
        /// What is slow: time to the reply's head.
        must slower_than: Time,
        /// Share of slow calls, such as 80%.
        must ratio: Share,
        /// Over the calls of this time. Default 60s.
        may window: Time,
        /// Not before this many calls. Default 20.
        may min_calls: Count,
    }
}

section! {
    /// When a request is tried again.
    RetryWritten {
        /// Attempts altogether, the first included. Default 3.
        may attempts: Count,
        /// Waits between attempts at the same target.
        may backoff: BackoffWritten,
        /// What is done with a provider's Retry-After.
        may retry_after: RetryAfterWritten,
        /// Bound on the share of retries, against storms.
        may budget: BudgetWritten,
        /// Kinds of failure that are tried again. Default: those that can pass.
        may on: OneOrMany<ClassName>,
    }
}

section! {
    /// Exponential backoff.
    BackoffWritten {
        /// First wait. Default 500ms.
        may first: Time,
        /// Growth. Default 2.
        may factor: Number,
        /// Longest wait. Default 30s.
        may max: Time,
        /// How waits vary: none, 25%, full, decorrelated. Default 25%.
        may jitter: JitterText,
    }
}

section! {
    /// What is done with a provider's Retry-After.
    RetryAfterWritten {
        /// Up to here it is waited for; longer ones go to the next target. Default 60s.
        may obey_up_to: Time,
    }
}

section! {
    /// Bound on the share of retries.
    BudgetWritten {
        /// Retries as a share of requests. Default 20%.
        may ratio: Share,
        /// Retries a second that are always allowed. Default 10.
        may min_per_second: Count,
    }
}

section! {
    /// What happens to streams.
    StreamsWritten {
        /// When the client leaves: cancel upstream, or drain it to know the usage. Default cancel.
        may on_hangup: HangupName,
        /// From when on a reply can't fail over: first_token or head. Default first_token.
        may commit: CommitName,
    }
}

section! {
    /// Which requests go where.
    RouteWritten {
        /// Its name in logs and metrics. Default: route-1, route-2...
        may name: Text,
        /// What a request has to be. Default: anything.
        may r#match: MatchWritten,
        /// failover (in order), round_robin or weighted. Default failover.
        may strategy: StrategyName,
        /// Where to: `openai`, `anthropic/claude-sonnet-5-5`, or with a weight `openai: 60`.
        must targets: OneOrMany<TargetWritten>,
    }
}

section! {
    /// What a request has to be; every key has to match. `*` stands for any text.
    MatchWritten {
        /// Model names.
        may model: OneOrMany<Text>,
        /// Paths: `/v1/embeddings`.
        may path: OneOrMany<Text>,
        /// Headers and their values.
        may header: Named<Text>,
        /// Users or names of keys.
        may caller: OneOrMany<Text>,
        /// Tags of the caller's key.
        may tag: Named<Text>,
    }
}

/// `provider`, `provider/model`, or one of these with a weight.
#[derive(Clone, Debug)]
pub(super) struct TargetWritten {
    pub(super) to: At<Text>,
    pub(super) weight: Option<At<Count>>,
}

impl Read for TargetWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(_) = &node.value else {
            return Some(Self { to: At::read(node, path, reader)?, weight: None });
        };
        let entries = reader.entries(node, path, "`provider/model: weight`")?;
        let [(name, span, weight)] = entries.as_slice() else {
            reader
                .error(node.span, path, "a target is one name and its weight")
                .help("write each target on its own line: `- openai/gpt-4o: 60`");
            return None;
        };
        let to = At { value: Text((*name).into()), span: *span, path: path.into() };
        Some(Self { to, weight: Some(At::read(weight, path, reader)?) })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let weight = <Count as Read>::schema(generator);
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": weight, "minProperties": 1, "maxProperties": 1 },
        ] })
    }
}

section! {
    /// The registry: what is known about providers and models.
    RegistryWritten {
        /// The day it was put together.
        may as_of: Date,
        /// Known providers.
        must providers: Named<KnownWritten>,
        /// Known models.
        must models: List<ModelWritten>,
    }
}

section! {
    /// A known provider.
    KnownWritten {
        /// Other names for it.
        may aliases: List<Text>,
        /// Where its API is.
        must base_url: Url,
        /// What it speaks.
        may dialect: DialectName,
        /// The header for the key, where that is not `authorization`.
        may auth_header: HeaderName,
    }
}

section! {
    /// A model: its bounds and its price.
    ModelWritten {
        /// The id that is sent upstream.
        must id: Text,
        /// The provider that offers it: a known one, or one of this policy.
        must provider: Text,
        /// Other ids for it.
        may aliases: List<Text>,
        /// Prompt and completion together, in tokens.
        may context_window: Count,
        /// The prompt alone, where it is capped lower.
        may max_input: Count,
        /// The completion alone.
        may max_output_tokens: Count,
        /// What it can do: streaming, tools, vision, json, reasoning.
        may capabilities: List<Text>,
        /// USD for a million tokens.
        may price: PriceWritten,
        /// Other prices for long prompts, by rising bound.
        may price_tiers: List<TierWritten>,
        /// tiny, small, large or reasoning.
        may size: Text,
        /// Whether it still answers. Default active.
        may status: StatusName,
        /// The day it is shut down.
        may until: Date,
        /// What to use instead.
        may replacement: Text,
        /// A remark.
        may note: Text,
    }
}

section! {
    /// USD for a million tokens. What is not said costs what input costs.
    PriceWritten {
        /// Input.
        may input: PerMillion,
        /// Input read from the provider's cache.
        may cached_input: PerMillion,
        /// Input written to the provider's cache.
        may cache_write: PerMillion,
        /// Output, reasoning included.
        may output: PerMillion,
    }
}

section! {
    /// Prices of all tokens of a request with a long prompt.
    TierWritten {
        /// For prompts of more tokens than this.
        may over_prompt_tokens: Count,
        /// For prompts of at least this many tokens.
        may from_prompt_tokens: Count,
        /// Input.
        may input: PerMillion,
        /// Input read from the provider's cache.
        may cached_input: PerMillion,
        /// Input written to the provider's cache.
        may cache_write: PerMillion,
        /// Output, reasoning included.
        may output: PerMillion,
    }
}
