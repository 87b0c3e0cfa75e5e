//! Streams, both ways.

use tollway_core::ErrorClass;

use super::*;
use crate::{
    sse,
    translate::{
        StreamReader, StreamWriter,
        hub::{Citation, Event, Signature, StreamError},
        stream::Stream,
    },
};

/// What a stream said, all in all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) thought: String,
    pub(super) refusal: String,
    pub(super) signatures: Vec<(Form, String)>,
    pub(super) redacted: Vec<(Form, String)>,
    pub(super) calls: Vec<Call>,
    pub(super) citations: Vec<String>,
    pub(super) finish: Option<(Finish, Option<String>)>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<(ErrorClass, String)>,
    pub(super) started: bool,
    pub(super) ended: bool,
}

/// Id, name, arguments, signature.
type Call = (Option<String>, String, String, Option<(Form, String)>);

fn own(signature: &Signature<'_>) -> (Form, String) {
    (signature.of, signature.data.to_string())
}

impl Said {
    pub(super) fn take(&mut self, event: Event<'_>) {
        assert!(!self.ended && self.error.is_none(), "nothing follows the end");
        let start = matches!(event, Event::Start { .. });
        assert_eq!(start, !std::mem::replace(&mut self.started, true), "Start comes first, once");
        match event {
            Event::Start { .. } | Event::Logprobs { .. } => {}
            Event::Text { text, .. } => self.text.push_str(&text),
            Event::Thinking { text, .. } => self.thought.push_str(&text),
            Event::Refusal { text, .. } => self.refusal.push_str(&text),
            Event::Signature { signature, .. } => self.signatures.push(own(&signature)),
            Event::Redacted { data, .. } => self.redacted.push(own(&data)),
            Event::Citation { citation, .. } => self.citations.push(citation.url.into_owned()),
            Event::ToolStart { call, id, name, signature, .. } => {
                assert_eq!(call as usize, self.calls.len());
                let id = id.map(|id| id.into_owned());
                let signature = signature.as_ref().map(own);
                self.calls.push((id, name.into_owned(), String::new(), signature));
            }
            Event::ToolArguments { call, json, .. } => self.calls[call as usize].2.push_str(&json),
            Event::Finish { finish, stop_sequence, .. } => {
                assert_eq!(self.finish, None);
                self.finish = Some((finish, stop_sequence.map(|text| text.into_owned())));
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(error) => self.error = Some((error.class, error.message.into_owned())),
            Event::End => self.ended = true,
        }
    }
}

fn each(chunks: &[&[u8]], mut take: impl FnMut(Option<&[u8]>, &[u8])) {
    let mut parser = sse::Parser::new();
    for chunk in chunks {
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            if let Some(data) = event.data {
                take(event.name, data);
            }
        }
    }
}

pub(super) fn read_chunks(chunks: &[&[u8]]) -> Said {
    let (mut reader, mut said) = (Reader::default(), Said::default());
    each(chunks, |name, data| reader.read(name, data, &mut |event| said.take(event)).unwrap());
    reader.end(&mut |event| said.take(event));
    said
}

pub(super) fn write_events(events: Vec<Event<'_>>) -> String {
    let (mut writer, mut out) = (Writer::new(&asked()), Vec::new());
    for event in events {
        writer.write(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// Names and data of a written stream, which has to be as Anthropic's clients want it.
fn checked(text: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    each(&[text.as_bytes()], |name, data| {
        let data: Value = serde_json::from_slice(data).unwrap();
        assert_eq!(name, data["type"].as_str().map(str::as_bytes));
        events.push((data["type"].as_str().unwrap().to_owned(), data));
    });
    let (mut open, mut next) = (None, 0);
    for (name, data) in &events {
        match &name[..] {
            "content_block_start" => {
                assert_eq!((open, data["index"].as_u64()), (None, Some(next)));
                open = Some(next);
                next += 1;
            }
            "content_block_delta" => assert_eq!(data["index"].as_u64(), open, "of the open block"),
            "content_block_stop" => assert_eq!(data["index"].as_u64(), open.take()),
            "message_delta" | "message_stop" => assert_eq!(open, None),
            _ => {}
        }
    }
    events
}

#[test]
fn the_samples_however_they_are_cut() {
    let all = expected(".sse");
    assert_eq!(all.len(), 6);
    for (name, expected) in all {
        let bytes = sample(&name);
        let said = read_chunks(&[&bytes]);
        assert_eq!(expected["text"], said.text, "{name}");
        if let Some(wanted) = expected.get("reasoning_text") {
            assert_eq!(wanted, &Value::from(&said.thought[..]), "{name}");
        }
        if let Some(tools) = expected.get("tools") {
            let got: Vec<Value> = said
                .calls
                .iter()
                .map(|(id, name, json, _)| {
                    let input: Value = serde_json::from_str(json).unwrap();
                    serde_json::json!([id, name, input])
                })
                .collect();
            assert_eq!(tools, &Value::from(got), "{name}");
        }
        let finish = said.finish.as_ref().map(|(finish, _)| *finish);
        assert_eq!(finish_name(finish), expected["finish"], "{name}");
        check_usage(&name, said.usage, &expected["usage"]);
        assert_eq!(said.ended, expected["complete"] == true, "{name}");
        assert_eq!(said.error.is_some(), name.contains("overloaded"), "{name}");
        if let Some((class, message)) = &said.error {
            assert_eq!((*class, &message[..]), (ErrorClass::Overloaded, "Overloaded"));
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_chunks(&single), said, "{name}, byte by byte");
        for at in 0..bytes.len() {
            let (one, two) = bytes.split_at(at);
            assert_eq!(read_chunks(&[one, two]), said, "{name}, cut at {at}");
        }
        // And written again, it says the same.
        let mut stream = Stream::new(Form::Messages, &asked());
        let mut out = Vec::new();
        stream.feed(&bytes, &mut out);
        stream.finish(&mut out);
        let text = String::from_utf8(out).unwrap();
        checked(&text);
        let again = read_chunks(&[text.as_bytes()]);
        let usage = if said.ended { said.usage } else { None };
        assert_eq!(again, Said { usage, ..said }, "{name}");
        assert_eq!(text.contains("message_stop"), expected["complete"] == true, "{name}");
    }
}

#[test]
fn a_text_as_anthropic_would_send_it() {
    let mut usage = Usage::new(30, 5);
    usage.cached = 10;
    let text = write_events(vec![
        Event::Start { id: Some("i".into()), model: Some("m".into()), created: Some(1) },
        Event::Text { choice: 0, text: "a\"\n".into() },
        Event::Text { choice: 1, text: "of another answer".into() },
        Event::Text { choice: 0, text: "b".into() },
        Event::Finish { choice: 0, finish: Finish::Stop, stop_sequence: None },
        Event::Usage(usage),
        Event::End,
    ]);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"i","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\"\n"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(text, expected);
}

fn start() -> Event<'static> {
    Event::Start { id: None, model: None, created: None }
}

fn call(call: u32, name: &str) -> Event<'_> {
    Event::ToolStart { choice: 0, call, id: None, name: name.into(), signature: None }
}

fn arguments(call: u32, json: &str) -> Event<'_> {
    Event::ToolArguments { choice: 0, call, json: json.into() }
}

fn finish(finish: Finish) -> Event<'static> {
    Event::Finish { choice: 0, finish, stop_sequence: None }
}

#[test]
fn calls_that_alternate_are_put_in_a_row() {
    let text = write_events(vec![
        start(),
        call(0, "f"),
        arguments(0, "{\"a\":"),
        call(1, "g"),
        arguments(1, "{\"b\":\"}"),
        Event::Text { choice: 0, text: "by the way".into() },
        arguments(0, "1}"),
        arguments(1, "\"}"),
        call(2, "h"),
        finish(Finish::ToolCalls),
        Event::End,
    ]);
    checked(&text);
    let said = read_chunks(&[text.as_bytes()]);
    let calls: Vec<_> =
        said.calls.iter().map(|(_, name, json, _)| (&name[..], &json[..])).collect();
    assert_eq!(calls, [("f", r#"{"a":1}"#), ("g", r#"{"b":"}"}"#), ("h", "{}")]);
    assert_eq!(said.text, "by the way");
    assert_eq!(said.finish, Some((Finish::ToolCalls, None)));
}

#[test]
fn nothing_overtakes_what_waits() {
    let text = write_events(vec![
        start(),
        call(0, "f"),
        call(1, "g"),
        call(2, "h"),
        arguments(1, "{"),
        arguments(2, "{\"c\":1}"),
        arguments(1, "}"),
        arguments(0, "{}"),
        finish(Finish::ToolCalls),
        Event::End,
    ]);
    checked(&text);
    let said = read_chunks(&[text.as_bytes()]);
    let calls: Vec<_> =
        said.calls.iter().map(|(_, name, json, _)| (&name[..], &json[..])).collect();
    assert_eq!(calls, [("f", "{}"), ("g", "{}"), ("h", r#"{"c":1}"#)]);
}

#[test]
fn a_call_that_is_over_keeps_nobody_waiting() {
    let mut writer = Writer::new(&asked());
    let mut out = Vec::new();
    for event in [start(), call(0, "f"), arguments(0, "{}"), call(1, "g"), arguments(1, "{\"x")] {
        writer.write(event, &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""partial_json":"{\"x""#), "{text}");
}

#[test]
fn thoughts_have_signatures() {
    let text = write_events(vec![
        start(),
        Event::Thinking { choice: 0, text: "a".into() },
        Event::Redacted { choice: 0, data: Signature::new(Form::Messages, "r") },
        Event::Thinking { choice: 0, text: "b".into() },
        Event::Signature { choice: 0, signature: Signature::new(Form::Responses, "s") },
        Event::Signature { choice: 0, signature: Signature::new(Form::Messages, "alone") },
        Event::Text { choice: 0, text: "c".into() },
        finish(Finish::Stop),
        Event::End,
    ]);
    let events = checked(&text);
    let signatures: Vec<_> =
        events.iter().filter_map(|(_, data)| data["delta"]["signature"].as_str()).collect();
    assert_eq!(signatures, ["tollway:chat:", "tollway:responses:s", "alone"]);
    let last = events.iter().rev().find(|(_, data)| data["delta"]["signature"].is_string());
    assert_eq!(last.unwrap().1["index"], 3);
    let said = read_chunks(&[text.as_bytes()]);
    assert_eq!(said.thought, "ab");
    assert_eq!(said.signatures[0], (Form::Responses, "s".to_owned()));
    assert_eq!(said.redacted, [(Form::Messages, "r".to_owned())]);
}

#[test]
fn nothing_ends_that_was_not_ended() {
    let text = write_events(vec![
        start(),
        Event::Text { choice: 0, text: "a".into() },
        finish(Finish::Stop),
        Event::Usage(Usage::new(1, 1)),
    ]);
    assert!(!text.contains("message_stop") && !text.contains("message_delta"));
    let error =
        StreamError { class: ErrorClass::Overloaded, message: "Too \"much\".".into(), code: None };
    let text = write_events(vec![start(), Event::Error(error)]);
    assert!(text.ends_with(
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
         \"message\":\"Too \\\"much\\\".\"}}\n\n"
    ));
    // No usage was ever told: the form demands a number.
    let text = write_events(vec![start(), finish(Finish::Length), Event::End]);
    let events = checked(&text);
    let delta = events.iter().find(|(name, _)| name == "message_delta").unwrap();
    assert_eq!(delta.1["usage"], serde_json::json!({"input_tokens": 0, "output_tokens": 0}));
    assert_eq!(delta.1["delta"]["stop_reason"], "max_tokens");
    assert_eq!(read_chunks(&[text.as_bytes()]).usage, None);
}

fn read_data(events: &[&str]) -> Said {
    let text: String = events.iter().map(|data| format!("data: {data}\n\n")).collect();
    read_chunks(&[text.as_bytes()])
}

#[test]
fn errors_by_their_type() {
    for (error, class) in [
        (r#"{"type":"rate_limit_error"}"#, ErrorClass::RateLimit),
        (
            r#"{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}"#,
            ErrorClass::Quota,
        ),
        (r#"{"type":"overloaded_error"}"#, ErrorClass::Overloaded),
        (r#"{"type":"api_error"}"#, ErrorClass::Server),
        (r#"{"type":"timeout_error"}"#, ErrorClass::Timeout),
        (r#"{"type":"authentication_error"}"#, ErrorClass::Auth),
        (r#"{"type":"billing_error"}"#, ErrorClass::Quota),
        (r#"{"type":"not_found_error"}"#, ErrorClass::NotFound),
        (r#"{"type":"invalid_request_error"}"#, ErrorClass::Invalid),
        (
            r#"{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}"#,
            ErrorClass::ContextLength,
        ),
        ("null", ErrorClass::Server),
    ] {
        let said = read_data(&[
            &format!(r#"{{"type":"error","error":{error}}}"#),
            r#"{"type":"message_stop"}"#,
        ]);
        assert_eq!(said.error.unwrap().0, class, "{error}");
        assert!(!said.ended);
    }
    for class in ErrorClass::ALL {
        let error = StreamError { class, message: "m".into(), code: Some("c".into()) };
        assert!(write_events(vec![start(), Event::Error(error)]).contains("_error\""));
    }
}

/// Traps of this form that peers have met (`usage` is cumulative; counts may come late; an absent
/// count keeps its value; zeros and nulls say nothing).
#[test]
fn usage_is_replaced_and_never_added() {
    let said = read_data(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":10}}"#,
        r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":9,"cache_read_input_tokens":5,"output_tokens":20}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"E"},"usage":null}"#,
        r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":0,"output_tokens":0}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let usage = said.usage.unwrap();
    assert_eq!((usage.input, usage.cached, usage.output), (14, 5, 20));
    assert_eq!(said.finish, Some((Finish::Stop, Some("E".into()))));
    assert!(said.ended);
}

#[test]
fn what_nobody_knows_is_passed_over() {
    let said = read_data(&[
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"future","text":"x"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
        r#"{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"x"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"a"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"future_delta","text":"x"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":null}"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"late"}}"#,
    ]);
    assert_eq!(said.text, "a");
    assert!(said.ended);
    let mut reader = Reader::default();
    for data in ["[]", "1", "{", ""] {
        assert!(reader.read(None, data.as_bytes(), &mut |_| ()).is_err());
    }
}

#[test]
fn the_json_tool_streams_as_text() {
    let start = format!(
        r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use","id":"t","name":"{JSON_TOOL}","input":{{}}}}}}"#
    );
    let said = read_data(&[
        &start,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    assert_eq!((&said.text[..], said.calls.len()), (r#"{"a":1}"#, 0));
    assert_eq!(said.finish, Some((Finish::Stop, None)));
}

#[test]
fn citations_refusals_and_whole_inputs() {
    let said = read_data(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://x"}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"char_location"}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"explanation":"No."}}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    assert_eq!(said.citations, ["https://x"]);
    assert_eq!(said.calls[0].2, r#"{"a":1}"#);
    assert_eq!((&said.refusal[..], said.finish), ("No.", Some((Finish::Filtered, None))));
    let citation = Citation { url: "https://y".into(), title: None, range: None, quote: None };
    let text = write_events(vec![
        start(),
        Event::Text { choice: 0, text: "a".into() },
        Event::Citation { choice: 0, citation },
        Event::Refusal { choice: 0, text: "b".into() },
        finish(Finish::Stop),
        Event::End,
    ]);
    checked(&text);
    let said = read_chunks(&[text.as_bytes()]);
    assert_eq!((&said.text[..], &said.citations[..]), ("ab", &["https://y".to_owned()][..]));
    assert_eq!(said.finish, Some((Finish::Filtered, None)));
}
