//! Streams: what providers do to them, and how a client gets its own.

use serde_json::json;
use tollway_core::{ErrorClass, Usage};

use super::*;
use crate::translate::{
    hub::{Arguments, Body, Finish, Part, Signature, StreamError, arbitrary::joined},
    stream::Stream,
};

fn chunk(choice: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
         \"choices\":[{choice}]}}\n\n"
    )
}

fn delta(delta: &str) -> String {
    chunk(&format!(r#"{{"index":0,"delta":{delta},"finish_reason":null}}"#))
}

fn finish(reason: &str) -> String {
    chunk(&format!(r#"{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}"#))
}

fn read(events: &[String]) -> Collected {
    read_stream([events.concat().as_bytes()])
}

fn done() -> String {
    "data: [DONE]\n\n".to_owned()
}

fn calls(all: &Collected) -> Vec<(Option<String>, String, String)> {
    let parts = all.reply.choices.iter().flat_map(|choice| choice.parts.clone());
    let calls = parts.filter_map(|part| match part.body {
        Body::ToolCall { id, name, arguments: Arguments::Text(text), .. } => {
            Some((id.map(Into::into), name.into(), text.into()))
        }
        _ => None,
    });
    calls.collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (Option<String>, String, String) {
    (Some(id.to_owned()), name.to_owned(), arguments.to_owned())
}

fn thinking(all: &Collected) -> String {
    joined(&all.reply.choices[0], |body| match body {
        Body::Thinking { text, .. } => Some(text.to_string()),
        _ => None,
    })
}

#[test]
fn the_pair() {
    // What the Messages reader makes of anthropic/messages_stream_tools.sse.
    let name = |name: &'static str| Event::ToolStart {
        choice: 0,
        call: u32::from(name == "get_time"),
        id: Some(if name == "get_time" { "toolu_time02" } else { "toolu_oslo01" }.into()),
        name: name.into(),
        signature: None,
    };
    let text = |text: &'static str| Event::Text { choice: 0, text: text.into() };
    let json = |json: &'static str| Event::ToolArguments { choice: 0, call: 0, json: json.into() };
    let events = [
        Event::Start {
            id: Some("msg_01FixStrTool".into()),
            model: Some("claude-haiku-4-5-20251001".into()),
            created: None,
        },
        Event::Usage(Usage::new(472, 1)),
        text("Checking"),
        text(" both."),
        name("get_weather"),
        json(""),
        json("{\"city\":"),
        json(" \"Oslo\"}"),
        name("get_time"),
        Event::Usage(Usage::new(472, 89)),
        Event::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None },
        Event::End,
    ];
    let out = write_stream(&asked(true), events);
    let expected = sample("pairs/stream_tools.openai.expected.sse");
    assert_eq!(out, String::from_utf8(expected).unwrap());
}

#[test]
fn usage_only_for_who_asked() {
    let events = [
        Event::Start { id: None, model: None, created: Some(5) },
        Event::Text { choice: 0, text: "x".into() },
        Event::Usage(Usage::new(1, 2)),
        Event::Finish { choice: 0, finish: Finish::Stop, stop_sequence: None },
        Event::End,
    ];
    let without = write_stream(&asked(false), events.clone());
    assert!(!without.contains("usage"), "{without}");
    let all = chunks(&without);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|chunk| chunk["choices"][0]["index"] == 0));
    assert_eq!((&all[0]["model"], &all[0]["created"]), (&json!("M"), &json!(5)));
    // Finish, then usage, then the end.
    let with = write_stream(&asked(true), events);
    let all = chunks(&with);
    assert_eq!(all[2]["choices"][0]["finish_reason"], "stop");
    assert!(all[..3].iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert_eq!(all[3]["choices"], json!([]));
    assert_eq!(all[3]["usage"]["total_tokens"], 3);
    assert!(with.ends_with("}\n\ndata: [DONE]\n\n"));
    // Unknown stays unknown.
    let events =
        [Event::Finish { choice: 0, finish: Finish::Stop, stop_sequence: None }, Event::End];
    assert_eq!(chunks(&write_stream(&asked(true), events)).len(), 2);
}

#[test]
fn every_choice_begins_with_its_role() {
    let text = |choice| Event::Text { choice, text: "x".into() };
    let out = chunks(&write_stream(&asked(false), [text(1), text(0), text(1)]));
    let seen: Vec<_> = out
        .iter()
        .map(|chunk| {
            let choice = &chunk["choices"][0];
            (choice["index"].as_u64().unwrap(), choice["delta"]["role"].is_string())
        })
        .collect();
    assert_eq!(seen, [(1, true), (1, false), (0, true), (0, false), (1, false)]);
}

#[test]
fn an_error_ends_it_without_done() {
    let told = StreamError {
        class: ErrorClass::Overloaded,
        message: "Overloaded \"x\"".into(),
        code: None,
    };
    let out = write_stream(&asked(true), [Event::Error(told)]);
    assert_eq!(
        out,
        "data: {\"error\":{\"message\":\"Overloaded \\\"x\\\"\",\
         \"type\":\"service_unavailable_error\",\"param\":null,\"code\":\"server_is_overloaded\"}}\n\n"
    );
}

#[test]
fn a_signature_comes_with_the_whole_thought() {
    let thought = |text: &'static str| Event::Thinking { choice: 0, text: text.into() };
    let signature = Signature::new(Form::Messages, "S");
    let events = [
        thought("a"),
        thought("b"),
        Event::Signature { choice: 0, signature: signature.clone() },
        Event::Redacted { choice: 0, data: signature.clone() },
        Event::Text { choice: 0, text: "x".into() },
    ];
    let out = write_stream(&asked(false), events);
    let deltas: Vec<_> =
        chunks(&out).iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    // The SDK's helper for streams puts lists together by `index`, and fails without.
    let signed = json!({
        "type": "thinking", "thinking": "ab", "signature": "tollway:messages:S", "index": 0,
    });
    assert_eq!(deltas[3], json!({"thinking_blocks": [signed]}));
    let redacted = json!({"type": "redacted_thinking", "data": "tollway:messages:S", "index": 1});
    assert_eq!(deltas[4], json!({"thinking_blocks": [redacted]}));
    let read = read_stream([out.as_bytes()]);
    let parts = &read.reply.choices[0].parts;
    let thought = Body::Thinking { text: "ab".into(), signature: Some(signature.clone()) };
    assert_eq!(parts[0], Part::new(thought));
    assert_eq!(parts[1].body, Body::Redacted(signature));
}

#[test]
fn log_probabilities_stay_with_their_piece() {
    let logprobs = |n: u64| Event::Logprobs { choice: 0, logprobs: n.into() };
    let out = write_stream(
        &asked(false),
        [
            logprobs(1),
            Event::Text { choice: 0, text: "x".into() },
            logprobs(2),
            logprobs(3),
            Event::Finish { choice: 0, finish: Finish::Stop, stop_sequence: None },
        ],
    );
    let got: Vec<_> =
        chunks(&out).iter().map(|chunk| chunk["choices"][0]["logprobs"].clone()).collect();
    assert_eq!(got, [Value::Null, json!(1), json!(2), json!(3)]);
}

#[test]
fn calls_that_alternate() {
    let start = |call, id: &'static str| Event::ToolStart {
        choice: 0,
        call,
        id: Some(id.into()),
        name: "f".into(),
        signature: None,
    };
    let json =
        |call, json: &'static str| Event::ToolArguments { choice: 0, call, json: json.into() };
    let events = [
        start(0, "a"),
        start(1, "b"),
        json(1, "{\"x\""),
        json(0, "{"),
        json(1, ":1}"),
        json(0, "}"),
        Event::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None },
        Event::End,
    ];
    let read = read_stream([write_stream(&asked(false), events).as_bytes()]);
    assert_eq!(calls(&read), [call("a", "f", "{}"), call("b", "f", "{\"x\":1}")]);
    assert!(read.complete);
}

#[test]
fn ids_are_made_where_there_are_none() {
    let start = |choice| Event::ToolStart {
        choice,
        call: 0,
        id: None,
        name: "f".into(),
        signature: Some(Signature::new(Form::Generate, "RmlY")),
    };
    let out = chunks(&write_stream(&asked(false), [start(0), start(1)]));
    let call = |n: usize| out[n]["choices"][0]["delta"]["tool_calls"][0].clone();
    assert_ne!(call(1)["id"], call(3)["id"]);
    assert!(call(1)["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(call(1)["extra_content"]["google"]["thought_signature"], "RmlY");
}

#[test]
fn stop_is_tool_calls_only_if_it_was_stop() {
    let started =
        delta(r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#);
    for (reason, meant) in [
        ("stop", Finish::ToolCalls),
        ("tool_calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
        ("length", Finish::Length),
        ("content_filter", Finish::Filtered),
        ("insufficient_system_resource", Finish::Failed),
    ] {
        let read = read(&[started.clone(), finish(reason), done()]);
        assert_eq!(read.reply.choices[0].finish, Some(meant), "{reason}");
    }
    assert_eq!(read(&[finish("eos"), done()]).reply.choices[0].finish, Some(Finish::Stop));
    let unknown = read(&[delta(r#"{"content":"x"}"#), finish("zzz")]);
    assert!(unknown.complete && unknown.reply.choices[0].finish.is_none());
}

#[test]
fn a_calls_signature_is_the_providers() {
    let body = sample("gemini/openai_form_stream_tool.sse");
    let read = read_stream([&body[..]]);
    let Body::ToolCall { signature, .. } = &read.reply.choices[0].parts[0].body else {
        panic!("{read:?}")
    };
    assert_eq!(*signature, Some(Signature::new(Form::Chat, "RmlYdHVyZVNpZw==")));
}

#[test]
fn calls_told_apart_however_they_are_numbered() {
    let two = |first: &str, second: &str| {
        let calls = [first, second].map(|call| delta(&format!(r#"{{"tool_calls":[{call}]}}"#)));
        calls_of(&[calls[0].clone(), calls[1].clone(), finish("tool_calls"), done()])
    };
    fn calls_of(events: &[String]) -> Vec<(Option<String>, String, String)> {
        calls(&read(events))
    }
    let both = [call("a", "f", "{}"), call("b", "g", "{}")];
    // All the same index.
    assert_eq!(
        two(
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}"#
        ),
        both
    );
    // No index.
    assert_eq!(
        two(
            r#"{"id":"a","function":{"name":"f","arguments":"{}"}}"#,
            r#"{"id":"b","function":{"name":"g","arguments":"{}"}}"#
        ),
        both
    );
    // No index, and pieces that alternate.
    let pieces = [
        r#"{"id":"a","function":{"name":"f","arguments":"{"}}"#,
        r#"{"id":"b","function":{"name":"g","arguments":"{"}}"#,
        r#"{"id":"a","function":{"arguments":"}"}}"#,
        r#"{"id":"b","function":{"arguments":"}"}}"#,
    ];
    let all = pieces.map(|piece| delta(&format!(r#"{{"tool_calls":[{piece}]}}"#)));
    assert_eq!(calls_of(&all), both);
    // Indexes that begin anywhere; arguments as an object.
    assert_eq!(
        two(
            r#"{"index":4,"id":"a","function":{"name":"f","arguments":{}}}"#,
            r#"{"index":2,"id":"b","function":{"name":"g","arguments":"{}"}}"#
        ),
        both
    );
    // Id and name again in every piece are no second call.
    assert_eq!(
        two(
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}"#
        ),
        [call("a", "f", "{}")]
    );
    assert_eq!(
        two(
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
            r#"{"index":0,"id":"","function":{"name":null,"arguments":"}"}}"#
        ),
        [call("a", "f", "{}")]
    );
    // A name that comes late.
    assert_eq!(
        two(
            r#"{"index":0,"id":"a","function":{"arguments":"{"}}"#,
            r#"{"index":0,"function":{"name":"f","arguments":"}"}}"#
        ),
        [call("a", "f", "{}")]
    );
    // The old way.
    let old = [
        delta(r#"{"function_call":{"name":"f","arguments":"{"}}"#),
        delta(r#"{"function_call":{"arguments":"}"}}"#),
        finish("function_call"),
        done(),
    ];
    assert_eq!(calls_of(&old), [(None, "f".to_owned(), "{}".to_owned())]);
}

#[test]
fn reasoning_by_every_name_once() {
    let by = |delta_text: &str| thinking(&read(&[delta(delta_text), done()]));
    assert_eq!(by(r#"{"reasoning_content":"r"}"#), "r");
    assert_eq!(by(r#"{"reasoning":"r"}"#), "r");
    assert_eq!(by(r#"{"reasoning":"r","reasoning_content":"r"}"#), "r");
    assert_eq!(by(r#"{"thinking_blocks":[{"type":"thinking","thinking":"r"}]}"#), "r");
    // LiteLLM says each piece twice, then signs.
    let read = read(&[
        delta(r#"{"reasoning_content":"a","thinking_blocks":[{"thinking":"a","signature":null}]}"#),
        delta(r#"{"reasoning_content":"b","thinking_blocks":[{"thinking":"b"}]}"#),
        delta(r#"{"reasoning_content":"","thinking_blocks":[{"thinking":"","signature":"S"}]}"#),
        done(),
    ]);
    let signature = Some(Signature::new(Form::Chat, "S"));
    let thought = Body::Thinking { text: "ab".into(), signature };
    assert_eq!(read.reply.choices[0].parts, [Part::new(thought)]);
}

#[test]
fn chunks_without_choices_are_nothing() {
    let read = read(&[
        // Azure, before there is an id.
        "data: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n"
            .to_owned(),
        "data: {\"x_groq\":{\"id\":\"r\"}}\n\n".to_owned(),
        "data: \n\n".to_owned(),
        ": keep-alive\n\n".to_owned(),
        "data: {\"type\":\"ping\"}\n\n".to_owned(),
        delta(r#"{"role":"assistant","content":[{"type":"text","text":"x"}]}"#),
        "data: {\"choices\":null,\"usage\":null}\n\n".to_owned(),
        finish("stop"),
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0}}\n\n".to_owned(),
        done(),
    ]);
    assert_eq!(read.reply.id.as_deref(), Some("c"));
    assert_eq!(read.reply.choices[0].parts, [Part::text("x")]);
    assert_eq!(read.reply.usage, None);
}

#[test]
fn the_end_is_told_or_seen_but_never_made_up() {
    let text = delta(r#"{"content":"x"}"#);
    // Some servers never send `[DONE]`.
    assert!(read(&[text.clone(), finish("stop")]).complete);
    assert!(!read(std::slice::from_ref(&text)).complete);
    assert!(!read(&[]).complete);
    let second = chunk(r#"{"index":1,"delta":{"content":"y"},"finish_reason":null}"#);
    assert!(!read(&[text.clone(), second, finish("stop")]).complete);
    // Told that it is over, it is, but nobody said why.
    let told = read(&[text, done()]);
    assert!(told.complete);
    assert_eq!(told.reply.choices[0].finish, None);
    // What comes after it is still of the answer, and the last word on it counts.
    let late = read(&[finish("stop"), delta(r#"{"content":"late"}"#), finish("length"), done()]);
    assert_eq!(late.reply.choices[0].parts, [Part::text("late")]);
    assert_eq!(late.reply.choices[0].finish, Some(Finish::Length));
}

#[test]
fn errors_in_every_shape() {
    for (data, class) in [
        (r#"{"error":{"message":"m","type":"server_error","code":"c"}}"#, ErrorClass::Server),
        (
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
            ErrorClass::RateLimit,
        ),
        (r#"{"x_groq":{"error":"over capacity"},"choices":[]}"#, ErrorClass::Server),
        (r#"{"error":"m","code":"c"}"#, ErrorClass::Server),
        (r#"{"type":"error","error":{"type":"overloaded_error"}}"#, ErrorClass::Overloaded),
    ] {
        let events = [delta(r#"{"content":"x"}"#), format!("data: {data}\n\n"), done()];
        let read = read(&events);
        assert_eq!(read.error.as_ref().map(|error| error.class), Some(class), "{data}");
        assert!(!read.complete, "{data}");
    }
    // What counts as false is none.
    for data in [r#"{"error":null}"#, r#"{"error":false}"#, r#"{"error":""}"#] {
        assert_eq!(read(&[format!("data: {data}\n\n"), finish("stop")]).error, None);
    }
}

#[test]
fn broken_json_is_an_error_of_the_frame() {
    let mut reader = Reader::default();
    assert!(reader.read(None, b"{\"choices\":[", &mut |_| ()).is_err());
}

/// Every sample through the frame and back is what it was, and ends only if it did.
#[test]
fn through_the_frame() {
    let all = [
        "openai/chat_stream_usage.sse",
        "openai/chat_stream_tools.sse",
        "openai/chat_stream_n2.sse",
        "openai/chat_stream_utf8.sse",
        "openai/chat_stream_truncated.sse",
        "openai/chat_stream_error_midway.sse",
        "groq/chat_stream_reasoning_usage.sse",
        "deepseek/chat_stream_keepalive.sse",
        "moonshot/chat_stream_choice_usage.sse",
        "sse/edge_cases.sse",
        "sse/no_trailing_blank.sse",
    ];
    for name in all {
        let body = sample(name);
        let given = read_stream([&body[..]]);
        for size in [1, 7, body.len()] {
            let mut stream = Stream::new(Form::Chat, &asked(true));
            let mut out = Vec::new();
            body.chunks(size).for_each(|chunk| stream.feed(chunk, &mut out));
            stream.finish(&mut out);
            let read = read_stream([&out[..]]);
            assert_eq!(read.complete, given.complete, "{name}");
            assert_eq!(read.reply, given.reply, "{name}");
            let class = |all: &Collected| all.error.as_ref().map(|error| error.class);
            assert_eq!(class(&read), class(&given), "{name}");
            assert_eq!(out.ends_with(b"data: [DONE]\n\n"), given.complete, "{name}");
        }
    }
}
