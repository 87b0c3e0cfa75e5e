use std::borrow::Cow;

use http::Method;
use tollway_core::Operation;

use crate::path;

/// What a call is, from its method and path alone.
///
/// The prefixes of known base URLs (`/v1`, `/openai/v1`, `/v1beta/openai`, none) are skipped.
/// However a path is spelled, it is the same call: letters may be percent-encoded (RFC 3986, 6.2.2)
/// and of either case. `/v1/engines/{model}/...` and `/openai/deployments/{model}/...` are the same
/// calls as without (chat, completions, responses, embeddings, moderations; other calls by such a
/// path are [`Operation::Other`]), with their model in the path. Paths that servers read in more than one way, [`Inspect`](crate::Inspect)
/// refuses.
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
    operation_behind(method, path::behind(&path::spelled(path)))
}

const WHOLE: [(&str, Operation); 5] = [
    ("chat/completions", Operation::ChatCompletions),
    ("completions", Operation::Completions),
    ("responses", Operation::Responses),
    ("embeddings", Operation::Embeddings),
    ("moderations", Operation::Moderations),
];

/// The model in `engines/{model}/chat/completions` and its like, and the call.
fn named_by_path(rest: &str) -> Option<(&str, Operation)> {
    let (first, rest) = rest.split_once('/')?;
    if !["engines", "deployments"].iter().any(|known| known.eq_ignore_ascii_case(first)) {
        return None;
    }
    WHOLE.iter().find_map(|(name, operation)| {
        let (model, call) = rest.split_at_checked(rest.len().checked_sub(name.len())?)?;
        let model = model.strip_suffix('/')?;
        call.eq_ignore_ascii_case(name).then_some((model, *operation))
    })
}

/// The model that the path names, as it is spelled there.
pub(crate) fn model_in_path(path: &str) -> Option<&str> {
    named_by_path(path::behind(path)).map(|(model, _)| model)
}

/// The model that the path names.
pub(crate) fn path_model(path: &str) -> Option<Cow<'_, str>> {
    // Few letters of a call's own name are ever encoded; then the model is read from all of it.
    match model_in_path(path) {
        Some(model) => Some(path::decoded(model, |_| true)),
        None if path.contains('%') => {
            let path = path::spelled(path);
            model_in_path(&path).map(|model| path::decoded(model, |_| true).into_owned().into())
        }
        None => None,
    }
}

/// As [`operation`]; `rest` stands behind the base URL's prefixes, decoded and without a query.
pub(crate) fn operation_behind(method: &Method, rest: &str) -> Operation {
    const FIRST: [(&str, Operation); 6] = [
        ("images", Operation::Images),
        ("audio", Operation::Audio),
        ("models", Operation::Models),
        ("files", Operation::Files),
        ("uploads", Operation::Files),
        ("batches", Operation::Batches),
    ];
    if let Some((_, operation)) = named_by_path(rest) {
        return if method == Method::POST { operation } else { Operation::Other };
    }
    let first = rest.split('/').next().unwrap_or_default();
    let named = |name: &str, known: &[(&str, Operation)]| {
        known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| *found)
    };
    let found = named(rest, &WHOLE).or_else(|| named(first, &FIRST));
    match found {
        Some(Operation::Models | Operation::Files | Operation::Batches) => {}
        Some(_) if method == Method::POST => {}
        _ => return Operation::Other,
    }
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;
    use crate::recognize::{is_ambiguous, with_path_model};

    #[test]
    fn a_call_is_the_same_however_it_is_spelled() {
        for path in
            ["/v1/chat/%63ompletions", "/%56%31/%43hat/completion%73", "/V1/Chat/Completions/"]
        {
            assert_eq!(operation(&Method::POST, path), Operation::ChatCompletions, "{path}");
            assert!(!is_ambiguous(&Method::POST, path), "{path}");
        }
        assert_eq!(operation(&Method::POST, "/v1/%65mbeddings?x=%2F"), Operation::Embeddings);
        for path in ["/v1/chat%2Fcompletions", "/v1/chat/completions%", "/v1/%zzcompletions"] {
            assert_eq!(operation(&Method::POST, path), Operation::Other, "{path}");
        }
    }

    #[test]
    fn a_model_in_the_path() {
        for (path, model, operation) in [
            ("/v1/engines/gpt-4o/completions", "gpt-4o", Operation::Completions),
            ("/engines/a%2Fb/chat/completions", "a/b", Operation::ChatCompletions),
            ("/engines/a/b/chat/completions/", "a/b", Operation::ChatCompletions),
            ("/openai/deployments/d%201/embeddings", "d 1", Operation::Embeddings),
            ("/openai/%64eployments/d%201/%65mbeddings", "d 1", Operation::Embeddings),
        ] {
            assert_eq!(operation_of(path), operation, "{path}");
            assert_eq!(path_model(path).as_deref(), Some(model), "{path}");
            assert!(!is_ambiguous(&Method::POST, path), "{path}");
        }
        for path in ["/v1/engines", "/v1/engines/m", "/v1/engines/completions", "/engines/m/files"]
        {
            assert_eq!((operation_of(path), path_model(path)), (Operation::Other, None), "{path}");
        }
        let uri = Uri::from_static("http://h/v1/engines/a/chat/completions?api-version=1");
        assert_eq!(
            with_path_model(&uri, "x/ü?").unwrap(),
            "http://h/v1/engines/x/%C3%BC%3F/chat/completions?api-version=1"
        );
        assert_eq!(with_path_model(&Uri::from_static("/v1/chat/completions"), "m"), None);
    }

    fn operation_of(path: &str) -> Operation {
        operation(&Method::POST, path)
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways() {
        for path in [
            "/v1/./chat/completions",
            "/v1/x/../chat/completions",
            "/v1/x/%2e%2E/chat/completions",
            "/v1/chat%2fcompletions",
            "/v1%2Fchat/completions",
            "/v1/x%2F..%2Fchat/completions",
            "/v1/%2Fchat/completions",
            "/v1/audio%2Ftranscriptions",
            "/v1/chat%5Ccompletions",
            "/v1/chat\\completions",
            "/v1/chat/completions%00x",
            "/v1/../admin",
            "/v1/../../admin",
            "/v1/%2e%2e%2fadmin",
        ] {
            assert!(is_ambiguous(&Method::POST, path), "{path}");
        }
        for path in [
            "/v1/chat/completions",
            "/v1//chat/completions",
            "/v1/chat/completions//",
            "/v1/invented/..",
            "/v1//files///x//",
            "/v1/files/./a/../b",
            "/v1/files/a%2Fb/%2e%2e/content",
            "/brand-new/%2e%2e/%2F//double",
            "/v1/x%00",
            "/v1/models/openai%2Fgpt-oss-20b",
            "/v1/files/a..b",
            "/v1/files/.hidden",
            "/v1/invented/a%2Fb",
            "/v1/invented/%20%e2%82%ac%",
            "/v1/invented/100%25",
            "*",
            "",
            "/",
        ] {
            assert!(!is_ambiguous(&Method::POST, path), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "[/%a-f0-9.é\\\\]{0,24}") {
            let _ = operation(&Method::POST, &path);
            let _ = is_ambiguous(&Method::POST, &path);
            let _ = path_model(&path);
        }
    }

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
