use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, OneOrMany, Read, Reader, Scalar},
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
        /// `reject` (429 at once) or `{ wait: 15s }` (first come, first served). Default reject.
        may when_full: WhenFullWritten,
        /// While the Redis that instances share is away: `local` (each decides by its share of the
        /// limit), `open` (all goes) or `closed` (503). Default local.
        may when_store_is_away: AwayName,
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
pub(in crate::policy) enum WhenFullWritten {
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

impl Scalar for Rejecting {
    const EXPECTED: &'static str = "`reject` or `{ wait: 15s }`";
    const NAMES: &'static [&'static str] = &["reject"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "reject" { Ok(Self) } else { Err("is not a choice here".into()) }
    }

    fn schema() -> Schema {
        json_schema!({ "const": "reject" })
    }
}
