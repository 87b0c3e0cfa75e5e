//! The pure parts against every sample in OpenAI's form.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::{Duration, SystemTime};

use common::{check_usage, class_name, cuts, expected, http, sample};
use serde_json::Value;
use tollway_core::{ErrorClass, Failure, Usage};
use tollway_dialect::{
    openai::{error, reply},
    ratelimit::{RateLimits, Reset},
    sse::Parser,
};

/// What a client would put together from a stream.
#[derive(Debug, Default, PartialEq)]
struct Collected {
    usage: Option<Usage>,
    texts: Vec<String>,
    content_bytes: u64,
    error: Option<(ErrorClass, Option<Duration>)>,
    complete: bool,
    events: usize,
}

impl Collected {
    fn see(&mut self, data: &[u8]) {
        self.events += 1;
        let Ok(reading) = reply::read_event(data) else { return };
        self.usage = reading.usage.or(self.usage);
        self.content_bytes += reading.content_bytes;
        self.complete |= reading.end;
        if reading.error {
            let failure = error::classify_event(data, SystemTime::UNIX_EPOCH);
            self.error = Some((failure.class(), failure.retry_after()));
        }
        let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
        for choice in value["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap() as usize;
            self.texts.resize(self.texts.len().max(index + 1), String::new());
            self.texts[index] += choice["delta"]["content"].as_str().unwrap_or_default();
        }
        if value["type"] == "response.output_text.delta" {
            self.texts.resize(1, String::new());
            self.texts[0] += value["delta"].as_str().unwrap();
        }
    }
}

fn collect(chunks: &[Vec<u8>]) -> Collected {
    let mut parser = Parser::new();
    let mut collected = Collected::default();
    for chunk in chunks {
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            event.data.into_iter().for_each(|data| collected.see(data));
        }
    }
    if let Some(data) = parser.finish().and_then(|event| event.data) {
        collected.see(data);
    }
    collected
}

#[test]
fn every_stream_whichever_way_it_is_cut() {
    let streams = expected(".sse");
    assert_eq!(streams.len(), 19, "{:?}", streams.iter().map(|s| &s.0).collect::<Vec<_>>());
    for (name, expected) in streams {
        let bytes = sample(&name);
        let whole = collect(std::slice::from_ref(&bytes));
        check_usage(&name, &expected, whole.usage);
        assert_eq!(whole.complete, expected["complete"], "{name}");
        let texts = match expected.get("texts") {
            Some(texts) => texts.as_array().unwrap().iter().map(Value::as_str).collect(),
            None => vec![expected["text"].as_str()],
        };
        for (at, text) in texts.into_iter().enumerate() {
            let got = whole.texts.get(at).map_or("", String::as_str);
            assert_eq!(got, text.unwrap(), "{name}");
        }
        let truncated = name.ends_with("truncated.sse");
        match expected.get("error").filter(|_| !truncated) {
            None => assert_eq!(whole.error, None, "{name}"),
            Some(error) => {
                let (class, wait) = whole.error.unwrap();
                assert_eq!(class_name(class), error["class"], "{name}");
                let millis = wait.map(|wait| wait.as_millis() as u64);
                assert_eq!(millis, error["retry_after_ms"].as_u64(), "{name}");
            }
        }
        for chunks in cuts(&bytes) {
            assert_eq!(collect(&chunks), whole, "{name}: first cut at {}", chunks[0].len());
        }
    }
}

#[test]
fn choices_are_told_apart() {
    let read = |data: &str| {
        let reading = reply::read_event(data.as_bytes()).unwrap();
        (reading.choices, reading.finished_choices)
    };
    let two = r#"{"choices":[{"index":1,"finish_reason":"stop"},{"index":3,"delta":{}}]}"#;
    assert_eq!(read(two), (0b1010, 0b10));
    assert_eq!(read(r#"{"choices":[{"index":"x","finish_reason":"stop"}]}"#), (1, 1));
    assert_eq!(read(r#"{"choices":[{"index":99999,"finish_reason":""}]}"#), (1 << 127, 0));
    assert_eq!(read(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#), (0, 0));
    assert_eq!(read("[DONE]"), (0, 0));
}

#[test]
fn content_is_counted_once() {
    let bytes = |name: &str| collect(&[sample(name)]).content_bytes;
    assert_eq!(bytes("openai/chat_stream_usage.sse"), "Hello there!".len() as u64);
    assert_eq!(bytes("openai/chat_stream_n2.sse"), "RedBlue".len() as u64);
    assert_eq!(bytes("openai/responses_stream.sse"), "Four.".len() as u64);
    assert_eq!(bytes("openai/responses_stream_tool.sse"), r#"{"city":"Oslo"}"#.len() as u64);
    assert_eq!(bytes("deepseek/chat_stream_keepalive.sse"), "2 and 2Four.".len() as u64);
    assert_eq!(bytes("groq/chat_stream_reasoning_usage.sse"), "2+2Four.".len() as u64);
    let tools = "get_weatherget_weather{\"city\":\"Oslo\"}{\"city\":\"Zürich\",\"unit\":\"c\"}";
    assert_eq!(bytes("openai/chat_stream_tools.sse"), tools.len() as u64);
}

#[test]
fn the_quick_way_reads_the_same() {
    let odd = [
        r#"{"id":"x","choices":[],"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}]"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}]]"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}]}}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}],}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"abc"}}],"error":{"message":"x"}}"#,
        r#"{"id":"x","choices":[],"usage":{"prompt_tokens":7}}"#,
        r#"{"id":"x","choices":{"a":1}}"#,
        r#"{"id":"x","choices":"#,
        r#"{"id":"x","x":{"choices":[{"delta":{"content":"a"}}]}}"#,
        r#"{"error":{"a":1},"choices":[]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"abcd"}}] , "usage":null}"#,
    ];
    let mut streams: Vec<Vec<Vec<u8>>> = Vec::new();
    for first in odd {
        let learn = [first, odd[1], odd[6], first].map(|event| event.as_bytes().to_vec());
        streams.push(learn.into_iter().chain(odd.iter().map(|e| e.as_bytes().to_vec())).collect());
    }
    for (name, _) in expected(".sse") {
        let (mut parser, bytes, mut at) = (Parser::new(), sample(&name), 0);
        let mut events = Vec::new();
        while let Some(event) = parser.next(&bytes, &mut at) {
            events.extend(event.data.map(<[u8]>::to_vec));
        }
        streams.push(events);
    }
    for events in streams {
        let mut reader = reply::EventReader::new();
        for event in events {
            let (quick, slow) = (reader.read(&event).ok(), reply::read_event(&event).ok());
            assert_eq!(quick, slow, "{}", String::from_utf8_lossy(&event));
        }
    }
}

#[test]
fn every_whole_reply() {
    let replies = expected(".res.json");
    assert_eq!(replies.len(), 13, "{:?}", replies.iter().map(|s| &s.0).collect::<Vec<_>>());
    for (name, expected) in replies {
        let reading = reply::read(&sample(&name)).unwrap();
        check_usage(&name, &expected, reading.usage);
        assert!(!reading.error && !reading.usage_only, "{name}");
        assert!(reading.has_content, "{name}");
        if let Some(text) = expected["text"].as_str().filter(|text| !text.is_empty()) {
            assert!(reading.content_bytes >= text.len() as u64, "{name}");
        }
        assert_eq!(reading.interrupted, name.contains("interrupted"), "{name}");
    }
}

#[test]
fn blank_lines_before_a_reply() {
    let reply = http("deepseek/chat_blank_lines.http");
    assert_eq!(reply::read(&reply.body).unwrap().usage, Some(Usage::new(5, 2)));
}

#[test]
fn every_error_reply() {
    let replies = expected(".http");
    assert_eq!(replies.len(), 45, "{:?}", replies.iter().map(|s| &s.0).collect::<Vec<_>>());
    for (name, expected) in replies {
        let reply = http(&name);
        if let Some(status) = expected["status"].as_u64() {
            assert_eq!(u64::from(reply.status.as_u16()), status, "{name}");
        }
        let Some(error) = expected.get("error") else { continue };
        let failure = classify(&reply);
        assert_eq!(class_name(failure.class()), error["class"], "{name}");
        let millis = failure.retry_after().map(|wait| wait.as_millis() as u64);
        assert_eq!(millis, error["retry_after_ms"].as_u64(), "{name}");
        if error["code"] == "context_length_exceeded" {
            assert_eq!(failure.class(), ErrorClass::ContextLength, "{name}");
        }
        if error["retryable_same_key"] == false {
            assert!(!failure.retryable_on_same_target(), "{name}");
        }
        if error["failover"] == true {
            assert!(failure.class().can_fail_over(), "{name}");
        }
        let limits = RateLimits::from_headers(&reply.headers);
        for (key, window) in [("requests_ms", limits.requests), ("tokens_ms", limits.tokens)] {
            if let Some(millis) = error["reset"][key].as_u64() {
                let reset = Some(Reset::After(Duration::from_millis(millis)));
                assert_eq!(window.unwrap().reset, reset, "{name}");
            }
        }
    }
}

fn classify(reply: &common::Reply) -> Failure {
    error::classify(reply.status, &reply.headers, &reply.body, SystemTime::UNIX_EPOCH)
}

#[test]
fn the_credential_never_shows() {
    for name in ["openai/error_401_invalid_key.http", "xai/error_400_bad_key.http"] {
        let failure = classify(&http(name));
        assert!(!failure.message().contains("**"), "{}", failure.message());
    }
}

#[test]
fn rate_limit_headers() {
    let mut seen = 0;
    for (name, expected) in expected(".http") {
        let Some(expected) = expected.get("ratelimit") else { continue };
        let limits = RateLimits::from_headers(&http(&name).headers);
        for (key, expected) in expected.as_object().unwrap() {
            let window = match key.as_str() {
                "requests" => limits.requests,
                "tokens" => limits.tokens,
                "input_tokens" => limits.input_tokens,
                "output_tokens" => limits.output_tokens,
                other => panic!("{other}"),
            };
            let window = window.unwrap();
            assert_eq!(window.limit, expected["limit"].as_u64(), "{name}");
            assert_eq!(window.remaining, expected["remaining"].as_u64(), "{name}");
            match window.reset.unwrap() {
                Reset::After(wait) => {
                    assert_eq!(wait.as_millis() as u64, expected["reset_ms"], "{name}");
                }
                Reset::At(at) => {
                    // 2026-11-22T10:15:30Z and seconds after it.
                    let second = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
                    let text = format!("2026-11-22T10:15:{}Z", second - 1_795_342_500);
                    assert_eq!(text, expected["reset_at"], "{name}");
                }
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
    assert!(RateLimits::from_headers(&http("xai/error_429.http").headers).is_empty());
}
