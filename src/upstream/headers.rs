use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, COOKIE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, UPGRADE},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// `transfer-encoding` belongs here too; hyper owns it on both sides and drops it by itself.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    http::header::TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes out the headers that concern one connection only: the fixed ones and those that
/// `Connection` names (RFC 9110, section 7.6.1).
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("connection", "close, x-private".parse().unwrap());
/// headers.insert("x-private", "1".parse().unwrap());
/// headers.insert("x-kept", "1".parse().unwrap());
/// tollway::upstream::remove_hop_by_hop(&mut headers);
/// assert_eq!(headers.len(), 1);
/// ```
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            // Goes anyway, and is nearly always all there is.
            .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|name| name.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    remove_each(headers, &HOP_BY_HOP);
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

/// Most heads have none or one of them: to look through the few names is cheaper than a search for
/// each.
pub(super) fn remove_each(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if headers.keys().any(|held| held == name) {
            headers.remove(name);
        }
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
