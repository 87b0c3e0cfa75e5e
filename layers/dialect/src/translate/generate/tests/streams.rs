//! Streams beyond the samples, to and from a client.

use tollway_core::ErrorClass;

use super::*;
use crate::translate::hub::Citation;

fn chunks(sse: &str) -> Vec<Value> {
    let events = sse.split_terminator("\n\n");
    events
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn stream(chunks: &[&str]) -> Heard {
    let text: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    heard([text.as_bytes()])
}

fn start() -> Event<'static> {
    Event::Start { id: Some("r1".into()), model: Some("m".into()), created: None }
}

fn text(text: &str) -> Event<'_> {
    Event::Text { choice: 0, text: text.into() }
}

fn tool(call: u32, name: &str) -> Event<'_> {
    let id = Some(format!("id{call}").into());
    Event::ToolStart { choice: 0, call, id, name: name.into(), signature: None }
}

fn arguments(call: u32, json: &str) -> Event<'_> {
    Event::ToolArguments { choice: 0, call, json: json.into() }
}

fn finish(finish: Finish) -> Event<'static> {
    Event::Finish { choice: 0, finish, stop_sequence: None }
}

// Reading.

#[test]
fn a_refused_prompt_is_an_end() {
    let heard = stream(&[r#"{"promptFeedback":{"blockReason":"SAFETY"},
        "usageMetadata":{"promptTokenCount":9,"totalTokenCount":9},"responseId":"r"}"#
        .replace('\n', "")
        .as_str()]);
    assert!(heard.ended && heard.choices[0].finish == Some(Finish::Filtered));
    assert_eq!(heard.usage, Some(Usage::new(9, 0)));
}

#[test]
fn an_error_is_the_last_word() {
    for error in [
        r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
        r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
    ] {
        let hi = r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}"#;
        let heard = stream(&[hi, error, hi]);
        let error = heard.error.unwrap();
        assert_eq!(error.class, ErrorClass::Overloaded);
        assert_eq!(error.message, "The model is overloaded.");
        assert!(!heard.ended && heard.choices[0].finish.is_none());
    }
}

#[test]
fn every_choice_has_to_have_ended() {
    let two = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"},
        {"content":{"parts":[{"text":"b"}]},"index":1}]}"#
        .replace('\n', "");
    assert!(!stream(&[&two]).ended);
    let rest = r#"{"candidates":[{"finishReason":"MAX_TOKENS","index":1}]}"#;
    let heard = stream(&[&two, rest]);
    assert!(heard.ended && heard.choices[1].finish == Some(Finish::Length));
    assert!(!stream(&[]).ended);
    assert!(!stream(&["{}"]).ended);
}

#[test]
fn counts_run_and_what_is_left_out_stays() {
    let heard = stream(&[
        r#"{"usageMetadata":{"promptTokenCount":70,"cachedContentTokenCount":30,"thoughtsTokenCount":5}}"#,
        r#"{"usageMetadata":{"candidatesTokenCount":4}}"#,
        r#"{"usageMetadata":{"trafficType":"ON_DEMAND"}}"#,
        r#"{"usageMetadata":null}"#,
    ]);
    let mut usage = Usage::new(70, 9);
    usage.cached = 30;
    usage.reasoning = 5;
    assert_eq!(heard.usage, Some(usage));
}

#[test]
fn a_chunk_that_is_no_chunk_fails_the_stream() {
    let mut reader = Reader::default();
    for data in ["", "x", "1", "{\"candidates\":1}", "{\"candidates\":[{\"content\":[]}]}"] {
        assert!(reader.read(None, data.as_bytes(), &mut |_| {}).is_err(), "{data}");
    }
}

#[test]
fn a_source_is_told_once() {
    let chunk = r#"{"candidates":[{"groundingMetadata":{"groundingChunks":[
        {"web":{"uri":"https://a.test"}},{"web":{"uri":"https://b.test"}}]}}]}"#
        .replace('\n', "");
    let heard = stream(&[&chunk, &chunk]);
    assert_eq!(heard.choices[0].cited, ["https://a.test", "https://b.test"]);
}

// Writing.

#[test]
fn a_stream_as_gemini_sends_it() {
    let signature = Signature::new(Form::Messages, "sig");
    let mut usage = Usage::new(15, 54);
    usage.reasoning = 52;
    let events = [
        start(),
        Event::Thinking { choice: 0, text: "Hm".into() },
        Event::Signature { choice: 0, signature: signature.clone() },
        Event::Signature { choice: 0, signature: Signature::new(Form::Chat, "") },
        text(""),
        text("Fo\"ur"),
        finish(Finish::Length),
        Event::Usage(Usage::new(1, 1)),
        Event::Usage(usage),
        Event::End,
    ];
    let out = write_all(&events, true);
    let of = |part: Value| {
        serde_json::json!({
            "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
            "modelVersion": "m",
            "responseId": "r1",
        })
    };
    let signature = signature.text(Form::Generate);
    let expected = [
        of(serde_json::json!({"text": "Hm", "thought": true})),
        of(serde_json::json!({"text": "", "thought": true, "thoughtSignature": signature})),
        of(serde_json::json!({"text": "Fo\"ur"})),
        serde_json::json!({
            "candidates": [{
                "content": {"parts": [{"text": ""}], "role": "model"},
                "finishReason": "MAX_TOKENS",
                "index": 0,
            }],
            "usageMetadata": {
                "promptTokenCount": 15,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 52,
                "totalTokenCount": 69,
            },
            "modelVersion": "m",
            "responseId": "r1",
        }),
    ];
    assert_eq!(chunks(&out), expected);
}

#[test]
fn calls_are_sent_whole_and_in_order() {
    let events = [
        start(),
        tool(0, "f"),
        arguments(0, "{\"a\""),
        tool(1, "g"),
        arguments(1, "{}"),
        arguments(0, ":1}"),
        tool(2, "h"),
        tool(3, "i"),
        arguments(3, "no json"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    let out = chunks(&write_all(&events, true));
    let calls: Vec<_> = out
        .iter()
        .map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]["functionCall"])
        .collect();
    let expected = [
        serde_json::json!({"id": "id0", "name": "f", "args": {"a": 1}}),
        serde_json::json!({"id": "id1", "name": "g", "args": {}}),
        serde_json::json!({"id": "id2", "name": "h", "args": {}}),
        serde_json::json!({"id": "id3", "name": "i", "args": {"INVALID_JSON": "no json"}}),
    ];
    assert_eq!(calls[..4], expected.iter().collect::<Vec<_>>());
    assert_eq!(out[4]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(out.len(), 5);
}

#[test]
fn a_call_comes_before_the_text_that_follows_it() {
    let events = [start(), tool(0, "f"), arguments(0, "{\"a\":1}"), text("then"), tool(1, "g")];
    let out = chunks(&write_all(&events, true));
    // The second call may have arguments yet to come, so that it is not sent.
    assert_eq!(out.len(), 2);
    assert_eq!(out[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "f");
    assert_eq!(out[1]["candidates"][0]["content"]["parts"][0]["text"], "then");
}

#[test]
fn without_an_end_none_is_made_up() {
    for sse in [true, false] {
        let out = write_all(&[start(), text("Cut"), finish(Finish::Stop)], sse);
        assert!(!out.contains("finishReason") && !out.ends_with(']'), "{out}");
        assert!(!sse || !heard([out.as_bytes()]).ended);
    }
}

#[test]
fn an_error_in_a_stream() {
    let message = "Slow down.".into();
    let error = StreamError { class: ErrorClass::RateLimit, message, code: None };
    let out = chunks(&write_all(&[start(), text("a"), Event::Error(error)], true));
    let error = serde_json::json!({
        "error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"},
    });
    assert_eq!(out[1], error);
    for class in ErrorClass::ALL {
        let event = Event::Error(StreamError { class, message: "x".into(), code: None });
        let out = write_all(&[event], true);
        // What it is called there is what it is read as, but for what Google has no name for.
        let read = heard([out.as_bytes()]).error.unwrap();
        let known = [
            ErrorClass::RateLimit,
            ErrorClass::Overloaded,
            ErrorClass::Timeout,
            ErrorClass::Auth,
            ErrorClass::Invalid,
            ErrorClass::NotFound,
        ];
        assert!(!known.contains(&class) || read.class == class, "{class:?}: {read:?}");
    }
}

#[test]
fn a_failure_is_told_as_a_whole_reply_tells_it_and_an_array_is_closed() {
    let failed = || {
        let message = "Broken.".into();
        Event::Error(StreamError { class: ErrorClass::Server, message, code: None })
    };
    let error = serde_json::json!({
        "error": {"code": 502, "message": "Broken.", "status": "UNAVAILABLE"},
    });
    for events in [vec![failed()], vec![start(), text("a"), failed()]] {
        let out = write_all(&events, false);
        let elements: Vec<Value> = serde_json::from_str(&out).unwrap();
        assert_eq!(elements.last(), Some(&error));
    }
}

#[test]
fn a_call_whose_answer_ends_for_no_reason_is_written() {
    let name = "f".into();
    let call = Event::ToolStart { choice: 0, call: 0, id: None, name, signature: None };
    let out = chunks(&write_all(&[start(), call, Event::End], true));
    assert_eq!(out[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "f");
    assert_eq!(out[1]["candidates"][0].get("finishReason"), None);
}

#[test]
fn without_sse_it_is_one_array() {
    let citation =
        Citation { url: "https://a.test".into(), title: None, range: Some((0, 2)), quote: None };
    let events = [
        start(),
        text("Hi"),
        Event::Citation { choice: 0, citation },
        finish(Finish::Stop),
        Event::Usage(Usage::new(1, 2)),
        Event::End,
    ];
    let mut so_far = String::new();
    let (mut writer, mut out) = (Writer::new(&asked(false)), Vec::new());
    for event in events {
        assert!(serde_json::from_str::<Value>(&so_far).is_err());
        writer.write(event, &mut out);
        so_far = String::from_utf8(out.clone()).unwrap();
    }
    assert!(so_far.starts_with("[{") && so_far.ends_with("}\n]"), "{so_far}");
    let chunks: Vec<Value> = serde_json::from_str(&so_far).unwrap();
    assert_eq!(chunks.len(), 2);
    let last = &chunks[1]["candidates"][0];
    assert_eq!(last["citationMetadata"]["citationSources"][0]["endIndex"], 2);
    assert_eq!(last["finishReason"], "STOP");
}
