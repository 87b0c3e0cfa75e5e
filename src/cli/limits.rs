use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::remote::{Asked, Remote, cell, printable, rows, table, time};

#[derive(Debug, Args)]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: LimitsCommand,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// How limits stand: for somebody, or for the ten of each limit that have used the most.
    Status(StatusArgs),
    /// Give somebody a quota of their own in the place of the limit's.
    Set(SetArgs),
    /// Give somebody the limit's quota again.
    Remove(Who),
    /// Who has a quota of their own.
    Quotas(Who),
    /// Give somebody their whole quota back, less what running requests hold.
    Reset(ResetArgs),
    /// The limits as the policy has them.
    Config,
    /// How many requests each limit let in and refused.
    Stats(StatsArgs),
    /// Whom limits refused, by day; the latest first.
    Violations(ViolationsArgs),
    /// How many keys each limit has in memory.
    Buckets,
    /// Forget keys that have their whole quota.
    Cleanup,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    who: Who,
    /// Every key in memory.
    #[arg(long)]
    all: bool,
    /// What is reserved, too, how many wait, and what the quota is.
    #[arg(long, short)]
    verbose: bool,
}

/// Of which limit: the only one that counts that for them, unless `--limit` says.
#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    who: Who,
    /// Requests for a time, such as 200/min.
    #[arg(long, value_name = "N/TIME")]
    requests: Option<String>,
    /// Tokens for a time, such as 1M/day.
    #[arg(long, value_name = "N/TIME")]
    tokens: Option<String>,
    /// Input tokens for a time.
    #[arg(long, value_name = "N/TIME")]
    input_tokens: Option<String>,
    /// Output tokens for a time.
    #[arg(long, value_name = "N/TIME")]
    output_tokens: Option<String>,
    /// USD for a time, such as 20/month.
    #[arg(long, value_name = "N/TIME")]
    usd: Option<String>,
    /// Requests at the same time.
    #[arg(long, value_name = "N")]
    concurrent: Option<u64>,
    /// What a bucket holds: the most at once [default: the amount].
    #[arg(long, value_name = "N")]
    burst: Option<u64>,
    /// From when on the limit's own holds again: 30d, 2026-12-31 or 2026-12-31T18:00 (by the policy's
    /// time zone), or 2026-12-31T18:00:00Z [default: never].
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

impl SetArgs {
    fn body(&self) -> Value {
        let mut body = self.who.body();
        let words = [
            ("requests", &self.requests),
            ("tokens", &self.tokens),
            ("input_tokens", &self.input_tokens),
            ("output_tokens", &self.output_tokens),
            ("usd", &self.usd),
            ("expires", &self.expires),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                body[name] = word.as_str().into();
            }
        }
        for (name, number) in [("concurrent", self.concurrent), ("burst", self.burst)] {
            if let Some(number) = number {
                body[name] = number.into();
            }
        }
        body
    }
}

#[derive(Debug, Args)]
struct ResetArgs {
    #[command(flatten)]
    who: Who,
    /// Everybody's.
    #[arg(long, conflicts_with_all = ["user", "key", "ip", "provider"])]
    all: bool,
}

#[derive(Debug, Args)]
struct StatsArgs {
    /// From this day (2026-11-22) or month (2026-11) on [default: the present month].
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// To this day or month, with it.
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// One row for each day and limit, month and limit, or limit.
    #[arg(long, value_name = "PER", default_value = "day", value_parser = ["day", "month", "limit"])]
    per: String,
}

#[derive(Debug, Args)]
struct ViolationsArgs {
    /// Of this key only: the name of a user, a key or a model, or an address.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Of this limit only.
    #[arg(long, value_name = "NAME")]
    limit: Option<String>,
    /// From this day or month on [default: the present month].
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,
}

/// For whom.
#[derive(Debug, Args)]
struct Who {
    /// Of this limit only.
    #[arg(long, value_name = "NAME")]
    limit: Option<String>,
    /// For a user.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// For a caller's key, by its name.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// For a client's address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<std::net::IpAddr>,
    /// For a provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

impl Who {
    fn pairs(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("limit", self.limit.clone()),
            ("user", self.user.clone()),
            ("key", self.key.clone()),
            ("ip", self.ip.map(|ip| ip.to_string())),
            ("provider", self.provider.clone()),
        ]
    }

    /// Whether anybody is named.
    fn is_somebody(&self) -> bool {
        self.user.is_some() || self.key.is_some() || self.ip.is_some() || self.provider.is_some()
    }

    fn query(&self) -> Asked {
        self.pairs()
            .iter()
            .fold(Asked::default(), |asked, (name, value)| asked.with(name, value.as_deref()))
    }

    fn body(&self) -> Value {
        let given = self.pairs().into_iter();
        let given = given.filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Value::Object(given.collect())
    }
}

pub(super) fn run(args: &LimitsArgs) -> anyhow::Result<ExitCode> {
    let remote = &args.remote;
    match &args.command {
        LimitsCommand::Status(asked) => {
            let query = asked.who.query().with("all", asked.all.then_some("true"));
            let query = query.wanting(asked.who.is_somebody().then_some("limits"));
            remote.get("/limits/status", &query, |answer| status(answer, asked.verbose))
        }
        LimitsCommand::Set(asked) => {
            remote.post("/limits/quotas", &asked.body(), |answer| customs(answer, "quotas"))
        }
        LimitsCommand::Remove(who) => {
            remote.delete("/limits/quotas", &who.query(), |answer| customs(answer, "removed"))
        }
        LimitsCommand::Quotas(who) => {
            let named = who.is_somebody() || who.limit.is_some();
            let query = who.query().wanting(named.then_some("quotas"));
            remote.get("/limits/quotas", &query, |answer| customs(answer, "quotas"))
        }
        LimitsCommand::Reset(asked) => {
            let mut body = asked.who.body();
            if asked.all {
                body["all"] = true.into();
            }
            remote.post("/limits/reset", &body, |answer| {
                let row = |row: &Value| [cell(&row["limit"]), cell(&row["key"])];
                table(["reset", "for"], &list(answer, "reset", row))
            })
        }
        LimitsCommand::Config => remote.get("/limits", &Asked::default(), config),
        LimitsCommand::Stats(asked) => {
            let query = Asked::default()
                .with("from", asked.from.as_deref())
                .with("to", asked.to.as_deref())
                .with("per", Some(&asked.per));
            remote.get("/limits/stats", &query, |answer| {
                let fields = ["period", "limit", "allowed", "refused"];
                let row = |row: &Value| fields.map(|name| cell(&row[name]));
                table(["when", "limit", "allowed", "refused"], &list(answer, "rows", row))
            })
        }
        LimitsCommand::Violations(asked) => {
            let query = Asked::default()
                .with("key", asked.key.as_deref())
                .with("limit", asked.limit.as_deref())
                .with("from", asked.from.as_deref())
                .with("last", Some(asked.last.to_string()))
                .wanting(asked.key.as_ref().or(asked.limit.as_ref()).map(|_| "rows"));
            remote.get("/limits/violations", &query, |answer| {
                let fields = ["day", "limit", "key", "count", "asked", "available", "last"];
                let row = |row: &Value| fields.map(|name| cell(&row[name]));
                let head = ["day", "limit", "for", "times", "asked", "there was", "last"];
                table(head, &list(answer, "rows", row))
            })
        }
        LimitsCommand::Buckets => remote.get("/limits/buckets", &Asked::default(), |answer| {
            let row = |row: &Value| [cell(&row["limit"]), cell(&row["keys"])];
            table(["limit", "keys"], &list(answer, "limits", row))
        }),
        LimitsCommand::Cleanup => remote.post("/limits/cleanup", &json!({}), |answer| {
            let row = |row: &Value| ["limit", "removed", "keys"].map(|name| cell(&row[name]));
            table(["limit", "removed", "left"], &list(answer, "limits", row))
        }),
    }
}

fn list<const N: usize>(
    answer: &Value,
    name: &str,
    row: impl Fn(&Value) -> [String; N],
) -> Vec<[String; N]> {
    rows(answer, name).iter().map(row).collect()
}

fn status(answer: &Value, verbose: bool) -> String {
    if answer["more"] == true {
        eprintln!("there are more keys than these; --all tells more of them");
    }
    if rows(answer, "limits").iter().any(|row| row["alone"] == true) {
        eprintln!(
            "the Redis that instances share is away: this is what this instance goes by meanwhile"
        );
    }
    if verbose {
        let head =
            ["limit", "for", "used", "held", "left", "unit", "resets in", "waiting", "quota"];
        let row = |row: &Value| {
            let [limit, key, used, held, left, unit] =
                ["limit", "key", "used", "held", "left", "unit"].map(|name| cell(&row[name]));
            let (resets, waiting) = (time(&row["reset_seconds"]), cell(&row["waiting"]));
            let custom = match (&row["custom"], &row["custom"]["expires"]) {
                (Value::Null, _) => "",
                (_, Value::Null) => ", their own",
                (_, until) => &format!(", their own until {}", cell(until)),
            };
            let quota = quota(&row["quota"]) + custom;
            [limit, key, used, held, left, unit, resets, waiting, quota]
        };
        return table(head, &list(answer, "limits", row));
    }
    let head = ["limit", "for", "used", "of", "left", "unit", "resets in"];
    let row = |row: &Value| {
        let [limit, key, used, of, left, unit] =
            ["limit", "key", "used", "capacity", "left", "unit"].map(|name| cell(&row[name]));
        [limit, key, used, of, left, unit, time(&row["reset_seconds"])]
    };
    table(head, &list(answer, "limits", row))
}

/// Quotas of single keys; what doesn't hold says why.
fn customs(answer: &Value, name: &str) -> String {
    let row = |row: &Value| {
        let [limit, per, key, unit, expires] =
            ["limit", "per", "key", "unit", "expires"].map(|name| cell(&row[name]));
        let said = match row["why_not"].as_str() {
            Some(why) => format!("{}: does not hold: {}", cell(&row["written"]), printable(why)),
            None => quota(&row["quota"]),
        };
        [limit, per, key, unit, said, expires]
    };
    table(["limit", "per", "for", "unit", "quota", "until"], &list(answer, name, row))
}

fn config(answer: &Value) -> String {
    let head = ["limit", "per", "unit", "quota", "when full", "store away", "enforced", "models"];
    let row = |row: &Value| {
        let full = match row["wait_seconds"].as_f64() {
            Some(_) => format!("wait {}", time(&row["wait_seconds"])),
            None => cell(&row["when_full"]),
        };
        let models =
            if rows(row, "models").is_empty() { "all".into() } else { cell(&row["models"]) };
        let [limit, per, unit, away, enforce] =
            ["limit", "per", "unit", "when_store_is_away", "enforce"].map(|name| cell(&row[name]));
        [limit, per, unit, quota(&row["quota"]), full, away, enforce, models]
    };
    table(head, &list(answer, "limits", row))
}

/// `100 in 1m, burst 150`, `20 a day`, `5 at a time`.
fn quota(quota: &Value) -> String {
    let amount = cell(&quota["amount"]);
    let over = || time(&quota["seconds"]);
    match quota["shape"].as_str() {
        Some("bucket") if quota["burst"] == quota["amount"] => format!("{amount} in {}", over()),
        Some("bucket") => format!("{amount} in {}, burst {}", over(), cell(&quota["burst"])),
        Some("sliding") => format!("{amount} in any {}", over()),
        Some("calendar") => format!("{amount} a {}", cell(&quota["period"])),
        Some("concurrent") => format!("{amount} at a time"),
        _ => amount,
    }
}
