//! Whole replies, both ways.

use serde_json::json;

use super::*;
use crate::translate::hub::{Arguments, Body, Choice, Citation, Part, Reply, Signature};

fn written(reply: Reply<'_>) -> Value {
    let asked = asked();
    serde_json::from_slice(&Json::Object(write_reply(reply, &asked)).to_vec()).unwrap()
}

fn one(parts: Vec<Part<'_>>, finish: Option<Finish>) -> Reply<'_> {
    Reply { choices: vec![Choice { parts, finish, ..Choice::default() }], ..Reply::default() }
}

#[test]
fn the_samples() {
    let all = expected(".res.json");
    assert_eq!(all.len(), 5);
    for (name, expected) in all {
        let bytes = sample(&name);
        let reply = read_reply(Json::read(&bytes).unwrap()).unwrap();
        let choice = &reply.choices[0];
        let (mut text, mut thought, mut tools) = (String::new(), String::new(), Vec::new());
        for part in &choice.parts {
            match &part.body {
                Body::Text { text: piece, .. } => text.push_str(piece),
                Body::Thinking { text, .. } => thought.push_str(text),
                Body::ToolCall { id, name, arguments, .. } => {
                    let input: Value =
                        serde_json::from_str(&arguments.clone().into_text()).unwrap();
                    tools.push(json!([id.as_deref(), name, input]));
                }
                _ => {}
            }
        }
        assert_eq!(expected["text"], text, "{name}");
        if let Some(wanted) = expected.get("reasoning_text") {
            assert_eq!(wanted, &Value::from(thought), "{name}");
        }
        if let Some(wanted) = expected.get("tools") {
            assert_eq!(wanted, &Value::from(tools), "{name}");
        }
        assert_eq!(finish_name(choice.finish), expected["finish"], "{name}");
        check_usage(&name, reply.usage, &expected["usage"]);
        // Written again it is the same, but for the counts that are zero.
        let mut again = written(reply.clone());
        let original: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(again["usage"]["service_tier"], original["usage"]["service_tier"]);
        again["usage"] = original["usage"].clone();
        assert_eq!(again, original, "{name}");
    }
}

#[test]
fn usage_in_classes() {
    let bytes = sample("anthropic/messages_cache.res.json");
    let original: Value = serde_json::from_slice(&bytes).unwrap();
    let reply = read_reply(Json::read(&bytes).unwrap()).unwrap();
    assert_eq!(written(reply)["usage"], original["usage"]);
    // Unknown is not zero, but the form has no other word for it.
    let unknown = one(Vec::new(), None);
    assert_eq!(written(unknown)["usage"], json!({"input_tokens": 0, "output_tokens": 0}));
    for body in [r#"{"content":[]}"#, r#"{"content":[],"usage":{"input_tokens":0}}"#] {
        assert_eq!(read_reply(Json::read(body.as_bytes()).unwrap()).unwrap().usage, None);
    }
    // The split may be all there is.
    let split = br#"{"content":[],"usage":{"input_tokens":1,"output_tokens":2,
        "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}}"#;
    let usage = read_reply(Json::read(split).unwrap()).unwrap().usage.unwrap();
    assert_eq!((usage.input, usage.cache_write, usage.cache_write_1h), (8, 3, 4));
}

#[test]
fn reasons_to_stop() {
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("refusal", Finish::Filtered),
        ("pause_turn", Finish::Paused),
    ] {
        let body = format!(r#"{{"content":[],"stop_reason":"{reason}"}}"#);
        let reply = read_reply(Json::read(body.as_bytes()).unwrap()).unwrap();
        assert_eq!(reply.choices[0].finish, Some(finish), "{reason}");
    }
    for unsaid in [r#"{"content":[],"stop_reason":"invented_later"}"#, r#"{"content":[]}"#] {
        let reply = read_reply(Json::read(unsaid.as_bytes()).unwrap()).unwrap();
        assert_eq!(reply.choices[0].finish, None);
    }
    let call = || {
        Part::new(Body::ToolCall {
            id: None,
            name: "f".into(),
            arguments: Arguments::Text("".into()),
            signature: None,
        })
    };
    let refusal = || Part::new(Body::Refusal("no".into()));
    for (parts, finish, reason) in [
        (vec![], Some(Finish::Stop), "end_turn"),
        (vec![call()], Some(Finish::Stop), "tool_use"),
        (vec![call()], Some(Finish::ToolCalls), "tool_use"),
        (vec![call()], Some(Finish::Length), "max_tokens"),
        (vec![refusal()], Some(Finish::Stop), "refusal"),
        (vec![], Some(Finish::Length), "max_tokens"),
        (vec![], Some(Finish::Filtered), "refusal"),
        (vec![], Some(Finish::Paused), "pause_turn"),
        (vec![], Some(Finish::Failed), "max_tokens"),
    ] {
        assert_eq!(written(one(parts, finish))["stop_reason"], reason);
    }
    for parts in [vec![], vec![call()], vec![refusal()]] {
        assert_eq!(written(one(parts, None))["stop_reason"], Value::Null);
    }
    let mut met = one(Vec::new(), Some(Finish::Stop));
    met.choices[0].stop_sequence = Some("END".into());
    let met = written(met);
    assert_eq!(
        (&met["stop_reason"], &met["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
}

#[test]
fn a_refusal_says_why() {
    let body = br#"{"content":[],"stop_reason":"refusal",
        "stop_details":{"type":"refusal","category":"cyber","explanation":"Not that."}}"#;
    let reply = read_reply(Json::read(body).unwrap()).unwrap();
    assert_eq!(reply.choices[0].parts, [Part::new(Body::Refusal("Not that.".into()))]);
}

#[test]
fn the_json_tool_is_the_text() {
    let body = format!(
        r#"{{"content":[{{"type":"tool_use","id":"t","name":"{JSON_TOOL}","input":{{"a":[1]}}}}],
        "stop_reason":"tool_use"}}"#
    );
    let reply = read_reply(Json::read(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(reply.choices[0].parts, [Part::text(r#"{"a":[1]}"#)]);
    assert_eq!(reply.choices[0].finish, Some(Finish::Stop));
    // Another call is still one.
    let body = body.replace("}],", r#"},{"type":"tool_use","id":"u","name":"f"}],"#);
    let reply = read_reply(Json::read(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(reply.choices[0].parts.len(), 2);
    assert_eq!(reply.choices[0].finish, Some(Finish::ToolCalls));
}

#[test]
fn citations_of_web_pages() {
    let body = r#"{"content":[{"type":"text","text":"Née."},{"type":"text","text":"Ça va","citations":[
        {"type":"web_search_result_location","url":"https://x","title":"X","cited_text":"q","encrypted_index":"e"},
        {"type":"char_location","document_index":0}]}]}"#;
    let reply = read_reply(Json::read(body.as_bytes()).unwrap()).unwrap();
    let citation = Citation {
        url: "https://x".into(),
        title: Some("X".into()),
        range: Some((4, 9)),
        quote: Some("q".into()),
    };
    let body = Body::Text { text: "Ça va".into(), citations: vec![citation] };
    assert_eq!(reply.choices[0].parts[1], Part::new(body));
    let again = written(reply.clone());
    assert_eq!(again["content"][1]["citations"].as_array().unwrap().len(), 1);
    let again = again.to_string();
    let again = read_reply(Json::read(again.as_bytes()).unwrap()).unwrap();
    assert_eq!(again.choices[0].parts, reply.choices[0].parts);
}

#[test]
fn what_another_form_says_differently() {
    let reply = one(
        vec![
            Part::new(Body::Thinking { text: "hm".into(), signature: None }),
            Part::new(Body::Redacted(Signature::new(Form::Responses, "r"))),
            Part::text(""),
            Part::new(Body::ToolCall {
                id: None,
                name: "f".into(),
                arguments: Arguments::Text("{\"a\":".into()),
                signature: Some(Signature::new(Form::Generate, "s")),
            }),
        ],
        Some(Finish::ToolCalls),
    );
    let written = written(reply);
    let id = written["content"][3]["id"].as_str().unwrap();
    assert!(id.starts_with("toolu_"));
    assert_eq!(
        written["content"],
        json!([
            {"type": "thinking", "thinking": "hm", "signature": "tollway:chat:"},
            {"type": "redacted_thinking", "data": "tollway:responses:r"},
            {"type": "redacted_thinking", "data": "tollway:generate:s"},
            {"type": "tool_use", "id": id, "name": "f", "input": {"INVALID_JSON": "{\"a\":"}},
        ])
    );
    assert_eq!(written["model"], "asked-model");
    assert!(written["id"].as_str().unwrap().starts_with("msg_"));
}

#[test]
fn what_is_no_reply() {
    for (body, why) in [
        ("[]", "must be an object"),
        ("{}", "`content` is missing"),
        (r#"{"content":[1]}"#, "`content[0]` must be an object"),
        (r#"{"content":[{"type":"text"}]}"#, "`content[0].text` is missing"),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "Overloaded",
        ),
    ] {
        let error = read_reply(Json::read(body.as_bytes()).unwrap()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
