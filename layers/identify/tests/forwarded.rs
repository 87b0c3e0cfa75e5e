//! The client's address behind proxies.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use proptest::prelude::*;
use tollway_identify::forwarded::{ProxyHeader, client_ip};

const PROXY: &str = "10.0.0.1";

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec()
}

fn headers<V: AsRef<[u8]>>(lines: &[(&'static str, V)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, V)| {
        Some((HeaderName::from_static(name), HeaderValue::from_bytes(value.as_ref()).ok()?))
    };
    lines.iter().filter_map(line).collect()
}

fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
    let peer = peer.parse().unwrap();
    client_ip(peer, &headers(lines), &trusted(), ProxyHeader::Either).to_string()
}

#[test]
fn x_forwarded_for() {
    for (lines, expected) in [
        (&["203.0.113.7"][..], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (&["6.6.6.6,203.0.113.7 ,\t10.0.0.2"], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7", "10.0.0.3, 10.0.0.2"], "203.0.113.7"),
        (&["203.0.113.7", ""], "203.0.113.7"),
        (&["203.0.113.7, ,"], "203.0.113.7"),
        (&["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (&["203.0.113.7:443"], "203.0.113.7"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:443, fd00::7"], "2001:db8::1"),
        (&["::ffff:203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        // What is no address ends the walk where the last proxy vouched for.
        (&["6.6.6.6, garbage"], PROXY),
        (&["6.6.6.6, garbage, 10.0.0.2"], "10.0.0.2"),
        (&["6.6.6.6, unknown"], PROXY),
        (&["6.6.6.6, fe80::1%eth0"], PROXY),
        (&["6.6.6.6, [10.0.0.2]"], PROXY),
        (&["6.6.6.6, 10.0.0.2:99999"], PROXY),
        (&[""], PROXY),
        (&[], PROXY),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(client(PROXY, &lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded() {
    for (lines, expected) in [
        (&["for=203.0.113.7"][..], "203.0.113.7"),
        (&["For=203.0.113.7;proto=https;by=10.0.0.1"], "203.0.113.7"),
        (&["proto=https ; FOR=\"203.0.113.7:47011\""], "203.0.113.7"),
        (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17"),
        (&["for=6.6.6.6, for=203.0.113.7, for=10.0.0.2"], "203.0.113.7"),
        (&["for=6.6.6.6", "for=203.0.113.7", "for=10.0.0.2"], "203.0.113.7"),
        (&["for=6.6.6.6, for=203.0.113.7;host=\"a,b;for=7.7.7.7\\\",for=8.8.8.8\""], "203.0.113.7"),
        // Unknown and obfuscated nodes, and what is no address.
        (&["for=6.6.6.6, for=unknown"], PROXY),
        (&["for=6.6.6.6, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=6.6.6.6, for=\"_gazonk:_port\""], PROXY),
        (&["for=6.6.6.6, proto=https"], PROXY),
        (&["for=6.6.6.6, for=203.0.113.7;for=203.0.113.8"], PROXY),
        (&["for=6.6.6.6, for"], PROXY),
        (&["for=6.6.6.6, for=\"203.0.113.7"], PROXY),
        (&["for=6.6.6.6, for=\"203.0.113.\\7\""], PROXY),
        // A quote left open by the client doesn't swallow what the proxy appends.
        (&["for=\"6.6.6.6, for=203.0.113.7"], "203.0.113.7"),
        (&["for=6.6.6.6;by=\", for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=6.6.6.6;by=\"\\, for=203.0.113.7;by=\"x\""], "203.0.113.7"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        assert_eq!(client(PROXY, &lines), expected, "{lines:?}");
    }
}

#[test]
fn headers_of_strangers_mean_nothing() {
    let lines = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")];
    assert_eq!(client("198.51.100.1", &lines), "198.51.100.1");
    assert_eq!(client("::ffff:198.51.100.1", &lines), "198.51.100.1");
    assert_eq!(client("::ffff:10.0.0.1", &lines[..1]), "6.6.6.6", "a proxy, mapped");
    let alone = client_ip(PROXY.parse().unwrap(), &headers(&lines), &[], ProxyHeader::Either);
    assert_eq!(alone.to_string(), PROXY, "no trusted proxies");
}

#[test]
fn two_headers_must_agree_unless_one_is_named() {
    let lines = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=6.6.6.6")];
    let by = |lines: &[_], header| {
        client_ip(PROXY.parse().unwrap(), &headers(lines), &trusted(), header).to_string()
    };
    assert_eq!(by(&lines, ProxyHeader::Either), PROXY);
    assert_eq!(by(&lines, ProxyHeader::XForwardedFor), "203.0.113.7");
    assert_eq!(by(&lines, ProxyHeader::Forwarded), "6.6.6.6");
    assert_eq!(by(&lines[..1], ProxyHeader::Forwarded), PROXY);
    assert_eq!(by(&lines[1..], ProxyHeader::XForwardedFor), PROXY);
    let agree = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
    assert_eq!(by(&agree, ProxyHeader::Either), "203.0.113.7");
}

#[test]
fn the_walk_is_bounded() {
    let mut list = String::from("203.0.113.7");
    list.extend((0..100_000).map(|_| ", 10.0.0.2"));
    assert_eq!(client(PROXY, &[("x-forwarded-for", &list)]), "10.0.0.2");
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "for=",
        "For=",
        "\"",
        "\\",
        ";",
        ",",
        ", ",
        "=",
        "[",
        "]",
        ":",
        "6.6.6.6",
        "10.0.0.9",
        "[2001:db8::66]",
        "unknown",
        "_x",
        "by=",
        "fd00::1",
        "::ffff:10.0.0.1",
        ":80",
        " ",
        "é",
    ]);
    let pieces =
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![3 => pieces, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

fn untrusted() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|ip| IpAddr::V4(Ipv4Addr::from(ip))),
        any::<u128>().prop_map(|ip| IpAddr::V6(Ipv6Addr::from(ip))),
    ]
    .prop_map(|ip| ip.to_canonical())
    .prop_filter("a proxy's", |ip| !trusted().iter().any(|net| net.contains(ip)))
}

fn element(ip: IpAddr, header: &str, port: bool) -> String {
    let node = match ip {
        IpAddr::V4(ip) if port => format!("\"{ip}:4711\""),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if port => format!("\"[{ip}]:4711\""),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    match header {
        "forwarded" => format!("for={node};proto=https;by=\"10.0.0.1:80\""),
        _ => node.replace('"', ""),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_panics_and_a_strangers_headers_never_count(
        client in untrusted(),
        forwarded in prop::collection::vec(line(), 0..4),
        x in prop::collection::vec(line(), 0..4),
    ) {
        let lines: Vec<_> = forwarded.into_iter().map(|line| ("forwarded", line))
            .chain(x.into_iter().map(|line| ("x-forwarded-for", line)))
            .collect();
        let headers = headers(&lines);
        for header in [ProxyHeader::Either, ProxyHeader::Forwarded, ProxyHeader::XForwardedFor] {
            prop_assert_eq!(client_ip(client, &headers, &trusted(), header), client);
            client_ip(PROXY.parse().unwrap(), &headers, &trusted(), header);
        }
    }

    /// Whatever a client sends in the header, the proxy appends the address it sees: in the last
    /// line or in one of its own, perhaps through a second proxy.
    #[test]
    fn a_client_behind_a_proxy_cannot_choose_its_address(
        client in untrusted(),
        sent in prop::collection::vec(line(), 0..4),
        name in prop::sample::select(vec!["forwarded", "x-forwarded-for"]),
        own_line: bool,
        second_proxy: bool,
        port: bool,
    ) {
        let mut lines: Vec<Vec<u8>> = sent;
        // A line that no server lets in is not what the proxy appends to.
        lines.retain(|line| HeaderValue::from_bytes(line).is_ok());
        let mut appended = vec![element(client, name, port)];
        if second_proxy {
            appended.push(element("10.0.0.2".parse().unwrap(), name, port));
        }
        for element in appended {
            match lines.last_mut() {
                Some(line) if !own_line => line.extend(format!(", {element}").bytes()),
                _ => lines.push(element.into_bytes()),
            }
        }
        let lines: Vec<_> = lines.into_iter().map(|line| (name, line)).collect();
        let found =
            client_ip(PROXY.parse().unwrap(), &headers(&lines), &trusted(), ProxyHeader::Either);
        prop_assert_eq!(found, client);
    }

    /// The same through a proxy that appends to one header and passes the other on unread: the
    /// client gains nothing but the proxy's own address.
    #[test]
    fn the_header_that_a_proxy_ignores_is_of_no_use(
        client in untrusted(),
        sent in prop::collection::vec(line(), 1..4),
        swapped: bool,
    ) {
        let (read, ignored) = match swapped {
            true => ("forwarded", "x-forwarded-for"),
            false => ("x-forwarded-for", "forwarded"),
        };
        let mut lines: Vec<_> = sent.into_iter().map(|line| (ignored, line)).collect();
        lines.push((read, element(client, read, false).into_bytes()));
        let proxy: IpAddr = PROXY.parse().unwrap();
        let found = client_ip(proxy, &headers(&lines), &trusted(), ProxyHeader::Either);
        prop_assert!(found == client || found == proxy);
    }
}
