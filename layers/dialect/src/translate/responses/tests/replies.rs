use serde_json::{Value, json};
use tollway_core::Usage;

use super::{super::*, asked, sample, samples, value};
use crate::{
    json::Json,
    translate::{
        Form,
        hub::{Arguments, Body, Choice, Citation, Finish, Part, Reply, Signature},
    },
};

#[test]
fn the_samples() {
    for (name, expected) in samples(".res.json") {
        let bytes = sample(&name);
        let reply = read_reply(Json::read(&bytes).unwrap()).unwrap();
        let [choice] = &reply.choices[..] else { panic!("{name}") };
        let text: String = choice.parts.iter().filter_map(Part::as_text).collect();
        assert_eq!(text, expected["text"], "{name}");
        assert_eq!(expected["finish"], "completed", "{name}");
        assert_eq!(choice.finish, Some(Finish::Stop), "{name}");
        let usage = reply.usage.unwrap();
        assert_eq!(usage.input, expected["usage"]["input_total"], "{name}");
        assert_eq!(usage.output, expected["usage"]["output_total"], "{name}");
        assert_eq!(usage.reasoning, expected["usage"]["reasoning"], "{name}");
        assert_eq!(reply.id.as_deref(), Some("resp_fix01"));
        assert_eq!(reply.created, Some(1_763_800_200));
    }
}

fn read(body: &Value) -> Reply<'static> {
    let text: &'static str = Box::leak(body.to_string().into_boxed_str());
    read_reply(Json::read(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn every_end_has_its_reason() {
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let cases = [
        (json!({"status": "completed", "output": []}), Some(Finish::Stop)),
        (json!({"status": "completed", "output": [call]}), Some(Finish::ToolCalls)),
        (
            json!({"status": "incomplete", "output": [],
                "incomplete_details": {"reason": "max_output_tokens"}}),
            Some(Finish::Length),
        ),
        (
            json!({"status": "incomplete", "output": [],
                "incomplete_details": {"reason": "max_tokens"}}),
            Some(Finish::Length),
        ),
        (
            json!({"status": "incomplete", "output": [call],
                "incomplete_details": {"reason": "content_filter"}}),
            Some(Finish::Filtered),
        ),
        (json!({"status": "incomplete", "output": []}), Some(Finish::Length)),
        (json!({"status": "failed", "output": []}), Some(Finish::Failed)),
        (json!({"status": "cancelled", "output": []}), Some(Finish::Failed)),
        (json!({"status": "in_progress", "output": []}), None),
        (json!({"output": []}), None),
    ];
    for (body, finish) in cases {
        let reply = read(&body);
        assert_eq!(reply.choices[0].finish, finish, "{body}");
        assert_eq!(reply.usage, None);
    }
}

#[test]
fn items_nobody_knows_say_nothing() {
    let reply = read(&json!({"status": "completed", "created_at": 1763800200.5, "output": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "reasoning", "id": "rs_0", "summary": []},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "reasoning", "id": "rs_2", "summary": [],
            "content": [{"type": "reasoning_text", "text": "Raw"}]},
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": [
            {"type": "output_text", "text": "a", "logprobs": [{"token": "a", "logprob": -1}]},
            {"type": "hologram"}, {"type": "refusal", "refusal": "No."}]},
        7,
    ]}));
    assert_eq!(reply.created, Some(1_763_800_200));
    let [choice] = &reply.choices[..] else { panic!() };
    assert_eq!(
        choice.parts,
        [
            Part::new(Body::Redacted(Signature::new(Form::Responses, "rs_1:gAAA"))),
            Part::new(Body::Thinking { text: "Raw".into(), signature: None }),
            Part::text("a"),
            Part::new(Body::Refusal("No.".into())),
        ]
    );
    let logprobs = choice.logprobs.as_ref().unwrap().to_text();
    assert_eq!(logprobs, r#"{"content":[{"logprob":-1,"token":"a"}]}"#);
}

#[test]
fn what_is_no_response_is_unreadable() {
    for text in [
        "[]",
        "{}",
        r#"{"output": 1}"#,
        r#"{"id": 1, "output": []}"#,
        r#"{"output": [{"type": "function_call"}]}"#,
    ] {
        assert!(read_reply(Json::read(text.as_bytes()).unwrap()).is_err(), "{text}");
    }
}

#[test]
fn a_whole_response_tells_the_request_back() {
    let asked = asked(
        r#"{"model": "fast", "input": "Hi", "instructions": "Be brief.", "store": true,
            "temperature": 0.5, "tools": [{"type": "function", "name": "f"}],
            "tool_choice": "required", "reasoning": {"effort": "low"}, "metadata": {"a": "b"},
            "text": {"verbosity": "low"}, "max_output_tokens": 9, "parallel_tool_calls": false}"#,
    );
    let citation = Citation { url: "https://x".into(), title: None, range: None, quote: None };
    let text = Body::Text { text: "Fünf.".into(), citations: vec![citation] };
    let call = Body::ToolCall {
        id: None,
        name: "f".into(),
        arguments: Arguments::Text("".into()),
        signature: Some(Signature::new(Form::Generate, "c2ln")),
    };
    let thought = Body::Thinking {
        text: "Hm".into(),
        signature: Some(Signature::new(Form::Messages, "c2ln")),
    };
    let mut usage = Usage::new(10, 5);
    usage.cached = 3;
    usage.cache_write = 1;
    usage.cache_write_1h = 1;
    usage.reasoning = 2;
    let choice = Choice {
        parts: [thought, text, Body::Refusal("No.".into()), call].map(Part::new).to_vec(),
        finish: Some(Finish::ToolCalls),
        logprobs: Some(Json::read(br#"{"content": [{"token": "a"}]}"#).unwrap()),
        ..Choice::default()
    };
    let reply = Reply {
        id: Some("msg_1".into()),
        choices: vec![choice.clone(), choice],
        usage: Some(usage),
        ..Reply::default()
    };
    let nonce = "000000000000abcd";
    assert_eq!(
        value(write_reply(reply, &asked)),
        json!({
            "id": "resp_msg_1", "object": "response", "created_at": 1_800_000_000,
            "completed_at": 1_800_000_000, "status": "completed", "error": null,
            "incomplete_details": null, "model": "fast", "service_tier": null,
            "output": [
                {"type": "reasoning", "id": format!("rs_{nonce}0001"),
                    "summary": [{"type": "summary_text", "text": "Hm"}],
                    "encrypted_content": "tollway:messages:c2ln"},
                {"type": "message", "id": format!("msg_{nonce}0002"), "status": "completed",
                    "role": "assistant", "content": [
                    {"type": "output_text", "text": "Fünf.", "logprobs": [{"token": "a"}],
                        "annotations": [{"type": "url_citation", "url": "https://x", "title": "",
                            "start_index": 0, "end_index": 5}]},
                    {"type": "refusal", "refusal": "No."}]},
                {"type": "reasoning", "id": format!("rs_{nonce}0003"), "summary": [],
                    "encrypted_content": "tollway:generate:c2ln"},
                {"type": "function_call", "id": format!("fc_{nonce}0004"),
                    "call_id": format!("call_{nonce}0005"), "name": "f", "arguments": "{}",
                    "status": "completed"},
            ],
            "usage": {"input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
                "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": 15},
            "background": false, "instructions": "Be brief.", "max_output_tokens": 9,
            "max_tool_calls": null, "metadata": {"a": "b"}, "parallel_tool_calls": false,
            "previous_response_id": null, "reasoning": {"effort": "low", "summary": null},
            "safety_identifier": null, "store": false, "temperature": 0.5,
            "text": {"verbosity": "low", "format": {"type": "text"}}, "tool_choice": "required",
            "tools": [{"type": "function", "name": "f"}], "top_logprobs": null, "top_p": null,
            "truncation": "disabled", "user": null,
        })
    );
}

#[test]
fn an_answer_that_was_cut_says_so() {
    for (finish, status, reason) in [
        (Finish::Length, "incomplete", json!({"reason": "max_output_tokens"})),
        (Finish::Filtered, "incomplete", json!({"reason": "content_filter"})),
        (Finish::Failed, "failed", Value::Null),
        (Finish::Paused, "completed", Value::Null),
    ] {
        let choice =
            Choice { parts: vec![Part::text("a")], finish: Some(finish), ..Choice::default() };
        let reply = Reply { choices: vec![choice], ..Reply::default() };
        let asked = asked("");
        let body = value(write_reply(reply, &asked));
        assert_eq!(body["status"], status);
        assert_eq!(body["incomplete_details"], reason);
        assert_eq!(body["usage"], Value::Null);
        assert_eq!(body["error"].is_object(), finish == Finish::Failed);
        assert_eq!(body["completed_at"].is_null(), status != "completed");
        let last = if status == "completed" { "completed" } else { "incomplete" };
        assert_eq!(body["output"][0]["status"], last);
    }
}
