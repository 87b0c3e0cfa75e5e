//! Stores, and how long they keep.

use schemars::{Schema, json_schema};

use super::{amounts::scaled, names::one_of, pattern};
use crate::policy::read::Scalar;

one_of!(
    /// Where a kind of state lives.
    StoreName { Memory = "memory", Sqlite = "sqlite", Redis = "redis", }
);

/// The word `memory`.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct MemoryName;

impl Scalar for MemoryName {
    const EXPECTED: &'static str = "`memory`, `{ sqlite: FILE }` or `{ redis: URL }`";
    const NAMES: &'static [&'static str] = &["memory"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "memory" { Ok(Self) } else { Err("is not a choice here".into()) }
    }

    fn schema() -> Schema {
        json_schema!({ "const": "memory" })
    }
}

/// Whole days, or for ever.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct KeepName(pub(in crate::policy) Option<u32>);

impl Scalar for KeepName {
    const EXPECTED: &'static str = "a number of days, such as 90d, or `forever`";
    const NAMES: &'static [&'static str] = &["forever"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let days = ["days", "day", "d"].iter().find_map(|unit| text.strip_suffix(unit));
        let days = days.ok_or("is not a number of days")?.trim_end();
        let days = scaled(days, 1).and_then(|days| u32::try_from(days).ok());
        match days.ok_or("is not a whole number of days")? {
            0 => Err("keeps nothing".into()),
            days => Ok(Self(Some(days))),
        }
    }

    fn schema() -> Schema {
        pattern("^([0-9]+\\s*(d|days?)|forever)$")
    }
}
