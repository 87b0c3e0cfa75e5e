//! What others got wrong on the wire, and where it is seen to that we don't:
//!
//! | what goes wrong | seen to by |
//! |---|---|
//! | a stream's usage that nobody asked the provider for | `attempt`: `asks_for_usage`; [`usage_is_asked_of_every_provider`] |
//! | a usage chunk for a client that did not ask, whose `choices` are empty | `chat::tests::streams::usage_only_for_who_asked`, `tests/transparency.rs` |
//! | chunks with empty `choices`, or none | `chat::tests::streams::chunks_without_choices_are_nothing` |
//! | usage in the chunk of the finish | [`in_chat_a_call_is_named_once_and_usage_comes_after_the_finish`] |
//! | usage of null or zeros that overwrites | `messages::tests::stream::usage_is_replaced_and_never_added`, `responses::tests::streams::usage_of_nothing_is_unknown_and_what_comes_before_the_beginning_says_nothing` |
//! | missing usage told as zero | `chat::tests::writing::unknown_usage_is_left_out` |
//! | Anthropic's cumulative usage added up, or its input told at the end only | `messages::tests::stream::usage_is_replaced_and_never_added` |
//! | input without the cached part | `messages::tests::reply::usage_in_classes`, `tests/translate.rs` |
//! | a client that left, and retries for it | `tests/proxy/hangup.rs` of the proxy |
//! | chunks that end inside of a letter, a line, an event | `pairs::streams`, [`neither_line_ends_nor_comments_change_a_stream`] |
//! | comments taken for data, or passed on as data | [`neither_line_ends_nor_comments_change_a_stream`] |
//! | keep-alives of our own, with an `id:` or without JSON | none are sent |
//! | an early head, after which an error can only be an event | `tests/interruption.rs`: `a_head_that_is_out_is_no_reason_to_hold_an_error_back` |
//! | packed replies that can't be read | `tests/error_replies.rs`, `tests/proxy/bytes.rs` of the proxy |
//! | an error after status 200 | `tests/translate.rs`: `an_error_in_a_started_stream_is_told_in_the_clients_form` |
//! | an error without `choices`, or nested, taken for nothing | `errors_in_every_shape` of chat and of responses |
//! | an end that the provider did not send | `pairs::a_stream_that_breaks_off_is_not_ended` |
//! | 429 for want of money taken for a wait | `tests/errors.rs`: `classes_by_status_and_code` |
//! | Gemini's errors in an array | [`an_error_in_an_array_is_an_error`] |
//! | calls without index or id; all of index 0 | `generate::tests::streams`, `chat::tests::streams` |
//! | Gemini's STOP where calls are to be made | `generate::tests::replies::why_it_ended`, [`calls_are_the_reason_to_stop`] |
//! | Gemini's signatures that get lost | `chat::tests::writing::a_calls_signature_goes_back_to_its_maker`, [`a_signature_finds_its_way_back_to_gemini`] |
//! | results apart from each other, or behind texts | `messages::tests::turns::results_stand_first_in_one_message` |
//! | an answer of nothing but a malformed call taken for an answer | [`an_answer_of_nothing_but_a_malformed_call_is_a_failure`] |
//! | names and ids in every piece of a call | [`in_chat_a_call_is_named_once_and_usage_comes_after_the_finish`] |

use serde_json::{Value, json};

use super::{
    Asked, Fit, Form, Stream, Strictness, Translated, crossing::cells, pairs::input, reply, request,
};
use crate::BadRequest;

fn sent(from: Form, to: Form, body: &Value) -> Result<(Value, String), BadRequest> {
    let asked = Asked::new(from, "M", body.to_string());
    let fit = Fit::new(to);
    let Translated { body, dropped } = request(&asked, "m", &fit, Strictness::default())?;
    let dropped = dropped.map_or(String::new(), |names| names.to_str().unwrap().to_owned());
    Ok((serde_json::from_slice(&body).unwrap(), dropped))
}

fn streamed(client: Form, provider: Form, body: &[u8]) -> String {
    let mut asked = Asked::new(client, "M", "{}");
    (asked.stream, asked.wants_usage) = (true, true);
    let (mut stream, mut out) = (Stream::new(provider, &asked), Vec::new());
    stream.feed(body, &mut out);
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn usage_is_asked_of_every_provider() {
    for from in [Form::Responses, Form::Messages, Form::Generate] {
        let mut asked = Asked::new(from, "M", input(from, "tools.request.json"));
        asked.stream = true;
        let strictness = Strictness { refuse_meaning: false, refuse_harmless: false };
        let sent = request(&asked, "m", &Fit::new(Form::Chat), strictness).unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent["stream_options"], json!({"include_usage": true}));
    }
}

#[test]
fn neither_line_ends_nor_comments_change_a_stream() {
    for (client, provider) in cells() {
        let body = String::from_utf8(input(provider, "stream.sse")).unwrap();
        let told = streamed(client, provider, body.as_bytes());
        let commented = body.replace("\n\n", "\n\n: keep-alive\n\n:\n\n");
        for other in [body.replace('\n', "\r\n"), body.replace('\n', "\r"), commented] {
            assert_eq!(streamed(client, provider, other.as_bytes()), told, "{provider}-{client}");
        }
        assert!(!told.contains("keep-alive"));
    }
}

#[test]
fn in_chat_a_call_is_named_once_and_usage_comes_after_the_finish() {
    for provider in [Form::Responses, Form::Messages, Form::Generate] {
        let told = streamed(Form::Chat, provider, &input(provider, "stream.sse"));
        assert_eq!(told.matches("get_weather").count(), 2, "{provider}");
        for chunk in told.lines().filter(|line| line.contains("\"finish_reason\":\"")) {
            assert!(chunk.contains("\"usage\":null"), "{chunk}");
        }
        let finish = told.find("\"finish_reason\":\"tool_calls\"").unwrap();
        assert!(told.find("\"choices\":[],").unwrap() > finish);
    }
}

#[test]
fn calls_are_the_reason_to_stop() {
    let body = input(Form::Generate, "stream.sse");
    for (client, reason) in [(Form::Chat, "tool_calls"), (Form::Messages, "tool_use")] {
        assert!(streamed(client, Form::Generate, &body).contains(&format!("\"{reason}\"")));
    }
}

#[test]
fn an_error_in_an_array_is_an_error() {
    let body = br#"[{"error":{"code":503,"message":"Busy.","status":"UNAVAILABLE"}}]"#;
    let event = [b"data: ", &body[..], b"\n\n"].concat();
    for client in [Form::Chat, Form::Responses, Form::Messages] {
        let told = streamed(client, Form::Generate, &event);
        assert!(told.contains("Busy."), "{told}");
    }
}

#[test]
fn a_signature_finds_its_way_back_to_gemini() {
    let answer = input(Form::Generate, "reply.json");
    for client in [Form::Chat, Form::Responses, Form::Messages] {
        let told = reply(&answer, Form::Generate, &Asked::new(client, "M", "{}")).unwrap();
        let mut told: Value = serde_json::from_slice(&told).unwrap();
        let body = match client {
            Form::Chat => json!({"messages": [told["choices"][0]["message"].take()]}),
            Form::Responses => json!({"input": told["output"].take()}),
            _ => json!({"messages": [{"role": "assistant", "content": told["content"].take()}]}),
        };
        let (sent, _) = sent(client, Form::Generate, &body).unwrap();
        let parts = sent["contents"][0]["parts"].as_array().unwrap();
        let signed: Vec<_> =
            parts.iter().filter(|part| part.get("thoughtSignature").is_some()).collect();
        assert_eq!(signed.len(), 1, "{client}: {parts:?}");
        assert_eq!(signed[0]["thoughtSignature"], "AeSigned==");
        assert_eq!(signed[0]["functionCall"]["args"], json!({"city": "Oslo"}));
    }
}

#[test]
fn constraints_that_anthropic_refuses_stand_in_the_description() {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer", "description": "How many", "minimum": 1, "maximum": 5},
        "all": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "minLength": 2}}
    }});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let tool = |strict| json!({"type": "function", "function": {"name": "f", "strict": strict, "parameters": schema}});
    let body = |tool| json!({"messages": [{"role": "user", "content": "a"}], "response_format": format, "tools": [tool]});
    let (sent_strict, dropped) = sent(Form::Chat, Form::Messages, &body(tool(true))).unwrap();
    let expected = json!({"type": "object", "additionalProperties": false, "properties": {
        "n": {"type": "integer", "description": "How many\n\n{minimum: 1, maximum: 5}"},
        "all": {"type": "array", "minItems": 1, "description": "{maxItems: 3}",
                "items": {"type": "string", "description": "{minLength: 2}"}}
    }});
    assert_eq!(sent_strict["output_config"]["format"]["schema"], expected);
    assert_eq!(sent_strict["tools"][0]["input_schema"], expected);
    assert!(dropped.contains("response_format.minimum, response_format.maximum"), "{dropped}");
    assert!(dropped.contains("tools.maxItems"), "{dropped}");
    // Where nothing binds the model, nothing is refused.
    let (sent, _) = sent(Form::Chat, Form::Messages, &body(tool(false))).unwrap();
    assert_eq!(sent["tools"][0]["input_schema"], schema);
}

#[test]
fn arguments_that_are_no_object_are_refused_where_they_stand() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{a"}});
    let body = json!({"messages": [{"role": "assistant", "tool_calls": [call]}]});
    for to in [Form::Messages, Form::Generate] {
        let refused = sent(Form::Chat, to, &body).unwrap_err();
        assert_eq!(refused.param(), Some("messages.tool_calls.function.arguments"));
    }
}

#[test]
fn an_effort_brought_down_is_told() {
    let with = |effort: &str| json!({"messages": [{"role": "user", "content": "a"}], "reasoning_effort": effort});
    // Anthropic has no less than `low`.
    let (_, told) = sent(Form::Chat, Form::Messages, &with("minimal")).unwrap();
    assert_eq!(told, "reasoning_effort");
    for (effort, told) in [("high", ""), ("xhigh", "reasoning_effort")] {
        let body = with(effort);
        for to in [Form::Messages, Form::Generate] {
            assert_eq!(sent(Form::Chat, to, &body).unwrap().1, told, "{to}");
        }
    }
}

#[test]
fn an_answer_of_nothing_but_a_malformed_call_is_a_failure() {
    let body = |parts: Value| {
        let candidate =
            json!({"content": {"parts": parts}, "finishReason": "MALFORMED_FUNCTION_CALL"});
        json!({"candidates": [candidate]}).to_string()
    };
    let asked = Asked::new(Form::Chat, "M", "{}");
    assert!(reply(body(json!([])).as_bytes(), Form::Generate, &asked).is_err());
    assert!(reply(body(json!([{"text": "a"}])).as_bytes(), Form::Generate, &asked).is_ok());
    let failed = json!({"id": "r", "object": "response", "status": "failed", "output": [],
        "error": {"code": "server_error", "message": "m"}});
    assert!(reply(failed.to_string().as_bytes(), Form::Responses, &asked).is_err());
}

#[test]
fn a_bound_that_openai_refuses_is_raised() {
    let body = json!({"max_tokens": 1, "messages": [{"role": "user", "content": "a"}]});
    let (raised, dropped) = sent(Form::Messages, Form::Responses, &body).unwrap();
    assert_eq!((&raised["max_output_tokens"], &*dropped), (&json!(16), "max_tokens"));
    let (as_it_was, dropped) = sent(Form::Messages, Form::Chat, &body).unwrap();
    assert_eq!((&as_it_was["max_completion_tokens"], &*dropped), (&json!(1), ""));
}

#[test]
fn an_id_too_long_is_the_same_short_one_wherever_it_stands() {
    let id = "toolu_".repeat(12);
    let body = json!({"max_tokens": 99, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "b"}]},
    ]});
    let (chat, _) = sent(Form::Messages, Form::Chat, &body).unwrap();
    let short = chat["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(short.starts_with("call_") && short.len() <= 40, "{short}");
    assert_eq!(chat["messages"][2]["tool_call_id"], short);
    let (responses, _) = sent(Form::Messages, Form::Responses, &body).unwrap();
    assert_eq!(responses["input"][1]["call_id"], short);
    assert_eq!(responses["input"][2]["call_id"], short);
}

#[test]
fn a_tools_name_that_is_refused_there_is_refused_here() {
    let body = json!({"contents": [{"parts": [{"text": "a"}]}],
        "tools": [{"functionDeclarations": [{"name": "files.read"}]}]});
    for to in [Form::Chat, Form::Responses, Form::Messages] {
        let refused = sent(Form::Generate, to, &body).unwrap_err();
        assert_eq!(refused.param(), Some("tools.functionDeclarations.name"));
        assert!(refused.message().contains("files.read"));
    }
    let long = "f".repeat(65);
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "a"}],
        "tools": [{"name": long, "input_schema": {}}]});
    assert!(sent(Form::Messages, Form::Chat, &body).is_err());
    assert!(sent(Form::Messages, Form::Generate, &body).is_ok());
}

#[test]
fn who_asks_anthropic_for_thinking_gets_to_see_geminis() {
    let with = |thinking: Value| json!({"max_tokens": 9, "messages": [{"role": "user", "content": "a"}], "thinking": thinking});
    for (thinking, shown) in [
        (json!({"type": "enabled", "budget_tokens": 2048}), json!(true)),
        (json!({"type": "adaptive"}), json!(true)),
        (json!({"type": "adaptive", "display": "omitted"}), json!(false)),
        (json!({"type": "disabled"}), Value::Null),
    ] {
        let strictness = Strictness { refuse_meaning: true, refuse_harmless: false };
        let asked = Asked::new(Form::Messages, "M", with(thinking).to_string());
        let sent = request(&asked, "m", &Fit::new(Form::Generate), strictness).unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent["generationConfig"]["thinkingConfig"]["includeThoughts"], shown);
    }
}

#[test]
fn a_picture_that_has_no_place_is_told() {
    let body = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"text": "Here: "}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    ]}, "finishReason": "STOP"}]});
    let event = format!("data: {body}\n\n");
    for client in [Form::Chat, Form::Responses, Form::Messages] {
        let told = streamed(client, Form::Generate, event.as_bytes());
        assert!(told.contains("An image was left out"), "{client}: {told}");
        let asked = Asked::new(client, "M", "{}");
        let told = reply(body.to_string().as_bytes(), Form::Generate, &asked).unwrap();
        let told = String::from_utf8(told.to_vec()).unwrap();
        let kept = told.contains("data:image/png;base64,AAAA");
        assert!(kept || told.contains("An image was left out"), "{client}: {told}");
    }
}
