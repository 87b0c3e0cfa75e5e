use schemars::{Schema, json_schema};

use super::WordOr;
use crate::policy::{
    read::{OneOrMany, Scalar},
    section::section,
    values::*,
};

section! {
    /// A limit: for whom, and how much. Several quotas in one limit are decided together.
    LimitWritten {
        /// Its name in refusals, logs and metrics.
        must name: Text,
        /// Whose requests share it: all, user, key, ip, provider, provider_key,
        /// model, `tag NAME`; or two of them.
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
        /// What is taken for a reply that is yet to come: `usual` (what such replies needed) or `most`
        /// (all that it may use and cost, so that replies longer than ever overspend nothing).
        /// Default usual.
        may reserve: ReserveName,
        /// `reject` (429 at once), `{ wait: 15s }` (first come, first served), or for money
        /// `{ downgrade: [TARGET, free] }` (goes on, but only there). Default reject.
        may when_full: WhenFullWritten,
        /// While the Redis that instances share is away: `local` (each decides by its share of the
        /// limit), `open` (all goes) or `closed` (503). Default local.
        may when_store_is_away: AwayName,
        /// Of a limit in a Redis: the share that an instance may take beforehand for a key that is
        /// asked for all the time, so that few requests ask the Redis: 1%. At most 10%. Default 0.
        may borrow: Share,
        /// false: only tells what it would have refused. Default true.
        may enforce: bool,
        /// Share of the quota that stays unused: 10% keeps a provider from ever answering 429.
        may headroom: Share,
        /// Share of use at which it warns: 80%. Default 80% for money, none for the rest.
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

/// `reject`, or what happens instead.
pub(in crate::policy) type WhenFullWritten = WordOr<RejectName, InsteadWritten>;

section! {
    /// What happens instead of a refusal: one of these.
    InsteadWritten {
        /// Waits its turn, at most this long.
        may wait: Time,
        /// Goes on, but only to these targets, in this order; `free`: to those of its route that
        /// cost nothing.
        may downgrade: OneOrMany<Text>,
    }
}

section! {
    /// Who is told of budgets.
    AlertsWritten {
        /// What is called. Log and metrics tell without it.
        may webhook: WebhookWritten,
        /// After which time it is told again of a limit that is no calendar's. Default 1d.
        may again: Time,
    }
}

section! {
    /// Gets a POST of JSON for each alert.
    WebhookWritten {
        /// Its address, https or http: `${NAME}`, if it holds a token.
        must url: Hidden,
        /// What calls are signed with: `${NAME}`, or `file:/path`.
        must secret: Hidden,
        /// The longest that a call may take. Default 5s.
        may timeout: Time,
        /// Calls after the first that brought nothing. Default 5.
        may retries: Count,
    }
}

/// The word `reject`.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct RejectName;

impl Scalar for RejectName {
    const EXPECTED: &'static str = "`reject`, `{ wait: 15s }` or `{ downgrade: [TARGET, free] }`";
    const NAMES: &'static [&'static str] = &["reject"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "reject" { Ok(Self) } else { Err("is not a choice here".into()) }
    }

    fn schema() -> Schema {
        json_schema!({ "const": "reject" })
    }
}
