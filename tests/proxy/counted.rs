//! Limits of running proxies that live beside the process: in a file, in Redis, or in both.

use http::Method;
use tollway_testkit::RedisServer;

use super::support::*;

fn counted(state: &str) -> String {
    format!(
        "
state: {state}
callers: {{ identify: header x-user }}
providers: {{ openai: {{ simulate: {{ output_tokens: 20 }} }} }}
limits:
  - {{ name: user, per: user, requests: 3/day, when_store_is_away: closed }}
  - {{ name: spend, per: user, usd: 1/day }}
routes: [{{ name: all, targets: [openai/gpt-4o-mini] }}]
"
    )
}

async fn ask_as(proxy: &Running, user: &str) -> u16 {
    let reply = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", user)], ask(false)).await;
    until("its end", || proxy.is_idle()).await;
    reply.status.as_u16()
}

async fn asks(proxy: &Running, user: &str) -> [u16; 2] {
    [ask_as(proxy, user).await, ask_as(proxy, user).await]
}

#[tokio::test]
async fn limits_in_a_file_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let policy = counted(&format!("{{ sqlite: '{}' }}", folder.path().join("state.db").display()));
    let first = Running::new(&policy);
    assert_eq!(asks(&first, "ann").await, [200, 200]);
    let first = first.take();
    tokio::task::spawn_blocking(|| first.stop()).await.unwrap();
    let second = Running::new(&policy);
    assert_eq!(asks(&second, "ann").await, [200, 429]);
    assert_eq!(asks(&second, "bob").await, [200, 200]);
}

#[tokio::test]
async fn who_counts_in_a_file_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let policy = counted(&format!("{{ sqlite: '{}' }}", folder.path().join("state.db").display()));
    let first = Running::new(&policy);
    // Reads what was counted only when nobody counts any more.
    let second = {
        let policy = policy.clone();
        tokio::task::spawn_blocking(move || Running::new(&policy))
    };
    assert_eq!(asks(&first, "ann").await, [200, 200]);
    let first = first.take();
    tokio::task::spawn_blocking(|| first.stop()).await.unwrap();
    assert_eq!(asks(&second.await.unwrap(), "ann").await, [200, 429]);
}

#[tokio::test]
async fn limits_in_redis_are_those_of_all_instances() {
    let mut server = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name| format!("{{ sqlite: '{}' }}", folder.path().join(name).display());
    for own in
        [["redis"; 2].map(String::from), ["memory"; 2].map(String::from), ["1", "2"].map(file)]
    {
        let policy = |own| {
            counted(&format!(
                "{{ redis: {{ url: '{}', timeout: 10s }}, ledger: memory, budgets: {own} }}",
                server.url()
            ))
        };
        server.flush();
        let [one, two] = own.map(|own| Running::new(&policy(own)));
        // Before it is connected to, a limit that is closed then lets nobody through.
        while ask_as(&one, "warms up").await == 503 || ask_as(&two, "warms up").await == 503 {}
        assert_eq!(asks(&one, "ann").await, [200, 200]);
        assert_eq!(asks(&two, "ann").await, [200, 429]);
        assert_eq!(ask_as(&one, "ann").await, 429);
        // Whoever is asked tells of all.
        for (proxy, who) in [(&one, "?user=ann"), (&two, "?user=ann"), (&one, ""), (&two, "")] {
            let told = proxy.admin(&format!("/admin/v1/limits/status{who}")).await.json();
            let user = told["limits"].as_array().unwrap().iter();
            let mut user = user.filter(|row| row["limit"] == "user" && row["key"] == "ann");
            let row = user.next().unwrap();
            assert!(row["used"] == 3 && row["capacity"] == 3 && row["alone"] == false, "{row}");
            assert_eq!(user.next(), None);
        }
    }
    let policy = counted(&format!("{{ redis: '{}', ledger: memory }}", server.url()));
    let proxy = Running::new(&policy);
    server.kill();
    let reply = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", "bob")], ask(false)).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let told = proxy.admin("/metrics").await.text();
    for line in [
        r#"tollway_limit_decided_alone_total{limit="user",unit="requests"} 1"#,
        "tollway_limit_store_away 1",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    let told = proxy.admin("/admin/v1/limits/status?user=bob&limit=user").await.json();
    let row = &told["limits"][0];
    assert!(row["used"] == 0 && row["capacity"] == 3 && row["alone"] == true, "{told}");
    let amiss = "ready; the Redis of limits can't be asked; \
                 keys and quotas made at run time can't be read or kept:\n";
    within("its word", async { while !proxy.admin("/readyz").await.text().contains(amiss) {} })
        .await;
    server.restart();
    within("its word", async { while proxy.admin("/readyz").await.text() != "ready\n" {} }).await;
}

/// A busy instance asks now and then; what it borrowed and did not use is there for others when it
/// has stopped.
#[tokio::test]
async fn instances_borrow_of_limits_in_redis_and_give_back() {
    let server = RedisServer::start();
    let policy = counted(&format!(
        "{{ redis: {{ url: '{}', timeout: 10s }}, ledger: memory, budgets: memory }}",
        server.url()
    ));
    let policy = policy.replace("3/day,", "60/day, borrow: 10%,");
    let (one, two) = (Running::new(&policy), Running::new(&policy));
    while ask_as(&one, "warms up").await == 503 || ask_as(&two, "warms up").await == 503 {}
    for _ in 0..40 {
        assert_eq!(ask_as(&one, "ann").await, 200);
    }
    let told = one.admin("/metrics").await.text();
    let figure = |name: &str| -> u64 {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {told}")).parse().unwrap()
    };
    assert!(figure("tollway_limit_store_asked_total") > 0);
    assert!(figure("tollway_limit_store_borrowed_total") > 0);
    let quiet = ["unanswered_total", "lost_total", "away"];
    assert_eq!(quiet.map(|name| figure(&format!("tollway_limit_store_{name}"))), [0; 3]);
    let one = one.take();
    tokio::task::spawn_blocking(|| one.stop()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask_as(&two, "ann").await, 200);
    }
    assert_eq!(ask_as(&two, "ann").await, 429);
}
