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
    if let Some(usual) = usual(method, path) {
        return usual;
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path::spelled(path);
    match of(method, &path) {
        (Some(dialect), operation) => (dialect, operation),
        (None, operation) => (by_surroundings(&path, headers), operation),
    }
}

/// Nearly all calls, as nearly all spell them: what the long way says of these, at once.
pub(crate) fn usual(method: &Method, path: &str) -> Option<(Dialect, Operation)> {
    if method != Method::POST {
        return None;
    }
    Some(match path {
        "/v1/chat/completions" => (Dialect::OpenAi, Operation::ChatCompletions),
        "/v1/responses" => (Dialect::OpenAi, Operation::Responses),
        "/v1/embeddings" => (Dialect::OpenAi, Operation::Embeddings),
        "/v1/messages" => (Dialect::Anthropic, Operation::Messages),
        _ => return None,
    })
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
    let operation = match openai::operation_behind(method, rest) {
        // A method of Google's that is not known here.
        Operation::Models if method == Method::POST && rest.contains(':') => Operation::Other,
        operation => operation,
    };
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

/// Whether a server may take this path for a call that would be read here, or for another than the
/// one that is read here, or for one outside of `/v1`: dot segments, empty segments, backslashes, NULs and encoded slashes mean different things
/// to different servers. Odd paths that no server takes for such a call are nobody's business.
pub(crate) fn is_ambiguous(method: &Method, path: &str) -> bool {
    let bytes = path.as_bytes();
    let plain = !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | 0))
        && !bytes.windows(2).any(|pair| matches!(pair, b"/." | b"//"));
    if plain {
        return false;
    }
    let spelled = path::spelled(path);
    let Some(settled) = path::settled(&spelled) else { return true };
    let (said, meant) = (of(method, &spelled), of(method, &settled));
    // The model decides as much as the call: who may use it, and what it costs.
    let (named, model) = (path_model(path), path_model(&settled));
    let matters = is_read(said.1) || is_read(meant.1) || named.is_some() || model.is_some();
    matters && (said != meant || named != model)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str) -> (Dialect, Operation) {
        recognize(&Method::POST, path, &HeaderMap::new())
    }

    #[test]
    fn calls_of_one_family_are_told_by_their_path() {
        for (path, expected) in [
            ("/v1/messages", (Dialect::Anthropic, Operation::Messages)),
            ("/messages/?beta=true", (Dialect::Anthropic, Operation::Messages)),
            ("/anthropic/V1/%6Dessages", (Dialect::Anthropic, Operation::Messages)),
            ("/v1/messages/count_tokens", (Dialect::Anthropic, Operation::CountTokens)),
            ("/v1/messages/count%5Ftokens", (Dialect::Anthropic, Operation::CountTokens)),
            ("/v1/messages/batches", (Dialect::Anthropic, Operation::Batches)),
            ("/v1/messages/batches/b1/cancel", (Dialect::Anthropic, Operation::Batches)),
            ("/v1/messages/later", (Dialect::Anthropic, Operation::Other)),
            ("/v1/chat/completions", (Dialect::OpenAi, Operation::ChatCompletions)),
            ("/v1beta/openai/chat/completions", (Dialect::OpenAi, Operation::ChatCompletions)),
            ("/v1/threads/t/messages", (Dialect::OpenAi, Operation::Other)),
        ] {
            assert_eq!(post(path), expected, "{path}");
        }
        let method = |method: Method, path| recognize(&method, path, &HeaderMap::new());
        assert_eq!(method(Method::GET, "/v1/messages"), (Dialect::Anthropic, Operation::Other));
        let batches = method(Method::GET, "/v1/messages/batches/b1/results");
        assert_eq!(batches, (Dialect::Anthropic, Operation::Batches));
        let get = method(Method::GET, "/v1beta/models/m:generateContent");
        assert_eq!(get, (Dialect::Gemini, Operation::Other));
    }

    #[test]
    fn the_short_way_says_what_the_long_one_does() {
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"] {
            let (dialect, operation) = of(&Method::POST, path);
            let short = usual(&Method::POST, path);
            assert_eq!(short, dialect.map(|dialect| (dialect, operation)), "{path}");
            assert_eq!(usual(&Method::GET, path), None);
        }
    }

    #[test]
    fn googles_calls_name_model_and_method() {
        use Operation::{Batches, CountTokens, Embeddings, GenerateContent};
        for (path, model, operation, stream) in [
            ("/v1beta/models/g:generateContent", "g", GenerateContent, false),
            ("/v1/models/g:streamGenerateContent?alt=sse", "g", GenerateContent, true),
            ("/v1alpha/models/g:generateContent/", "g", GenerateContent, false),
            ("/v1beta/tunedModels/x:generateContent", "tunedModels/x", GenerateContent, false),
            ("/v1beta/models/g:countTokens", "g", CountTokens, false),
            ("/v1beta/models/g:embedContent", "g", Embeddings, false),
            ("/v1beta/models/g:batchEmbedContents", "g", Embeddings, false),
            ("/v1beta/models/g:batchGenerateContent", "g", Batches, false),
            ("/v1beta/models/team/fast:generateContent", "team/fast", GenerateContent, false),
            ("/v1beta/models/team%2Ffast:generateContent", "team/fast", GenerateContent, false),
            ("/models/qwen3:8b:generateContent", "qwen3:8b", GenerateContent, false),
            ("/v1beta/models/g%3AgenerateContent", "g", GenerateContent, false),
            ("/v1beta/%6Dodels/g:generate%43ontent", "g", GenerateContent, false),
            ("/V1BETA/MODELS/g:GENERATECONTENT", "g", GenerateContent, false),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
                "g",
                GenerateContent,
                false,
            ),
        ] {
            assert_eq!(post(path), (Dialect::Gemini, operation), "{path}");
            let path = path.split('?').next().unwrap_or_default();
            let call = gemini::Call::of(path).unwrap();
            assert_eq!((&*call.model, call.stream), (model, stream), "{path}");
            assert_eq!(call.operation, operation, "{path}");
            assert!(!is_ambiguous(&Method::POST, path), "{path}");
        }
        for path in ["/v1beta/models/g:later", "/v1beta/g:generateContent", "/v1/models/g:x"] {
            assert_eq!(gemini::Call::of(path), None, "{path}");
        }
    }

    #[test]
    fn what_all_have_is_told_by_prefix_or_header() {
        let get = |path: &str, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|name| {
                let name = http::HeaderName::from_static(name);
                (name, http::HeaderValue::from_static("x"))
            }));
            recognize(&Method::GET, path, &headers)
        };
        for (path, header, dialect) in [
            ("/v1/models", None, Dialect::OpenAi),
            ("/v1/models", Some("anthropic-version"), Dialect::Anthropic),
            ("/v1/models/x", Some("x-goog-api-key"), Dialect::Gemini),
            ("/v1beta/models", None, Dialect::Gemini),
            ("/v1beta/models/x", Some("anthropic-version"), Dialect::Gemini),
            ("/v1beta/openai/models", Some("x-goog-api-key"), Dialect::OpenAi),
        ] {
            assert_eq!(get(path, header), (dialect, Operation::Models), "{path} {header:?}");
        }
        let files = get("/v1/files", Some("anthropic-version"));
        assert_eq!(files, (Dialect::Anthropic, Operation::Files));
        assert_eq!(get("/v1beta/cachedContents", None), (Dialect::Gemini, Operation::Other));
        assert_eq!(get("/upload/v1beta/files", None).0, Dialect::Gemini);
        // A call of one family stays its own, whatever else is sent along.
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        let chat = recognize(&Method::POST, "/v1/chat/completions", &headers);
        assert_eq!(chat, (Dialect::OpenAi, Operation::ChatCompletions));
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways() {
        for path in [
            "/v1/x/../messages",
            "/v1/messages%2Fcount_tokens",
            "/v1%2Fmessages",
            "/v1/messages%00",
            "/v1beta/models%2Fx:generateContent",
            "/v1beta/models/a/../b:generateContent",
            "/v1beta/models/a%2F..%2Fb:generateContent",
            "/v1beta/models/a/%2e%2e/b:generate%43ontent",
            "/v1beta/models//x:generateContent",
            "/v1beta/models/x:generateContent%00",
            "/v1beta/x\\models\\y:generateContent",
            "/v1beta/../admin",
            "/v1beta/models/g%2F..%2F..%2Ffiles:generateContent",
            "/v1/models/g%2f%2e%2e%2f..%2Fq:countTokens",
            "/v1/models/g%5C..%5C..%5Cq:embedContent",
            "/v1beta/models/g/../../files:batchGenerateContent",
            "/v1beta/models/g%2F..%2F..%2Ffiles:batchGenerateContent",
            "/v1/engines/g%2F..%2F..%2Fq/chat/completions",
            "/v1/images/..%2Ffiles",
        ] {
            assert!(is_ambiguous(&Method::POST, path), "{path}");
        }
        for path in
            ["/v1/messages", "/v1/messages/batches/a%2Fb", "/v1beta/models/g..h:countTokens"]
        {
            assert!(!is_ambiguous(&Method::POST, path), "{path}");
        }
    }

    #[test]
    fn a_model_is_put_into_the_path() {
        for (path, model, expected) in [
            (
                "/v1beta/models/g:streamGenerateContent?alt=sse",
                "gemini-2.5-pro",
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            ),
            ("/models/a/b:countTokens", "x\"ü", "/models/x%22%C3%BC:countTokens"),
            ("/v1beta/tunedModels/t:generateContent", "g", "/v1beta/models/g:generateContent"),
            ("/v1/models/g:embedContent", "tunedModels/t", "/v1/tunedModels/t:embedContent"),
            ("/v1/models/g:embedContent", "models/h", "/v1/models/h:embedContent"),
            ("/v1/models/a%2Fb:generate%43ontent", "g", "/v1/models/g:generateContent"),
            ("/p/l/models/g:generateContent", "h", "/p/l/models/h:generateContent"),
        ] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(with_path_model(&uri, model).unwrap(), expected, "{path}");
        }
        for path in ["/v1/messages", "/v1beta/models/g"] {
            assert_eq!(with_path_model(&path.parse().unwrap(), "m"), None, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "[/%a-f0-9.é\\\\:]{0,16}(models/)?[a/%]{0,6}(:generateContent|%3AcountTokens)?") {
            let _ = post(&path);
            let _ = is_ambiguous(&Method::POST, &path);
            let _ = path_model(&path);
            if let Ok(uri) = path.parse::<Uri>() {
                let changed = with_path_model(&uri, "new model");
                assert_eq!(changed.is_some(), path_model(uri.path()).is_some());
                if let Some(changed) = changed {
                    assert_eq!(path_model(changed.path()).as_deref(), Some("new model"));
                }
            }
        }
    }
}
