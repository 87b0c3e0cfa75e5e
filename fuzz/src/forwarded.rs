//! The client's address: no header of a stranger changes it, neither sent straight to us nor
//! through proxies that append to it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;
use tollway_identify::forwarded::{ProxyHeader, client_ip};

use super::input;

const KINDS: [ProxyHeader; 3] =
    [ProxyHeader::Either, ProxyHeader::Forwarded, ProxyHeader::XForwardedFor];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Header lines, as a stranger writes them.
pub fn check(data: &[u8]) {
    let headers = input::headers(data);
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse::<IpNet>().expect("a network"));
    let number = input::number(data) as u32;
    let strangers = [
        IpAddr::V4((0xCB00_7100 | (number & 0xff)).into()),
        format!("2001:db8::{:x}", number & 0xffff).parse().expect("an address"),
    ];
    for stranger in strangers {
        straight(stranger, &headers, &trusted);
        through_proxies(stranger, &headers, &trusted);
    }
    believed(&headers, &trusted);
}

fn straight(stranger: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) {
    let mapped = match stranger {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        ip => ip,
    };
    for kind in KINDS {
        assert_eq!(client_ip(stranger, headers, trusted, kind), stranger, "{kind:?}");
        assert_eq!(client_ip(mapped, headers, trusted, kind), stranger, "{kind:?}, mapped");
        let proxy = "10.9.9.9".parse().expect("an address");
        assert_eq!(client_ip(proxy, headers, &[], kind), proxy, "nobody is trusted");
    }
}

/// Each proxy appends whom it was called by, in any of the forms there are; the last calls us.
fn through_proxies(stranger: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) {
    let proxies: [IpAddr; 2] = ["10.0.0.1", "fd00::2"].map(|ip| ip.parse().expect("an address"));
    let node = |ip: IpAddr, port: &str| match ip {
        IpAddr::V4(ip) => format!("{ip}{port}"),
        IpAddr::V6(ip) => format!("[{ip}]{port}"),
    };
    let x = [stranger.to_string(), node(stranger, ":4711")];
    let forwarded = [
        format!("for=\"{}\"", node(stranger, ":4711")),
        format!("by=_p;FOR=\"{}\";proto=https", node(stranger, "")),
        format!("proto=http; for=\"{}\"; host=\"a\\\"b,c;d\"", node(stranger, ":80")),
    ];
    let names = [(X_FORWARDED_FOR, &x[..]), (FORWARDED, &forwarded)];
    for (name, forms) in names {
        for form in forms {
            for same_line in [true, false] {
                let one = append(headers, &name, form, same_line);
                let second = match name == FORWARDED {
                    true => format!("for={}", proxies[0]),
                    false => proxies[0].to_string(),
                };
                let two = append(&one, &name, &second, same_line);
                for kind in KINDS {
                    let reads = match kind {
                        ProxyHeader::Forwarded => name == FORWARDED,
                        ProxyHeader::XForwardedFor => name == X_FORWARDED_FOR,
                        ProxyHeader::Either => true,
                    };
                    if !reads {
                        continue;
                    }
                    for (headers, peer) in [(&one, proxies[0]), (&two, proxies[1])] {
                        let found = client_ip(peer, headers, trusted, kind);
                        // Where the stranger wrote the other header, nobody can tell which is ours.
                        let unsure = kind == ProxyHeader::Either && found == peer;
                        assert!(found == stranger || unsure, "{found}, {kind:?}, {headers:?}");
                    }
                }
            }
        }
    }
}

fn append(headers: &HeaderMap, name: &HeaderName, element: &str, same_line: bool) -> HeaderMap {
    let mut headers = headers.clone();
    let mut lines: Vec<_> = headers.get_all(name).into_iter().cloned().collect();
    let last = lines.pop().filter(|_| same_line);
    let value = match last {
        Some(last) => [last.as_bytes(), b", ", element.as_bytes()].concat(),
        None => element.as_bytes().to_vec(),
    };
    let value = HeaderValue::from_bytes(&value).expect("it was one, and so is what was added");
    if same_line {
        headers.remove(name);
        for line in lines {
            headers.append(name, line);
        }
    }
    headers.append(name, value);
    headers
}

/// Said by a proxy of ours, any text names an address that stands in it, or none.
fn believed(headers: &HeaderMap, trusted: &[IpNet]) {
    let peer = "10.1.2.3".parse().expect("an address");
    for kind in KINDS {
        let found = client_ip(peer, headers, trusted, kind);
        assert_eq!(found, found.to_canonical());
        assert_eq!(client_ip(peer, headers, trusted, kind), found);
        if found == peer {
            continue;
        }
        let stands = [FORWARDED, X_FORWARDED_FOR].iter().any(|name| {
            headers.get_all(name).iter().any(|line| {
                let text = String::from_utf8_lossy(line.as_bytes());
                addresses(&text).any(|ip| ip == found)
            })
        });
        assert!(stands, "{found} made up by {kind:?}");
    }
}

fn addresses(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c)));
    words
        .flat_map(|word| {
            // With or without a port behind it.
            let bare = word.rsplit_once(':').map_or(word, |(bare, _)| bare);
            [word, bare].map(|word| word.parse::<IpAddr>().ok())
        })
        .flatten()
        .map(|ip| ip.to_canonical())
}
