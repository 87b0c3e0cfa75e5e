//! Why an answer ended is told only if its provider told it, and never made up.

use serde_json::{Value, json};

use super::{Asked, Form, Stream, crossing::cells, reply};

/// Replies of a text whose end has no reason, or none that is known.
fn unsaid(provider: Form) -> Vec<Value> {
    match provider {
        Form::Chat => {
            let with = |more: Value| {
                let mut choice =
                    json!({"index": 0, "message": {"role": "assistant", "content": "x"}});
                choice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                json!({"choices": [choice]})
            };
            vec![
                with(json!({})),
                with(json!({"finish_reason": null})),
                with(json!({"finish_reason": "zzz"})),
            ]
        }
        Form::Responses => {
            let content = json!([{"type": "output_text", "text": "x", "annotations": []}]);
            let output = json!([{"type": "message", "role": "assistant", "content": content}]);
            let with =
                |status: Value| json!({"object": "response", "output": output, "status": status});
            [json!("queued"), json!("in_progress"), json!("zzz"), Value::Null].map(with).into()
        }
        Form::Messages => {
            let content = json!([{"type": "text", "text": "x"}]);
            let with = |reason: Value| json!({"type": "message", "content": content, "stop_reason": reason});
            [json!("zzz"), Value::Null].map(with).into()
        }
        Form::Generate => {
            let content = json!({"role": "model", "parts": [{"text": "x"}]});
            let with = |reason: Value| json!({"candidates": [{"content": content, "finishReason": reason}]});
            [json!("FINISH_REASON_UNSPECIFIED"), json!("ZZZ"), Value::Null].map(with).into()
        }
    }
}

/// Streams of the same; `None` where the form has no end but the reason itself.
fn unsaid_stream(provider: Form, reason: Option<&str>) -> Option<String> {
    let event = |name: &str, data: Value| format!("event: {name}\ndata: {data}\n\n");
    let data = |data: Value| format!("data: {data}\n\n");
    Some(match provider {
        Form::Chat => {
            let said = json!({"index": 0, "delta": {"content": "x"}, "finish_reason": null});
            let end = json!({"index": 0, "delta": {}, "finish_reason": reason});
            data(json!({"id": "c", "choices": [said]}))
                + &data(json!({"choices": [end]}))
                + "data: [DONE]\n\n"
        }
        Form::Responses => {
            let response = json!({"id": "r", "status": reason, "output": []});
            event("response.created", json!({"type": "response.created", "response": {"id": "r"}}))
                + &event(
                    "response.output_text.delta",
                    json!({"type": "response.output_text.delta", "output_index": 0, "delta": "x"}),
                )
                + &event("response.done", json!({"type": "response.done", "response": response}))
        }
        Form::Messages => {
            let block = json!({"type": "text", "text": "x"});
            event("message_start", json!({"type": "message_start", "message": {"id": "m"}}))
                + &event(
                    "content_block_start",
                    json!({"type": "content_block_start", "index": 0, "content_block": block}),
                )
                + &event("content_block_stop", json!({"type": "content_block_stop", "index": 0}))
                + &event(
                    "message_delta",
                    json!({"type": "message_delta", "delta": {"stop_reason": reason}}),
                )
                + &event("message_stop", json!({"type": "message_stop"}))
        }
        Form::Generate => {
            let content = json!({"parts": [{"text": "x"}]});
            data(json!({"candidates": [{"content": content, "finishReason": reason?}]}))
        }
    })
}

/// As its SDK takes it for an end that nobody told.
fn check(client: Form, told: &Value, of: &str) {
    match client {
        Form::Chat => assert_eq!(told["choices"][0]["finish_reason"], Value::Null, "{of}"),
        Form::Responses => {
            assert_eq!(told["status"], "incomplete", "{of}");
            assert_eq!((&told["incomplete_details"], &told["error"]), (&Value::Null, &Value::Null));
        }
        Form::Messages => {
            assert_eq!(told.get("stop_reason"), Some(&Value::Null), "{of}");
            assert_eq!(told["content"][0]["text"], "x");
        }
        Form::Generate => assert_eq!(told["candidates"][0].get("finishReason"), None, "{of}"),
    }
}

#[test]
fn an_end_that_nobody_told_is_not_an_ordinary_one() {
    for (client, provider) in cells() {
        for body in unsaid(provider) {
            let asked = Asked::new(client, "M", "{}");
            let told = reply(body.to_string().as_bytes(), provider, &asked).unwrap();
            let told = serde_json::from_slice(&told).unwrap();
            check(client, &told, &format!("{provider} to {client}: {body}"));
        }
    }
}

#[test]
fn nor_in_a_stream() {
    for (client, provider) in cells() {
        for reason in [None, Some("zzz")] {
            let Some(body) = unsaid_stream(provider, reason) else { continue };
            let mut asked = Asked::new(client, "M", "{}");
            asked.stream = true;
            let (mut stream, mut out) = (Stream::new(provider, &asked), Vec::new());
            stream.feed(body.as_bytes(), &mut out);
            stream.finish(&mut out);
            let told = String::from_utf8(out).unwrap();
            let (end, never): (&str, &[&str]) = match client {
                Form::Chat => ("[DONE]", &["finish_reason\":\""]),
                Form::Responses => (
                    "event: response.incomplete\n",
                    &["\"reason\"", "\"status\":\"completed\",\"completed"],
                ),
                Form::Messages => {
                    ("\"stop_reason\":null,\"stop_sequence\":null},\"usage\"", &["end_turn"])
                }
                Form::Generate => ("\"text\":\"\"", &["finishReason"]),
            };
            assert!(told.contains(end), "{provider} to {client}: {told}");
            for never in never {
                assert!(!told.contains(never), "{provider} to {client}: {told}");
            }
            assert!(!told.contains("error\":{"), "{provider} to {client}: {told}");
        }
    }
}

#[test]
fn no_answer_is_no_answer_of_nothing() {
    for (provider, body) in [
        (Form::Chat, json!({"choices": []})),
        (Form::Generate, json!({"candidates": []})),
        (Form::Generate, json!({"usageMetadata": {"promptTokenCount": 3}})),
    ] {
        for client in Form::ALL.into_iter().filter(|client| *client != provider) {
            let asked = Asked::new(client, "M", "{}");
            assert!(reply(body.to_string().as_bytes(), provider, &asked).is_err(), "{body}");
        }
    }
}

#[test]
fn a_geminis_array_can_be_read_however_it_ends() {
    let text = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    let error = "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n";
    for body in [format!("{text}{error}"), error.to_owned(), format!("{text}data: broken\n\n")] {
        let mut asked = Asked::new(Form::Generate, "M", "{}");
        (asked.stream, asked.sse) = (true, false);
        let (mut stream, mut out) = (Stream::new(Form::Chat, &asked), Vec::new());
        stream.feed(body.as_bytes(), &mut out);
        stream.finish(&mut out);
        let elements: Vec<Value> = serde_json::from_slice(&out).unwrap();
        let error = &elements.last().unwrap()["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(502), &json!("UNAVAILABLE")));
    }
}

#[test]
fn arguments_that_can_not_be_read_have_one_name_and_code_stands_on_its_own_lines() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{a"}});
    let body =
        json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    let told = |client| {
        let asked = Asked::new(client, "M", "{}");
        let told = reply(body.to_string().as_bytes(), Form::Chat, &asked).unwrap();
        serde_json::from_slice::<Value>(&told).unwrap()
    };
    let wrapped = json!({"INVALID_JSON": "{a"});
    assert_eq!(told(Form::Messages)["content"][0]["input"], wrapped);
    let part = &told(Form::Generate)["candidates"][0]["content"]["parts"][0];
    assert_eq!(part["functionCall"]["args"], wrapped);
    assert_eq!(told(Form::Responses)["output"][0]["arguments"], "{a");
    let parts = json!([{"text": "So:"}, {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}]);
    let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let asked = Asked::new(Form::Chat, "M", "{}");
    let told = reply(body.to_string().as_bytes(), Form::Generate, &asked).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    let text = told["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text, "So:\n```python\n1\n```\n\n```\n1\n```\n");
}
