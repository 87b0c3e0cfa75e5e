use std::ops::Range;

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
    NoOptions(usize),
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
        let mut changes: [Option<(Range<usize>, String)>; 2] = [None, None];
        if let (Some(span), Some(model)) = (&self.model, model) {
            let text = match self.form {
                true => model.to_owned(),
                false => serde_json::Value::from(model).to_string(),
            };
            changes[0] = Some((span.clone(), text));
        }
        if include_usage {
            changes[1] = self.usage.change();
        }
        let start = |change: &Option<(Range<usize>, String)>| change.as_ref().map(|c| c.0.start);
        if start(&changes[0]) > start(&changes[1]) {
            changes.swap(0, 1);
        }
        splice(body, changes.into_iter().flatten())
    }
}

impl UsageOption {
    fn change(&self) -> Option<(Range<usize>, String)> {
        Some(match self {
            Self::Settled => return None,
            Self::NoOptions(at) => {
                (*at..*at, r#""stream_options":{"include_usage":true},"#.to_owned())
            }
            Self::NullOptions(span) => (span.clone(), r#"{"include_usage":true}"#.to_owned()),
            Self::NoField { at, empty: true } => (*at..*at, r#""include_usage":true"#.to_owned()),
            Self::NoField { at, empty: false } => (*at..*at, r#""include_usage":true,"#.to_owned()),
            Self::Value(span) => (span.clone(), "true".to_owned()),
        })
    }
}

/// `changes` in rising order.
fn splice(body: &Bytes, changes: impl Iterator<Item = (Range<usize>, String)>) -> Bytes {
    let mut out = Vec::new();
    let mut from = 0;
    for (span, text) in changes {
        let (Some(before), true) = (body.get(from..span.start), span.end <= body.len()) else {
            return body.clone();
        };
        if out.capacity() == 0 {
            out.reserve_exact(body.len() + text.len() + 64);
        }
        out.extend_from_slice(before);
        out.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    if from == 0 && out.is_empty() {
        return body.clone();
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out.into()
}
