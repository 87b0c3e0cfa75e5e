use bytes::Bytes;

/// Where a request's body can be changed without touching its other bytes.
///
/// Belongs to the body it was read from; applied to another body it changes nothing or the wrong
/// bytes, but never panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    pub(crate) model: Option<Span>,
    pub(crate) usage: UsageOption,
    /// The body is a form: values stand in it as they are, unquoted.
    pub(crate) form: bool,
    /// The model in the body is not the one that is asked for, which stands in the path.
    pub(crate) other_model: bool,
}

/// A range of bytes that can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    fn at(start: usize) -> Self {
        Self { start, end: start }
    }
}

/// How `stream_options.include_usage` stands in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageOption {
    /// True already, or not a JSON object: nothing to do.
    #[default]
    Settled,
    /// No `stream_options`: insert the field here, behind the body's opening brace.
    NoOptions { at: usize, empty: bool },
    /// `stream_options` is null: replace it.
    NullOptions(Span),
    /// An object without the field: insert it here, behind the opening brace.
    NoField { at: usize, empty: bool },
    /// The field is false or null: replace its value.
    Value(Span),
}

impl Edits {
    /// The body with another `model` and, if `include_usage`, with
    /// `stream_options.include_usage` set; every other byte stays as it is.
    ///
    /// Nothing to change gives the same bytes back, uncopied. A body that names no model keeps
    /// naming none.
    pub fn apply(&self, body: &Bytes, model: Option<&str>, include_usage: bool) -> Bytes {
        let escaped;
        let model = match (self.model, model) {
            (Some(span), Some(model)) if self.form => Some((span, ["", model, ""])),
            (Some(span), Some(model)) if is_plain(model) => Some((span, ["\"", model, "\""])),
            (Some(span), Some(model)) => {
                // A string can always be written as JSON.
                escaped = serde_json::to_string(model).unwrap_or_default();
                Some((span, ["", &escaped, ""]))
            }
            _ => None,
        };
        let usage = if include_usage { self.usage.change() } else { None };
        let mut changes = [model, usage];
        let start = |change: &Option<Change<'_>>| change.as_ref().map(|c| c.0.start);
        if start(&changes[0]) > start(&changes[1]) {
            changes.swap(0, 1);
        }
        splice(body, &changes).unwrap_or_else(|| body.clone())
    }

    /// Whether the body can be made to ask for usage, which it does not yet.
    pub(crate) fn can_ask_for_usage(&self) -> bool {
        self.usage != UsageOption::Settled
    }
}

/// Bytes to replace, and what stands there instead.
type Change<'a> = (Span, [&'a str; 3]);

impl UsageOption {
    fn change(&self) -> Option<Change<'static>> {
        let (span, text) = match *self {
            Self::Settled => return None,
            Self::NoOptions { at, empty: true } => {
                (Span::at(at), r#""stream_options":{"include_usage":true}"#)
            }
            Self::NoOptions { at, empty: false } => {
                (Span::at(at), r#""stream_options":{"include_usage":true},"#)
            }
            Self::NullOptions(span) => (span, r#"{"include_usage":true}"#),
            Self::NoField { at, empty: true } => (Span::at(at), r#""include_usage":true"#),
            Self::NoField { at, empty: false } => (Span::at(at), r#""include_usage":true,"#),
            Self::Value(span) => (span, "true"),
        };
        Some((span, ["", text, ""]))
    }
}

/// Written in JSON as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// `changes` in rising order; `None` if there is none, or if they do not fit the body.
fn splice(body: &Bytes, changes: &[Option<Change<'_>>]) -> Option<Bytes> {
    let changes = || changes.iter().flatten();
    let added: usize = changes().flat_map(|(_, parts)| parts).map(|part| part.len()).sum();
    if added == 0 {
        return None;
    }
    let removed: usize = changes().map(|(span, _)| span.end.saturating_sub(span.start)).sum();
    let mut out = Vec::with_capacity(body.len().saturating_sub(removed) + added);
    let mut from = 0;
    for (span, parts) in changes() {
        out.extend_from_slice(body.get(from..span.start)?);
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        from = span.end;
    }
    out.extend_from_slice(body.get(from..)?);
    Some(out.into())
}
