use std::borrow::Cow;

use http::Method;
use tollway_core::Operation;

/// What a call is, from its method and path alone.
///
/// The prefixes of known base URLs (`/v1`, `/openai/v1`, `/v1beta/openai`, none) are skipped.
/// However a path is spelled, it is the same call: letters may be percent-encoded (RFC 3986, 6.2.2)
/// and of either case. Paths that servers read in more than one way, [`Inspect`](crate::Inspect)
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
    of(method, &decoded(path, is_unreserved))
}

/// `path` is decoded, and without a query.
fn of(method: &Method, path: &str) -> Operation {
    const PREFIXES: [&str; 5] = ["", "v1", "openai", "v1beta", "api"];
    const WHOLE: [(&str, Operation); 5] = [
        ("chat/completions", Operation::ChatCompletions),
        ("completions", Operation::Completions),
        ("responses", Operation::Responses),
        ("embeddings", Operation::Embeddings),
        ("moderations", Operation::Moderations),
    ];
    const FIRST: [(&str, Operation); 6] = [
        ("images", Operation::Images),
        ("audio", Operation::Audio),
        ("models", Operation::Models),
        ("files", Operation::Files),
        ("uploads", Operation::Files),
        ("batches", Operation::Batches),
    ];
    let mut rest = path.trim_matches('/');
    while let Some((prefix, after)) = rest.split_once('/') {
        if !PREFIXES.iter().any(|known| known.eq_ignore_ascii_case(prefix)) {
            break;
        }
        rest = after;
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

/// Whether servers and proxies may take this path for another one: dot segments, empty segments,
/// backslashes and NULs, and an encoded slash that would make a known call of it.
pub(crate) fn is_ambiguous(method: &Method, path: &str) -> bool {
    let odd = |path: &str| {
        path.contains("//")
            || path.contains(['\\', '\0'])
            || path.split('/').any(|segment| matches!(segment, "." | ".."))
    };
    if !path.contains('%') {
        return odd(path);
    }
    let spelled = decoded(path, is_unreserved);
    let read = decoded(&spelled, |byte| matches!(byte, b'/' | b'\\' | 0));
    if odd(&read) {
        return true;
    }
    let meant = of(method, &read);
    meant != Operation::Other && meant != of(method, &spelled)
}

/// RFC 3986, 2.3: encoded or not, these mean the same.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// With what `wanted` wants decoded; all else stays as it is spelled.
fn decoded(path: &str, wanted: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let mut rest = path;
    let mut out = String::new();
    while let Some(at) = rest.find('%') {
        let digit = |at: usize| char::from(*rest.as_bytes().get(at)?).to_digit(16);
        let byte = digit(at + 1).zip(digit(at + 2)).map(|(high, low)| (high * 16 + low) as u8);
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        match byte.filter(|byte| byte.is_ascii() && wanted(*byte)) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    if rest.len() == path.len() {
        return Cow::Borrowed(path);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn paths_that_can_be_read_in_two_ways() {
        for path in [
            "/v1//chat/completions",
            "//v1/chat/completions",
            "/v1/chat/completions//",
            "/v1/./chat/completions",
            "/v1/x/../chat/completions",
            "/v1/x/%2e%2E/chat/completions",
            "/v1/x/.%2e",
            "/.",
            "/v1/invented/..",
            "/v1/chat%2fcompletions",
            "/v1%2Fchat/completions",
            "/v1/x%2F..%2Fchat/completions",
            "/v1/%2Fchat/completions",
            "/v1/audio%2Ftranscriptions",
            "/v1/chat%5Ccompletions",
            "/v1/chat\\completions",
            "/v1/x%00",
        ] {
            assert!(is_ambiguous(&Method::POST, path), "{path}");
        }
        for path in [
            "/v1/chat/completions",
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
