use std::borrow::Cow;

use http::{HeaderMap, Method, Uri};
use tollway_core::{Dialect, Operation};

use crate::{anthropic, gemini, openai, path};

/// Whose call this is and which, by method, path and headers: what [`Inspect`](crate::Inspect)
/// goes by, and whoever answers before it.
///
/// Calls that only one family has are told by their path, however it is spelled (see
/// [`openai::operation`]). Lists of models, files, batches and unknown calls are Gemini's below
/// `/v1beta` or `/v1alpha` (but not below `/v1beta/openai`) or with an `x-goog-api-key`, and
/// Anthropic's below `/anthropic` or with an `anthropic-version`; else they are OpenAI's.
///
/// ```
/// use http::{HeaderMap, Method};
/// use tollway_core::{Dialect, Operation};
/// use tollway_dialect::recognize;
///
/// let post = |path| recognize(&Method::POST, path, &HeaderMap::new());
/// assert_eq!(post("/v1/messages"), (Dialect::Anthropic, Operation::Messages));
/// assert_eq!(post("/v1/chat/completions"), (Dialect::OpenAi, Operation::ChatCompletions));
/// assert_eq!(
///     post("/v1beta/models/gemini-2.5-flash:generateContent"),
///     (Dialect::Gemini, Operation::GenerateContent),
/// );
/// ```
pub fn recognize(method: &Method, path: &str, headers: &HeaderMap) -> (Dialect, Operation) {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path::spelled(path);
    match of(method, &path) {
        (Some(dialect), operation) => (dialect, operation),
        (None, operation) => (by_surroundings(&path, headers), operation),
    }
}

/// The call, and whose it is where the path alone can tell; `path` is spelled out.
fn of(method: &Method, path: &str) -> (Option<Dialect>, Operation) {
    let rest = path::behind(path);
    if let Some(named) = gemini::Named::of(rest) {
        return (Some(Dialect::Gemini), named.operation(method));
    }
    if let Some(operation) = anthropic::operation(method, rest) {
        return (Some(Dialect::Anthropic), operation);
    }
    let operation = openai::operation_behind(method, rest);
    (is_read(operation).then_some(Dialect::OpenAi), operation)
}

fn by_surroundings(path: &str, headers: &HeaderMap) -> Dialect {
    let segments = path.split('/');
    let below = |names: &[&str]| {
        segments.clone().any(|segment| names.iter().any(|name| name.eq_ignore_ascii_case(segment)))
    };
    if below(&["openai"]) {
        Dialect::OpenAi
    } else if below(&["v1beta", "v1alpha"]) || headers.contains_key("x-goog-api-key") {
        Dialect::Gemini
    } else if below(&["anthropic"]) || headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// Whether a server may take this path for a call that would be read here, or for one outside of
/// `/v1`: dot segments, empty segments, backslashes, NULs and encoded slashes mean different things
/// to different servers. Odd paths that no server takes for such a call are nobody's business.
pub(crate) fn is_ambiguous(method: &Method, path: &str) -> bool {
    let plain = !path.contains(['%', '\\', '\0']) && !path.contains("/.") && !path.contains("//");
    if plain {
        return false;
    }
    let spelled = path::spelled(path);
    let Some(settled) = path::settled(&spelled) else { return true };
    let meant = of(method, &settled);
    // The model decides as much as the call: who may use it, and what it costs.
    is_read(meant.1) && (meant != of(method, &spelled) || path_model(&settled) != path_model(path))
}

fn is_read(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::Models | Operation::Files | Operation::Batches | Operation::Other
    )
}

/// The model that the path names.
pub(crate) fn path_model(path: &str) -> Option<Cow<'_, str>> {
    gemini::Call::of(path).map(|call| call.model).or_else(|| openai::path_model(path))
}

/// The path and query with another model in the place of the one they name.
pub(crate) fn with_path_model(uri: &Uri, model: &str) -> Option<Uri> {
    let path = path::spelled(uri.path());
    let (old, new) = match gemini::Named::of(path::behind(&path)) {
        Some(named) => (named.name, gemini::full_name(model)),
        None => (openai::model_in_path(&path)?, Cow::Borrowed(model)),
    };
    let start = (old.as_ptr() as usize).checked_sub(path.as_ptr() as usize)?;
    let mut out = path.get(..start)?.to_owned();
    for byte in new.bytes() {
        match byte {
            byte if path::is_unreserved(byte) || b"/:@".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push_str(path.get(start + old.len()..)?);
    if let Some(query) = uri.query() {
        out.push('?');
        out.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(out.parse().ok()?);
    Uri::from_parts(parts).ok()
}
