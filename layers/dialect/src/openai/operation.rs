use http::Method;
use tollway_core::Operation;

/// What a call is, from its method and path alone.
///
/// The prefixes of known base URLs (`/v1`, `/openai/v1`, `/v1beta/openai`, none) are skipped.
///
/// ```
/// use http::Method;
/// use tollway_core::Operation;
/// use tollway_dialect::openai::operation;
///
/// assert_eq!(operation(&Method::POST, "/v1/chat/completions"), Operation::ChatCompletions);
/// assert_eq!(operation(&Method::GET, "/v1/models/openai/gpt-oss-20b"), Operation::Models);
/// assert_eq!(operation(&Method::POST, "/v1/invented/later"), Operation::Other);
/// ```
pub fn operation(method: &Method, path: &str) -> Operation {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut rest = path.trim_matches('/');
    while let Some((prefix, after)) = rest.split_once('/') {
        if !matches!(prefix, "" | "v1" | "openai" | "v1beta" | "api") {
            break;
        }
        rest = after;
    }
    let first = rest.split('/').next().unwrap_or_default();
    match (rest, first) {
        ("chat/completions", _) if method == Method::POST => Operation::ChatCompletions,
        ("completions", _) if method == Method::POST => Operation::Completions,
        ("responses", _) if method == Method::POST => Operation::Responses,
        ("embeddings", _) if method == Method::POST => Operation::Embeddings,
        ("moderations", _) if method == Method::POST => Operation::Moderations,
        (_, "images") if method == Method::POST => Operation::Images,
        (_, "audio") if method == Method::POST => Operation::Audio,
        (_, "models") => Operation::Models,
        (_, "files" | "uploads") => Operation::Files,
        (_, "batches") => Operation::Batches,
        _ => Operation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let post = |path| operation(&Method::POST, path);
        for path in
            ["/v1/chat/completions", "/chat/completions/", "/openai/v1/chat/completions?a=b"]
        {
            assert_eq!(post(path), Operation::ChatCompletions, "{path}");
        }
        assert_eq!(post("/v1beta/openai/embeddings"), Operation::Embeddings);
        assert_eq!(post("/v1/completions"), Operation::Completions);
        assert_eq!(post("/v1/responses"), Operation::Responses);
        assert_eq!(post("/v1/images/generations"), Operation::Images);
        assert_eq!(post("/v1/audio/transcriptions"), Operation::Audio);
        assert_eq!(post("/v1/uploads/u1/parts"), Operation::Files);
        assert_eq!(operation(&Method::GET, "/v1/models"), Operation::Models);
        assert_eq!(operation(&Method::GET, "/v1/models/a/chat/completions"), Operation::Models);
        assert_eq!(operation(&Method::GET, "/v1/batches/b1"), Operation::Batches);
        for path in ["/", "", "/v1", "/v1/responses/r1/cancel", "/v1/chat/completions/x"] {
            assert_eq!(post(path), Operation::Other, "{path}");
        }
        assert_eq!(operation(&Method::GET, "/v1/chat/completions"), Operation::Other);
    }
}
