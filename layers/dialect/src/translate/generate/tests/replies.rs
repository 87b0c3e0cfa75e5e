//! Whole replies beyond the samples.

use super::*;
use crate::translate::{
    Unreadable,
    generate::{read_reply, write_reply},
    hub::{Choice, Citation, Reply, Source},
};

fn parts(json: &str) -> Vec<Part<'static>> {
    let json =
        format!(r#"{{"candidates":[{{"content":{{"parts":{json}}},"finishReason":"STOP"}}]}}"#);
    let reply = read_reply(parsed(&json).into_owned()).unwrap();
    reply.choices.into_iter().next().unwrap().parts
}

fn finish(json: &str) -> Option<Finish> {
    let json = format!(r#"{{"candidates":[{json}]}}"#);
    read_reply(parsed(&json)).unwrap().choices[0].finish
}

fn write(parts: Vec<Part<'static>>, finish: Finish) -> Value {
    let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
    let reply = Reply { choices: vec![choice], ..Reply::default() };
    let asked = asked(true);
    value(&Json::Object(write_reply(reply, &asked)))
}

#[test]
fn why_it_ended() {
    let call = r#""content":{"parts":[{"functionCall":{"name":"f"}}]}"#;
    for (reason, alone, called) in [
        ("STOP", Finish::Stop, Finish::ToolCalls),
        ("MAX_TOKENS", Finish::Length, Finish::Length),
        ("SAFETY", Finish::Filtered, Finish::Filtered),
        ("RECITATION", Finish::Filtered, Finish::Filtered),
        ("IMAGE_PROHIBITED_CONTENT", Finish::Filtered, Finish::Filtered),
        ("OTHER", Finish::Filtered, Finish::Filtered),
        ("MALFORMED_FUNCTION_CALL", Finish::Failed, Finish::Failed),
        ("UNEXPECTED_TOOL_CALL", Finish::Failed, Finish::Failed),
        ("TOO_MANY_TOOL_CALLS", Finish::Failed, Finish::Failed),
        ("MISSING_THOUGHT_SIGNATURE", Finish::Failed, Finish::Failed),
        ("MALFORMED_RESPONSE", Finish::Failed, Finish::Failed),
    ] {
        let said = r#""content":{"parts":[{"text":"a"}]}"#;
        assert_eq!(finish(&format!(r#"{{"finishReason":"{reason}",{said}}}"#)), Some(alone));
        assert_eq!(finish(&format!(r#"{{"finishReason":"{reason}",{call}}}"#)), Some(called));
    }
    for unsaid in
        ["{}", r#"{"finishReason":"FINISH_REASON_UNSPECIFIED"}"#, r#"{"finishReason":"ZZZ"}"#]
    {
        assert_eq!(finish(unsaid), None);
    }
}

#[test]
fn what_is_no_reply() {
    for text in ["[]", "{}", r#"{"candidates":{}}"#, r#"{"candidates":[1]}"#, r#"{"error":{}}"#] {
        let read: Result<_, Unreadable> = read_reply(parsed(text));
        assert!(read.is_err(), "{text}");
    }
    let error = read_reply(parsed(r#"{"candidates":[{"content":{"parts":[{"text":1}]}}]}"#));
    let place = "`candidates[0].content.parts[0].text` must be a string, but it is a number.";
    assert_eq!(error.unwrap_err().0, place);
    // Neither an answer nor a word why: it is no answer of nothing.
    for text in [r#"{"usageMetadata":{"promptTokenCount":3}}"#, r#"{"candidates":[]}"#] {
        assert!(read_reply(parsed(text)).unwrap().choices.is_empty());
    }
}

#[test]
fn parts_of_every_kind() {
    let json = r#"[
        {"text":"a"},{"text":"","thoughtSignature":"c2ln"},{"text":"t","thought":true},{"text":""},
        {"inlineData":{"mimeType":"image/png","data":"AAAA"}},
        {"executableCode":{"language":"PYTHON","code":"print(1)"}},
        {"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}},
        {"functionCall":{"name":"f"}},{"unknown":{}},{}
    ]"#;
    let source = Source::Data { mime: "image/png".into(), data: "AAAA".into() };
    let empty = Arguments::Value(Object::new().into());
    let expected = [
        Part::text("a"),
        thinking("", Some(Signature::new(Form::Generate, "c2ln"))),
        thinking("t", None),
        Part::new(Body::Image { source, detail: None }),
        Part::text("\n```python\nprint(1)\n```\n"),
        Part::text("\n```\n1\n```\n"),
        Part::new(Body::ToolCall { id: None, name: "f".into(), arguments: empty, signature: None }),
    ];
    assert_eq!(parts(json), expected);
}

#[test]
fn where_it_is_from() {
    let json = r#"{"candidates":[{"content":{"parts":[{"text":"Grüße. "},{"text":"Bye."}]},
        "citationMetadata":{"citationSources":[
            {"startIndex":2,"endIndex":7,"uri":"https://a.test","license":""},{"endIndex":3}]},
        "groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://b.test","title":"B"}},{}],
            "groundingSupports":[{"segment":{"startIndex":9,"endIndex":13,"text":"Bye."},
                "groundingChunkIndices":[0,1,7]}]}}]}"#;
    let reply = read_reply(parsed(json)).unwrap();
    let Body::Text { citations, .. } = &reply.choices[0].parts[1].body else { panic!() };
    let a =
        Citation { url: "https://a.test".into(), title: None, range: Some((2, 5)), quote: None };
    let b = Citation {
        url: "https://b.test".into(),
        title: Some("B".into()),
        range: Some((7, 11)),
        quote: Some("Bye.".into()),
    };
    assert_eq!(*citations, [a, b]);
    // And back: places are bytes again.
    let asked = asked(true);
    let written = value(&Json::Object(write_reply(reply, &asked)));
    let sources = &written["candidates"][0]["citationMetadata"]["citationSources"];
    assert_eq!(sources[0]["endIndex"], 7);
    assert_eq!(sources[1]["startIndex"], 9);
}

#[test]
fn log_probabilities() {
    let openai = r#"{"content":[{"token":"a","logprob":-0.5,"bytes":null,
        "top_logprobs":[{"token":"b","logprob":-1.5,"bytes":null}]}]}"#;
    let gemini = r#"{"topCandidates":[{"candidates":[{"token":"b","logProbability":-1.5}]}],
        "chosenCandidates":[{"token":"a","logProbability":-0.5}]}"#;
    let json = format!(r#"{{"candidates":[{{"logprobsResult":{gemini}}}]}}"#);
    let reply = read_reply(parsed(&json)).unwrap();
    let read = reply.choices[0].logprobs.as_ref().unwrap();
    assert_eq!(value(read), value(&parsed(openai)));
    let asked = asked(true);
    let written = value(&Json::Object(write_reply(reply, &asked)));
    assert_eq!(written["candidates"][0]["logprobsResult"], value(&parsed(gemini)));
}

#[test]
fn what_a_client_gets() {
    let mut usage = Usage::new(70, 102);
    usage.cached = 20;
    usage.reasoning = 90;
    usage.input_audio = 10;
    let parts = vec![
        thinking("Plan.", Some(Signature::new(Form::Messages, "sig"))),
        Part::text("Hi"),
        Part::new(Body::Refusal("No.".into())),
        call(Some("toolu_1"), "f", r#"{"a":1}"#),
        call(None, "g", "no json"),
        call(None, "h", ""),
    ];
    let choice = Choice { parts, finish: Some(Finish::ToolCalls), ..Choice::default() };
    let reply = Reply { choices: vec![choice], usage: Some(usage), ..Reply::default() };
    let asked = asked(true);
    let written = value(&Json::Object(write_reply(reply, &asked)));
    let sig = Signature::new(Form::Messages, "sig").text(Form::Generate);
    let expected = serde_json::json!({
        "candidates": [{
            "content": {
                "parts": [
                    {"text": "Plan.", "thought": true, "thoughtSignature": sig},
                    {"text": "Hi"},
                    {"text": "No."},
                    {"functionCall": {"id": "toolu_1", "name": "f", "args": {"a": 1}}},
                    {"functionCall": {"name": "g", "args": {"INVALID_JSON": "no json"}}},
                    {"functionCall": {"name": "h", "args": {}}},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": 70,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 12,
            "thoughtsTokenCount": 90,
            "totalTokenCount": 172,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 60},
                {"modality": "AUDIO", "tokenCount": 10},
            ],
        },
        "modelVersion": "alias",
        "responseId": "00000000000000070000",
    });
    assert_eq!(written, expected);
}

#[test]
fn every_end_has_a_name_that_clients_know() {
    for (finish, name) in [
        (Finish::Stop, "STOP"),
        (Finish::Length, "MAX_TOKENS"),
        (Finish::ToolCalls, "STOP"),
        (Finish::Filtered, "SAFETY"),
        (Finish::Paused, "STOP"),
        (Finish::Failed, "OTHER"),
    ] {
        let written = write(Vec::new(), finish);
        assert_eq!(written["candidates"][0]["finishReason"], name);
        assert_eq!(written["candidates"][0]["content"], serde_json::json!({"role": "model"}));
        // Unknown usage stays unknown.
        assert!(written.get("usageMetadata").is_none());
    }
}
