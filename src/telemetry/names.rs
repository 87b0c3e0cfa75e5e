//! The one table of metric names, units and labels.
//!
//! Names and labels follow OpenTelemetry's GenAI conventions where they have one (dots written as
//! underscores); the rest begins with `tollway_`. Units are in the name: seconds, nano-USD.
//! Every label is bounded: providers, limits and routes are the policy's own names, and a model
//! that neither policy nor registry knows is written `other`.

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution, in the buckets given.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name as exported.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it tells.
    pub help: &'static str,
}

const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0,
];
const RATIO: &[f64] = &[0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.33, 2.0, 4.0, 10.0];
const OVERHEAD: &[f64] =
    &[0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1];

macro_rules! metrics {
    ($($ident:ident = $name:literal, $kind:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: &str = $name;
        )*
        /// Every metric there is.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $name, kind: $kind, help: $help }),*];
    };
}

metrics! {
    REQUESTS = "tollway_requests_total", Kind::Counter,
        "Requests answered, by operation, provider, model and status.";
    IN_FLIGHT = "tollway_requests_in_flight", Kind::Gauge,
        "Requests whose reply has not ended yet.";
    DURATION = "gen_ai_server_request_duration_seconds", Kind::Histogram(SECONDS),
        "From a request's head to the end of its reply.";
    FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds", Kind::Histogram(SECONDS),
        "From a request's head to the first content token of a streamed reply.";
    OVERHEAD_SECONDS = "tollway_overhead_seconds", Kind::Histogram(OVERHEAD),
        "Tollway's own share of the time to a reply's head: all of it but waiting for the provider. Requests that waited for a limit or a retry are left out.";
    TOKENS = "tollway_tokens_total", Kind::Counter,
        "Tokens by gen_ai_token_type: input, cached, cache_write, output, reasoning (parts count in their wholes too).";
    ESTIMATED = "tollway_usage_estimated_total", Kind::Counter,
        "Replies whose usage had to be estimated.";
    COST = "tollway_cost_nano_usd_total", Kind::Counter,
        "Cost in nano-USD (1e-9 USD).";
    REFUSALS = "tollway_limit_refusals_total", Kind::Counter,
        "Requests that a limit refused, or would have refused in shadow (enforced=false).";
    LIMIT_WAITS = "tollway_limit_waits_total", Kind::Counter,
        "Requests that waited for a limit and went on.";
    LIMIT_WARNINGS = "tollway_limit_warnings_total", Kind::Counter,
        "Times a limit's warning mark was crossed.";
    LIMIT_DOWNGRADES = "tollway_limit_downgrades_total", Kind::Counter,
        "Requests that found too little of a budget and went on to cheaper targets alone.";
    LIMIT_ALONE = "tollway_limit_decided_alone_total", Kind::Counter,
        "Requests at limits in a Redis that was away or too slow: decided as when_store_is_away says.";
    LIMIT_STORE_AWAY = "tollway_limit_store_away", Kind::Gauge,
        "1 while the Redis of limits isn't asked, because it broke off or was too slow several times in a row.";
    LIMIT_STORE_INSTANCES = "tollway_limit_store_instances", Kind::Gauge,
        "Instances that count limits in the same Redis, this one included, when that was last asked.";
    LIMIT_STORE_ASKED = "tollway_limit_store_asked_total", Kind::Counter,
        "Decisions that asked the Redis of limits, each of them one round trip.";
    LIMIT_STORE_BORROWED = "tollway_limit_store_borrowed_total", Kind::Counter,
        "Decisions out of what was borrowed from the Redis of limits, without a round trip.";
    LIMIT_STORE_UNANSWERED = "tollway_limit_store_unanswered_total", Kind::Counter,
        "Decisions that asked the Redis of limits and got no answer in time.";
    LIMIT_STORE_WAITING = "tollway_limit_store_waiting", Kind::Gauge,
        "Settlements that wait to be written to the Redis of limits.";
    LIMIT_STORE_LOST = "tollway_limit_store_lost_total", Kind::Counter,
        "Settlements that were given up: what they were about stays counted as it was reserved.";
    ALERTS = "tollway_alerts_total", Kind::Counter,
        "Alerts by level (info, warning, critical) and limit, each told once a key and period.";
    ALERT_CALLS = "tollway_alert_calls_total", Kind::Counter,
        "What became of alerts that the webhook was to get: delivered, given_up, or dropped as too many waited.";
    BREAKER_STATE = "tollway_circuit_breaker_state", Kind::Gauge,
        "0 closed, 1 half-open, 2 open; by provider and model.";
    BREAKER_OPENED = "tollway_circuit_breaker_opened_total", Kind::Counter,
        "Times a breaker opened, by provider, model and reason.";
    BREAKER_REFUSED = "tollway_circuit_breaker_refusals_total", Kind::Counter,
        "Attempts that an open breaker refused.";
    BREAKER_ADVICE = "tollway_circuit_breaker_advice_total", Kind::Counter,
        "Findings that instances share, by what they are of (circuit, key, health) and direction: told to others, heard of one and heeded, taken_back by it.";
    SHARING_FAILING = "tollway_circuit_breaker_sharing_failing", Kind::Gauge,
        "1 while findings can't be shared and each instance is on its own.";
    KEY_BENCHED = "tollway_provider_key_benched", Kind::Gauge,
        "1 while a provider's key is set aside, until a trial request succeeds; by provider, key and reason (auth, quota).";
    KEY_BENCHED_TOTAL = "tollway_provider_key_benched_total", Kind::Counter,
        "Times a key was set aside, by provider, key and reason.";
    PACE_REFUSED = "tollway_pace_refusals_total", Kind::Counter,
        "Attempts not sent because the provider would have refused them by what it told, by provider, model and unit.";
    PACE_WAITS = "tollway_pace_waits_total", Kind::Counter,
        "Attempts that waited for a provider's own limit and went on, by provider and model.";
    PROVIDER_REFUSALS = "tollway_provider_refusals_total", Kind::Counter,
        "Refusals of providers (429) that asked for a wait, by provider and model.";
    PROVIDER_LIMIT = "tollway_provider_limit", Kind::Gauge,
        "A provider's own limit as its replies tell it, by provider, model, key and unit.";
    PROVIDER_REMAINING = "tollway_provider_remaining", Kind::Gauge,
        "What is probably left of a provider's own limit, by provider, model, key and unit.";
    RETRIES = "tollway_retries_total", Kind::Counter,
        "Attempts after the first, by the class of the failure before them and whether they went elsewhere.";
    PASSED_OVER = "tollway_route_passed_over_total", Kind::Counter,
        "Targets that should not be tried, by route, target and reason: left out, but where all are.";
    DECISIONS = "tollway_decisions_total", Kind::Counter,
        "Requests whose target was chosen by a rule or by more than order and turns, by route, rule, strategy, arm and the target that replied (or else was chosen).";
    COST_RATIO = "tollway_decision_cost_ratio", Kind::Histogram(RATIO),
        "What a request cost by what its decision had estimated, by route, strategy and target.";
    LATENCY_RATIO = "tollway_decision_latency_ratio", Kind::Histogram(RATIO),
        "How long a request took by the 95th percentile that its decision had read, by route, strategy and target: true estimates are exceeded by 1 of 20.";
    RELOADS = "tollway_reloads_total", Kind::Counter,
        "Times that the policy was read again, by result: applied, unchanged, refused.";
    POLICIES = "tollway_policies_in_use", Kind::Gauge,
        "The present policy, and those before it by which requests still run.";
    LEDGER_DROPPED = "tollway_ledger_dropped_rows_total", Kind::Counter,
        "Rows of the ledger that are lost, because it could not be written and too many waited.";
    LEDGER_FAILING = "tollway_ledger_failing", Kind::Gauge,
        "1 while the ledger can't be written.";
    LIMITS_UNSAVED = "tollway_limits_unsaved", Kind::Gauge,
        "1 while what limits have counted can't be saved to its file.";
    DOCUMENTS_FAILING = "tollway_documents_failing", Kind::Gauge,
        "1 while keys and quotas made at run time can't be read, or what their store lost can't be written anew.";
    DOCUMENTS_RESTORED = "tollway_documents_restored_total", Kind::Counter,
        "Times that keys and quotas made at run time were lost in their store, and written anew.";
    DOCUMENTS_LET_GO = "tollway_documents_let_go_total", Kind::Counter,
        "Times that another store was in the place of theirs, and keys and quotas that were known were let go.";
    HEALTH = "tollway_target_health", Kind::Gauge,
        "0 healthy, 1 degraded, 2 down; by provider, model and key.";
}
