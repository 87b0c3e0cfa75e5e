//! What no API's description has, and providers and clients do all the same.

use serde_json::{Value, json};

use super::{Asked, Fit, Form, Stream, Strictness, reply, request};

/// What a client of this form hears of a stream.
fn heard(client: Form, provider: Form, events: &[Value], max: usize) -> String {
    let mut asked = Asked::new(client, "M", "{}");
    (asked.stream, asked.sse) = (true, true);
    let (mut stream, mut out) = (Stream::new(provider, &asked).with_max_event(max), Vec::new());
    for event in events {
        let data = event.as_str().map_or_else(|| event.to_string(), str::to_owned);
        stream.feed(format!("data: {data}\n\n").as_bytes(), &mut out);
    }
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

const MOST: usize = 32 << 20;

fn said(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0}]})
}

#[test]
fn a_gemini_that_is_blocked_midway_has_an_end() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}});
    for (client, end) in [
        (Form::Chat, r#""finish_reason":"content_filter""#),
        (Form::Messages, r#""stop_reason":"refusal""#),
        (Form::Responses, r#""incomplete_details":{"reason":"content_filter"}"#),
    ] {
        for events in [
            vec![said("a"), blocked.clone()],
            vec![said("a"), said("b"), blocked.clone(), json!({"usageMetadata": {}})],
        ] {
            let told = heard(client, Form::Generate, &events, MOST);
            assert!(told.contains(end), "{told}");
        }
        let mut whole = said("a");
        whole["promptFeedback"] = blocked["promptFeedback"].clone();
        let asked = Asked::new(client, "M", "{}");
        let told = reply(whole.to_string().as_bytes(), Form::Generate, &asked).unwrap();
        let told = String::from_utf8(told.to_vec()).unwrap();
        assert!(told.contains(end), "{told}");
    }
}

#[test]
fn an_event_may_be_as_large_as_a_reply() {
    let picture = |len| {
        let data = "A".repeat(len);
        let picture = json!({"inlineData": {"mimeType": "image/png", "data": data}});
        json!({"candidates": [{"content": {"parts": [picture]}, "index": 0}]})
    };
    let stop = json!({"candidates": [{"finishReason": "STOP", "index": 0}]});
    for (client, end) in [
        (Form::Chat, "[DONE]"),
        (Form::Messages, "message_stop"),
        (Form::Responses, "response.completed"),
    ] {
        let events = [said("before"), picture(3 << 20), said("behind"), stop.clone()];
        let told = heard(client, Form::Generate, &events, MOST);
        assert!(told.contains("behind") && told.contains(end), "{client}");
        // What is beyond the bound is told at once, and ends it.
        let events = [said("before"), picture(9000), said("behind"), stop.clone()];
        let told = heard(client, Form::Generate, &events, 8192);
        assert!(told.contains("before") && told.contains("too large to be read"), "{told}");
        assert!(!told.contains("behind") && !told.contains(end), "{told}");
    }
    let asked = Asked::new(Form::Chat, "M", "{}");
    let (mut stream, mut out) = (Stream::new(Form::Generate, &asked).with_max_event(16), vec![]);
    stream.feed(b"data: {\"candidates\":[", &mut out);
    assert!(String::from_utf8(out).unwrap().contains("too large to be read"));
}

#[test]
fn the_last_finish_of_a_chat_counts() {
    let chunk = |text: &str, reason: Value| json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]});
    for reason in ["null", "", "zzz", "stop"] {
        let events = [
            chunk("one", json!(reason)),
            chunk(" two", json!(null)),
            chunk(" three", json!(reason)),
            chunk("", json!("length")),
            json!("[DONE]"),
        ];
        for (client, end) in
            [(Form::Messages, r#""stop_reason":"max_tokens""#), (Form::Generate, "\"MAX_TOKENS\"")]
        {
            for events in [&events[..], &events[..4]] {
                let told = heard(client, Form::Chat, events, MOST);
                assert!(told.contains(" two") && told.contains(" three"), "{told}");
                assert!(told.contains(end) && !told.contains("end_turn"), "{told}");
            }
        }
    }
    // Nothing in it says that it is whole.
    let told = heard(Form::Messages, Form::Chat, &[chunk("one", json!("null"))], MOST);
    assert!(!told.contains("message_stop"), "{told}");
}

#[test]
fn half_a_letter_ends_nothing() {
    let asked = |form, body: &str| Asked::new(form, "M", body.to_owned());
    let body = r#"{"messages":[{"role":"user","content":"a \ud83d"}],"max_tokens":99}"#;
    for form in [Form::Chat, Form::Messages] {
        let fit = Fit::new(Form::Generate);
        let sent = request(&asked(form, body), "m", &fit, Strictness::default()).unwrap();
        assert!(String::from_utf8(sent.body.to_vec()).unwrap().contains("a \u{FFFD}"));
    }
    // Cut between the halves.
    let chunk = |text: &str| {
        json!(format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#))
    };
    let events = [chunk("x"), chunk(r"a \ud83d"), chunk(r"\ude00 b"), json!("[DONE]")];
    let told = heard(Form::Messages, Form::Chat, &events, MOST);
    assert!(told.contains("\"a \u{FFFD}\"") && told.contains("\"\u{FFFD} b\""), "{told}");
    assert!(told.contains("message_stop"), "{told}");
}

#[test]
fn results_of_calls_with_one_id_go_in_order() {
    let call = |name: &str| json!({"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}});
    let result = |text: &str| json!({"role": "tool", "tool_call_id": "c", "content": text});
    let turn = |calls: [&str; 2]| json!({"role": "assistant", "tool_calls": calls.map(call)});
    let messages = [
        turn(["f", "g"]),
        result("1"),
        result("2"),
        turn(["h", "i"]),
        result("3"),
        result("4"),
        result("5"),
    ];
    let asked = Asked::new(Form::Chat, "M", json!({"messages": messages}).to_string());
    let fit = Fit::new(Form::Generate);
    let sent = request(&asked, "m", &fit, Strictness::default()).unwrap();
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    let contents = sent["contents"].as_array().unwrap();
    let parts = contents.iter().flat_map(|content| content["parts"].as_array().unwrap());
    let told: Vec<_> = parts
        .filter_map(|part| part.get("functionResponse"))
        .map(|said| (said["name"].as_str().unwrap(), said["response"]["result"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("f", "1"), ("g", "2"), ("h", "3"), ("i", "4"), ("i", "5")]);
}

#[test]
fn a_bound_that_is_raised_is_told_by_the_clients_own_name() {
    for name in ["max_tokens", "max_completion_tokens"] {
        let body = json!({"messages": [{"role": "user", "content": "a"}], name: 5});
        let asked = Asked::new(Form::Chat, "M", body.to_string());
        let fit = Fit::new(Form::Responses);
        let sent = request(&asked, "m", &fit, Strictness::default()).unwrap();
        assert_eq!(sent.dropped.unwrap(), name);
    }
}

#[test]
fn nothing_at_all_is_no_bound_to_be_raised() {
    let messages = json!([{"role": "user", "content": "a"}]);
    let contents = json!([{"parts": [{"text": "a"}]}]);
    for (client, name, body) in [
        (Form::Chat, "max_tokens", json!({"messages": messages, "max_tokens": 0})),
        (
            Form::Chat,
            "max_completion_tokens",
            json!({"messages": messages, "max_completion_tokens": 0}),
        ),
        (Form::Messages, "max_tokens", json!({"messages": messages, "max_tokens": 0})),
        (
            Form::Generate,
            "generationConfig.maxOutputTokens",
            json!({"contents": contents, "generationConfig": {"maxOutputTokens": 0}}),
        ),
    ] {
        let asked = Asked::new(client, "M", body.to_string());
        let fit = Fit::new(Form::Responses);
        let refused = request(&asked, "m", &fit, Strictness::default()).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.param()), (400, Some(name)));
        assert!(refused.message().contains(&format!("`{name}` must be at least 1")), "{refused}");
    }
}

#[test]
fn no_whole_has_more_answers_than_can_be_told_as_a_stream() {
    let choice = json!({"message": {"content": "a"}, "finish_reason": "stop"});
    for (number, told) in [(128, true), (129, false)] {
        let body = json!({"choices": vec![&choice; number]}).to_string();
        let asked = Asked::new(Form::Generate, "M", "{}");
        let stream = super::reply_as_stream(body.as_bytes(), Form::Chat, &asked);
        assert_eq!(stream.is_ok(), told, "{number}");
    }
}
