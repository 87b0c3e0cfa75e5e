use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, HeaderValue},
};

/// The headers in which clients of OpenAI, Anthropic, Azure and Google send their key; in
/// `Authorization` it is a `Bearer` token.
///
/// Whoever forwards a request of an authenticated caller must take these out: the credential was
/// meant for us.
pub static CREDENTIAL_HEADERS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// All credentials sent, in the order of [`CREDENTIAL_HEADERS`], then `key=` of the query, where
/// clients of Google may put theirs; empty ones count as not sent.
pub(crate) fn credentials<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> impl Iterator<Item = &'a [u8]> {
    let in_headers = CREDENTIAL_HEADERS.iter().flat_map(|name| {
        let bearer = name == AUTHORIZATION;
        headers.get_all(name).into_iter().filter_map(move |value| credential(value, bearer))
    });
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    let in_query = pairs.filter_map(key_in_query).map(str::as_bytes);
    in_headers.chain(in_query.filter(|key| !key.is_empty()))
}

/// The credential that a pair of a query holds, as clients of Google send theirs: `key=...`, in
/// whatever way its name is encoded. Whoever forwards a request of an authenticated caller must
/// take these out as well.
///
/// ```
/// use tollway_identify::key_in_query;
///
/// assert_eq!(key_in_query("key=AIza"), Some("AIza"));
/// assert_eq!(key_in_query("%6bey=AIza"), Some("AIza"));
/// assert_eq!(key_in_query("monkey=AIza"), None);
/// ```
pub fn key_in_query(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let mut rest = name.as_bytes();
    for wanted in b"key" {
        rest = match rest {
            [byte, rest @ ..] if byte == wanted => rest,
            [b'%', high, low, rest @ ..] if is_byte([*high, *low], *wanted) => rest,
            _ => return None,
        };
    }
    rest.is_empty().then_some(value)
}

fn is_byte(hex: [u8; 2], byte: u8) -> bool {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = hex.map(digit);
    high.zip(low).is_some_and(|(high, low)| high * 16 + low == u32::from(byte))
}

fn credential(value: &HeaderValue, bearer: bool) -> Option<&[u8]> {
    let value = value.as_bytes().trim_ascii();
    let secret = if bearer {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())?
    } else {
        value
    };
    (!secret.is_empty()).then_some(secret)
}
