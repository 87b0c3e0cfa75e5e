//! The command line's view of a running proxy.

use std::process::Output;

use http::Method;
use serde_json::Value;

use super::{cli::run, served::tollway, support::*};

const POLICY: &str = "\
admin: { token: let-me-see }
providers: { sim: { simulate: {} } }
circuit_breaker: {}
retry: { attempts: 1 }
routes: [{ targets: [sim/gpt-4o-mini] }]
limits:
  - { name: user, per: user, requests: 5/100d, burst: 2 }
callers: { identify: [header x-user-id, ip] }
";

/// Asks a proxy with its token.
fn asks(proxy: &Running, arguments: &[&str]) -> (i32, String, String) {
    let admin = format!("http://{}", proxy.admin_address());
    let mut command = tollway(arguments);
    command.env("TOLLWAY_ADMIN", admin).env("TOLLWAY_ADMIN_TOKEN", "let-me-see");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

async fn chat(proxy: &Running, user: &str) -> u16 {
    let headers = [JSON, ("x-user-id", user)];
    let got = proxy.send(Method::POST, CHAT, &headers, ask(false)).await;
    until("the request's end", || proxy.is_idle()).await;
    got.status.as_u16()
}

#[tokio::test]
async fn limits_are_shown_as_a_table_and_as_json() {
    let proxy = Running::new(POLICY);
    for status in [200, 200, 429] {
        assert_eq!(chat(&proxy, "ann").await, status);
    }
    let (code, table, said) = asks(&proxy, &["limits", "status", "--user", "ann"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["limit", "for", "used", "of", "left", "unit", "resets", "in"]);
    assert_eq!(lines[1][..6], ["user", "ann", "2", "2", "0", "requests"]);
    let (code, json, _) = asks(&proxy, &["limits", "status", "--user", "ann", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["limits"][0]["left"]), (0, &Value::from(0)));
    let (_, config, _) = asks(&proxy, &["limits", "config"]);
    assert!(config.contains("5 in 100d, burst 2"), "{config}");
    let (_, buckets, _) = asks(&proxy, &["limits", "buckets"]);
    let last: Vec<_> = buckets.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["user", "1"]);

    let (_, violations, _) = asks(&proxy, &["limits", "violations", "--key", "ann"]);
    let last: Vec<_> = violations.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last[1..6], ["user", "ann", "1", "1", "0"]);
    let (_, stats, _) = asks(&proxy, &["limits", "stats", "--per", "limit"]);
    let last: Vec<_> = stats.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["-", "user", "2", "1"]);

    assert_eq!(asks(&proxy, &["limits", "reset", "--user", "ann"]).0, 0);
    assert_eq!(chat(&proxy, "ann").await, 200);
    let (code, _, said) = asks(&proxy, &["limits", "reset", "--user", "nobody"]);
    assert!(code == 3 && said.contains("nothing"), "{code} {said}");
    let (code, _, said) = asks(&proxy, &["limits", "status", "--limit", "usr"]);
    assert!(code == 3 && said.contains("did you mean `user`?"), "{code} {said}");
    for nothing in [
        &["limits", "violations", "--key", "nobody"][..],
        &["limits", "violations", "--key", "nobody", "--limit", "user", "--json"],
        &["limits", "status", "--key", "ci"],
    ] {
        let (code, _, said) = asks(&proxy, nothing);
        assert!(code == 3 && said.contains("nothing of that"), "{nothing:?} {code} {said}");
    }
    let (code, json, said) = asks(&proxy, &["limits", "violations", "--limit", "zz", "--json"]);
    assert!(code == 3 && json.contains("there are user") && said.is_empty(), "{code} {json}");
    assert_eq!(asks(&proxy, &["limits", "reset"]).0, 2, "whose?");
    assert_eq!(asks(&proxy, &["limits", "cleanup"]).0, 0);
}

#[tokio::test]
async fn costs_breakers_and_the_policy_are_shown() {
    let proxy = Running::new(POLICY);
    assert_eq!(chat(&proxy, "ann").await, 200);
    let (code, costs, said) = asks(&proxy, &["costs", "--by", "model"]);
    assert_eq!((code, said.as_str()), (0, ""), "{costs}");
    for part in ["gpt-4o-mini", "total", "by the end of the month", "confidence low"] {
        assert!(costs.contains(part), "{part} is not in\n{costs}");
    }
    let (_, csv, _) = asks(&proxy, &["costs", "--by", "user", "--csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines[0].starts_with("name,requests,") && lines[1].starts_with("ann,1,"), "{csv}");

    assert_eq!(asks(&proxy, &["breakers", "open", "sim"]).0, 0);
    let (_, status, _) = asks(&proxy, &["breakers", "status"]);
    assert!(status.contains("forced_open"), "{status}");
    assert_eq!(chat(&proxy, "ben").await, 503);
    assert_eq!(asks(&proxy, &["breakers", "reset", "sim", "gpt-4o-mini"]).0, 0);
    assert_eq!(chat(&proxy, "kim").await, 200);
    assert_eq!(asks(&proxy, &["breakers", "reset", "smi"]).0, 3);
    let (code, _, said) = asks(&proxy, &["breakers", "status", "--provider", "smi"]);
    assert!(code == 3 && said.contains("did you mean `sim`?"), "{code} {said}");

    let (code, policy, _) = asks(&proxy, &["policy", "show"]);
    assert!(code == 0 && policy.contains("requests: 5/100d, burst: 2"), "{policy}");
    assert!(!policy.contains("let-me-see"), "{policy}");
    let (code, _, said) = asks(&proxy, &["policy", "reload"]);
    assert!(code == 1 && said.contains("without a file"), "{code} {said}");
}

#[tokio::test]
async fn exit_codes_tell_what_is_wrong() {
    let proxy = Running::new(POLICY);
    let admin = format!("http://{}", proxy.admin_address());
    let (code, stdout, said) = run(&["limits", "config", "--admin", &admin]);
    assert_eq!((code, stdout.as_str()), (4, ""), "{said}");
    assert!(said.contains("admin token"), "{said}");
    assert_eq!(run(&["limits", "config", "--admin", &admin, "--token", "let-me"]).0, 4);
    assert_eq!(run(&["limits", "config", "--admin", &admin, "--token", "let-me-see"]).0, 0);
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (code, _, said) = run(&["costs", "--admin", &nobody]);
    assert!(code == 1 && said.contains(&nobody) && said.contains("--admin"), "{code} {said}");
    for wrong in [
        &["costs", "--admin", "https://127.0.0.1:1"][..],
        &["costs", "--admin", "no url"],
        &["costs", "--by", "colour"],
        &["limits", "status", "--ip", "here"],
        &["limits"],
    ] {
        let (code, stdout, said) = run(wrong);
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong:?}: {said}");
    }
    // The proxy's own port is no admin listener.
    let (code, _, said) = run(&["costs", "--admin", &format!("http://{}", proxy.address())]);
    assert!(code == 1 && said.contains("no admin API"), "{code} {said}");
}
