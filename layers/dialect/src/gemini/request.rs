//! Reading a request of Google's form: model and method stand in the path, all else in the body.

use tollway_core::{Ask, Dialect};

use super::Call;
use crate::{
    BadRequest,
    fields::{AT_LEAST_ONE, Fields, Table, Unread, read_body},
    openai::model::check_model,
    text::Mode,
};

const CONFIG: usize = 0;
const MAX_TOKENS: usize = 0;
const CANDIDATES: usize = 1;

/// Both spellings of a field are read, as Google does.
pub(crate) static TABLE: Table = Table {
    names: &[
        ("generationConfig", "generationConfig", CONFIG),
        ("generation_config", "generation_config", CONFIG),
    ],
    texts: &[
        ("contents", Mode::Text),
        ("systemInstruction", Mode::Text),
        ("system_instruction", Mode::Text),
        ("tools", Mode::Structure),
        // Embeddings.
        ("content", Mode::Text),
        ("requests", Mode::Text),
        // Counting.
        ("generateContentRequest", Mode::Text),
        ("generate_content_request", Mode::Text),
    ],
    label: "",
};
static CONFIG_TABLE: Table = Table {
    names: &[
        ("maxOutputTokens", "generationConfig.maxOutputTokens", MAX_TOKENS),
        ("max_output_tokens", "generation_config.max_output_tokens", MAX_TOKENS),
        ("candidateCount", "generationConfig.candidateCount", CANDIDATES),
        ("candidate_count", "generation_config.candidate_count", CANDIDATES),
    ],
    texts: &[
        ("responseSchema", Mode::Structure),
        ("response_schema", Mode::Structure),
        ("responseJsonSchema", Mode::Structure),
        ("response_json_schema", Mode::Structure),
    ],
    label: "generationConfig",
};

/// Reads what a call asks for. There is nothing to edit in its body: the model stands in the path.
///
/// The whole body is checked to be valid JSON in valid UTF-8, nested at most 127 deep. Input tokens
/// are estimated at four bytes of text each, images by their size where their first bytes tell it,
/// files at a flat count.
/// `max_output_tokens` is the caller's bound for all candidates together.
///
/// # Errors
///
/// As [`openai::request::read`](crate::openai::request::read).
///
/// ```
/// use tollway_core::Dialect;
/// use tollway_dialect::gemini::{Call, request};
///
/// let call = Call::of("/v1beta/models/gemini-2.5-flash:generateContent").unwrap();
/// let body = br#"{"contents":[],"generationConfig":{"maxOutputTokens":64,"candidateCount":2}}"#;
/// let ask = request::read(&call, body).unwrap();
/// assert_eq!((ask.dialect, ask.model()), (Dialect::Gemini, Some("gemini-2.5-flash")));
/// assert_eq!((ask.max_output_tokens, ask.choices), (Some(128), 2));
/// ```
pub fn read(call: &Call<'_>, body: &[u8]) -> Result<Ask, BadRequest> {
    read_body(body, |text| read_text(call, text))
}

fn read_text(call: &Call<'_>, text: &str) -> Result<Ask, Unread> {
    let fields = Fields::of_body(text, &TABLE)?;
    check_model(&call.model)?;
    let mut ask = Ask::new(call.operation).with_model(call.model.as_ref());
    ask.dialect = Dialect::Gemini;
    ask.stream = call.stream;
    let mut prompt = fields.count.prompt();
    let Some(config) = fields.raw(CONFIG) else { return Ok(ask.with_prompt(prompt)) };
    let config = fields.of_value(config, &CONFIG_TABLE)?;
    // As protobuf has it, zero is as good as nothing.
    let candidates = config.quoted_number(CANDIDATES, AT_LEAST_ONE)?.filter(|count| *count > 0);
    ask.choices = config.choices(CANDIDATES, candidates)?;
    let bound = config.quoted_number(MAX_TOKENS, "a whole number of tokens")?;
    ask.max_output_tokens = bound.map(|bound| bound.saturating_mul(u64::from(ask.choices)));
    prompt.text = prompt.text.saturating_add(config.count.prompt().text);
    Ok(ask.with_prompt(prompt))
}
