//! Quotas of single keys at running proxies: given, held to, taken back, and outlived by them.

use http::{Method, Request};
use serde_json::{Value, json};
use tollway_testkit::RedisServer;

use super::{served::tollway, support::*};

fn policy(more: &str) -> String {
    format!(
        "\
providers: {{ sim: {{ simulate: {{ output_tokens: 20 }} }}, lab: {{ free: true, simulate: {{}} }} }}
routes: [{{ targets: [sim/gpt-4o-mini] }}]
limits:
  - {{ name: user, per: user, requests: 2/365d }}
  - {{ name: spend, per: user, usd: 1000/month, when_full: {{ downgrade: [lab/gpt-4o-mini] }} }}
  - {{ name: pair, per: [user, model], tokens: 1M/day }}
  - {{ name: address, per: ip, requests: 1000/min, shape: sliding }}
callers: {{ identify: [header x-user, ip] }}
{more}"
    )
}

async fn api(proxy: &Running, method: Method, path: &str, body: Value) -> (u16, Value) {
    let uri = format!("http://{}/admin/v1/limits/{path}", proxy.admin_address());
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(uri).body(full(body)).unwrap();
    let reply = Reply::read(within(path, client().request(request)).await.unwrap()).await;
    (reply.status.as_u16(), reply.json())
}

async fn set(proxy: &Running, body: Value) -> Value {
    let (status, told) = api(proxy, Method::POST, "quotas", body).await;
    assert_eq!(status, 200, "{told}");
    told
}

async fn chat(proxy: &Running, user: &str) -> Reply {
    let reply = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", user)], ask(false)).await;
    until("its end", || proxy.is_idle()).await;
    reply
}

async fn asks(proxy: &Running, user: &str, many: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..many {
        all.push(chat(proxy, user).await.status.as_u16());
    }
    all
}

/// How a limit stands for somebody.
async fn stands(proxy: &Running, limit: &str, user: &str) -> Value {
    let path = format!("status?limit={limit}&user={user}");
    api(proxy, Method::GET, &path, Value::Null).await.1["limits"][0].clone()
}

/// Until the limit has this capacity for somebody.
async fn has(proxy: &Running, user: &str, capacity: u64) {
    within("another quota", async {
        while stands(proxy, "user", user).await["capacity"] != capacity {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_quota_holds_until_it_expires_or_is_removed() {
    let proxy = Running::new(&policy(""));
    assert_eq!(asks(&proxy, "ann", 3).await, [200, 200, 429]);
    let told = set(&proxy, json!({ "user": "ann", "requests": "4/365d" })).await;
    assert_eq!(told["quotas"][0]["limit"], "user");
    assert_eq!(told["quotas"][0]["quota"]["burst"], 4);
    assert_eq!(told["quotas"][0]["expires"], Value::Null);
    // All of it was used, and so is all of this.
    assert_eq!(asks(&proxy, "ann", 1).await, [429]);
    set(&proxy, json!({ "user": "ben", "requests": "4/365d" })).await;
    assert_eq!(asks(&proxy, "ben", 5).await, [200, 200, 200, 200, 429]);
    set(&proxy, json!({ "user": "kim", "requests": "1/365d" })).await;
    assert_eq!(asks(&proxy, "kim", 2).await, [200, 429]);
    let refused = chat(&proxy, "ben").await;
    assert_eq!(refused.header("x-ratelimit-limit-requests"), "4");
    assert!(refused.error().message.contains("0 of 4 requests"), "{refused:?}");
    let config = api(&proxy, Method::GET, "status?user=ben&limit=user", Value::Null).await.1;
    assert_eq!(config["limits"][0]["custom"], json!({ "expires": null }));
    assert_eq!(config["limits"][0]["quota"]["amount"], 4);

    set(&proxy, json!({ "user": "eve", "requests": "9/min", "burst": 50, "expires": "1s" })).await;
    set(&proxy, json!({ "user": "zoe", "requests": "9/min", "burst": 50, "expires": "30d" })).await;
    has(&proxy, "eve", 2).await;
    assert_eq!(stands(&proxy, "user", "eve").await["custom"], Value::Null);
    let zoe = stands(&proxy, "user", "zoe").await;
    assert!(zoe["custom"]["expires"].as_str().unwrap().ends_with('Z'), "{zoe}");
    assert_eq!((&zoe["capacity"], &zoe["left"]), (&json!(50), &json!(50)));
    let (_, all) = api(&proxy, Method::GET, "quotas", Value::Null).await;
    let of = |all: &Value| -> Vec<String> {
        all.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().into()).collect()
    };
    assert_eq!(of(&all["quotas"]), ["ann", "ben", "kim", "zoe"]);

    let (status, removed) = api(&proxy, Method::DELETE, "quotas?user=ben", Value::Null).await;
    assert_eq!((status, of(&removed["removed"])), (200, vec!["ben".to_owned()]));
    assert_eq!(api(&proxy, Method::DELETE, "quotas?user=ben", Value::Null).await.0, 404);
    let ben = stands(&proxy, "user", "ben").await;
    assert_eq!((&ben["capacity"], &ben["left"]), (&json!(2), &json!(0)), "no present");
}

#[tokio::test]
async fn what_can_not_be_is_told_with_what_could() {
    let proxy = Running::new(&policy(""));
    for (body, field, said) in [
        (json!({ "requests": "5/min" }), "user", "one of `user`"),
        (json!({ "user": "a", "key": "b", "requests": "5/min" }), "user", "one of"),
        (json!({ "user": "ann" }), "requests", "say how much"),
        (json!({ "user": "ann", "requests": "5" }), "requests", "which time"),
        (json!({ "user": "ann", "requests": "5/month" }), "requests", "/30d"),
        (json!({ "user": "ann", "usd": "5/day" }), "usd", "AMOUNT/month"),
        (json!({ "user": "ann", "usd": "5/month", "burst": 7 }), "burst", "only a bucket"),
        (json!({ "user": "ann", "tokens": "5/day" }), "limit", "there is `user` (requests"),
        (json!({ "key": "k", "requests": "5/min" }), "limit", "per key there is none"),
        (
            json!({ "user": "ann", "limit": "address", "requests": "5/min" }),
            "limit",
            "it has `address` (requests per ip)",
        ),
        (json!({ "ip": "here", "requests": "5/min" }), "ip", "no address"),
        (json!({ "user": "ann", "requests": "5/min", "expires": "soon" }), "expires", "30d"),
        (json!({ "user": "ann", "requests": "5/min", "expires": "0" }), "expires", "over already"),
        (json!({ "user": "ann", "requests": "5/min", "expires": "2020-01-01" }), "expires", "over"),
        (json!({ "user": "", "requests": "5/min" }), "user", "1 to 256 bytes"),
        (json!({ "user": " ", "requests": "5/min" }), "user", "1 to 256 bytes"),
        (json!({ "user": "a\u{7}", "requests": "5/min" }), "user", "1 to 256 bytes"),
        (json!({ "user": "x".repeat(257), "requests": "5/min" }), "user", "1 to 256 bytes"),
        (json!({ "key": "", "requests": "5/min" }), "key", "1 to 256 bytes"),
        (json!({ "user": "ann", "concurrent": "5" }), "concurrent", "a whole number"),
    ] {
        let (status, told) = api(&proxy, Method::POST, "quotas", body.clone()).await;
        let error = &told["error"];
        assert_eq!((status, error["field"].as_str()), (400, Some(field)), "{body} {told}");
        assert!(error["message"].as_str().unwrap().contains(said), "{body} {told}");
    }
    let (_, all) = api(&proxy, Method::GET, "quotas", Value::Null).await;
    assert_eq!(all["quotas"], json!([]), "nothing of it was written");
    let twice =
        policy("").replace("limits:", "limits:\n  - { name: other, per: user, requests: 9/min }");
    let proxy = Running::new(&twice);
    let body = json!({ "user": "ann", "requests": "5/min" });
    let (status, told) = api(&proxy, Method::POST, "quotas", body).await;
    let message = told["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("`other`") && message.contains("`user`"), "{told}");
    let body = json!({ "user": "ann", "requests": "5/min", "limit": "other" });
    assert_eq!(set(&proxy, body).await["quotas"][0]["limit"], "other");
    let body = json!({ "ip": "192.0.2.7", "requests": "5/min" });
    assert_eq!(set(&proxy, body).await["quotas"][0]["quota"]["shape"], "sliding");
}

#[tokio::test]
async fn a_quota_ends_at_a_date_by_the_policys_clock() {
    let proxy = Running::new(&policy("time_zone: Europe/Berlin\n"));
    for (text, at) in [
        ("2099-12-31", "2099-12-30T23:00:00.000Z"),
        ("2099-12-31T12:00", "2099-12-31T11:00:00.000Z"),
        ("2099-06-30T12:00", "2099-06-30T10:00:00.000Z"),
        ("2099-12-31T12:00:00Z", "2099-12-31T12:00:00.000Z"),
    ] {
        let body = json!({ "user": "ann", "requests": "9/min", "expires": text });
        assert_eq!(set(&proxy, body).await["quotas"][0]["expires"], at, "{text}");
    }
    // Longer than a time of a policy may be.
    set(&proxy, json!({ "user": "ann", "requests": "9/min", "expires": "3660d" })).await;
    assert_eq!(stands(&proxy, "user", "ann").await["capacity"], 9);
}

#[tokio::test]
async fn a_spent_budget_of_ones_own_goes_where_it_costs_less() {
    let proxy = Running::new(&policy(""));
    set(&proxy, json!({ "user": "ann", "usd": "0.000000001/month", "requests": "9/365d" })).await;
    // A request larger than all of it takes all of it, and owes the rest.
    for (user, cheaper) in [("ann", true), ("ben", false)] {
        assert_eq!(chat(&proxy, user).await.header("x-tollway-decision"), "");
        let reply = chat(&proxy, user).await;
        let told = reply.header("x-tollway-decision").starts_with("target=\"lab/gpt-4o-mini\"");
        assert_eq!((reply.status.as_u16(), told), (200, cheaper), "{user}: {reply:?}");
    }
    let ann = stands(&proxy, "spend", "ann").await;
    assert_eq!((&ann["capacity"], &ann["left"]), (&json!("0.000000001"), &json!("0")));
}

#[tokio::test]
async fn both_quota_and_fill_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("state: {{ sqlite: '{}' }}", folder.path().join("state.db").display());
    let first = Running::new(&policy(&state));
    set(&first, json!({ "user": "ann", "requests": "4/365d", "expires": "30d" })).await;
    assert_eq!(asks(&first, "ann", 3).await, [200, 200, 200]);
    let first = first.take();
    tokio::task::spawn_blocking(|| first.stop()).await.unwrap();
    let second = Running::new(&policy(&state));
    assert_eq!(asks(&second, "ann", 2).await, [200, 429]);
    assert_eq!(stands(&second, "user", "ann").await["capacity"], 4);
    let second = second.take();
    tokio::task::spawn_blocking(|| second.stop()).await.unwrap();
    // A limit that is not there any more has no use for it; it is kept, and told.
    let third = Running::new(&policy(&state).replace("name: user", "name: people"));
    let (_, all) = api(&third, Method::GET, "quotas", Value::Null).await;
    assert_eq!(all["quotas"][0]["holds"], false, "{all}");
    assert!(all["quotas"][0]["why_not"].as_str().unwrap().contains("`user`"), "{all}");
    assert_eq!(asks(&third, "ann", 3).await, [200, 200, 429]);
}

#[tokio::test]
async fn a_reload_keeps_them_under_the_new_policy() {
    let proxy = Running::new(&policy(""));
    set(&proxy, json!({ "user": "ann", "requests": "8/365d" })).await;
    assert_eq!(asks(&proxy, "ann", 4).await, [200; 4]);
    let next = async |text: &str| {
        let next = super::support::policy(&policy("").replace("requests: 2/365d", text));
        proxy.reloader().apply(next).await.unwrap();
    };
    next("requests: 3/365d").await;
    let ann = stands(&proxy, "user", "ann").await;
    assert_eq!((&ann["capacity"], &ann["left"]), (&json!(8), &json!(4)));
    assert_eq!(asks(&proxy, "ben", 4).await, [200, 200, 200, 429]);
    // Of another kind all begin anew, and what was written is read by that.
    next("requests: 3/365d, shape: sliding").await;
    let ann = stands(&proxy, "user", "ann").await;
    assert_eq!((&ann["quota"]["shape"], &ann["left"]), (&json!("sliding"), &json!(8)));
    next("requests: 3/day").await;
    let (_, all) = api(&proxy, Method::GET, "quotas", Value::Null).await;
    assert!(all["quotas"][0]["why_not"].as_str().unwrap().contains("day"), "{all}");
    assert_eq!(stands(&proxy, "user", "ann").await["capacity"], 3);
    next("requests: 2/365d").await;
    assert_eq!(stands(&proxy, "user", "ann").await["capacity"], 8);
}

#[tokio::test]
async fn in_redis_they_are_those_of_all_instances() {
    let server = RedisServer::start();
    let state =
        format!("state: {{ redis: {{ url: '{}', timeout: 10s }}, ledger: memory }}", server.url());
    let (one, two) = (Running::new(&policy(&state)), Running::new(&policy(&state)));
    set(&one, json!({ "user": "ann", "requests": "6/365d" })).await;
    // What Redis counts for both, either tells.
    has(&two, "ann", 6).await;
    assert_eq!(asks(&one, "ann", 3).await, [200, 200, 200]);
    assert_eq!(asks(&two, "ann", 4).await, [200, 200, 200, 429]);
    assert_eq!(asks(&one, "ann", 1).await, [429]);
    assert_eq!(api(&two, Method::DELETE, "quotas?user=ann", Value::Null).await.0, 200);
    has(&one, "ann", 2).await;
    assert_eq!(asks(&one, "ann", 1).await, [429]);
    // Who has it back has it everywhere, and what each instance knows of its part is told.
    let ann = json!({ "user": "ann" });
    let (status, told) = api(&two, Method::POST, "reset", ann.clone()).await;
    let keys: Vec<_> = told["reset"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert_eq!(status, 200, "{told}");
    assert_eq!(keys, ["ann", "ann", "ann, gpt-4o-mini"], "{told}");
    assert_eq!(stands(&two, "user", "ann").await["used"], 0);
    within("the other instance", async {
        while stands(&one, "user", "ann").await["used"] != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(asks(&one, "ann", 2).await, [200, 200]);
    assert_eq!(asks(&two, "ann", 1).await, [429]);
    assert_eq!(api(&one, Method::POST, "reset", ann.clone()).await.0, 200);
    assert_eq!(api(&one, Method::POST, "reset", ann).await.0, 404, "once is enough");
}

#[tokio::test]
async fn the_command_line_sets_tells_and_removes() {
    let proxy = Running::new(&policy(""));
    let admin = format!("http://{}", proxy.admin_address());
    let run = |arguments: &[&str]| {
        let output = tollway(arguments).env("TOLLWAY_ADMIN", &admin).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let set = ["limits", "set", "--user", "ann", "--requests", "200/min", "--burst", "50"];
    let (code, table, said) = run(&[&set[..], &["--expires", "30d"]].concat());
    assert_eq!((code, said.as_str()), (0, ""));
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(Into::into).collect() };
    let row = words(table.lines().nth(1).unwrap());
    assert_eq!(row[..9], ["user", "user", "ann", "requests", "200", "in", "1m,", "burst", "50"]);
    let (_, quotas, _) = run(&["limits", "quotas", "--user", "ann"]);
    assert_eq!(quotas, table);
    let (_, status, _) = run(&["limits", "status", "--user", "ann", "--verbose"]);
    assert!(status.contains("200 in 1m, burst 50, their own until 2"), "{status}");
    let (_, json, _) = run(&["limits", "quotas", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["quotas"][0]["written"], "200/min");
    let (code, _, said) = run(&["limits", "set", "--user", "ann", "--tokens", "5/min"]);
    assert!(code == 2 && said.contains("no limit counts tokens per user"), "{code} {said}");
    let (code, _, said) =
        run(&["limits", "set", "--user", "ann", "--requests", "5/min", "--limit", "usr"]);
    assert!(code == 3 && said.contains("did you mean `user`?"), "{code} {said}");
    assert_eq!(run(&["limits", "remove", "--user", "ann", "--limit", "user"]).0, 0);
    assert_eq!(run(&["limits", "remove", "--user", "ann"]).0, 3);
    assert_eq!(run(&["limits", "quotas"]).1, "");
    let (code, _, said) = run(&["limits", "quotas", "--user", "ann"]);
    assert!(code == 3 && said.contains("nothing of that"), "{code} {said}");
    let (code, _, said) = run(&["limits", "quotas", "--limit", "zz"]);
    assert!(code == 3 && said.contains("there are user, spend, pair, address"), "{code} {said}");
    let (code, _, said) = run(&["limits", "set", "--user", "", "--requests", "5/min"]);
    assert!(code == 2 && said.contains("user: expected"), "{code} {said}");
}
