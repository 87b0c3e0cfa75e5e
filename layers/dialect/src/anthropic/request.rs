//! Reading a Messages request: the few fields that matter, and where the model stands.

use tollway_core::{Ask, Dialect, Operation};

use crate::{
    BadRequest,
    fields::{Fields, Table, Unread, read_body, span},
    openai::{Edits, model::missing_model},
    text::Mode,
};

const MODEL: usize = 0;
const STREAM: usize = 1;
const MAX_TOKENS: usize = 2;

pub(crate) static TABLE: Table = Table {
    names: &[
        ("model", "model", MODEL),
        ("stream", "stream", STREAM),
        ("max_tokens", "max_tokens", MAX_TOKENS),
    ],
    texts: &[
        ("system", Mode::Text),
        ("messages", Mode::Text),
        ("tools", Mode::Structure),
        ("output_config", Mode::Structure),
    ],
    label: "",
};

/// Reads what the body of a call to Messages, or to its counting of tokens, asks for, and where
/// its model stands.
///
/// The whole body is checked to be valid JSON in valid UTF-8, nested at most 127 deep. Input tokens
/// are estimated at four bytes of text each, images by their size where their first bytes tell it,
/// documents at a flat count.
///
/// # Errors
///
/// As [`openai::request::read`](crate::openai::request::read).
///
/// ```
/// use tollway_core::{Dialect, Operation};
/// use tollway_dialect::anthropic::request;
///
/// let body = br#"{"model":"claude-haiku-4-5","max_tokens":64,"messages":[]}"#;
/// let (ask, edits) = request::read(Operation::Messages, body).unwrap();
/// assert_eq!((ask.dialect, ask.max_output_tokens), (Dialect::Anthropic, Some(64)));
/// let sent = edits.apply(&body.to_vec().into(), Some("claude-sonnet-4-5"), false);
/// assert_eq!(sent, r#"{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[]}"#);
/// ```
pub fn read(operation: Operation, body: &[u8]) -> Result<(Ask, Edits), BadRequest> {
    read_body(body, |text| read_text(operation, text))
}

fn read_text(operation: Operation, text: &str) -> Result<(Ask, Edits), Unread> {
    const EXAMPLE: &str = "claude-haiku-4-5";
    let fields = Fields::of_body(text, &TABLE)?;
    let Some(model) = fields.model(MODEL, EXAMPLE)? else {
        return Err(missing_model("is missing", EXAMPLE).into());
    };
    let mut ask = Ask::new(operation).with_model(model.as_ref());
    ask.dialect = Dialect::Anthropic;
    ask.stream = fields.flag(STREAM)?.unwrap_or(false);
    ask.max_output_tokens = fields.number(MAX_TOKENS, "a whole number of tokens")?;
    let ask = ask.with_prompt(fields.count.prompt());
    let model = fields.raw(MODEL).map(|raw| span(text, raw));
    Ok((ask, Edits { model, ..Edits::default() }))
}
