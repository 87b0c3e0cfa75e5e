//! Reading the sample replies and what is expected of them.

#![allow(dead_code, unreachable_pub)]

pub mod call;

use std::{fs, path::PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tollway_core::{Dialect, ErrorClass, Usage};

pub fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

pub fn sample(name: &str) -> Vec<u8> {
    fs::read(dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every sample in OpenAI's form whose name ends so, with what is expected; of `.http`, all.
pub fn expected(suffix: &str) -> Vec<(String, Value)> {
    let mut all = every(suffix);
    all.retain(|(name, _)| suffix == ".http" || form(name) == Dialect::OpenAi);
    all
}

/// Every sample in this form whose name ends so, with what is expected.
pub fn expected_in(dialect: Dialect, suffix: &str) -> Vec<(String, Value)> {
    let mut all = every(suffix);
    all.retain(|(name, _)| form(name) == dialect);
    all
}

/// The form a reply or stream is written in.
fn form(name: &str) -> Dialect {
    match name.split_once('/') {
        Some((_, file)) if file.starts_with("openai_form") => Dialect::OpenAi,
        Some(("anthropic", _)) => Dialect::Anthropic,
        Some(("gemini", _)) => Dialect::Gemini,
        _ => Dialect::OpenAi,
    }
}

fn every(suffix: &str) -> Vec<(String, Value)> {
    let all: Value = serde_json::from_slice(&sample("expected.json")).unwrap();
    let all = all.as_object().unwrap().iter();
    let here = all.filter(|(name, _)| name.ends_with(suffix) && dir().join(name).exists());
    here.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Splits a `.http` sample.
pub fn http(name: &str) -> Reply {
    let bytes = sample(name);
    let split = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    let headers: HeaderMap = headers.collect();
    let body = bytes[split + 2..].to_vec();
    if let Some(length) = headers.get("content-length") {
        assert_eq!(length.to_str().unwrap(), body.len().to_string(), "{name}");
    }
    Reply { status, headers, body }
}

pub fn class_name(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Invalid
        | ErrorClass::NotFound
        | ErrorClass::ContextLength
        | ErrorClass::ContentFilter => "client",
        ErrorClass::Auth => "auth",
        ErrorClass::Quota => "money",
        ErrorClass::RateLimit => "rate",
        ErrorClass::Overloaded => "overload",
        _ => "fault",
    }
}

pub fn check_usage(name: &str, expected: &Value, usage: Option<Usage>) {
    let Some(expected) = expected.get("usage") else { return };
    if expected.is_null() {
        assert_eq!(usage, None, "{name}");
        return;
    }
    let usage = usage.unwrap_or_else(|| panic!("{name}: no usage"));
    for (key, value) in expected.as_object().unwrap() {
        let got = match key.as_str() {
            "input_total" => usage.input,
            "cached" => usage.cached,
            "cache_write" => usage.cache_write + usage.cache_write_1h,
            "cache_write_5m" => usage.cache_write,
            "cache_write_1h" => usage.cache_write_1h,
            "output_total" => usage.output,
            "reasoning" => usage.reasoning,
            "input_audio" => usage.input_audio,
            "output_audio" => usage.output_audio,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(got, value.as_u64().unwrap(), "{name}: {key}");
    }
}

/// The whole, byte by byte, and cut in two at every position.
pub fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<Vec<u8>>> + '_ {
    let single = bytes.iter().map(|byte| vec![*byte]).collect();
    let halves = (1..bytes.len()).map(|at| vec![bytes[..at].to_vec(), bytes[at..].to_vec()]);
    [vec![bytes.to_vec()], single].into_iter().chain(halves)
}
