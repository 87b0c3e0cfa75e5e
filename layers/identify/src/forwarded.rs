//! The client's address behind trusted proxies, from `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! A proxy appends the address it was called from, so only the right end of the list is written by
//! somebody we trust. The walk starts at the socket's peer and goes left for as long as the address
//! at hand is a trusted proxy; the first that is not is the client. What the client itself wrote
//! stands further left and is never reached.

use std::{
    net::{IpAddr, SocketAddr},
    str,
};

use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Elements looked at; no real chain of proxies is longer.
const MAX_HOPS: usize = 32;

/// Which header the trusted proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProxyHeader {
    /// Whichever is there. When both are and they disagree, one of them came from the client
    /// through a proxy that does not know it; nobody can tell which, so neither is believed and the
    /// peer's address stands.
    #[default]
    Either,
    /// `Forwarded` only (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For` only.
    XForwardedFor,
}

/// The client's address: the rightmost one that is no trusted proxy.
///
/// Several header lines count as one list, in order. An element that names no address (`unknown`,
/// `_hidden`, garbage) ends the walk at the last address known for certain. IPv4-mapped IPv6
/// addresses come out as IPv4. Without trusted proxies the headers mean nothing.
///
/// ```
/// use tollway_identify::forwarded::{ProxyHeader, client_ip};
///
/// let trusted = ["10.0.0.0/8".parse().unwrap()];
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.2".parse().unwrap());
/// let client = |peer: &str| {
///     client_ip(peer.parse().unwrap(), &headers, &trusted, ProxyHeader::Either).to_string()
/// };
/// assert_eq!(client("10.0.0.1"), "203.0.113.7");
/// assert_eq!(client("198.51.100.1"), "198.51.100.1", "no proxy of ours");
/// ```
pub fn client_ip(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
    header: ProxyHeader,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let by_forwarded = || walk(peer, trusted, lines(headers, &FORWARDED).flat_map(forwarded_hops));
    let by_x = || walk(peer, trusted, lines(headers, &X_FORWARDED_FOR).flat_map(x_hops));
    match header {
        ProxyHeader::Forwarded => by_forwarded(),
        ProxyHeader::XForwardedFor => by_x(),
        ProxyHeader::Either => {
            match (headers.contains_key(FORWARDED), headers.contains_key(&X_FORWARDED_FOR)) {
                (true, false) => by_forwarded(),
                (false, true) => by_x(),
                (false, false) => peer,
                (true, true) => {
                    let (a, b) = (by_forwarded(), by_x());
                    if a == b { a } else { peer }
                }
            }
        }
    }
}

/// Whether `ip` is in one of these networks; IPv4-mapped IPv6 counts as IPv4.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|net| net.contains(&ip))
}

/// Header lines, the last first.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().rev().map(http::HeaderValue::as_bytes)
}

/// Goes from proxy to proxy towards the client; `hops` are the list's elements, the last first.
fn walk(peer: IpAddr, trusted: &[IpNet], hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut known = peer;
    for hop in hops.take(MAX_HOPS) {
        let Some(ip) = hop else { break };
        known = ip;
        if !is_trusted(known, trusted) {
            break;
        }
    }
    known
}

fn x_hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|hop| !hop.is_empty())
        .map(node)
}

fn forwarded_hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    RightToLeft { rest: Some(line), separator: b',' }
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(forwarded_for)
}

/// Splits at separators outside quoted strings, from the right: a quote that a client left open
/// can't reach into what a proxy appended behind it.
struct RightToLeft<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for RightToLeft<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        for (at, byte) in rest.iter().enumerate().rev() {
            let before = rest.get(..at).unwrap_or_default();
            if *byte == b'"' && !is_escaped(before) {
                quoted = !quoted;
            } else if *byte == self.separator && !quoted {
                self.rest = Some(before);
                return rest.get(at + 1..);
            }
        }
        Some(rest)
    }
}

/// Whether a byte that follows `before` is escaped: by an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address in an element's one `for` parameter.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in (RightToLeft { rest: Some(element), separator: b';' }) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at_checked(equals.unwrap_or(pair.len()))?;
        if name.trim_ascii().eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            found = Some(value.strip_prefix(b"=")?.trim_ascii());
        }
    }
    let value = found?;
    // An address needs no escapes, so a backslash is left to fail as part of it.
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    node(quoted.unwrap_or(value))
}

/// `192.0.2.1`, `2001:db8::1`, either with a port, IPv6 then in brackets.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let ip = if let Ok(ip) = text.parse::<IpAddr>() {
        ip
    } else if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        IpAddr::V6(inner.parse().ok()?)
    } else {
        text.parse::<SocketAddr>().ok()?.ip()
    };
    Some(ip.to_canonical())
}
