use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

/// Where a request's body can be changed without touching its other bytes.
///
/// Belongs to the body it was read from; applied to another body it changes nothing or the wrong
/// bytes, but never panics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    pub(crate) model: Option<Range<usize>>,
    pub(crate) usage: UsageOption,
    /// The body is a form: values stand in it as they are, unquoted.
    pub(crate) form: bool,
}

/// How `stream_options.include_usage` stands in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageOption {
    /// True already, or not a JSON object: nothing to do.
    #[default]
    Settled,
    /// No `stream_options`: insert the field here, behind the body's opening brace.
    NoOptions { at: usize, empty: bool },
    /// `stream_options` is null: replace it.
    NullOptions(Range<usize>),
    /// An object without the field: insert it here, behind the opening brace.
    NoField { at: usize, empty: bool },
    /// The field is false or null: replace its value.
    Value(Range<usize>),
}

impl Edits {
    /// The body with another `model` and, if `include_usage`, with
    /// `stream_options.include_usage` set; every other byte stays as it is.
    ///
    /// Nothing to change gives the same bytes back, uncopied. A body that names no model keeps
    /// naming none.
    pub fn apply(&self, body: &Bytes, model: Option<&str>, include_usage: bool) -> Bytes {
        let model = self.model.clone().zip(model).map(|(span, model)| match self.form {
            true => (span, Cow::Borrowed(model)),
            // A string can always be written as JSON.
            false => (span, serde_json::to_string(model).unwrap_or_default().into()),
        });
        let usage = if include_usage { self.usage.change() } else { None };
        let mut changes = [model, usage];
        let start = |change: &Option<Change<'_>>| change.as_ref().map(|c| c.0.start);
        if start(&changes[0]) > start(&changes[1]) {
            changes.swap(0, 1);
        }
        splice(body, &changes)
    }
}

/// Bytes to replace, and what stands there instead.
type Change<'a> = (Range<usize>, Cow<'a, str>);

impl UsageOption {
    fn change(&self) -> Option<Change<'static>> {
        let (span, text) = match self {
            Self::Settled => return None,
            Self::NoOptions { at, empty: true } => {
                (*at..*at, r#""stream_options":{"include_usage":true}"#)
            }
            Self::NoOptions { at, empty: false } => {
                (*at..*at, r#""stream_options":{"include_usage":true},"#)
            }
            Self::NullOptions(span) => (span.clone(), r#"{"include_usage":true}"#),
            Self::NoField { at, empty: true } => (*at..*at, r#""include_usage":true"#),
            Self::NoField { at, empty: false } => (*at..*at, r#""include_usage":true,"#),
            Self::Value(span) => (span.clone(), "true"),
        };
        Some((span, text.into()))
    }
}

/// `changes` in rising order; the same bytes if there is none, or if they do not fit the body.
fn splice(body: &Bytes, changes: &[Option<Change<'_>>]) -> Bytes {
    let changes = || changes.iter().flatten();
    let added: usize = changes().map(|(_, text)| text.len()).sum();
    let removed: usize = changes().map(|(span, _)| span.len()).sum();
    let mut out = Vec::new();
    let mut from = 0;
    for (span, text) in changes() {
        let (Some(before), true) = (body.get(from..span.start), span.end <= body.len()) else {
            return body.clone();
        };
        if out.capacity() == 0 {
            out.reserve_exact((body.len() + added).saturating_sub(removed));
        }
        out.extend_from_slice(before);
        out.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    if added == 0 {
        return body.clone();
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out.into()
}
