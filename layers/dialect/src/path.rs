//! Reading a path as servers do: how it is spelled must not change what it is.

use std::borrow::Cow;

/// Of the base URLs that clients are given.
const PREFIXES: [&str; 7] = ["", "v1", "openai", "v1beta", "v1alpha", "anthropic", "api"];

/// What is left behind the prefixes of known base URLs.
pub(crate) fn behind(path: &str) -> &str {
    let mut rest = path.trim_matches('/');
    while let Some((prefix, after)) = rest.split_once('/') {
        if !PREFIXES.iter().any(|known| known.eq_ignore_ascii_case(prefix)) {
            break;
        }
        rest = after;
    }
    rest
}

/// The path with everything decoded that means the same when it is not encoded (RFC 3986, 2.3),
/// and the colon in front of Google's methods.
pub(crate) fn spelled(path: &str) -> Cow<'_, str> {
    decoded(path, |byte| is_unreserved(byte) || byte == b':')
}

/// RFC 3986, 2.3: encoded or not, these mean the same.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The path as the most obliging server would read it; `None` if it leads out of its `/v1`.
pub(crate) fn settled(path: &str) -> Option<String> {
    const VERSIONS: [&str; 3] = ["v1", "v1beta", "v1alpha"];
    let path = decoded(path, |byte| matches!(byte, b'/' | b'\\' | 0));
    let path = path.split('\0').next().unwrap_or_default();
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                let left = segments.pop()?;
                let is_left = |version: &&str| version.eq_ignore_ascii_case(left);
                if segments.is_empty() && VERSIONS.iter().any(is_left) {
                    return None;
                }
            }
            segment => segments.push(segment),
        }
    }
    Some(segments.join("/"))
}

/// With what `wanted` wants decoded; all else stays as it is spelled.
pub(crate) fn decoded(path: &str, wanted: impl Fn(u8) -> bool) -> Cow<'_, str> {
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
