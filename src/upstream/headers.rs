use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, COOKIE},
};
use tollway_route::is_own;

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Takes out the headers that concern one connection only: the fixed ones and those that
/// `Connection` names (RFC 9110, section 7.6.1). What is said to Tollway itself stays to be heeded:
/// it is who the connection is to, and passes none of it on.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("connection", "close, x-private, x-tollway-max-cost".parse().unwrap());
/// headers.insert("x-private", "1".parse().unwrap());
/// headers.insert("x-tollway-max-cost", "0.01".parse().unwrap());
/// headers.insert("x-kept", "1".parse().unwrap());
/// tollway::upstream::remove_hop_by_hop(&mut headers);
/// assert_eq!(headers.len(), 2);
/// ```
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Goes anyway, and is nearly always all there is.
    let is_usual = |name: &[u8]| name.eq_ignore_ascii_case(b"keep-alive");
    if headers.get_all(CONNECTION).iter().any(|value| !is_usual(value.as_bytes())) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            .filter(|name| !is_usual(name.as_bytes()))
            .filter_map(|name| name.parse().ok())
            .filter(|name| !is_own(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    remove_where(headers, is_hop_by_hop);
}

/// Puts cookies together that HTTP/2 may have sent in several fields (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(mut joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Most heads have none or one of what is meant: to look through them is cheaper than a search for
/// each name that is.
pub(super) fn remove_where(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| goes(name)).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_end_to_end_headers_in_order() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.append("connection", "keep-alive, X-One".parse().unwrap());
        headers.append("connection", "x-two, bad name".parse().unwrap());
        headers.append("keep-alive", "timeout=5".parse().unwrap());
        headers.append("x-one", "1".parse().unwrap());
        headers.append("x-two", "2".parse().unwrap());
        headers.append("te", "trailers".parse().unwrap());
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        assert_eq!(left, ["set-cookie: \"a=1\"", "set-cookie: \"b=2\""]);
    }
}
