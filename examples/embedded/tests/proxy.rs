//! Drives the proxy from the program that it lives in.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use example_embedded::{ask, spent, start};
use tollway::rate_limit::Key;

#[test]
fn a_whole_proxy_and_its_state_inside_this_program() {
    let proxy = start().unwrap();
    for left in [1, 0] {
        let answer = ask(&proxy, "ann", "hello?").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let attempts = "x-tollway-attempts: broken/parrot;503, good/parrot;200\r\n";
        assert!(answer.contains(attempts), "{answer}");
        let standing = proxy.stack().request_limits().standing("user", &Key::from("ann")).unwrap();
        assert_eq!(standing.remaining, left);
    }
    let answer = ask(&proxy, "ann", "hello?").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: "), "{answer}");
    let bob = ask(&proxy, "bob", "hello?").unwrap();
    assert!(bob.starts_with("HTTP/1.1 200 "), "another user's quota is another: {bob}");

    let broken = proxy.stack().simulator("broken").unwrap().stats();
    let good = proxy.stack().simulator("good").unwrap().stats();
    assert_eq!((broken.errors, good.accepted), (3, 3), "the refused one went nowhere");
    let spent = spent(&proxy).join("\n");
    assert!(
        spent.contains("ann: 3 requests, 0.000") && spent.contains("bob: 1 requests"),
        "{spent}"
    );

    let address = proxy.address();
    assert_eq!(proxy.stop(), 0, "nothing was under way");
    assert!(std::net::TcpStream::connect(address).is_err(), "and the port is free again");
}
