mod reply;
mod request;
mod round_trip;
mod stream;
mod thinking;
mod turns;

use std::{fs, path::PathBuf};

use bytes::Bytes;
use serde_json::Value;
use tollway_core::Usage;

use super::*;
use crate::{
    BadRequest,
    json::Json,
    translate::{
        Asked, Fit, Form, Losses, Strictness,
        hub::{Finish, Request},
        settle,
    },
};

fn sample(name: &str) -> Vec<u8> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a correct reader gets out of each of these samples.
fn expected(suffix: &str) -> Vec<(String, Value)> {
    let all: Value = serde_json::from_slice(&sample("expected.json")).unwrap();
    let ours = all
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("anthropic/messages") && name.ends_with(suffix));
    ours.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn asked() -> Asked {
    Asked {
        form: Form::Messages,
        model: "asked-model".into(),
        stream: true,
        wants_usage: true,
        sse: true,
        body: Bytes::new(),
        nonce: 7,
        now: 0,
    }
}

fn fit() -> Fit {
    Fit::new(Form::Messages)
}

/// A client's request in this form.
fn read(json: &str) -> Request<'_> {
    read_request(Json::read(json.as_bytes()).unwrap()).unwrap()
}

/// What a provider of this form is sent, and what is told of.
fn write_from(
    client: Form,
    request: Request<'_>,
    fit: &Fit,
) -> Result<(Value, String), BadRequest> {
    let (written, told) = text_from(client, request, fit)?;
    Ok((serde_json::from_str(&written).unwrap(), told))
}

fn text_from(
    client: Form,
    mut request: Request<'_>,
    fit: &Fit,
) -> Result<(String, String), BadRequest> {
    let mut losses = Losses::new(client, Form::Messages, Strictness::default());
    settle::settle(&mut request, fit, &mut losses)?;
    let written = Json::Object(write_request(&mut request, fit, &mut losses)?).to_text();
    settle::leftovers(request, &mut losses)?;
    let told = losses.header().map(|told| told.to_str().unwrap().to_owned());
    Ok((written, told.unwrap_or_default()))
}

fn write(request: Request<'_>, fit: &Fit) -> Value {
    let (written, told) = write_from(Form::Chat, request, fit).unwrap();
    assert_eq!(told, "");
    written
}

fn check_usage(name: &str, usage: Option<Usage>, expected: &Value) {
    let Some(usage) = usage else {
        assert!(expected.is_null(), "{name}: usage is missing");
        return;
    };
    let is = |key: &str, got: u64| {
        if let Some(wanted) = expected.get(key) {
            assert_eq!(wanted, &Value::from(got), "{name}: {key}");
        }
    };
    assert!(expected.is_object(), "{name}: usage out of nowhere");
    is("input_total", usage.input);
    is("cached", usage.cached);
    is("cache_write", usage.cache_write + usage.cache_write_1h);
    is("cache_write_5m", usage.cache_write);
    is("cache_write_1h", usage.cache_write_1h);
    is("output_total", usage.output);
    is("reasoning", usage.reasoning);
}

fn finish_name(finish: Option<Finish>) -> Value {
    match finish {
        None => Value::Null,
        Some(Finish::Stop | Finish::Paused) => "stop".into(),
        Some(Finish::Length) => "length".into(),
        Some(Finish::ToolCalls) => "tool_calls".into(),
        Some(Finish::Filtered) => "content_filter".into(),
        Some(Finish::Failed) => "error".into(),
    }
}
