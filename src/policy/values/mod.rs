//! What a single value can say.

mod amounts;
mod names;
mod routing;
mod state;

use schemars::{Schema, json_schema};

pub(in crate::policy) use amounts::*;
pub(in crate::policy) use names::*;
pub(in crate::policy) use routing::*;
pub(in crate::policy) use state::*;

use super::read::Scalar;

fn pattern(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern })
}

/// Any text but the empty one.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Text(pub(in crate::policy) String);

impl Scalar for Text {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.into())) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A secret, or `file:` and where it is. The text is only looked at by the check.
#[derive(Clone)]
pub(in crate::policy) struct Hidden(pub(in crate::policy) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl Scalar for Hidden {
    const EXPECTED: &'static str = "a secret: `${NAME}`, or `file:/path`";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.into())) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    const NAMES: &'static [&'static str] = &["true", "false"];

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "is neither true nor false".into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}
