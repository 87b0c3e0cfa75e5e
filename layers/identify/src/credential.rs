use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, HeaderValue},
};
use tollway_core::key_in_query;

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
) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let in_headers = CREDENTIAL_HEADERS.iter().flat_map(|name| {
        let bearer = name == AUTHORIZATION;
        headers.get_all(name).into_iter().filter_map(move |value| credential(value, bearer))
    });
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    let in_query = pairs.filter_map(key_in_query).map(|key| match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) => Cow::Owned(key.into_bytes()),
    });
    in_headers.map(Cow::Borrowed).chain(in_query.filter(|key| !key.is_empty()))
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
