//! Keys that are made and revoked while the proxy runs.

use http::{Method, Request};
use serde_json::{Value, json};
use tollway::{
    Proxy,
    policy::{Env, Policy},
};
use tollway_testkit::RedisServer;

use super::{
    cli::file,
    served::{Served, tollway},
    support::*,
};

fn policy_with(state: &str) -> String {
    format!(
        "
admin: {{ token: let-me-see }}
callers: {{ identify: key, require_key: true }}
providers: {{ sim: {{ simulate: {{}} }} }}
routes: [{{ targets: [sim] }}]
limits: [{{ name: user, per: user, requests: 5/100d, burst: 5 }}]
state: {state}
"
    )
}

/// An answer of the admin API.
async fn api(
    admin: std::net::SocketAddr,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{admin}/admin/v1{path}"))
        .header("authorization", format!("Bearer {token}"))
        .body(full(if body.is_null() { String::new() } else { body.to_string() }));
    let reply = within("an answer", client().request(request.unwrap())).await.unwrap();
    let reply = Reply::read(reply).await;
    (reply.status.as_u16(), reply.json())
}

const TOKEN: &str = "let-me-see";

/// Makes a key; the key itself.
async fn make(proxy: &Proxy, body: Value) -> String {
    let (status, made) = api(proxy.admin_address(), TOKEN, Method::POST, "/keys", body).await;
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

async fn revoke(proxy: &Proxy, name: &str) -> (u16, Value) {
    let path = format!("/keys/{name}");
    api(proxy.admin_address(), TOKEN, Method::DELETE, &path, Value::Null).await
}

async fn ask_with(proxy: &Running, key: &str) -> Reply {
    let headers = [JSON, ("x-api-key", key)];
    proxy.send(Method::POST, CHAT, &headers, ask(false)).await
}

async fn status(proxy: &Running, key: &str) -> u16 {
    ask_with(proxy, key).await.status.as_u16()
}

#[tokio::test]
async fn a_key_works_from_its_making_to_its_end() {
    let proxy = Running::new(&policy_with("memory"));
    assert_eq!(proxy.post(CHAT, ask(false)).await.status, 401, "nobody has a key yet");
    let key = make(&proxy, json!({ "name": "ci", "user": "ann", "tags": { "team": "ops" } })).await;
    assert!(key.starts_with("tw_") && key.len() == 46);
    assert_eq!(status(&proxy, &key).await, 200);
    // Its user's limit counts it, as with a key of the policy.
    let other = make(&proxy, json!({ "user": "ann" })).await;
    for _ in 0..4 {
        assert_eq!(status(&proxy, &other).await, 200);
    }
    assert_eq!((status(&proxy, &key).await, status(&proxy, &other).await), (429, 429));

    let unknown = ask_with(&proxy, "tw_no-such-key").await;
    assert_eq!(revoke(&proxy, "ci").await.0, 200);
    let refused = ask_with(&proxy, &key).await;
    assert_eq!((refused.status, refused.body), (unknown.status, unknown.body), "as one never made");
    assert_eq!(status(&proxy, &other).await, 429, "the other is still there");
    assert_eq!(revoke(&proxy, "ci").await.0, 404);
    // The name is free again, and means another key.
    let anew = make(&proxy, json!({ "name": "ci" })).await;
    assert_eq!((status(&proxy, &anew).await, status(&proxy, &key).await), (200, 401));
}

#[tokio::test]
async fn a_key_expires_by_itself() {
    let proxy = Running::new(&policy_with("memory"));
    // That it works before is seen where time is set.
    let key = make(&proxy, json!({ "name": "brief", "expires": "500ms" })).await;
    within("its end", async { while status(&proxy, &key).await != 401 {} }).await;
    let (_, all) = api(proxy.admin_address(), TOKEN, Method::GET, "/keys", Value::Null).await;
    assert_eq!(all["keys"], json!([]));
    assert_eq!(revoke(&proxy, "brief").await.0, 404);
    make(&proxy, json!({ "name": "brief" })).await;
}

#[tokio::test]
async fn a_key_is_held_to_its_models_and_scopes() {
    let proxy = Running::new(&policy_with("memory"));
    let admin = proxy.admin_address();
    let key = make(&proxy, json!({ "name": "small", "models": ["gpt-*-mini"] })).await;
    assert_eq!(status(&proxy, &key).await, 200);
    let headers = [JSON, ("x-api-key", &*key)];
    let large = ask(false).replace("gpt-4o-mini", "gpt-4o");
    assert_eq!(proxy.send(Method::POST, CHAT, &headers, large).await.status, 403);
    let listed = proxy.send(Method::GET, "/v1/models", &headers, "").await.json();
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| id.as_str().unwrap().ends_with("-mini")));

    let reader = make(&proxy, json!({ "name": "reader", "scopes": ["admin:read"] })).await;
    let chief = make(&proxy, json!({ "name": "chief", "scopes": ["admin"] })).await;
    let look = async |token: &str| api(admin, token, Method::GET, "/limits", Value::Null).await.0;
    assert_eq!((look(&key).await, look(&reader).await, look(&chief).await), (401, 200, 200));
    let metrics = Request::get(format!("http://{admin}/metrics"));
    let metrics = metrics.header("authorization", format!("Bearer {reader}")).body(full(""));
    assert_eq!(client().request(metrics.unwrap()).await.unwrap().status(), 200);
    // No key for traffic is one for the admin side, nor the other way round.
    assert_eq!((status(&proxy, &reader).await, status(&proxy, &chief).await), (401, 401));
    let reset = json!({ "all": true });
    let (code, said) = api(admin, &reader, Method::POST, "/limits/reset", reset.clone()).await;
    assert!(code == 401 && said["error"]["message"].as_str().unwrap().contains("admin:read"));
    assert_eq!(api(admin, &reader, Method::DELETE, "/keys/chief", Value::Null).await.0, 401);
    assert_eq!(api(admin, &chief, Method::POST, "/limits/reset", reset).await.0, 200);
    assert_eq!(api(admin, &chief, Method::DELETE, "/keys/chief", Value::Null).await.0, 200);
    assert_eq!(look(&chief).await, 401, "by its own hand");
}

#[tokio::test]
async fn what_can_not_be_is_told() {
    let keys = format!("keys: [{{ name: of-policy, sha256: '{}' }}]", "1".repeat(64));
    let text = policy_with("memory").replace("require_key: true", &keys);
    let text = text + "aliases: { fast: gpt-4o-mini }\n";
    let proxy = Running::new(&text);
    make(&proxy, json!({ "name": "build bot/1" })).await;
    let admin = proxy.admin_address();
    for (body, code, said) in [
        (json!({ "name": "build bot/1" }), 409, "already"),
        (json!({ "name": "of-policy" }), 409, "already"),
        (json!({ "nmae": "x" }), 400, "nmae"),
        (json!({ "name": "" }), 400, "name: expected"),
        (json!({ "name": "a\nb" }), 400, "name: expected"),
        (json!({ "user": "x".repeat(300) }), 400, "user: expected"),
        (json!({ "tags": { "": "x" } }), 400, "tags: expected"),
        (json!({ "models": [] }), 400, "leave it out"),
        (json!({ "models": ["fast"] }), 400, "`gpt-4o-mini`"),
        (json!({ "scopes": ["admn"] }), 400, "did you mean `admin`?"),
        (json!({ "scopes": [] }), 400, "api, admin:read, admin"),
        (json!({ "expires": "soon" }), 400, "30d"),
        (json!({ "expires": "2020-01-01" }), 400, "over already"),
        (json!({ "expires": "2099-01-01T00:00[Europe/Paris]" }), 400, "2026-12-31T18:00:00Z"),
        (json!({ "name": "sha256:0123456789abcdef" }), 400, "the ids of keys"),
        (json!({ "name": null }), 400, "a text, not null"),
        (Value::Null, 400, "send a JSON object"),
    ] {
        let (status, answer) = api(admin, TOKEN, Method::POST, "/keys", body.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == code && message.contains(said), "{body}: {status} {message}");
    }
    let (code, answer) = revoke(&proxy, "of-policy").await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(code == 409 && message.contains("callers.keys") && message.contains("test.yaml"));
    let (code, answer) = revoke(&proxy, "build%20bot%2F2").await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(code == 404 && message.contains("did you mean `build bot/1`?"), "{message}");
    assert_eq!(revoke(&proxy, "build%20bot%2F1").await.0, 200);
}

#[tokio::test]
async fn a_policy_that_asks_for_no_keys_is_told_of() {
    let warnings = async |policy: &str, body: Value| {
        let proxy = Running::new(policy);
        let (code, made) = api(proxy.admin_address(), TOKEN, Method::POST, "/keys", body).await;
        assert_eq!(code, 201, "{made}");
        assert_eq!(proxy.post(CHAT, ask(false)).await.status, 200, "it shuts nobody out");
        let (_, all) = api(proxy.admin_address(), TOKEN, Method::GET, "/keys", Value::Null).await;
        assert_eq!(made["no_use"], all["keys"][0]["no_use"], "the same is said later");
        made["warnings"].as_array().unwrap().iter().map(ToString::to_string).collect::<String>()
    };
    let open = "providers: { sim: { simulate: {} } }\n";
    let said = warnings(open, json!({})).await;
    assert!(said.contains("asks for no Tollway keys") && said.contains("require_key: true"));
    assert!(said.contains("ends with the process"), "{said}");
    assert!(!said.contains("admin"), "{said}");
    let said = warnings(open, json!({ "scopes": ["admin"] })).await;
    assert!(said.contains("asks for no token") && !said.contains("Tollway keys"), "{said}");
}

#[tokio::test]
async fn a_reload_keeps_keys_and_a_name_of_the_policy_is_the_policys() {
    let text = policy_with("memory");
    let proxy = Running::new(&text);
    let key = make(&proxy, json!({ "name": "ci" })).await;
    let apply = async |text: &str| {
        let mut policy = Policy::parse("test.yaml", text, &Env::new(|_| None)).unwrap();
        policy.listen.set_port(0);
        policy.admin.listen.set_port(0);
        proxy.reloader().apply(policy).await.unwrap();
    };
    apply(&text.replace("5/100d, burst: 5", "9/100d, burst: 9")).await;
    assert_eq!(status(&proxy, &key).await, 200);
    let other = make(&proxy, json!({ "name": "other" })).await;
    assert_eq!(status(&proxy, &other).await, 200, "also what is made after it");
    let ours = |name: &str| format!("keys: [{{ name: {name}, sha256: '{}' }}]", "1".repeat(64));
    apply(&text.replace("require_key: true", &ours("ci"))).await;
    assert_eq!((status(&proxy, &key).await, status(&proxy, &other).await), (401, 200));
    let (_, all) = api(proxy.admin_address(), TOKEN, Method::GET, "/keys", Value::Null).await;
    let shown: Vec<_> =
        all["keys"].as_array().unwrap().iter().map(|one| (&one["name"], &one["from"])).collect();
    assert_eq!(json!(shown), json!([["ci", "run_time"], ["ci", "policy"], ["other", "run_time"]]));
    assert!(all["keys"][0]["no_use"].as_str().unwrap().contains("the policy has a key"));
    apply(&text).await;
    assert_eq!(status(&proxy, &key).await, 200, "the name is its own again");
    apply(&text.replace(", require_key: true", "").replace("key", "[key, ip]")).await;
    assert_eq!(proxy.post(CHAT, ask(false)).await.status, 200, "nobody is asked for one");
}

/// A policy that names a key as one at run time is named: neither is taken for the other.
#[tokio::test]
async fn of_two_keys_of_one_name_each_is_shown_and_revoked_for_itself() {
    let text = policy_with("memory");
    let proxy = Running::new(&text);
    let admin = proxy.admin_address();
    let key = make(&proxy, json!({ "name": "ci", "expires": "2099-12-31T12:00" })).await;
    let digest = tollway_identify::KeyDigest::of(&key).to_string();
    let id = format!("sha256:{}", &digest[..16]);
    let keys = format!("keys: [{{ name: ci, sha256: '{}' }}]", "1".repeat(64));
    let mut policy =
        Policy::parse("test.yaml", &text.replace("require_key: true", &keys), &Env::new(|_| None))
            .unwrap();
    policy.listen.set_port(0);
    policy.admin.listen.set_port(0);
    proxy.reloader().apply(policy).await.unwrap();
    let keys =
        async || api(admin, TOKEN, Method::GET, "/keys", Value::Null).await.1["keys"].clone();
    let all = keys().await;
    assert_eq!((&all[0]["from"], &all[0]["id"]), (&json!("run_time"), &json!(id)), "{all}");
    assert!(all[0]["no_use"].as_str().unwrap().contains("by its id"), "{all}");
    assert_eq!(all[0]["expires"], "2099-12-31T12:00:00.000Z");
    assert_eq!(all[1]["id"], "sha256:1111111111111111");
    let (code, answer) = revoke(&proxy, "ci").await;
    let message = answer["error"]["message"].as_str().unwrap();
    for part in ["callers.keys", "test.yaml", &id] {
        assert!(code == 409 && message.contains(part), "{code} {message}");
    }
    assert_eq!(keys().await, all, "neither is gone");
    let command = |arguments: &[&str]| {
        let mut command = tollway(arguments);
        command.env("TOLLWAY_ADMIN", format!("http://{admin}")).env("TOLLWAY_ADMIN_TOKEN", TOKEN);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (_, table, _) = command(&["keys", "list"]);
    assert!(table.contains(&id) && table.contains("the policy has a key of this name"), "{table}");
    let (code, _, said) = command(&["keys", "revoke", "ci"]);
    assert!(code == 1 && said.contains(&id), "{code} {said}");
    let (code, said, _) = command(&["keys", "revoke", &id]);
    assert!(code == 0 && said.contains(&format!("ci ({id})")), "{code} {said}");
    let all = keys().await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["from"]), (1, &json!("policy")));
    for called in ["ci", "sha256:1111111111111111"] {
        let (code, answer) = revoke(&proxy, called).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(code == 409 && !message.contains("run time"), "{code} {message}");
    }
    assert_eq!(revoke(&proxy, &id).await.0, 404);
}

#[tokio::test]
async fn keys_in_redis_are_those_of_all_instances() {
    let server = RedisServer::start();
    let policy = policy_with(&format!(
        "{{ redis: {{ url: '{}', timeout: 10s }}, ledger: memory, limits: memory, budgets: memory }}",
        server.url()
    ));
    let (one, two) = (Running::new(&policy), Running::new(&policy));
    let list = async |proxy: &Running| {
        api(proxy.admin_address(), TOKEN, Method::GET, "/keys", Value::Null).await.0
    };
    for proxy in [&one, &two] {
        within("a connection", async { while list(proxy).await != 200 {} }).await;
    }
    let key = make(&one, json!({ "name": "ci" })).await;
    assert_eq!(status(&one, &key).await, 200, "here at once");
    within("there soon", async { while status(&two, &key).await != 200 {} }).await;
    let (code, _) =
        api(two.admin_address(), TOKEN, Method::POST, "/keys", json!({ "name": "ci" })).await;
    assert_eq!(code, 409, "a name is one key's in all of them");
    assert_eq!(revoke(&two, "ci").await.0, 200);
    assert_eq!(status(&two, &key).await, 401);
    within("there soon", async { while status(&one, &key).await != 401 {} }).await;
    let (key, third) = (make(&one, json!({ "name": "next" })).await, Running::new(&policy));
    within("a new instance", async { while status(&third, &key).await != 200 {} }).await;
    // The key itself is nowhere.
    let held = server.command("HGETALL {tollway:records}:key");
    assert!(held.contains("next") && !held.contains(&key), "{held}");
}

#[tokio::test]
async fn keys_and_quotas_that_a_redis_lost_are_there_again() {
    let mut server = RedisServer::start();
    let policy = policy_with(&format!(
        "{{ redis: {{ url: '{}', timeout: 10s }}, ledger: memory, limits: memory, budgets: memory }}",
        server.url()
    ));
    let (one, two) = (Running::new(&policy), Running::new(&policy));
    for proxy in [&one, &two] {
        let admin = proxy.admin_address();
        let list = async || api(admin, TOKEN, Method::GET, "/keys", Value::Null).await.0;
        within("a connection", async { while list().await != 200 {} }).await;
    }
    let (kept, gone) =
        (make(&one, json!({ "name": "kept" })).await, make(&one, json!({ "name": "gone" })).await);
    let quota = json!({ "user": "kept", "requests": "1000/100d" });
    let (code, said) = api(one.admin_address(), TOKEN, Method::POST, "/limits/quotas", quota).await;
    assert!(code < 300, "{said}");
    for key in [&kept, &gone] {
        within("there", async { while status(&two, key).await != 200 {} }).await;
    }
    assert_eq!(revoke(&two, "gone").await.0, 200);
    let anew = async |server: &RedisServer, what: &str| {
        let names = || server.command("HKEYS {tollway:records}:key");
        let quotas = || server.command("HLEN {tollway:records}:quota");
        // One that had not heard of the revocation may be first, but has not the last word.
        let anew = |names: String| names.contains("kept") && !names.contains("gone");
        until(what, || anew(names()) && quotas() == ":1").await;
        for proxy in [&one, &two] {
            assert_eq!(status(proxy, &kept).await, 200);
            within("the word", async { while status(proxy, &gone).await != 401 {} }).await;
        }
    };
    server.flush();
    anew(&server, "what a flush took").await;
    server.restart();
    anew(&server, "what a restart took").await;
    let told = async |proxy: &Running| {
        let request = Request::get(format!("http://{}/metrics", proxy.admin_address()))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(full(""));
        let text = Reply::read(client().request(request.unwrap()).await.unwrap()).await.text();
        let line = text.lines().find(|line| line.starts_with("tollway_documents_restored_total"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(told(&one).await + told(&two).await >= 2, "each loss is told by one at least");
    // In that moment, before anybody looked.
    server.flush();
    let (admin, path) = (two.admin_address(), "/limits/quotas?user=kept");
    let (code, said) = api(admin, TOKEN, Method::DELETE, path, Value::Null).await;
    assert_eq!(code, 200, "{said}");
    server.flush();
    assert_eq!(revoke(&two, "kept").await.0, 200);
    within("everywhere", async { while status(&one, &kept).await != 401 {} }).await;
}

#[tokio::test]
async fn keys_in_a_file_outlive_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let policy = file(&folder, &policy_with("{ sqlite: state.db, ledger: memory }"));
    let serve = || Served::new(&["serve", &policy]);
    let asks = |served: &Served, arguments: &[&str]| {
        let mut command = tollway(arguments);
        command.env("TOLLWAY_ADMIN", format!("http://{}", served.admin));
        let output = command.env("TOLLWAY_ADMIN_TOKEN", TOKEN).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let chat = async |served: &Served, key: &str| {
        let key = format!("Bearer {key}");
        served.chat(&client(), "gpt-4o-mini", &[("authorization", &key)]).await.status
    };
    let first = serve();
    let (_, key) = asks(&first, &["keys", "new", "--name", "ci"]);
    let (_, revoked) = asks(&first, &["keys", "new", "--name", "revoked"]);
    assert_eq!(asks(&first, &["keys", "revoke", "revoked"]).0, Some(0));
    let state = folder.path().join("state.db");
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if file.to_string_lossy().contains("state.db") {
            std::fs::remove_file(file).unwrap();
        }
    }
    until("a new file", || first.said().contains("are written anew")).await;
    assert!(state.exists());
    assert_eq!(chat(&first, key.trim()).await, 200);
    assert_eq!(chat(&first, revoked.trim()).await, 401);
    first.signal("-9");
    first.ended().await;
    let second = serve();
    assert_eq!(chat(&second, key.trim()).await, 200, "it outlives the process, too");
    assert_eq!(chat(&second, revoked.trim()).await, 401);
    assert!(asks(&second, &["keys", "list"]).1.contains("ci"));
    assert_eq!(asks(&second, &["keys", "revoke", "ci"]).0, Some(0));
    assert_eq!(chat(&second, key.trim()).await, 401);
}

#[tokio::test]
async fn keys_in_a_file_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let policy = file(&folder, &policy_with("{ sqlite: state.db }"));
    let serve = || Served::new(&["serve", &policy]);
    let chat = async |served: &Served, key: &str| {
        let request = Request::post(format!("http://{}{CHAT}", served.address))
            .header(JSON.0, JSON.1)
            .header("authorization", format!("Bearer {key}"))
            .body(full(ask(false)));
        client().request(request.unwrap()).await.unwrap().status().as_u16()
    };
    let asks = |served: &Served, arguments: &[&str]| {
        let mut command = tollway(arguments);
        command.env("TOLLWAY_ADMIN", format!("http://{}", served.admin));
        let output = command.env("TOLLWAY_ADMIN_TOKEN", TOKEN).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let first = serve();
    let (code, key, said) = asks(
        &first,
        &["keys", "new", "--name", "ci", "--user", "ann", "--tag", "team=ops", "--expires", "30d"],
    );
    let key = key.trim();
    assert!(code == 0 && said.contains("shown only now") && !said.contains(key), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert_eq!(chat(&first, key).await, 200);
    first.signal("-9");
    let (_, log) = first.ended().await;
    assert!(log.contains("a Tollway key was made") && log.contains("the admin token"), "{log}");
    assert!(!log.contains(key), "{log}");

    let second = serve();
    assert_eq!(chat(&second, key).await, 200);
    let (code, table, said) = asks(&second, &["keys", "list"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let row: Vec<_> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["ci", "ann", "api", "all", "team=ops", "run", "time"], "{table}");
    let (_, json, _) = asks(&second, &["keys", "list", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["keys"][0]["by"], "the admin token");
    assert_eq!(asks(&second, &["keys", "new", "--name", "ci"]).0, 1);
    assert_eq!(asks(&second, &["keys", "new", "--scopes", "apj"]).0, 2);
    assert_eq!(asks(&second, &["keys", "new", "both", "--user", "ann"]).0, 2);
    assert_eq!(asks(&second, &["keys", "revoke", "cj"]).0, 3);
    assert_eq!(asks(&second, &["keys", "revoke", "ci"]).0, 0);
    assert_eq!(asks(&second, &["keys", "list", "--token", "x"]).0, 4);
    assert_eq!(chat(&second, key).await, 401);
    second.signal("-9");
    let (_, log) = second.ended().await;
    assert!(log.contains("a Tollway key was revoked") && !log.contains(key), "{log}");

    let third = serve();
    assert_eq!(chat(&third, key).await, 401, "a revoked key stays so");
    let disk = std::fs::read(folder.path().join("state.db")).unwrap();
    assert!(!disk.windows(key.len()).any(|part| part == key.as_bytes()));
}
