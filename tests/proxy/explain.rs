//! `tollway explain` says where requests go: by the figures of a running proxy the same place.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::{routing::says, support::*};

fn explain(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    let output = command.arg("explain").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, text: impl ToString) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

const ROUTED: &str = "providers: { a: { simulate: { latency: 200ms } }, b: { simulate: { latency: 1ms } }, c: { simulate: { latency: 80ms } } }
routing: { min_samples: 3, explore: 0%, header: always }
circuit_breaker: { open_after: 1 failures, recover_after: 1h }
routes:
  - { name: warm, match: { header: { x-warm: '*' } }, strategy: round_robin, targets: [a/gpt-4o, b/gpt-4o-mini, c/o3] }
  - { name: fast, match: { model: fast }, strategy: { latency: whole }, targets: [a/gpt-4o, b/gpt-4o-mini, c/o3] }
  - { name: cheap, match: { model: cheap }, strategy: cost, targets: [a/gpt-4o, c/o3, b/gpt-4o-mini] }
  - { name: both, match: { model: both }, strategy: { score: { latency: 60, cost: 40 } }, targets: [a/gpt-4o, b/gpt-4o-mini, c/o3] }
  - { name: split, match: { model: split }, strategy: { split: user }, targets: [a/gpt-4o, c/o3] }
  - name: judged
    match: { model: auto }
    use: auto
    targets: [a/gpt-4o, c/o3, b/gpt-4o-mini]
";

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let files = Files::new();
    let policy = files.with("policy.yaml", ROUTED);
    let proxy = Running::new(&format!("callers: {{ identify: [header x-user] }}\n{ROUTED}"));
    for _ in 0..12 {
        let warm = [JSON, ("x-warm", "1")];
        proxy.send(http::Method::POST, CHAT, &warm, says("m", "Hi").to_string()).await;
    }
    until("none is under way", || proxy.is_idle()).await;
    let asked = [
        ("fast", "Hi"),
        ("cheap", "Hi"),
        ("both", "Hi"),
        ("split", "Hi"),
        ("auto", "Hi there!"),
        ("auto", "Prove step by step that the square root of two is irrational."),
    ];
    for round in 0..2 {
        for (model, text) in asked {
            let facts = files.with("facts.json", proxy.admin("/targets").await.text());
            let body = says(model, text).to_string();
            let request = files.with("request.json", &body);
            let arguments = [&*policy, &*request, "--facts", &*facts, "--caller", "ann", "--json"];
            let (code, stdout, stderr) = explain(&arguments);
            assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
            let said: Value = serde_json::from_str(&stdout).unwrap();
            let headers = [JSON, ("x-user", "ann")];
            let got = proxy.send(http::Method::POST, CHAT, &headers, body).await;
            assert_eq!(got.status, 200);
            let told = got.header("x-tollway-decision");
            let expected = format!("target=\"{}\"", said["target"].as_str().unwrap());
            assert!(told.starts_with(&expected), "{model}, {text}: {said:#} and {told}");
            until("it has ended", || proxy.is_idle()).await;
        }
        if round == 0 {
            // The cheapest is out, after all: its circuit opens.
            let b = proxy.sim("b");
            b.set(tollway::simulate::SimulateConfig { error_rate: 1.0, ..Default::default() });
            proxy.post(CHAT, says("cheap", "Hi").to_string()).await;
            until("it has ended", || proxy.is_idle()).await;
            let targets = proxy.admin("/targets").await.text();
            assert!(targets.contains("breaker open"), "{targets}");
        }
    }
}

/// Set `UPDATE` to write what comes out now, then read the difference.
#[test]
fn the_example_is_explained_as_it_was() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/fixtures/explain");
    let policy = root.join("config/routing.yaml");
    let fixture = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let facts = fixture("facts.json");
    for (name, more) in [
        ("easy", &[][..]),
        ("hard", &["--header", "x-tollway-max-cost: 0.004"]),
        ("picture", &[]),
        ("assistant", &["--caller", "ann"]),
    ] {
        let request = fixture(&format!("{name}.json"));
        let arguments = [&[policy.to_str().unwrap(), &*request, "--facts", &*facts], more].concat();
        let (code, stdout, stderr) = explain(&arguments);
        assert_eq!((code, stderr.as_str()), (0, ""));
        let golden = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &stdout).unwrap();
        }
        assert_eq!(stdout, std::fs::read_to_string(&golden).unwrap(), "{name}");
    }
}

/// A simple prompt is for tiny and for small models, and where nothing is known the price decides.
#[test]
fn the_example_compares_models_of_several_sizes_from_the_start() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let (policy, easy) = (file("config/routing.yaml"), file("tests/fixtures/explain/easy.json"));
    let (code, stdout, _) = explain(&[&policy, &easy, "--json"]);
    assert_eq!(code, 0);
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&said["target"], &said["rule"]),
        (&json!("groq/openai/gpt-oss-20b"), &json!("auto: simple"))
    );
    let scores = said["candidates"].as_array().unwrap().iter().map(|one| one["score"].as_f64());
    let scores: Vec<f64> = scores.map(Option::unwrap).collect();
    assert!(scores[0] == 1.0 && scores[1] < 1.0 && *scores.last().unwrap() < 0.5, "{scores:?}");
}

/// Headers name a caller as they do to the proxy.
#[test]
fn who_asks_is_known_by_the_headers() {
    let files = Files::new();
    let rest = "providers: { a: { simulate: {} }, b: { simulate: {} } }
routes:
  - strategy: { split: user }
    targets: [{ name: p, targets: [a/m] }, { name: q, targets: [b/m] }]
";
    let request = files.with("request.json", says("m", "Hi"));
    let arm = |policy: &str, more: &[&str]| {
        let arguments = [&[policy, &request, "--json"], more].concat();
        let (code, told, stderr) = explain(&arguments);
        assert_eq!(code, 0, "{stderr}");
        let told: Value = serde_json::from_str(&told).unwrap();
        told["arm"].as_str().unwrap().to_owned()
    };
    for callers in [
        "callers: { identify: [header x-user, ip] }",
        "callers: { identify: [header x-user], trusted_proxies: [10.0.0.0/8] }",
    ] {
        let policy = files.with("policy.yaml", format!("{callers}\n{rest}"));
        let arms: Vec<String> = (0..8)
            .map(|at| {
                let by_header = arm(&policy, &["--header", &format!("x-user: u{at}")]);
                assert_eq!(by_header, arm(&policy, &["--caller", &format!("u{at}")]), "u{at}");
                by_header
            })
            .collect();
        assert!(arms.contains(&"p".to_owned()) && arms.contains(&"q".to_owned()), "{arms:?}");
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let files = Files::new();
    let policy = files.with(
        "policy.yaml",
        "providers: { sim: { simulate: {} } }
callers: { keys: [{ name: k, user: ann, models: ['gpt-*'], sha256: 0000000000000000000000000000000000000000000000000000000000000000 }] }
routes: [{ match: { model: ['gpt-*', 'o3'] }, targets: [sim] }]
",
    );
    let good = files.with("good.json", says("gpt-4o", "Hi"));
    let o3 = files.with("o3.json", says("o3", "Hi"));
    let unknown = files.with("unknown.json", says("llama", "Hi"));
    let no_json = files.with("no.json", "{");
    let shapeless = files.with("shapeless.json", json!({ "model": "gpt-4o" }));
    let facts =
        files.with("facts.json", json!({ "targets": [{ "provider": "sim", "samlpes": 3 }] }));
    let broken = files.with("broken.yaml", "providers: { sim: { simulat: {} } }\n");
    for (arguments, code, said) in [
        (vec![&*broken, &*good], 2, "simulat"),
        (vec![&*policy, "/nowhere.json"], 2, "/nowhere.json: cannot be read"),
        (vec![&*policy, &*no_json], 2, "no.json"),
        (vec![&*policy, &*shapeless], 2, "--path"),
        (vec![&*policy, &*good, "--facts", &*facts], 2, "samlpes"),
        (vec![&*policy, &*good, "--header", "x"], 2, "name: value"),
        (vec![&*policy, &*unknown], 1, "refused"),
        (vec![&*policy, &*o3, "--caller", "ann"], 1, "may not use the model"),
        (vec![&*policy, &*no_json, "--path", CHAT], 1, "refused"),
        (vec![&*policy, &*good, "--header", "authorization: Bearer x"], 1, "not known here"),
        (vec![&*policy, &*good, "--header", "x-tollway-max-price: 1"], 1, "x-tollway-max-cost"),
    ] {
        let (got, stdout, stderr) = explain(&arguments);
        assert_eq!((got, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    // What is not wrong, but of no use, is a warning.
    let figures = |names: &[&str]| {
        let each = names.iter().map(|name| json!({ "provider": name, "model": "gpt-4o" }));
        json!({ "targets": each.collect::<Vec<_>>() })
    };
    for (facts, said) in [
        (figures(&["sim"]), ""),
        (figures(&[]), "json: there are no figures in it"),
        (figures(&["sum", "sim", "sum"]), "json: the policy has no provider \"sum\""),
    ] {
        let facts = files.with("facts.json", facts);
        let (code, stdout, stderr) = explain(&[&policy, &good, "--facts", &facts]);
        assert_eq!((code, stdout.is_empty()), (0, false), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines.len(), usize::from(!said.is_empty()), "{stderr}");
        assert!(lines.iter().all(|line| line.starts_with("warning: ")));
    }
    let (code, stdout, _) = explain(&[&policy, &good, "--caller", "ann"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("target      sim/gpt-4o\n"), "{stdout}");
}
