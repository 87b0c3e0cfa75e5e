//! Reading a JSON request: the few fields that matter, borrowed, and where they stand.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollway_core::{Ask, Operation};

use super::{
    Edits, Span,
    edits::UsageOption,
    model::{check_model, missing_model},
};
use crate::{
    BadRequest,
    text::{Count, Mode, Walk, nothing, tame},
};

/// Reads what `body` asks for, and where it can be edited.
///
/// The whole body is checked to be valid JSON in valid UTF-8, nested at most 127 deep (128 within
/// `stream_options`); fields that are not known are passed over, numbers beyond a double among
/// them (RFC 8259 sets no bound). Input tokens are estimated at four bytes of text each, media at
/// a flat count. `max_output_tokens` is the caller's bound for all choices together.
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
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    read_text(operation, text, named).or_else(|unread| match unread {
        Unread::Refused(refused) => Err(refused),
        Unread::Json(error) => {
            // Everything else stands where it stood, so the places hold.
            let tamed = tame(body, &error);
            match tamed.as_deref().and_then(|tamed| std::str::from_utf8(tamed).ok()) {
                Some(tamed) => read_text(operation, tamed, named).map_err(Unread::into_refused),
                None => Err(bad_json(&error)),
            }
        }
    })
}

/// Why a body was not read.
enum Unread {
    Json(serde_json::Error),
    Refused(BadRequest),
}

impl Unread {
    fn into_refused(self) -> BadRequest {
        match self {
            Self::Json(error) => bad_json(&error),
            Self::Refused(refused) => refused,
        }
    }
}

impl From<BadRequest> for Unread {
    fn from(refused: BadRequest) -> Self {
        Self::Refused(refused)
    }
}

fn read_text(
    operation: Operation,
    text: &str,
    named: Option<&str>,
) -> Result<(Ask, Edits), Unread> {
    let start = text.trim_ascii_start();
    let open = text.len() - start.len();
    if !start.starts_with('{') {
        return Err(not_an_object(text, open).into());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let fields = Top
        .deserialize(&mut json)
        .and_then(|fields| json.end().map(|()| fields))
        .map_err(Unread::Json)?;
    if let Some((name, raw)) = fields.twice {
        let place = raw.map_or_else(String::new, |raw| format!(" ({})", place(text, raw)));
        return Err(BadRequest::invalid(format!(
            "The field `{name}` is given twice{place}. Send it once."
        ))
        .with_param(name)
        .with_code("duplicate_field")
        .into());
    }
    let reader = Reader { text, fields: &fields };
    let (usage, wants_usage) = reader.stream_options(open)?;
    let mut other_model = false;
    let model = match named {
        Some(named) => {
            check_model(named)?;
            let raw = fields.raw(Field::Model);
            other_model = raw.is_some_and(|raw| string(raw).as_deref() != Some(named));
            Some(Cow::Borrowed(named))
        }
        None => reader.model(operation)?,
    };
    let mut ask = Ask::new(operation);
    ask.model = model.map(|model| model.as_ref().into());
    ask.stream = reader.flag(Field::Stream)?.unwrap_or(false);
    ask.wants_usage = wants_usage;
    ask.choices = reader.choices()?;
    ask.max_output_tokens = reader.max_output(ask.choices)?;
    ask.input_tokens = fields.count.estimate();
    let model = fields.raw(Field::Model).map(|raw| span(text, raw));
    Ok((ask, Edits { model, usage, form: false, other_model }))
}

#[derive(Clone, Copy)]
enum Field {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
}

const NAMES: [&str; 7] = [
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
];

/// Fields whose text counts as input, and how.
const TEXTS: [(&str, Mode); 9] = [
    ("messages", Mode::Text),
    ("input", Mode::Prompt),
    ("prompt", Mode::Prompt),
    ("instructions", Mode::Text),
    ("suffix", Mode::Text),
    ("tools", Mode::Structure),
    ("functions", Mode::Structure),
    ("response_format", Mode::Structure),
    ("text", Mode::Structure),
];

enum Key {
    Read(usize),
    Text(usize),
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                let known = NAMES.iter().position(|known| *known == name).map(Key::Read);
                let text = || TEXTS.iter().position(|(known, _)| *known == name).map(Key::Text);
                Ok(known.or_else(text).unwrap_or(Key::Other))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// What the body's top level holds, types unchecked.
#[derive(Default)]
struct Fields<'a> {
    raws: [Option<&'a RawValue>; NAMES.len()],
    texts: [bool; TEXTS.len()],
    twice: Option<(&'static str, Option<&'a RawValue>)>,
    count: Count,
}

impl<'a> Fields<'a> {
    /// The field's value; null counts as absent.
    fn raw(&self, field: Field) -> Option<&'a RawValue> {
        self.raws[field as usize].filter(|raw| raw.get() != "null")
    }
}

struct Top;

impl<'de> DeserializeSeed<'de> for Top {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Read(at) => {
                    let raw: &RawValue = map.next_value()?;
                    if fields.raws[at].replace(raw).is_some() {
                        fields.twice = Some((NAMES[at], Some(raw)));
                    }
                }
                Key::Text(at) => {
                    let (name, mode) = TEXTS[at];
                    map.next_value_seed(Walk { count: &mut fields.count, mode })?;
                    if std::mem::replace(&mut fields.texts[at], true) {
                        fields.twice = Some((name, None));
                    }
                }
                Key::Other => {
                    nothing(&mut map)?;
                }
            }
        }
        Ok(fields)
    }
}

struct Reader<'a, 'f> {
    text: &'a str,
    fields: &'f Fields<'a>,
}

impl<'a> Reader<'a, '_> {
    fn model(&self, operation: Operation) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let Some(raw) = self.fields.raw(Field::Model) else {
            return match needs_model(operation, self.fields) {
                true => Err(missing_model("is missing")),
                false => Ok(None),
            };
        };
        let model = string(raw)
            .ok_or_else(|| self.wrong_type("model", raw, "a string such as \"gpt-4o-mini\""))?;
        check_model(&model)?;
        Ok(Some(model))
    }

    fn flag(&self, field: Field) -> Result<Option<bool>, BadRequest> {
        let Some(raw) = self.fields.raw(field) else { return Ok(None) };
        boolean(raw)
            .map(Some)
            .ok_or_else(|| self.wrong_type(NAMES[field as usize], raw, "true or false"))
    }

    fn number(&self, field: Field, expected: &str) -> Result<Option<u64>, BadRequest> {
        let Some(raw) = self.fields.raw(field) else { return Ok(None) };
        let number = raw.get().parse::<u64>().ok().or_else(|| {
            // `16.0` and `1e3` are whole numbers too.
            let number = raw.get().parse::<f64>().ok()?;
            let whole = number.fract() == 0.0 && (0.0..=9e15).contains(&number);
            whole.then_some(number as u64)
        });
        number.map(Some).ok_or_else(|| self.wrong_type(NAMES[field as usize], raw, expected))
    }

    fn choices(&self) -> Result<u32, BadRequest> {
        const EXPECTED: &str = "a whole number of at least 1";
        let n = self.number(Field::N, EXPECTED)?.unwrap_or(1);
        match (u32::try_from(n), self.fields.raw(Field::N)) {
            (Ok(n), _) if n > 0 => Ok(n),
            (_, Some(raw)) => Err(self.wrong_type("n", raw, EXPECTED)),
            (_, None) => Ok(1),
        }
    }

    fn max_output(&self, choices: u32) -> Result<Option<u64>, BadRequest> {
        let mut bound = None;
        for field in [Field::MaxTokens, Field::MaxCompletionTokens, Field::MaxOutputTokens] {
            bound = self.number(field, "a whole number of tokens")?.or(bound);
        }
        Ok(bound.map(|bound| bound.saturating_mul(u64::from(choices))))
    }

    fn stream_options(&self, open: usize) -> Result<(UsageOption, bool), Unread> {
        let Some(raw) = self.fields.raws[Field::StreamOptions as usize] else {
            let at = open + 1;
            let rest = self.text.get(at..).unwrap_or_default();
            let empty = rest.trim_ascii_start().starts_with('}');
            return Ok((UsageOption::NoOptions { at, empty }, false));
        };
        let at = span(self.text, raw);
        if raw.get() == "null" {
            return Ok((UsageOption::NullOptions(at), false));
        }
        if !raw.get().starts_with('{') {
            return Err(self.wrong_type("stream_options", raw, "an object").into());
        }
        let options: StreamOptions<'_> = serde_json::from_str(raw.get()).map_err(Unread::Json)?;
        if options.twice {
            return Err(BadRequest::invalid(format!(
                "The field `stream_options.include_usage` is given twice ({}). Send it once.",
                place(self.text, raw)
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
                Err(self.wrong_type("stream_options.include_usage", flag, "true or false").into())
            }
            _ => Ok((UsageOption::Value(span(self.text, flag)), false)),
        }
    }

    fn wrong_type(&self, name: &'static str, raw: &RawValue, expected: &str) -> BadRequest {
        BadRequest::invalid(format!(
            "`{name}` must be {expected}, but it is {} ({}).",
            found(raw.get()),
            place(self.text, raw)
        ))
        .with_param(name)
        .with_code("invalid_type")
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
        Operation::Responses => {
            !TEXTS.iter().zip(fields.texts).any(|((name, _), seen)| seen && *name == "prompt")
        }
        _ => false,
    }
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
}

fn boolean(raw: &RawValue) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A borrowed raw value is a slice of the text it was read from.
fn span(text: &str, raw: &RawValue) -> Span {
    let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    Span { start, end: start + raw.get().len() }
}

fn place(text: &str, raw: &RawValue) -> String {
    line_and_column(text.as_bytes(), span(text, raw).start)
}

fn line_and_column(body: &[u8], offset: usize) -> String {
    let before = body.get(..offset).unwrap_or(body);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = offset - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1;
    format!("line {line}, column {column}")
}

fn found(json: &str) -> String {
    let short: String = json.chars().take(40).collect();
    let short = if short.len() < json.len() { format!("{short}...") } else { short };
    match json.as_bytes().first() {
        Some(b'"') => format!("the string {short}"),
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        Some(b't' | b'f') => format!("the boolean {short}"),
        Some(b'n') => "null".to_owned(),
        _ => format!("the number {short}"),
    }
}

fn not_utf8(body: &[u8], offset: usize) -> BadRequest {
    BadRequest::invalid(format!(
        "The request body is not valid UTF-8 at byte {offset} ({}). Send JSON encoded as UTF-8.",
        line_and_column(body, offset)
    ))
    .with_code("invalid_utf8")
}

fn not_an_object(text: &str, at: usize) -> BadRequest {
    let found = match text.as_bytes().get(at) {
        None => "it is empty".to_owned(),
        Some(b'[') => "it is an array".to_owned(),
        Some(b'"') => "it is a string".to_owned(),
        Some(_) => {
            let start: String = text[at..].chars().take(16).collect();
            format!("it begins with {start:?}")
        }
    };
    BadRequest::invalid(format!(
        "The request body must be a JSON object such as {{\"model\": ...}}, but {found}."
    ))
    .with_code("invalid_json")
}

pub(crate) fn bad_json(error: &serde_json::Error) -> BadRequest {
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    if what.contains("recursion limit") {
        return BadRequest::invalid(format!(
            "The request body is nested deeper than 127 levels ({place})."
        ))
        .with_code("nested_too_deep");
    }
    let message = if error.is_eof() {
        format!(
            "The request body is not valid JSON: it ends in the middle ({what}, {place}). \
             Was it cut off?"
        )
    } else {
        format!("The request body is not valid JSON: {what} ({place}).")
    };
    BadRequest::invalid(message).with_code("invalid_json")
}
