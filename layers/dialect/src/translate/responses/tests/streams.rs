use serde_json::{Value, json};
use tollway_core::{ErrorClass, Usage};

use super::{super::*, Collected, asked, collect, data, sample, samples, written};
use crate::{
    json::Json,
    translate::{
        Form, StreamReader,
        hub::{Arguments, Body, Citation, Event, Finish, Part, Signature, StreamError},
    },
};

fn check(name: &str, expected: &Value, got: &Collected) {
    assert_eq!(got.text(), expected["text"], "{name}");
    assert_eq!(got.complete, expected["complete"] == true, "{name}");
    let finish = match expected["finish"].as_str().unwrap() {
        "failed" => None,
        _ if expected.get("tools").is_some() => Some(Finish::ToolCalls),
        _ => Some(Finish::Stop),
    };
    assert_eq!(got.finish, finish, "{name}");
    let usage = expected["usage"].as_object().map(|usage| {
        let mut known = Usage::new(
            usage["input_total"].as_u64().unwrap(),
            usage["output_total"].as_u64().unwrap(),
        );
        known.reasoning = usage["reasoning"].as_u64().unwrap();
        known
    });
    assert_eq!(got.usage, usage, "{name}");
    let tools = got.parts.iter().filter_map(|part| match &part.body {
        Body::ToolCall { id, name, arguments: Arguments::Text(text), .. } => {
            Some(json!([id, name, serde_json::from_str::<Value>(text).unwrap()]))
        }
        _ => None,
    });
    let none = json!([]);
    let wanted = expected.get("tools").unwrap_or(&none);
    assert_eq!(&Value::Array(tools.collect()), wanted, "{name}");
    let class = expected.get("error").map(|error| error["class"].as_str().unwrap());
    assert_eq!(
        class,
        got.error.as_ref().map(|(class, ..)| match class {
            ErrorClass::RateLimit => "rate",
            other => panic!("{other:?}"),
        })
    );
    assert_eq!(got.starts, 1, "{name}");
}

#[test]
fn the_samples_however_they_are_cut() {
    for (name, expected) in samples(".sse") {
        let bytes = sample(&name);
        let whole = collect([&bytes[..]]);
        check(&name, &expected, &whole);
        assert_eq!(collect(bytes.chunks(1)), whole, "{name}");
        for at in 1..bytes.len() {
            assert_eq!(collect([&bytes[..at], &bytes[at..]]), whole, "{name} cut at {at}");
        }
    }
}

fn stream(events: &[Value]) -> Vec<u8> {
    let lines = events.iter().map(|event| {
        let name = event["type"].as_str().unwrap_or("message");
        format!("event: {name}\ndata: {event}\n\n")
    });
    lines.collect::<String>().into_bytes()
}

fn read(events: &[Value]) -> Collected {
    collect([&stream(events)[..]])
}

fn done(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"status": "completed", "output": output}})
}

#[test]
fn reasoning_in_pieces() {
    let delta = |summary: u64, text: &str| {
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0,
            "summary_index": summary, "delta": text})
    };
    let item = |kind: &str, sealed: &str| {
        json!({"type": format!("response.output_item.{kind}"), "output_index": 0, "item":
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}})
    };
    let got = read(&[
        item("added", "early"),
        delta(0, "One"),
        delta(0, "."),
        json!({"type": "response.reasoning_summary_text.done", "output_index": 0,
            "summary_index": 0, "text": "One."}),
        delta(1, "Two."),
        json!({"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0,
            "delta": "the same at length"}),
        item("done", "gAAA"),
        json!({"type": "response.output_item.done", "output_index": 1, "item":
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gBBB"}}),
        json!({"type": "response.reasoning_text.delta", "output_index": 2, "content_index": 0,
            "delta": "Raw"}),
        done(json!([])),
    ]);
    let own = |data: &'static str| Signature::new(Form::Responses, data);
    assert_eq!(
        got.parts,
        [
            Part::new(Body::Thinking {
                text: "One.\n\nTwo.".into(),
                signature: Some(own("rs_1:gAAA"))
            }),
            Part::new(Body::Redacted(own("rs_2:gBBB"))),
            Part::new(Body::Thinking { text: "Raw".into(), signature: None }),
        ]
    );
}

#[test]
fn what_came_in_no_piece_is_read_whole() {
    let message = json!({"type": "message", "content": [
        {"type": "output_text", "text": "a", "logprobs": [{"token": "a"}], "annotations": [
            {"type": "url_citation", "url": "https://x", "start_index": 0, "end_index": 1}]},
        {"type": "refusal", "refusal": "No."}]});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let citation =
        Citation { url: "https://x".into(), title: None, range: Some((0, 1)), quote: None };
    let text = Body::Text { text: "a".into(), citations: vec![citation] };
    let called = Body::ToolCall {
        id: Some("c".into()),
        name: "f".into(),
        arguments: Arguments::Text("{}".into()),
        signature: None,
    };
    let parts = [text, Body::Refusal("No.".into()), called].map(Part::new);

    let item = |index: u64, item: &Value| json!({"type": "response.output_item.done", "output_index": index, "item": item});
    let by_items = read(&[item(0, &message), item(1, &call), done(json!([message, call]))]);
    let at_once = read(&[done(json!([message, call]))]);
    for got in [by_items, at_once] {
        assert_eq!(got.parts, parts);
        assert_eq!(got.logprobs, [r#"{"content":[{"token":"a"}]}"#]);
        assert_eq!(got.finish, Some(Finish::ToolCalls));
        assert!(got.complete);
    }
    let texts = read(&[
        json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0,
            "text": "a"}),
        json!({"type": "response.refusal.done", "output_index": 0, "content_index": 1,
            "refusal": "No."}),
        item(0, &message),
        json!({"type": "response.output_item.added", "output_index": 1, "item":
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.done", "output_index": 1,
            "arguments": "{}"}),
        item(1, &call),
        done(json!([])),
    ]);
    assert_eq!(texts.parts[0], Part::text("a"));
    assert_eq!(texts.parts[1..], parts[1..]);
}

#[test]
fn calls_that_alternate() {
    let added = |index: u64, name: &str| {
        json!({"type": "response.output_item.added", "output_index": index, "item":
            {"type": "function_call", "call_id": name, "name": name, "arguments": ""}})
    };
    let delta = |index: u64, text: &str| {
        json!({"type": "response.function_call_arguments.delta", "output_index": index,
            "delta": text})
    };
    let got = read(&[
        added(3, "f"),
        added(5, "g"),
        delta(5, "{\"b\""),
        delta(3, "{"),
        delta(5, ":1}"),
        delta(3, "}"),
        delta(9, "of none"),
        done(json!([])),
    ]);
    let arguments = got.parts.iter().map(|part| match &part.body {
        Body::ToolCall { arguments: Arguments::Text(text), .. } => &**text,
        other => panic!("{other:?}"),
    });
    assert_eq!(arguments.collect::<Vec<_>>(), ["{}", "{\"b\":1}"]);
}

#[test]
fn errors_in_every_shape() {
    let error = |code: &str, message: &str| json!({"code": code, "message": message});
    let slow = "Please try again in 2s.";
    for (event, class, code) in [
        (
            json!({"type": "error", "code": "rate_limit_exceeded", "message": slow,
                "sequence_number": 3}),
            ErrorClass::RateLimit,
            "rate_limit_exceeded",
        ),
        (
            json!({"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded",
                "message": slow}}),
            ErrorClass::RateLimit,
            "rate_limit_exceeded",
        ),
        (
            json!({"type": "response.failed", "response":
                {"status": "failed", "error": error("server_error", "Oops")}}),
            ErrorClass::Server,
            "server_error",
        ),
        (
            json!({"type": "response.failed", "response":
                {"status": "failed", "error": error("context_length_exceeded", "Too long")}}),
            ErrorClass::ContextLength,
            "context_length_exceeded",
        ),
        (
            json!({"error": error("server_is_overloaded", "x")}),
            ErrorClass::Overloaded,
            "server_is_overloaded",
        ),
        (
            json!({"type": "error", "error": error("insufficient_quota", "x")}),
            ErrorClass::Quota,
            "insufficient_quota",
        ),
    ] {
        let got = read(&[event.clone(), done(json!([]))]);
        let (got_class, message, got_code) = got.error.unwrap();
        assert_eq!((got_class, got_code.as_deref()), (class, Some(code)), "{event}");
        assert!(event.to_string().contains(&message));
        assert!(!got.complete && got.finish.is_none());
    }
    let got = read(&[json!({"type": "response.cancelled", "response": {"status": "cancelled"}})]);
    assert_eq!(got.error.unwrap().0, ErrorClass::Server);
}

#[test]
fn a_stream_that_stops_has_no_end() {
    let bytes = sample("openai/responses_stream.sse");
    let end = bytes.windows(25).position(|w| w == b"event: response.completed").unwrap();
    let got = collect([&bytes[..end]]);
    assert_eq!(got.text(), "Four.");
    assert!(!got.complete && got.finish.is_none());
}

#[test]
fn unknown_events_say_nothing() {
    let got = read(&[
        json!({"type": "response.web_search_call.searching", "output_index": 0}),
        json!({"type": "keepalive"}),
        json!([1]),
        json!({"type": "response.output_text.delta", "delta": "a", "obfuscation": "x",
            "logprobs": []}),
        json!({"type": "response.incomplete", "response": {"status": "incomplete",
            "incomplete_details": {"reason": "content_filter"}}}),
    ]);
    assert_eq!(got.parts, [Part::text("a")]);
    assert_eq!(got.finish, Some(Finish::Filtered));
    let mut reader = Reader::default();
    assert!(reader.read(None, b"[DONE]", &mut |event| panic!("{event:?}")).is_ok());
    assert!(reader.read(None, b"{", &mut |event| panic!("{event:?}")).is_err());
}

#[test]
fn usage_of_nothing_is_unknown_and_what_comes_before_the_beginning_says_nothing() {
    let created = json!({"id": "resp_1", "model": "m", "usage": {"input_tokens": 9}});
    let zero = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0});
    let got = read(&[
        json!({"type": "keepalive"}),
        json!({"type": "response.queued", "response": created}),
        json!({"type": "response.completed", "response":
            {"status": "completed", "usage": zero, "output": []}}),
    ]);
    assert_eq!((got.id.as_deref(), got.model.as_deref()), (Some("resp_1"), Some("m")));
    assert_eq!(got.usage, None);
    assert!(got.complete);
}

fn types(events: &[Value]) -> Vec<&str> {
    let names = events.iter().map(|event| event["type"].as_str().unwrap());
    names.map(|name| name.strip_prefix("response.").unwrap_or(name)).collect()
}

#[test]
fn every_event_in_its_order() {
    let asked = asked(r#"{"model": "fast", "instructions": "Be brief."}"#);
    let text = |text: &'static str| Event::Text { choice: 0, text: text.into() };
    let citation =
        Citation { url: "https://x".into(), title: Some("X".into()), range: None, quote: None };
    let call = |call, id: Option<&'static str>| Event::ToolStart {
        choice: 0,
        call,
        id: id.map(Into::into),
        name: "f".into(),
        signature: None,
    };
    let piece =
        |call, json: &'static str| Event::ToolArguments { choice: 0, call, json: json.into() };
    let logprobs = Json::read(br#"{"content": [{"token": "Fo", "logprob": -1}]}"#).unwrap();
    let out = written(
        &asked,
        [
            Event::Start { id: Some("msg_1".into()), model: Some("m-1".into()), created: Some(7) },
            Event::Thinking { choice: 0, text: "Hm".into() },
            Event::Thinking { choice: 0, text: "?".into() },
            Event::Signature { choice: 0, signature: Signature::new(Form::Messages, "c2ln") },
            Event::Logprobs { choice: 0, logprobs },
            text("Fo"),
            text("ur."),
            Event::Citation { choice: 0, citation },
            Event::Refusal { choice: 0, text: "No.".into() },
            call(0, Some("call_1")),
            call(1, None),
            piece(1, "{\"a\":"),
            Event::Text { choice: 1, text: "of another choice".into() },
            piece(1, "1}"),
            Event::Usage(Usage::new(3, 4)),
            Event::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None },
            Event::Usage(Usage::new(5, 6)),
            Event::End,
        ],
    );
    let events = data(&out);
    assert_eq!(
        types(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let response = &events[0]["response"];
    assert_eq!(response["id"], "resp_msg_1");
    assert_eq!(response["model"], "m-1");
    assert_eq!(response["created_at"], 7);
    assert_eq!(response["status"], "in_progress");
    assert_eq!(response["instructions"], "Be brief.");
    assert_eq!((&response["output"], &response["usage"]), (&json!([]), &Value::Null));

    assert_eq!(events[2]["item"]["summary"], json!([]));
    assert_eq!(events[8]["item"]["summary"][0]["text"], "Hm?");
    assert_eq!(events[8]["item"]["encrypted_content"], "tollway:messages:c2ln");
    assert_eq!(events[9]["item"]["status"], "in_progress");
    assert_eq!(events[11]["logprobs"], json!([{"token": "Fo", "logprob": -1}]));
    assert_eq!((&events[11]["output_index"], &events[11]["content_index"]), (&json!(1), &json!(0)));
    assert_eq!(events[11]["item_id"], events[9]["item"]["id"]);
    assert_eq!(events[13]["annotation"]["end_index"], 5);
    assert_eq!((&events[14]["text"], &events[12]["logprobs"]), (&json!("Four."), &json!([])));
    assert_eq!(events[17]["content_index"], 1);
    assert_eq!(events[20]["item"]["content"][1], json!({"type": "refusal", "refusal": "No."}));
    assert_eq!(events[21]["item"]["call_id"], "call_1");
    assert_eq!(events[25]["delta"], "{}");
    assert_eq!((&events[26]["name"], &events[26]["arguments"]), (&json!("f"), &json!("{}")));
    assert_eq!(events[28]["arguments"], "{\"a\":1}");
    assert_eq!(events[28]["output_index"], 3);

    let response = &events[30]["response"];
    assert_eq!(response["status"], "completed");
    assert_eq!(response["completed_at"], 1_800_000_000);
    assert_eq!(response["usage"]["total_tokens"], 11);
    let done: Vec<_> = [8, 20, 27, 29].map(|at: usize| events[at]["item"].clone()).to_vec();
    assert_eq!(response["output"], Value::Array(done));
}

#[test]
fn a_cut_answer_is_incomplete() {
    let asked = asked("{}");
    for (finish, name, reason) in [
        (Finish::Length, "response.incomplete", json!({"reason": "max_output_tokens"})),
        (Finish::Filtered, "response.incomplete", json!({"reason": "content_filter"})),
        (Finish::Failed, "response.failed", Value::Null),
    ] {
        let events = data(&written(
            &asked,
            [
                Event::Text { choice: 0, text: "Fo".into() },
                Event::Finish { choice: 0, finish, stop_sequence: None },
                Event::End,
            ],
        ));
        let last = events.last().unwrap();
        assert_eq!(last["type"], name);
        assert_eq!(last["response"]["incomplete_details"], reason);
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
        assert_eq!(last["response"]["error"].is_object(), finish == Finish::Failed);
        // What nobody counted is unknown.
        assert_eq!(last["response"]["usage"], Value::Null);
    }
}

#[test]
fn an_end_is_never_invented() {
    let asked = asked("{}");
    let out = written(
        &asked,
        [
            Event::Text { choice: 0, text: "Fo".into() },
            Event::Finish { choice: 0, finish: Finish::Stop, stop_sequence: None },
        ],
    );
    let events = data(&out);
    assert_eq!(types(&events).last(), Some(&"output_item.done"));
}

#[test]
fn an_error_ends_it() {
    let asked = asked("{}");
    let error = |code: Option<&'static str>| {
        Event::Error(StreamError {
            class: ErrorClass::Overloaded,
            message: "Too \"busy\".".into(),
            code: code.map(Into::into),
        })
    };
    let out = written(&asked, [Event::Text { choice: 0, text: "Fo".into() }, error(None)]);
    let events = data(&out);
    assert_eq!(
        events.last().unwrap(),
        &json!({"type": "error", "code": "server_is_overloaded", "message": "Too \"busy\".",
            "param": null, "sequence_number": events.len() - 1})
    );
    // Before anything else, too.
    let first = data(&written(&asked, [error(Some("overloaded_error"))]));
    assert_eq!(first[0]["code"], "overloaded_error");
    let got = collect([&out[..]]);
    assert_eq!(got.error.unwrap().0, ErrorClass::Overloaded);
}

#[test]
fn signatures_without_words() {
    let asked = asked("{}");
    let signature = || Signature::new(Form::Generate, "c2ln");
    let out = written(
        &asked,
        [
            Event::Signature { choice: 0, signature: signature() },
            Event::Redacted { choice: 0, data: signature() },
            Event::ToolStart {
                choice: 0,
                call: 0,
                id: None,
                name: "f".into(),
                signature: Some(signature()),
            },
            Event::End,
        ],
    );
    let last = data(&out).pop().unwrap();
    let output = last["response"]["output"].as_array().unwrap();
    assert_eq!(output.len(), 4);
    assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": ""}]));
    assert_eq!(output[1]["summary"], json!([]));
    assert_eq!(output[2]["encrypted_content"], "tollway:generate:c2ln");
    assert_eq!(output[3]["type"], "function_call");
}
