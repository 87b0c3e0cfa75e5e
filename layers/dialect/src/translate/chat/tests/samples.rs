//! Every sample of a provider in OpenAI's chat form, against what is expected of it.

use serde_json::{Value, json};
use tollway_core::{ErrorClass, Usage};

use super::*;
use crate::translate::{
    chat::{finish, read_reply},
    hub::{Body, Choice, Reply, arbitrary::joined},
};

const OF: [&str; 8] = [
    "openai/chat_",
    "groq/",
    "xai/",
    "deepseek/",
    "moonshot/",
    "sse/",
    "pairs/",
    "anthropic/openai",
];

fn expected(suffix: &str) -> Vec<(String, Value)> {
    let all: Value = serde_json::from_slice(&sample("expected.json")).unwrap();
    let ours = |name: &str| {
        name.ends_with(suffix)
            && (OF.iter().any(|of| name.starts_with(of)) || name.contains("openai_form"))
    };
    let all = all.as_object().unwrap().iter().filter(|(name, _)| ours(name));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn text_of(choice: &Choice<'_>) -> String {
    joined(choice, |body| match body {
        Body::Text { text, .. } => Some(text.to_string()),
        _ => None,
    })
}

fn check(name: &str, reply: &Reply<'_>, expected: &Value) {
    let none = Choice::default();
    let first = reply.choices.first().unwrap_or(&none);
    let said = |key: &str, got: String| {
        if let Some(text) = expected.get(key) {
            assert_eq!(got, *text, "{name}: {key}");
        }
    };
    said("text", text_of(first));
    said(
        "refusal",
        joined(first, |body| match body {
            Body::Refusal(text) => Some(text.to_string()),
            _ => None,
        }),
    );
    said(
        "reasoning_text",
        joined(first, |body| match body {
            Body::Thinking { text, .. } => Some(text.to_string()),
            _ => None,
        }),
    );
    if let Some(texts) = expected.get("texts") {
        let got: Vec<_> = reply.choices.iter().map(text_of).collect();
        assert_eq!(json!(got), *texts, "{name}");
    }
    // Not a reason of OpenAI's.
    let reason = match &expected["finish"] {
        Value::String(reason) if reason == "insufficient_system_resource" => json!("length"),
        reason => reason.clone(),
    };
    assert_eq!(json!(first.finish.map(finish::name)), reason, "{name}");
    if let Some(tools) = expected.get("tools") {
        let calls = first.parts.iter().filter_map(|part| match part.body.clone() {
            Body::ToolCall { id, name, arguments, .. } => {
                let arguments: Value = serde_json::from_str(&arguments.into_text()).unwrap();
                Some(json!([id.unwrap(), name, arguments]))
            }
            _ => None,
        });
        assert_eq!(Value::Array(calls.collect()), *tools, "{name}");
    }
    if let Some(counts) = expected.get("usage") {
        let usage = reply.usage.map(|usage| usage_as(counts, usage));
        assert_eq!(json!(usage), *counts, "{name}");
    }
}

fn usage_as(wanted: &Value, usage: Usage) -> Value {
    let all = json!({
        "input_total": usage.input, "cached": usage.cached, "cache_write": usage.cache_write,
        "output_total": usage.output, "reasoning": usage.reasoning,
        "input_audio": usage.input_audio, "output_audio": usage.output_audio,
    });
    let keys = wanted.as_object().unwrap().keys();
    keys.map(|key| (key.clone(), all[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn whole_replies() {
    let all = expected(".res.json");
    assert!(all.len() >= 12, "{all:?}");
    for (name, expected) in all {
        let body = sample(&name);
        check(&name, &read_reply(Json::read(&body).unwrap()).unwrap(), &expected);
    }
}

#[test]
fn blank_lines_before_a_reply_are_nothing() {
    let http = sample("deepseek/chat_blank_lines.http");
    let at = http.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let reply = read_reply(Json::read(&http[at..]).unwrap()).unwrap();
    assert_eq!(text_of(&reply.choices[0]), "Late.");
}

#[test]
fn streams_however_they_are_cut() {
    let all = expected(".sse");
    assert!(all.len() >= 14, "{all:?}");
    for (name, expected) in all {
        let body = sample(&name);
        let whole = read_stream([&body[..]]);
        check(&name, &whole.reply, &expected);
        assert_eq!(json!(whole.complete), expected["complete"], "{name}");
        let told = name.ends_with("error_midway.sse");
        let class = whole.error.as_ref().map(|error| error.class);
        assert_eq!(class, told.then_some(ErrorClass::Server), "{name}");
        assert_eq!(read_stream(body.chunks(1)), whole, "{name}");
        for at in 1..body.len() {
            let (first, second) = body.split_at(at);
            assert_eq!(read_stream([first, second]), whole, "{name} cut at {at}");
        }
    }
}

#[test]
fn requests() {
    for (name, turns, tools) in [
        ("openai/chat_basic.req.json", 2, 0),
        ("openai/chat_stream.req.json", 1, 0),
        ("openai/chat_tool_results.req.json", 5, 1),
        ("openai/chat_tools.req.json", 2, 1),
        ("openai/chat_vision_json_schema.req.json", 1, 0),
        ("pairs/request.openai.json", 7, 1),
    ] {
        let body = sample(name);
        let read = read_request(Json::read(&body).unwrap()).unwrap();
        assert_eq!((read.turns.len(), read.tools.len()), (turns, tools), "{name}");
        assert_eq!(read.extras, [], "{name}");
        // Written for another provider of this form, it is the same but for its shape.
        let (out, lost) = written(read, Form::Chat, &Fit::new(Form::Chat)).unwrap();
        assert_eq!(lost, "", "{name}");
        let mut given: Value = serde_json::from_slice(&body).unwrap();
        for message in given["messages"].as_array_mut().unwrap() {
            if message["role"] == "developer" {
                message["role"] = "system".into();
            }
        }
        if given["parallel_tool_calls"] == true {
            given.as_object_mut().unwrap().remove("parallel_tool_calls");
        }
        if name.starts_with("pairs/") {
            let messages = given["messages"].as_array_mut().unwrap();
            messages[0]["content"] = "Be brief.\nUse tools.".into();
            messages.remove(1);
            messages[2]["tool_calls"][1]["function"]["arguments"] = "{}".into();
        }
        assert_eq!(out, given, "{name}");
    }
}
