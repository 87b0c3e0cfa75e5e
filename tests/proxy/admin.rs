//! The admin API: its document is true, and what it does is done.

use std::collections::BTreeSet;

use http::{Method, Request};
use serde_json::{Value, json};
use tollway::admin::OPENAPI;

use super::support::*;

const POLICY: &str = "\
providers: { sim: { simulate: {} }, other: { simulate: {} } }
circuit_breaker: {}
retry: { attempts: 1 }
routes: [{ targets: [sim/gpt-4o-mini] }]
limits:
  - { name: everybody, per: all, requests: 1000/365d }
  - { name: user, per: user, requests: 5/100d, burst: 5, tokens: 100k/100d }
  - { name: pair, per: [user, model], usd: 20/day }
  - { name: at_once, per: provider, concurrent: 50 }
callers: { identify: [header x-user-id, ip] }
";

/// What came of one request.
struct Got {
    status: u16,
    allow: String,
    body: Value,
}

struct Api {
    proxy: Running,
    document: Value,
    token: Option<&'static str>,
    /// Path, method and status of every answer.
    seen: BTreeSet<(String, String, u16)>,
}

impl Api {
    fn new(policy: &str, token: Option<&'static str>) -> Self {
        let document = serde_json::from_str(OPENAPI).unwrap();
        Self { proxy: Running::new(policy), document, token, seen: BTreeSet::new() }
    }

    async fn get(&mut self, path: &str) -> Got {
        self.send(Method::GET, path, "").await
    }

    async fn post(&mut self, path: &str, body: Value) -> Got {
        self.send(Method::POST, path, &body.to_string()).await
    }

    /// Holds the answer to what the document says of it.
    async fn send(&mut self, method: Method, path: &str, body: &str) -> Got {
        let uri = format!("http://{}/admin/v1{path}", self.proxy.admin_address());
        let mut request = Request::builder().method(method.clone()).uri(uri);
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(full(body.to_owned())).unwrap();
        let reply = Reply::read(within(path, client().request(request)).await.unwrap()).await;
        let (status, body) = (reply.status.as_u16(), reply.json());
        assert_eq!(reply.header("content-type"), "application/json", "{path}");
        let path = template(path.split('?').next().unwrap());
        let name = method.as_str().to_lowercase();
        let documented = &self.document["paths"][format!("/admin/v1{path}")];
        if let Some(operation) = documented.get(&name) {
            let answer = &operation["responses"][status.to_string()];
            assert!(answer.is_object(), "{method} {path}: {status} is not documented: {body}");
            self.hold(&body, &answer["content"]["application/json"]["schema"]);
            self.seen.insert((path.to_owned(), name, status));
        } else {
            self.hold(&body, &json!({ "$ref": "#/components/schemas/Error" }));
        }
        Got { status, allow: reply.header("allow").to_owned(), body }
    }

    fn hold(&self, body: &Value, schema: &Value) {
        let mut whole = schema.clone();
        whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        whole["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{body:#}");
    }

    fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let each = paths.iter().flat_map(|(path, operations)| {
            let path = path.strip_prefix("/admin/v1").unwrap();
            operations.as_object().unwrap().keys().map(|name| (path.to_owned(), name.clone()))
        });
        each.collect()
    }

    async fn chat(&self, user: &str) -> u16 {
        let headers = [JSON, ("x-user-id", user)];
        let got = self.proxy.send(Method::POST, CHAT, &headers, ask(false)).await;
        until("the request's end", || self.proxy.is_idle()).await;
        got.status.as_u16()
    }
}

/// The document's name for a path.
fn template(path: &str) -> &str {
    if path.starts_with("/keys/") { "/keys/{name}" } else { path }
}

/// A path that the document's name stands for.
fn example(path: &str) -> String {
    path.replace("{name}", "ci")
}

fn find<'a>(list: &'a Value, name: &str, value: &str) -> &'a Value {
    let all = list.as_array().unwrap();
    all.iter().find(|one| one[name] == value).unwrap_or_else(|| panic!("no {value} in {list:#}"))
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let mut api = Api::new(POLICY, None);
    assert_eq!(api.chat("ann").await, 200);
    let large = "x".repeat((64 << 10) + 1);
    for (path, name) in api.operations() {
        let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
        if method == Method::GET {
            assert_eq!(api.get(&path).await.status, 200, "{path}");
        } else {
            assert_eq!(api.send(method, &example(&path), &large).await.status, 413, "{path}");
        }
    }
    for (path, body, status) in [
        ("/limits/reset", json!({ "user": "ann" }), 200),
        ("/limits/reset", json!({ "user": "nobody" }), 404),
        ("/limits/cleanup", json!({}), 200),
        ("/keys", json!({ "name": "ci", "tags": { "team": "ops" }, "expires": "30d" }), 201),
        ("/keys", json!({ "name": "ci" }), 409),
        ("/limits/quotas", json!({ "user": "ann", "requests": "9/d", "expires": "30d" }), 200),
        ("/limits/quotas", json!({ "user": "ann", "requests": "9/d", "limit": "usr" }), 404),
        ("/breakers/open", json!({ "provider": "sim" }), 200),
        ("/breakers/open", json!({ "provider": "smi" }), 404),
        ("/breakers/reset", json!({ "provider": "sim" }), 200),
        ("/breakers/reset", json!({ "provider": "other" }), 404),
        ("/reload", json!({}), 409),
    ] {
        assert_eq!(api.post(path, body.clone()).await.status, status, "{path} {body}");
    }
    for (path, said) in [
        ("/limits/status?limit=usr", "did you mean `user`?"),
        ("/limits/status?provider=zz", "there are sim, other"),
        ("/limits/quotas?limit=zz", "there are everybody, user, user.requests, user.tokens, pair"),
        ("/limits/quotas?user=zoe&provider=smi", "did you mean `sim`?"),
        ("/limits/violations?limit=zz", "there are everybody, user, "),
        ("/breakers?provider=zz", "there are sim, other"),
    ] {
        let got = api.get(path).await;
        let message = got.body["error"]["message"].as_str().unwrap();
        assert!(got.status == 404 && message.contains(said), "{path}: {message}");
    }
    for none in ["/limits/quotas?limit=user", "/limits/violations?limit=user.tokens"] {
        assert_eq!(api.get(none).await.status, 200, "{none}: there is such a limit");
    }
    let keys = api.get("/keys").await;
    assert_eq!(find(&keys.body["keys"], "name", "ci")["from"], "run_time");
    for status in [200, 404] {
        assert_eq!(api.send(Method::DELETE, "/keys/ci", "").await.status, status);
    }
    assert_eq!(api.get("/limits/status?user=ann").await.status, 200);
    assert_eq!(api.get("/limits/quotas").await.body["quotas"][0]["key"], "ann");
    for status in [200, 404] {
        let removed = api.send(Method::DELETE, "/limits/quotas?user=ann", "").await;
        assert_eq!(removed.status, status);
    }
    for (path, name) in api.operations() {
        if !api.document["paths"][format!("/admin/v1{path}")][&name]["responses"]["400"].is_object()
        {
            continue;
        }
        let got = match &*name {
            "get" => api.get(&format!("{path}?colour=red")).await,
            "post" if path == "/reload" => api.post("/reload?colour=red", json!({})).await,
            _ => {
                let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
                let path = example(&path);
                let path = if name == "delete" { format!("{path}?colour=red") } else { path };
                api.send(method, &path, r#"{"colour":"red"}"#).await
            }
        };
        let message = got.body["error"]["message"].as_str().unwrap();
        assert!(got.status == 400 && message.contains("colour"), "{path}: {message}");
    }
    for (body, query, said) in [
        (r#"[null,null,null,null,null,true]"#, "", "no JSON object"),
        (" [null, \"ann\"]", "", "no JSON object"),
        (r#"{"user":"ann"}"#, "?all=true", "`all`"),
    ] {
        let got = api.send(Method::POST, &format!("/limits/reset{query}"), body).await;
        let message = got.body["error"]["message"].as_str().unwrap();
        assert!(got.status == 400 && message.contains(said), "{message}");
    }
    let mut seen = api.seen;
    // With a token nobody is told anything who hasn't got it.
    let mut api = Api::new(&format!("admin: {{ token: let-me-see }}\n{POLICY}"), Some("let-me"));
    for (path, name) in api.operations() {
        let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
        assert_eq!(api.send(method, &example(&path), "{}").await.status, 401, "{path}");
    }
    seen.extend(std::mem::take(&mut api.seen));
    api.token = Some("let-me-see");
    assert_eq!(api.get("/limits").await.status, 200);
    for (scheme, status) in [("bearer", 200), ("BEARER", 200), ("Basic", 401), ("Bearer ", 401)] {
        let uri = format!("http://{}/admin/v1/limits", api.proxy.admin_address());
        let request = Request::get(uri).header("authorization", format!("{scheme} let-me-see"));
        let got = client().request(request.body(full("")).unwrap()).await.unwrap();
        assert_eq!(got.status(), status, "{scheme}");
    }
    // Nor is a page in a browser that posts to what listens on this machine.
    let uri = format!("http://{}/admin/v1/limits/reset", api.proxy.admin_address());
    let request = Request::post(uri).header("authorization", "Bearer let-me-see");
    let request = request.header("origin", "https://evil.example").body(full(r#"{"all":true}"#));
    assert_eq!(client().request(request.unwrap()).await.unwrap().status(), 401);
    // Where there is no breaker, nothing can be opened.
    let key = format!("callers: {{ keys: [{{ name: ci, sha256: '{}' }}] }}\n", "1".repeat(64));
    let mut api = Api::new(&format!("providers: {{ sim: {{ simulate: {{}} }} }}\n{key}"), None);
    assert_eq!(api.send(Method::DELETE, "/keys/ci", "").await.status, 409);
    assert_eq!(api.post("/breakers/open", json!({ "provider": "sim" })).await.status, 409);
    seen.extend(api.seen);
    // Of the reload's answers tell the tests in `reload.rs`; stores that are away are not here, nor
    // are ten thousand quotas.
    let mut missing: Vec<_> = Vec::new();
    for (path, operations) in api.document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/admin/v1").unwrap();
        for (name, operation) in operations.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let one = (path.to_owned(), name.clone(), status.parse().unwrap());
                let elsewhere = [("/reload", one.2), ("/limits/quotas", 409)];
                let elsewhere = one.2 == 503 || elsewhere.contains(&(path, one.2));
                if !elsewhere && !seen.contains(&one) {
                    missing.push(one);
                }
            }
        }
    }
    assert!(missing.is_empty(), "documented, and never seen: {missing:?}");
}

/// Whatever is wrong: which part it is, in words that whoever wrote the request knows.
#[tokio::test]
async fn bad_input_is_told_alike_everywhere() {
    fn told(got: &Got, of: &str) -> (Option<String>, String) {
        let error = &got.body["error"];
        let message = error["message"].as_str().unwrap().to_owned();
        assert_eq!((got.status, error["type"].as_str()), (400, Some("bad_request")), "{of}");
        for word in ["struct", "u64", "sequence", "map", "Option", "variant"] {
            assert!(!message.contains(word), "{of}: {message}");
        }
        (error["field"].as_str().map(Into::into), message)
    }
    let mut api = Api::new(POLICY, None);
    for (path, name) in api.operations() {
        let operation = api.document["paths"][format!("/admin/v1{path}")][&name].clone();
        let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
        let path = example(&path);
        let mut queries = vec![("colour=red".to_owned(), "colour".to_owned())];
        for one in operation["parameters"].as_array().into_iter().flatten() {
            let asked = one["name"].as_str().unwrap();
            if one["in"] == "query" {
                queries.push((format!("{asked}=1&{asked}=1"), asked.to_owned()));
                queries.push((format!("{asked}=%ff"), asked.to_owned()));
                if asked != "all" && asked != "limit" && asked != "by" {
                    queries.push((format!("{asked}="), asked.to_owned()));
                }
            }
        }
        for (query, field) in queries {
            if path == "/breakers" && query == "provider=" {
                continue;
            }
            let of = format!("{method} {path}?{query}");
            let got = api.send(method.clone(), &format!("{path}?{query}"), "").await;
            assert_eq!(told(&got, &of).0, Some(field), "{of}: {}", got.body);
        }
        if method == Method::GET {
            continue;
        }
        let path = if path == "/limits/quotas" && name == "delete" {
            "/limits/quotas?user=ann".to_owned()
        } else {
            path
        };
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let mut bodies: Vec<_> = ["null", "[]", "[null]", "7", "\"text\"", "{", "a=b", "{}{}"]
            .map(|body| (body.to_owned(), "body".to_owned()))
            .into();
        bodies.push((r#"{"colour": "red"}"#.into(), "colour".into()));
        if schema.is_object() {
            bodies.push((String::new(), "body".into()));
            let schema = schema["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            let fields = api.document.pointer(schema).unwrap()["properties"].clone();
            for field in fields.as_object().unwrap().keys() {
                for value in [json!(null), json!([7]), json!({ "a": 7 }), json!(-1), json!(1.5)] {
                    let body = json!({ field: value }).to_string();
                    bodies.push((body, field.clone()));
                    let other = if field == "user" { "limit" } else { "user" };
                    if fields.get(other).is_some() {
                        let body = json!({ field: value, other: "user" }).to_string();
                        bodies.push((body, field.clone()));
                    }
                }
                bodies.push((format!("{{{field:?}: \"a\", {field:?}: \"b\"}}"), field.clone()));
            }
        }
        for (body, field) in bodies {
            let of = format!("{method} {path} {body}");
            let got = api.send(method.clone(), &path, &body).await;
            assert_eq!(told(&got, &of).0, Some(field), "{of}: {}", got.body);
        }
    }
    assert_eq!(api.get("/keys").await.body["keys"], json!([]), "nothing of it was done");
    let got = api.get("/limits/stats?from=2026-03&to=2026-02").await;
    assert!(told(&got, "stats").1.contains("later than"), "{}", got.body);
}

#[tokio::test]
async fn there_are_no_other_methods_and_paths() {
    let mut api = Api::new(POLICY, None);
    for (path, operations) in api.document["paths"].clone().as_object().unwrap() {
        let path = path.strip_prefix("/admin/v1").unwrap();
        let got = api.send(Method::OPTIONS, &example(path), "").await;
        assert_eq!(got.status, 405, "{path}");
        let mut allowed: BTreeSet<_> = got.allow.split(',').map(str::to_lowercase).collect();
        allowed.remove("head");
        let documented: BTreeSet<_> = operations.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, documented, "{path}");
    }
    let got = api.get("/limit/status").await;
    let message = got.body["error"]["message"].as_str().unwrap();
    assert!(got.status == 404 && message.contains("/admin/v1/limits/status"), "{message}");
}

#[tokio::test]
async fn limits_are_told_and_reset() {
    let mut api = Api::new(POLICY, None);
    for _ in 0..5 {
        assert_eq!(api.chat("ann").await, 200);
    }
    assert_eq!((api.chat("ann").await, api.chat("ben").await), (429, 200));
    let ann = api.get("/limits/status?user=ann").await.body;
    let requests = find(&ann["limits"], "limit", "user.requests");
    assert_eq!((&requests["key"], &requests["left"]), (&json!("ann"), &json!(0)));
    assert_eq!((&requests["used"], &requests["capacity"]), (&json!(5), &json!(5)));
    assert!(requests["reset_seconds"].as_f64().unwrap() > 10.0, "{requests}");
    let pair = find(&ann["limits"], "limit", "pair");
    assert_eq!(pair["key"], "ann, gpt-4o-mini");
    assert_ne!(pair["used"], "0", "money is told as text: {pair}");
    let names = |told: &Value| -> Vec<String> {
        told["limits"].as_array().unwrap().iter().map(|one| one["limit"].to_string()).collect()
    };
    assert_eq!(names(&ann), ["\"user.requests\"", "\"user.tokens\"", "\"pair\""]);
    let provider = api.get("/limits/status?provider=sim&limit=at_once").await.body;
    assert_eq!(provider["limits"][0]["capacity"], 50);
    // Whoever has used the most comes first; a limit that all share is always there.
    let all = api.get("/limits/status").await.body;
    assert_eq!(find(&all["limits"], "limit", "everybody")["used"], 6);
    assert_eq!(find(&all["limits"], "limit", "user.requests")["key"], "ann");
    let buckets = api.get("/limits/buckets").await.body;
    assert_eq!(find(&buckets["limits"], "limit", "user.requests")["keys"], 2);

    let reset = api.post("/limits/reset", json!({ "user": "ann", "limit": "user" })).await.body;
    assert_eq!(reset["reset"].as_array().unwrap().len(), 2, "both quotas: {reset}");
    assert_eq!(api.chat("ann").await, 200);
    let ann = api.get("/limits/status?user=ann&limit=user.requests").await.body;
    assert_eq!(ann["limits"][0]["used"], 1);
    let ben = api.get("/limits/status?user=ben&limit=user.requests").await.body;
    assert_eq!(ben["limits"][0]["used"], 1, "nobody else's");
    assert_eq!(api.post("/limits/reset", json!({ "limit": "user" })).await.status, 400);

    api.post("/limits/reset", json!({ "all": true })).await;
    let cleaned = api.post("/limits/cleanup", json!({})).await.body;
    let cleaned = find(&cleaned["limits"], "limit", "user.requests").clone();
    assert_eq!((&cleaned["removed"], &cleaned["keys"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn what_limits_refused_is_told() {
    let mut api = Api::new(POLICY, None);
    for user in ["ann", "ann", "ann", "ann", "ann", "ann", "ann", "ben"] {
        api.chat(user).await;
    }
    let told = api.get("/limits/violations").await.body;
    let ann = find(&told["rows"], "key", "ann");
    assert_eq!((&ann["limit"], &ann["count"]), (&json!("user.requests"), &json!(2)));
    assert_eq!((&ann["asked"], &ann["available"]), (&json!(1), &json!(0)));
    assert_eq!(told["rows"].as_array().unwrap().len(), 1);
    for one in ["key=ann", "limit=user", "limit=user.requests", "limit=user&last=1"] {
        let told = api.get(&format!("/limits/violations?{one}")).await.body;
        assert_eq!(told["rows"][0]["count"], 2, "{one}");
    }
    for none in ["key=ben", "limit=everybody", "from=9999-01", "last=0"] {
        let told = api.get(&format!("/limits/violations?{none}")).await.body;
        assert_eq!(told["rows"], json!([]), "{none}");
    }
    for per in ["day", "month", "limit"] {
        let told = api.get(&format!("/limits/stats?per={per}")).await.body;
        let user = find(&told["rows"], "limit", "user.requests");
        assert_eq!((&user["allowed"], &user["refused"]), (&json!(6), &json!(2)), "{per}");
        assert_eq!(user["period"].is_null(), per == "limit");
    }
    assert_eq!(api.get("/limits/stats?from=2020-01&to=2020-02").await.body["rows"], json!([]));
}

/// At any moment one of them has another day than Greenwich.
#[tokio::test]
async fn the_present_day_is_the_policys() {
    for zone in ["Etc/GMT-14", "Etc/GMT+12"] {
        let mut api = Api::new(&format!("time_zone: {zone}\n{POLICY}"), None);
        let today = || jiff::Zoned::now().in_tz(zone).unwrap().date().to_string();
        let (before, told, after) =
            (today(), api.get("/limits/stats").await.body["to"].clone(), today());
        assert!([before, after].iter().any(|day| told == **day), "{zone}: {told}");
    }
}

#[tokio::test]
async fn costs_are_summed_by_what_is_asked() {
    let mut api = Api::new(POLICY, None);
    for user in ["ann", "ann", "ben"] {
        assert_eq!(api.chat(user).await, 200);
    }
    let by_user = api.get("/costs").await.body;
    let ann = find(&by_user["rows"], "name", "ann");
    assert_eq!((&ann["requests"], &by_user["total"]["requests"]), (&json!(2), &json!(3)));
    let usd = |value: &Value| value["cost_usd"].as_str().unwrap().parse::<f64>().unwrap();
    assert!(usd(ann) > 0.0 && usd(&by_user["total"]) > usd(ann), "{by_user}");
    assert_eq!(by_user["projection"]["spent_usd"], by_user["total"]["cost_usd"]);
    assert_eq!(by_user["projection"]["confidence"], "low");
    for (by, name) in [("model", "gpt-4o-mini"), ("provider", "sim")] {
        let told = api.get(&format!("/costs?by={by}")).await.body;
        assert_eq!(find(&told["rows"], "name", name)["requests"], 3, "{by}");
    }
    let days = api.get("/costs?by=day").await.body;
    assert_eq!(days["rows"].as_array().unwrap().len(), 1);
    assert_eq!(days["rows"][0]["name"], days["to"]);
    assert_eq!(api.get("/costs?by=month").await.body["rows"][0]["requests"], 3);
    assert_eq!(api.get("/costs?from=2020-01&to=2020-02").await.body["rows"], json!([]));
}

#[tokio::test]
async fn an_operator_opens_and_closes_circuits() {
    let mut api = Api::new(POLICY, None);
    assert_eq!(api.chat("ann").await, 200);
    let opened = api.post("/breakers/open", json!({ "provider": "sim", "model": "gpt-4o-mini" }));
    assert_eq!(opened.await.body["opened"], json!(["sim/gpt-4o-mini"]));
    assert_eq!(api.chat("ann").await, 503);
    let told = api.get("/breakers?provider=sim").await.body;
    assert_eq!(find(&told["breakers"], "model", "gpt-4o-mini")["state"], "forced_open");
    assert_eq!(api.get("/breakers?provider=other").await.body["breakers"], json!([]));
    assert_eq!(api.post("/breakers/reset", json!({ "provider": "sim" })).await.status, 200);
    assert_eq!(api.chat("ann").await, 200);
    // A target that nobody has asked for yet is opened by its route.
    let opened = api.post("/breakers/open", json!({ "provider": "sim" })).await.body;
    assert_eq!(opened["opened"], json!(["sim/gpt-4o-mini"]));
    assert_eq!(api.chat("ben").await, 503);
}

#[tokio::test]
async fn the_policy_is_told_without_its_secrets() {
    let policy = "\
# an old key: sk-comment-secret
admin: { token: let-me-see }
providers:
  sim: { simulate: {} }
  lab: { base_url: \"https://lab.example/v1\", api_key: \"sk-written-secret\" } # sk-comment-secret
limits:
  - { name: user, per: user, requests: 5/min }
";
    let mut api = Api::new(policy, Some("let-me-see"));
    let told = api.get("/policy").await.body;
    let text = told["text"].as_str().unwrap();
    for secret in ["let-me-see", "sk-written-secret", "sk-comment-secret"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("- { name: user, per: user, requests: 5/min }"), "{text}");
    assert!(text.contains("api_key: *"), "{text}");
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
}
