use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tollway::policy::{self, Policy};

pub(super) fn config() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{} files", files.len());
    files
}

#[test]
fn policy_files_all_load() {
    for (name, text) in config().iter().filter(|(name, _)| name != "models.yaml") {
        let policy = Policy::parse(name, text, &super::env());
        let policy = policy.unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(policy.warnings, [], "{name}");
        assert!(
            text.starts_with("# yaml-language-server: $schema=./policy.schema.json\n"),
            "{name}"
        );
    }
}

/// What the policy takes, the layers take too: deep groups, many places, every strategy.
#[test]
fn policy_files_all_build() {
    for (name, text) in config().iter().filter(|(name, _)| name != "models.yaml") {
        let policy = Policy::parse(name, text, &super::env()).unwrap();
        if let Err(wrong) = tollway::stack::Stack::new(&policy) {
            panic!("{name}: {wrong}");
        }
    }
}

#[test]
fn policy_embedded_needs_nothing() {
    let none = policy::Env::new(|_| None).with_files(|_| Err(std::io::ErrorKind::NotFound.into()));
    let policy = Policy::parse("default.yaml", policy::DEFAULT, &none).unwrap();
    assert!(policy.routes.iter().any(|route| route.matches == policy::Match::default()));
    assert!(Policy::embedded().is_ok());
}

#[test]
fn policy_registry_parses_without_an_error() {
    let (_, text) = config().into_iter().find(|(name, _)| name == "models.yaml").unwrap();
    let registry = policy::Registry::parse("models.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(&registry, policy::Registry::embedded());
    assert_eq!((registry.providers.len(), registry.models.len()), (7, 100));
    for model in &registry.models {
        assert!(model.price.input.is_some() && model.price.output.is_some(), "{}", model.id);
    }
}

/// `UPDATE=1` writes the schemas anew.
#[test]
fn policy_schema_is_committed() {
    for (name, schema) in
        [("policy.schema.json", policy::schema()), ("models.schema.json", policy::models_schema())]
    {
        let path = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &schema).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == schema, "{name} is out of date: run this test with UPDATE=1");
    }
}

/// YAML as an editor's checker sees it.
fn as_json(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn policy_files_fit_the_schema() {
    for (name, text) in config() {
        let schema = match name.as_str() {
            "models.yaml" => policy::models_schema(),
            _ => policy::schema(),
        };
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&as_json(&text))
            .map(|error| format!("{} {}", error.instance_path(), error))
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn policy_schema_refuses_what_the_reader_refuses() {
    let schema: Value = serde_json::from_str(&policy::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [
        "listen: 127.0.0.1:8080",
        "providers: { a: { simulate: {} } }\nlimts: []",
        "providers: { a: { simulate: { latency: 5 parsecs } } }",
        "providers: { a: { simulate: {} } }\nlimits: [{ name: a, per: nobody, requests: 1/s }]",
        "providers: { a: { simulate: {} } }\nlimits: [{ name: a, per: user, requests: 100 }]",
        "providers: { a: { simulate: {} } }\nretry: { backoff: { jitter: some } }",
        "providers: { a: { http2: maybe } }",
    ] {
        assert!(!validator.is_valid(&as_json(text)), "{text}");
        assert_ne!(super::told(text), "nothing", "{text}");
    }
}

/// Reference policy and schema hold the same keys: each is in the schema (or it would not
/// validate), and each of the schema's is in the reference.
#[test]
fn policy_reference_shows_every_key() {
    fn keys(schema: &Value, all: &mut BTreeSet<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            all.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(map) => map.values().for_each(|value| keys(value, all)),
            Value::Array(items) => items.iter().for_each(|value| keys(value, all)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    keys(&serde_json::from_str(&policy::schema()).unwrap(), &mut all);
    assert!(all.len() > 80, "{}", all.len());
    let files = config();
    let (_, reference) = files.iter().find(|(name, _)| name == "reference.yaml").unwrap();
    for key in all {
        let shown = reference.match_indices(&format!("{key}:")).any(|(at, _)| {
            reference[..at].chars().next_back().is_none_or(|c| c == ' ' || c == '\n')
        });
        assert!(shown, "reference.yaml does not show `{key}`");
    }
}
