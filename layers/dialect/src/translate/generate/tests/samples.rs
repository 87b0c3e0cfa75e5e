//! Gemini as the provider: every sample, against what `expected.json` says of it.

use tollway_core::Usage;

use super::*;
use crate::translate::{generate::read_reply, hub::Choice};

fn expected(name: &str) -> Value {
    let all: Value = serde_json::from_str(&sample("expected.json")).unwrap();
    all[name].clone()
}

fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Paused => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
        Finish::Failed => "failed",
    }
}

fn check_usage(name: &str, usage: Option<Usage>, expected: &Value) {
    let usage = usage.unwrap();
    let got = [
        ("input_total", usage.input),
        ("cached", usage.cached),
        ("cache_write", usage.cache_write),
        ("output_total", usage.output),
        ("reasoning", usage.reasoning),
        ("input_audio", usage.input_audio),
    ];
    for (key, count) in got {
        assert_eq!(expected[key].as_u64().unwrap_or(0), count, "{name}: {key}");
    }
}

fn check_tools(name: &str, got: &[(Option<&str>, &str, Value)], expected: &Value) {
    let none = Vec::new();
    let expected = expected.as_array().unwrap_or(&none);
    assert_eq!(got.len(), expected.len(), "{name}");
    for ((id, tool, args), expected) in got.iter().zip(expected) {
        // Only the first half of the fixtures tells a signature's ids.
        assert_eq!(expected[0].as_str(), *id, "{name}");
        assert_eq!(expected[1].as_str(), Some(*tool), "{name}");
        assert_eq!(&expected[2], args, "{name}");
    }
}

fn check_whole(name: &str) {
    let text = sample(name);
    let reply = read_reply(parsed(&text)).unwrap();
    let expected = expected(name);
    let [Choice { parts, finish, index: 0, .. }] = &reply.choices[..] else { panic!("{reply:?}") };
    let text: String = parts.iter().filter_map(Part::as_text).collect();
    assert_eq!(Some(text.as_str()), expected["text"].as_str(), "{name}");
    assert_eq!(finish.map(finish_name), expected["finish"].as_str(), "{name}");
    let thoughts: String = parts
        .iter()
        .filter_map(|part| match &part.body {
            Body::Thinking { text, .. } => Some(&**text),
            _ => None,
        })
        .collect();
    assert_eq!(thoughts, expected["reasoning_text"].as_str().unwrap_or(""), "{name}");
    let tools: Vec<_> = parts
        .iter()
        .filter_map(|part| match &part.body {
            Body::ToolCall { id, name, arguments: Arguments::Value(args), .. } => {
                Some((id.as_deref(), &**name, value(args)))
            }
            _ => None,
        })
        .collect();
    check_tools(name, &tools, &expected["tools"]);
    check_usage(name, reply.usage, &expected["usage"]);
    assert!(reply.model.unwrap().starts_with("gemini-") && reply.id.unwrap().starts_with("fixR"));
}

#[test]
fn whole_replies() {
    for name in [
        "gemini/generate_basic.res.json",
        "gemini/generate_tools.res.json",
        "gemini/generate_tools_signature.res.json",
        "gemini/blocked_prompt.res.json",
        "gemini/max_tokens_in_thinking.res.json",
        "gemini/audio_modalities.res.json",
    ] {
        check_whole(name);
    }
}

#[test]
fn a_signature_goes_with_its_call() {
    let text = sample("gemini/generate_tools_signature.res.json");
    let reply = read_reply(parsed(&text)).unwrap();
    let Body::ToolCall { signature: Some(signature), .. } = &reply.choices[0].parts[1].body else {
        panic!("{reply:?}")
    };
    assert_eq!(*signature, Signature::new(Form::Generate, "RmlYdHVyZVNpZw=="));
}

fn check_stream(name: &str, heard: &Heard) {
    let expected = expected(name);
    assert_eq!(Some(heard.text().as_str()), expected["text"].as_str(), "{name}");
    assert_eq!(Some(heard.ended), expected["complete"].as_bool(), "{name}");
    let [choice] = &heard.choices[..] else { panic!("{heard:?}") };
    assert_eq!(choice.finish.map(finish_name), expected["finish"].as_str(), "{name}");
    let thoughts: String = choice
        .parts
        .iter()
        .filter_map(|part| match part {
            Piece::Thinking(text, _) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(thoughts, expected["reasoning_text"].as_str().unwrap_or(""), "{name}");
    let mut tools = Vec::new();
    for part in &choice.parts {
        if let Piece::Call { call, id, name, args, .. } = part {
            assert_eq!(*call as usize, tools.len());
            tools.push((id.as_deref(), name.as_str(), serde_json::from_str(args).unwrap()));
        }
    }
    check_tools(name, &tools, &expected["tools"]);
    check_usage(name, heard.usage, &expected["usage"]);
    assert!(heard.model.is_some() && heard.id.as_deref() == Some("fixR1"));
}

#[test]
fn streams_cut_anywhere() {
    for name in [
        "gemini/stream_basic.sse",
        "gemini/stream_basic_crlf.sse",
        "gemini/stream_parallel_tools.sse",
        "gemini/stream_tool_trailing_stop.sse",
        "gemini/stream_tool_max_tokens.sse",
        "gemini/stream_thinking.sse",
        "gemini/stream_safety.sse",
        "gemini/stream_truncated.sse",
    ] {
        let text = sample(name);
        let whole = heard([text.as_bytes()]);
        check_stream(name, &whole);
        assert_eq!(whole, heard(text.as_bytes().chunks(1)), "{name}");
        for cut in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            assert_eq!(whole, heard([first, second]), "{name} cut at {cut}");
        }
    }
}

#[test]
fn signatures_of_a_stream() {
    let text = sample("gemini/stream_thinking.sse");
    let signature = Some(Signature::new(Form::Generate, "RmlYdHVyZVNpZw=="));
    let parts = &heard([text.as_bytes()]).choices[0].parts;
    let expected = [
        Piece::Thinking("Let me add.".to_owned(), None),
        Piece::Text("Four.".to_owned()),
        Piece::Thinking(String::new(), signature.clone()),
    ];
    assert_eq!(*parts, expected);
    let text = sample("gemini/stream_tool_trailing_stop.sse");
    let parts = &heard([text.as_bytes()]).choices[0].parts;
    assert!(matches!(&parts[..], [Piece::Call { signed, .. }] if *signed == signature));
}
