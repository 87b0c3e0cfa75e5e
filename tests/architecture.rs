//! The arrows between crates and modules, held to what docs/architecture.md says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What any layer may depend on: no runtime but tokio's time and sync, no server, no client.
const LEAN: &[&str] = &[
    "tollway-core",
    "tower-service",
    "tower-layer",
    "http",
    "http-body",
    "http-body-util",
    "bytes",
    "pin-project",
    "tokio",
];

/// What one layer may depend on besides, and what for.
const BESIDES: &[(&str, &[&str], &str)] = &[
    (
        "tollway-core",
        &["memchr", "foldhash"],
        "finds the proxy's own credential where a provider repeats it, hashes names",
    ),
    (
        "tollway-dialect",
        &["serde", "serde_json", "memchr", "base64", "bpe-openai"],
        "reads JSON and SSE, signs what it translates; optionally counts tokens as OpenAI does",
    ),
    (
        "tollway-identify",
        &["sha2", "subtle", "ipnet"],
        "hashes keys, compares in constant time, knows networks",
    ),
    ("tollway-retry", &["httpdate"], "dates in Retry-After"),
    (
        "tollway-cost",
        &["tollway-store", "jiff"],
        "sums by day and month, as a ledger keeps them; time zones",
    ),
    ("tollway-rate-limit", &["tollway-store"], "its algorithm, which shared stores run as well"),
    (
        "tollway-store",
        &["rusqlite", "redis", "rustls", "jiff", "serde", "serde_json"],
        "SQLite and Redis, each behind a feature; days and months; rows as JSON",
    ),
    (
        "tollway-route",
        &["ipnet", "aho-corasick", "arrayvec"],
        "matches on networks, and on words in thirteen languages; short lists without memory of their own",
    ),
];

/// Once in the tree, or two versions of a type meet that don't fit.
const ONCE: &[&str] = &["hyper", "h2", "http", "tower", "axum", "rustls", "tokio"];

/// Never in the tree: ring is the one TLS backend, hyper the one client.
const NEVER: &[&str] =
    &["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "reqwest"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Crates of the workspace under `layers/`: name and normal dependencies.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let layers = packages.filter(|package| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        manifest.starts_with(root().join("layers"))
    });
    layers
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter();
            let normal = normal.filter(|dependency| {
                dependency["kind"].is_null() && dependency["target"].is_null()
            });
            let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn layers_are_lean_and_know_nothing_of_each_other() {
    let layers = layers();
    assert!(layers.len() >= 9, "{layers:?}");
    let mut wrong = Vec::new();
    for (name, dependencies) in &layers {
        if name == "tollway-testkit" {
            continue;
        }
        let besides = BESIDES.iter().find(|(layer, ..)| layer == name);
        let besides = besides.map_or(&[][..], |(_, besides, _)| besides);
        for dependency in dependencies {
            let lean = LEAN.contains(&dependency.as_str());
            if !lean && !besides.contains(&dependency.as_str()) {
                wrong.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    let core = &layers["tollway-core"];
    assert!(
        !core.iter().any(|name| name.starts_with("tollway")),
        "core depends on nobody: {core:?}"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (layer, besides, what_for) in BESIDES {
        let used = &layers[*layer];
        assert!(
            besides.iter().any(|name| used.contains(*name)),
            "{layer}: {what_for}: not needed any more"
        );
    }
}

#[test]
fn the_tree_holds_one_of_each_and_none_of_those() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: Vec<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    for once in ONCE {
        let count = names.iter().filter(|name| *name == once).count();
        // Not every one has to be there, but none twice.
        assert!(count <= 1, "{once} is in Cargo.lock {count} times: `cargo tree -i {once}`");
    }
    for never in NEVER {
        assert!(!names.contains(never), "{never} is in Cargo.lock: `cargo tree -i {never}`");
    }
}

/// Modules of `src/`: what each may name of the others, and why. `module::item` allows only that.
const MODULES: &[(&str, &[&str], &str)] = &[
    (
        "policy",
        &["simulate::SimulateConfig"],
        "values, checked; a simulated provider's settings are part of them",
    ),
    ("simulate", &[], "a provider knows nothing of the proxy in front of it"),
    ("telemetry", &["policy"], "how to log is in the policy"),
    (
        "upstream",
        &["policy", "simulate", "telemetry::Exchange"],
        "endpoints as the policy says; notes how long it waited for a provider",
    ),
    (
        "stack",
        &[
            "policy",
            "telemetry",
            "alerts::Alerts",
            "upstream",
            "simulate",
            "server::RequestBody",
            "server::workers",
            "server",
        ],
        "turns a policy into layers; of the server only the body's type and the number of pools",
    ),
    (
        "alerts",
        &["policy", "telemetry", "upstream::tls_config"],
        "tells people of budgets, as the policy says; trusts whom providers' connections trust",
    ),
    ("server", &["policy"], "serves any service"),
    (
        "admin",
        &["telemetry", "stack", "policy"],
        "shows what the stack knows, and does to it what an operator asks for",
    ),
    ("proxy", &["policy", "stack", "server", "admin", "telemetry"], "the whole program as a value"),
    (
        "cli",
        &["policy", "stack", "telemetry", "simulate", "Proxy", "Reloader", "StartError"],
        "arguments in, exit code out",
    ),
];

fn files(of: &Path) -> Vec<PathBuf> {
    if of.is_file() {
        return vec![of.to_owned()];
    }
    let entries = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.flat_map(|path| files(&path)).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    all
}

/// Everything that the file names by `crate::`, groups taken apart: `policy::Policy`, `server`...
fn named(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    let mut all = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // Not a word's tail, and not `pub(crate)`.
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        expand(&code[at + "crate::".len()..], "", &mut all);
    }
    all
}

/// Takes `a::{b, c::d}` apart into whole paths.
fn expand(text: &str, prefix: &str, all: &mut Vec<String>) {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let path = &text[..end.unwrap_or(text.len())];
        match path.strip_suffix("::") {
            Some(head) => expand(&text[path.len()..], &format!("{prefix}{head}::"), all),
            None => all.push(format!("{prefix}{path}")),
        }
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    expand(&group[start..at], prefix, all);
                }
                start = at + 1;
                if c == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

#[test]
fn paths_are_taken_apart() {
    let text =
        "use crate::{Proxy, policy::{self, Policy}, a::b}; // crate::no\nfn f() { crate::x::y(); }";
    let expected = ["Proxy", "policy::self", "policy::Policy", "a::b", "x::y"];
    assert_eq!(named(text), expected);
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module == "main" || module == "lib" {
            continue;
        }
        let rule = MODULES.iter().find(|(name, ..)| *name == module);
        let Some((_, allowed, why)) = rule else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        for file in files(&path) {
            for path in named(&fs::read_to_string(&file).unwrap()) {
                let head = path.split("::").next().unwrap();
                let fits = |rule: &&str| path == **rule || path.starts_with(&format!("{rule}::"));
                if head != module && !allowed.iter().any(fits) {
                    wrong.push(format!("{}: names crate::{path}; {module}: {why}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn of_the_server_the_stack_takes_two_things() {
    for file in files(&root().join("src/stack")) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("server::") {
            let rest = &text[at + "server::".len()..];
            let fits = rest.starts_with("RequestBody") || rest.starts_with("workers");
            assert!(fits, "{}: server::{:.20}", file.display(), rest);
        }
    }
}
