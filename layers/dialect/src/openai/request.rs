//! Reading a JSON request: the few fields that matter, borrowed, and where they stand.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollway_core::{Ask, Operation};

use super::{
    Edits,
    edits::UsageOption,
    model::{check_model, missing_model},
};
use crate::{
    BadRequest,
    fields::{AT_LEAST_ONE, Fields, Table, Unread, boolean, place, read_body, span, string},
    text::{Mode, nothing},
};

/// Reads what `body` asks for, and where it can be edited.
///
/// The whole body is checked to be valid JSON in valid UTF-8, nested at most 127 deep (128 within
/// `stream_options`); fields that are not known are passed over, numbers beyond a double among
/// them (RFC 8259 sets no bound). Input tokens are estimated at four bytes of text each, images by
/// their size where their first bytes tell it, other media at a flat count. `max_output_tokens` is the caller's bound for all choices together.
///
/// # Errors
///
/// Broken JSON, a wrong type, a missing model, one that is longer than 256 bytes or has control
/// characters, or a field given twice: the error names the field, what was found, what was
/// expected, and the line and column.
///
/// ```
/// use tollway_core::Operation;
/// use tollway_dialect::openai::request;
///
/// let body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}],"x":1}"#;
/// let (ask, edits) = request::read(Operation::ChatCompletions, body).unwrap();
/// assert_eq!(ask.model(), Some("gpt-4o-mini"));
/// let sent = edits.apply(&body.to_vec().into(), Some("gpt-5"), false);
/// assert_eq!(sent, r#"{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}],"x":1}"#);
/// ```
pub fn read(operation: Operation, body: &[u8]) -> Result<(Ask, Edits), BadRequest> {
    read_named(operation, body, None)
}

/// As [`read`], for a call whose path names the model, which wins over the body's.
pub(crate) fn read_named(
    operation: Operation,
    body: &[u8],
    named: Option<&str>,
) -> Result<(Ask, Edits), BadRequest> {
    read_body(body, |text| read_text(operation, text, named))
}

const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const MAX_TOKENS: usize = 3;
const MAX_COMPLETION_TOKENS: usize = 4;
const MAX_OUTPUT_TOKENS: usize = 5;
const N: usize = 6;
const BEST_OF: usize = 7;

pub(crate) static TABLE: Table = Table {
    names: &[
        ("model", "model", MODEL),
        ("stream", "stream", STREAM),
        ("stream_options", "stream_options", STREAM_OPTIONS),
        ("max_tokens", "max_tokens", MAX_TOKENS),
        ("max_completion_tokens", "max_completion_tokens", MAX_COMPLETION_TOKENS),
        ("max_output_tokens", "max_output_tokens", MAX_OUTPUT_TOKENS),
        ("n", "n", N),
        ("best_of", "best_of", BEST_OF),
    ],
    texts: &[
        ("messages", Mode::Text),
        ("input", Mode::Prompt),
        ("prompt", Mode::Prompt),
        ("instructions", Mode::Text),
        ("suffix", Mode::Text),
        ("tools", Mode::Structure),
        ("functions", Mode::Structure),
        ("response_format", Mode::Structure),
        ("text", Mode::Structure),
    ],
    label: "",
};
const EXAMPLE: &str = "gpt-4o-mini";

fn read_text(
    operation: Operation,
    text: &str,
    named: Option<&str>,
) -> Result<(Ask, Edits), Unread> {
    let fields = Fields::of_body(text, &TABLE)?;
    let (usage, wants_usage) = stream_options(&fields)?;
    let raw = fields.raw(MODEL);
    let mut other_model = false;
    let model = match named {
        Some(named) => {
            check_model(named)?;
            other_model = raw.is_some_and(|raw| string(raw).as_deref() != Some(named));
            Some(Cow::Borrowed(named))
        }
        None => fields.model(MODEL, EXAMPLE)?,
    };
    if model.is_none() && needs_model(operation, &fields) {
        return Err(missing_model("is missing", EXAMPLE).into());
    }
    let mut ask = Ask::new(operation);
    ask.model = model.map(|model| model.as_ref().into());
    ask.stream = fields.flag(STREAM)?.unwrap_or(false);
    ask.wants_usage = wants_usage;
    ask.choices = fields.choices(N, fields.number(N, AT_LEAST_ONE)?)?;
    if operation == Operation::Completions {
        // All of them are written, and paid for.
        let best_of = fields.choices(BEST_OF, fields.number(BEST_OF, AT_LEAST_ONE)?)?;
        ask.choices = ask.choices.max(best_of).saturating_mul(prompts(text));
    }
    let mut bound = None;
    for field in [MAX_TOKENS, MAX_COMPLETION_TOKENS, MAX_OUTPUT_TOKENS] {
        bound = fields.number(field, "a whole number of tokens")?.or(bound);
    }
    ask.max_output_tokens = bound.map(|bound| bound.saturating_mul(u64::from(ask.choices)));
    let ask = ask.with_prompt(fields.count.prompt());
    let model = raw.map(|raw| span(text, raw));
    Ok((ask, Edits { model, usage, form: false, other_model }))
}

/// How many prompts a completion is asked for: each is answered by itself.
fn prompts(text: &str) -> u32 {
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let prompt = fields.get("prompt").map(|raw| serde_json::from_str(raw.get()));
    let Some(Ok(all)) = prompt else { return 1 };
    let all: Vec<&RawValue> = all;
    // One prompt may be a list, too: of tokens.
    let whole = all.iter().filter(|one| one.get().starts_with(['"', '['])).count();
    u32::try_from(whole.max(1)).unwrap_or(u32::MAX)
}

fn stream_options(fields: &Fields<'_>) -> Result<(UsageOption, bool), Unread> {
    let text = fields.text;
    let Some(raw) = fields.given(STREAM_OPTIONS) else {
        let at = text.len() - text.trim_ascii_start().len() + 1;
        let rest = text.get(at..).unwrap_or_default();
        let empty = rest.trim_ascii_start().starts_with('}');
        return Ok((UsageOption::NoOptions { at, empty }, false));
    };
    let at = span(text, raw);
    if raw.get() == "null" {
        return Ok((UsageOption::NullOptions(at), false));
    }
    if !raw.get().starts_with('{') {
        return Err(fields.wrong_type("stream_options", raw, "an object").into());
    }
    let options: StreamOptions<'_> = serde_json::from_str(raw.get()).map_err(Unread::Json)?;
    if options.twice {
        return Err(BadRequest::invalid(format!(
            "The field `stream_options.include_usage` is given twice ({}). Send it once.",
            place(text, raw)
        ))
        .with_param("stream_options")
        .with_code("duplicate_field")
        .into());
    }
    let Some(flag) = options.include_usage else {
        let option = UsageOption::NoField { at: at.start + 1, empty: options.empty };
        return Ok((option, false));
    };
    match boolean(flag) {
        Some(true) => Ok((UsageOption::Settled, true)),
        None if flag.get() != "null" => {
            Err(fields.wrong_type("stream_options.include_usage", flag, "true or false").into())
        }
        _ => Ok((UsageOption::Value(span(text, flag)), false)),
    }
}

struct StreamOptions<'a> {
    include_usage: Option<&'a RawValue>,
    empty: bool,
    twice: bool,
}

impl<'de> Deserialize<'de> for StreamOptions<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Options;
        impl<'de> Visitor<'de> for Options {
            type Value = StreamOptions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut options = StreamOptions { include_usage: None, empty: true, twice: false };
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    options.empty = false;
                    if key == "include_usage" {
                        let raw: &RawValue = map.next_value()?;
                        options.twice |= options.include_usage.replace(raw).is_some();
                    } else {
                        nothing(&mut map)?;
                    }
                }
                Ok(options)
            }
        }
        deserializer.deserialize_map(Options)
    }
}

/// A Responses call may name a stored prompt instead of a model.
fn needs_model(operation: Operation, fields: &Fields<'_>) -> bool {
    match operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => true,
        Operation::Responses => !fields.has_text("prompt"),
        _ => false,
    }
}
