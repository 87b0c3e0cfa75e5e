//! The top level of a JSON request: the few fields that matter, borrowed, and where they stand.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    BadRequest,
    openai::Span,
    scan::scan,
    tame::tame,
    text::{Count, Mode, Walk, nothing},
};

/// What is read of an object.
pub(crate) struct Table {
    pub(crate) names: &'static [Name],
    /// Fields whose text counts as input, and how; at most 16.
    pub(crate) texts: &'static [(&'static str, Mode)],
    /// Where the object stands, for errors; nothing for the body itself.
    pub(crate) label: &'static str,
}

/// A field's key, what errors call it, and its place: two spellings of a field share one.
pub(crate) type Name = (&'static str, &'static str, usize);

/// Places there are.
const PLACES: usize = 8;

/// Why a body was not read.
pub(crate) enum Unread {
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

/// Reads a body's text by `read`, once more if only a number that no double holds, or half a letter, was
/// in the way.
pub(crate) fn read_body<T>(
    body: &[u8],
    read: impl Fn(&str) -> Result<T, Unread>,
) -> Result<T, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    read(text).or_else(|unread| match unread {
        Unread::Refused(refused) => Err(refused),
        Unread::Json(error) => {
            // Everything else stands where it stood, so the places hold.
            let tamed = tame(body, &error);
            match tamed.as_deref().and_then(|tamed| std::str::from_utf8(tamed).ok()) {
                Some(tamed) => read(tamed).map_err(Unread::into_refused),
                None => Err(bad_json(&error)),
            }
        }
    })
}

/// What an object holds, types unchecked.
pub(crate) struct Fields<'a> {
    /// The whole body.
    pub(crate) text: &'a str,
    pub(crate) count: Count,
    raws: [Option<(&'static str, &'a RawValue)>; PLACES],
    texts: u16,
    table: &'static Table,
}

impl<'a> Fields<'a> {
    /// Of the body itself.
    pub(crate) fn of_body(text: &'a str, table: &'static Table) -> Result<Self, Unread> {
        let start = text.trim_ascii_start();
        if !start.starts_with('{') {
            return Err(not_an_object(text, text.len() - start.len()).into());
        }
        Self::read(text, text, table)
    }

    /// Of an object in the body.
    pub(crate) fn of_value(
        &self,
        raw: &'a RawValue,
        table: &'static Table,
    ) -> Result<Self, Unread> {
        if !raw.get().starts_with('{') {
            return Err(self.wrong_type(table.label, raw, "an object").into());
        }
        Self::read(self.text, raw.get(), table)
    }

    fn read(text: &'a str, object: &'a str, table: &'static Table) -> Result<Self, Unread> {
        let (top, count) = match scan(object, table) {
            Some(found) => found,
            None => walk(object, table).map_err(Unread::Json)?,
        };
        if let Some((name, raw)) = top.twice {
            let place = raw.map_or_else(String::new, |raw| format!(" ({})", place(text, raw)));
            return Err(BadRequest::invalid(format!(
                "The field `{name}` is given twice{place}. Send it once."
            ))
            .with_param(name)
            .with_code("duplicate_field")
            .into());
        }
        let Found { raws, texts, .. } = top;
        Ok(Self { text, count, raws, texts, table })
    }

    /// The field's value; null counts as absent.
    pub(crate) fn raw(&self, place: usize) -> Option<&'a RawValue> {
        self.given(place).filter(|raw| raw.get() != "null")
    }

    /// The field's value, even if it is null.
    pub(crate) fn given(&self, place: usize) -> Option<&'a RawValue> {
        self.raws.get(place).copied().flatten().map(|(_, raw)| raw)
    }

    /// Whether a field whose text counts is there.
    pub(crate) fn has_text(&self, name: &str) -> bool {
        let at = self.table.texts.iter().position(|(known, _)| *known == name);
        at.is_some_and(|at| self.texts & (1 << at) != 0)
    }

    fn label(&self, place: usize) -> &'static str {
        self.raws.get(place).copied().flatten().map_or("", |(label, _)| label)
    }

    /// The model, checked; `None` if there is none. `example` is of the kind that is meant.
    pub(crate) fn model(
        &self,
        place: usize,
        example: &str,
    ) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let Some(raw) = self.raw(place) else { return Ok(None) };
        let model = string(raw).ok_or_else(|| {
            self.wrong_type(self.label(place), raw, &format!("a string such as {example:?}"))
        })?;
        crate::openai::model::check_model(&model)?;
        Ok(Some(model))
    }

    pub(crate) fn flag(&self, place: usize) -> Result<Option<bool>, BadRequest> {
        let Some(raw) = self.raw(place) else { return Ok(None) };
        let wrong = || self.wrong_type(self.label(place), raw, "true or false");
        boolean(raw).map(Some).ok_or_else(wrong)
    }

    pub(crate) fn number(&self, place: usize, expected: &str) -> Result<Option<u64>, BadRequest> {
        let Some(raw) = self.raw(place) else { return Ok(None) };
        let wrong = || self.wrong_type(self.label(place), raw, expected);
        whole_number(raw.get()).map(Some).ok_or_else(wrong)
    }

    /// As protobuf's JSON has them: a number may stand in quotes.
    pub(crate) fn quoted_number(
        &self,
        place: usize,
        expected: &str,
    ) -> Result<Option<u64>, BadRequest> {
        let Some(raw) = self.raw(place) else { return Ok(None) };
        let wrong = || self.wrong_type(self.label(place), raw, expected);
        whole_number(raw.get().trim_matches('"')).map(Some).ok_or_else(wrong)
    }

    /// How many replies are asked for.
    pub(crate) fn choices(&self, place: usize, number: Option<u64>) -> Result<u32, BadRequest> {
        match (number.map(u32::try_from), self.raw(place)) {
            (Some(Ok(n)), _) if n > 0 => Ok(n),
            (Some(_), Some(raw)) => Err(self.wrong_type(self.label(place), raw, AT_LEAST_ONE)),
            _ => Ok(1),
        }
    }

    pub(crate) fn wrong_type(
        &self,
        name: &'static str,
        raw: &RawValue,
        expected: &str,
    ) -> BadRequest {
        BadRequest::invalid(format!(
            "`{name}` must be {expected}, but it is {} ({}).",
            found(raw.get()),
            place(self.text, raw)
        ))
        .with_param(name)
        .with_code("invalid_type")
    }
}

pub(crate) const AT_LEAST_ONE: &str = "a whole number of at least 1";

fn whole_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().or_else(|| {
        // `16.0` and `1e3` are whole numbers too.
        let number = text.parse::<f64>().ok()?;
        let whole = number.fract() == 0.0 && (0.0..=9e15).contains(&number);
        whole.then_some(number as u64)
    })
}

#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) raws: [Option<(&'static str, &'a RawValue)>; PLACES],
    pub(crate) texts: u16,
    twice: Option<(&'static str, Option<&'a RawValue>)>,
}

/// The long way, which takes all that is JSON and says what is wrong with the rest.
pub(crate) fn walk<'a>(
    object: &'a str,
    table: &'static Table,
) -> Result<(Found<'a>, Count), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(object);
    let mut count = Count::default();
    let found = Top { table, count: &mut count }.deserialize(&mut json)?;
    json.end()?;
    Ok((found, count))
}

struct Top<'c> {
    table: &'static Table,
    count: &'c mut Count,
}

/// Adds the text of an object's fields to `count`, until that has enough.
#[cfg(feature = "exact-tokens")]
pub(crate) fn count_text(object: &str, table: &'static Table, count: &mut Count) {
    // The object has been read before: an error is the count's own.
    let _ = Top { table, count }.deserialize(&mut serde_json::Deserializer::from_str(object));
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut fields = Found::default();
        while let Some(key) = map.next_key_seed(Key(self.table))? {
            match key {
                Known::Read((_, label, at)) => {
                    let raw: &RawValue = map.next_value()?;
                    let slot = fields.raws.get_mut(at);
                    if slot.and_then(|slot| slot.replace((label, raw))).is_some() {
                        fields.twice = Some((label, Some(raw)));
                    }
                }
                Known::Text(at, (name, mode)) => {
                    map.next_value_seed(Walk { count: self.count, mode })?;
                    if fields.texts & (1 << at) != 0 {
                        fields.twice = Some((name, None));
                    }
                    fields.texts |= 1 << at;
                }
                Known::Not => nothing(&mut map)?,
            }
        }
        Ok(fields)
    }
}

/// What a key of a [`Table`]'s object is.
pub(crate) enum Known {
    Read(Name),
    Text(usize, (&'static str, Mode)),
    Not,
}

struct Key(&'static Table);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Known, E> {
        Ok(self.0.known(name))
    }
}

impl Table {
    pub(crate) fn known(&self, name: &str) -> Known {
        if let Some(found) = self.names.iter().find(|(key, ..)| *key == name) {
            return Known::Read(*found);
        }
        let text = self.texts.iter().enumerate().find(|(_, (key, _))| *key == name);
        text.map_or(Known::Not, |(at, text)| Known::Text(at, *text))
    }
}

pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
}

pub(crate) fn boolean(raw: &RawValue) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A borrowed raw value is a slice of the text it was read from.
pub(crate) fn span(text: &str, raw: &RawValue) -> Span {
    let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    Span { start, end: start + raw.get().len() }
}

pub(crate) fn place(text: &str, raw: &RawValue) -> String {
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
    if what.contains("number out of range") {
        return BadRequest::invalid(format!(
            "The request body has a number that no double can hold ({place}); it can't be carried \
             over to the API of the provider that this request goes to."
        ))
        .with_code("invalid_value");
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
