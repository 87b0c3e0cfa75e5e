//! What is sent to providers of this form, and whole answers for clients of it.

use serde_json::json;
use tollway_core::Usage;

use super::*;
use crate::translate::{
    Field, Loss, Reasoning,
    chat::write_reply,
    hub::{
        Arguments, Body, Choice, Citation, Effort, Extra, Finish, Part, Reply, Role, Signature,
        Source, Thinking, Tool, ToolChoice, Turn,
    },
};

fn part(body: Body<'static>) -> Part<'static> {
    Part::new(body)
}

fn call(id: Option<&'static str>, name: &'static str) -> Part<'static> {
    part(Body::ToolCall {
        id: id.map(Into::into),
        name: name.into(),
        arguments: Arguments::Value(crate::json::Object::new().into()),
        signature: None,
    })
}

fn result(id: Option<&'static str>, content: Vec<Part<'static>>, is_error: bool) -> Part<'static> {
    let name = Some("f".into());
    part(Body::ToolResult { id: id.map(Into::into), name, content, is_error })
}

fn image() -> Part<'static> {
    let source = Source::Url("https://x.test/a.png".into());
    part(Body::Image { source, detail: None })
}

fn thought(text: &'static str, signature: Option<Signature<'static>>) -> Part<'static> {
    part(Body::Thinking { text: text.into(), signature })
}

fn user(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::User, parts)
}

fn assistant(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::Assistant, parts)
}

fn turns(turns: Vec<Turn<'static>>) -> Request<'static> {
    Request { model: "m".into(), turns, ..Request::default() }
}

fn messages(request: Request<'static>, fit: &Fit) -> (Value, String) {
    let (mut out, lost) = written(request, Form::Messages, fit).unwrap();
    (out["messages"].take(), lost)
}

#[test]
fn results_come_first_and_their_images_behind_them() {
    let request = turns(vec![
        assistant(vec![Part::text("Both."), call(Some("a"), "f"), call(Some("b"), "f")]),
        user(vec![
            result(Some("a"), vec![Part::text("1"), image(), Part::text("2")], false),
            result(Some("b"), vec![image()], false),
        ]),
        user(vec![Part::text("So?")]),
    ]);
    let image = json!({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}});
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let (out, lost) = messages(request, &Fit::new(Form::Chat));
    assert_eq!(
        out,
        json!([
            {"role": "assistant", "content": "Both.", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "a", "content": "1\n2"},
            {"role": "tool", "tool_call_id": "b", "content": "(The result is in the next message.)"},
            {"role": "user", "content": [image, image, {"type": "text", "text": "So?"}]},
        ])
    );
    assert_eq!(lost, "");
}

#[test]
fn a_failed_tool_says_so_in_its_text() {
    let request = turns(vec![
        assistant(vec![call(Some("a"), "f")]),
        user(vec![result(Some("a"), vec![Part::text("no net")], true)]),
    ]);
    let (out, _) = messages(request, &Fit::new(Form::Chat));
    assert_eq!(out[1]["content"], "Error: no net");
    assert_eq!(out[0]["content"], Value::Null);
}

#[test]
fn calls_without_ids_get_them() {
    let nameless = |text| result(None, vec![Part::text(text)], false);
    let request = turns(vec![
        assistant(vec![call(None, "f"), call(None, "g"), call(None, "f")]),
        user(vec![nameless("1"), nameless("2"), nameless("3")]),
    ]);
    let (out, _) = messages(request, &Fit::new(Form::Chat));
    let ids: Vec<_> = (0..3).map(|n| out[0]["tool_calls"][n]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call_1", "call_2", "call_3"]);
    let answered: Vec<_> = (1..4).map(|n| out[n]["tool_call_id"].as_str().unwrap()).collect();
    // A third answer of `f` has no call.
    assert_eq!(answered, ["call_1", "call_3", "call_4"]);
}

#[test]
fn reasoning_goes_back_where_it_is_wanted() {
    let own = Signature::new(Form::Chat, "S");
    let foreign = Signature::new(Form::Messages, "S");
    let request = || {
        turns(vec![assistant(vec![
            thought("a", Some(own.clone())),
            thought("b", Some(foreign.clone())),
            part(Body::Redacted(own.clone())),
            Part::text("x"),
        ])])
    };
    let mut fit = Fit::new(Form::Chat);
    let blocks = json!([
        {"type": "thinking", "thinking": "a", "signature": "S"},
        {"type": "redacted_thinking", "data": "S"},
    ]);
    let (out, lost) = messages(request(), &fit);
    assert_eq!(out, json!([{"role": "assistant", "content": "x", "thinking_blocks": blocks}]));
    assert_eq!(lost, "thinking.signature, thinking");
    fit.echo_reasoning = true;
    let (out, lost) = messages(request(), &fit);
    assert_eq!(out[0]["reasoning_content"], "ab");
    assert_eq!(lost, "thinking.signature");
    // A thought alone is no message.
    let (out, _) = messages(turns(vec![assistant(vec![thought("a", None)])]), &fit);
    assert_eq!(out, json!([]));
}

#[test]
fn a_calls_signature_goes_back_to_its_maker() {
    let signed = |of| {
        let mut call = call(Some("a"), "f");
        if let Body::ToolCall { signature, .. } = &mut call.body {
            *signature = Some(Signature::new(of, "S"));
        }
        turns(vec![assistant(vec![call])])
    };
    let fit = Fit::new(Form::Chat);
    let (out, lost) = messages(signed(Form::Chat), &fit);
    let extra = &out[0]["tool_calls"][0]["extra_content"];
    assert_eq!(*extra, json!({"google": {"thought_signature": "S"}}));
    assert_eq!(lost, "");
    let (out, lost) = messages(signed(Form::Generate), &fit);
    assert_eq!(out[0]["tool_calls"][0].get("extra_content"), None);
    assert_eq!(lost, "thinking.signature");
}

#[test]
fn a_fit_is_followed() {
    let request = || Request {
        max_tokens: Some(9),
        temperature: serde_json::Number::from_f64(1.5),
        thinking: Some(Thinking { budget: Some(4000), ..Thinking::default() }),
        stream: true,
        ..turns(vec![Turn::new(Role::System, vec![Part::text("a"), Part::text("b")])])
    };
    let mut fit = Fit::new(Form::Chat);
    let (out, lost) = written(request(), Form::Messages, &fit).unwrap();
    assert_eq!(
        out,
        json!({"model": "m", "messages": [{"role": "system", "content": "a\nb"}],
            "max_completion_tokens": 9, "temperature": 1.5, "reasoning_effort": "medium",
            "stream": true, "stream_options": {"include_usage": true}})
    );
    assert_eq!(lost, "");
    fit.legacy_max_tokens = true;
    fit.developer_role = true;
    fit.max_temperature = Some(1.0);
    fit.reasoning = Reasoning::Switch;
    let (out, lost) = written(request(), Form::Messages, &fit).unwrap();
    assert_eq!(
        out,
        json!({"model": "m", "messages": [{"role": "developer", "content": "a\nb"}],
            "max_tokens": 9, "temperature": 1.0, "thinking": {"type": "enabled"},
            "stream": true, "stream_options": {"include_usage": true}})
    );
    assert_eq!(lost, "temperature, thinking");
    let mut off = request();
    for (effort, kind) in [(Some(Effort::None), "disabled"), (None, "enabled")] {
        off.thinking = Some(Thinking { effort, ..Thinking::default() });
        let (out, lost) = written(off.clone(), Form::Messages, &fit).unwrap();
        assert_eq!((&out["thinking"], &*lost), (&json!({"type": kind}), "temperature"));
    }
    fit.reasoning = Reasoning::None;
    let (out, lost) = written(request(), Form::Messages, &fit).unwrap();
    assert_eq!((out.get("thinking"), out.get("reasoning_effort")), (None, None));
    assert_eq!(lost, "temperature, thinking");
    let mut adaptive = request();
    adaptive.thinking = Some(Thinking::default());
    let (out, lost) = written(adaptive, Form::Messages, &Fit::new(Form::Chat)).unwrap();
    assert_eq!((out.get("reasoning_effort"), &*lost), (None, ""));
}

#[test]
fn a_choice_of_tools_needs_tools() {
    let tool = |name: &'static str| Tool { name: name.into(), ..Tool::default() };
    let base = |tools, choice| Request {
        tools,
        tool_choice: Some(choice),
        parallel_tools: Some(false),
        ..turns(vec![user(vec![Part::text("x")])])
    };
    let fit = Fit::new(Form::Chat);
    let write = |request| written(request, Form::Generate, &fit).unwrap().0;
    let out = write(base(vec![], ToolChoice::None));
    assert_eq!(out, json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}));
    let names = vec!["g".into()];
    let allowed = ToolChoice::Allowed { names, required: true };
    let out = write(base(vec![tool("f"), tool("g")], allowed));
    assert_eq!(out["tools"], json!([{"type": "function", "function": {"name": "g"}}]));
    assert_eq!(
        (&out["tool_choice"], &out["parallel_tool_calls"]),
        (&json!("required"), &json!(false))
    );
}

#[test]
fn extras_that_mean_the_same_are_taken() {
    let extra = |name: &'static str, value: Json<'static>| Extra {
        name: name.into(),
        value,
        loss: Loss::Harmless,
    };
    let base = |extras| Request { extras, ..turns(vec![user(vec![Part::text("x")])]) };
    let fit = Fit::new(Form::Chat);
    let extras = vec![
        extra("prompt_cache_key", "k".into()),
        extra("store", false.into()),
        extra("include", "y".into()),
    ];
    let (out, lost) = written(base(extras), Form::Responses, &fit).unwrap();
    assert_eq!((&out["prompt_cache_key"], out.get("store")), (&json!("k"), None));
    assert_eq!(lost, "include");
    let extras = vec![extra("service_tier", "default".into()), extra("metadata", "z".into())];
    let (out, lost) = written(base(extras), Form::Messages, &fit).unwrap();
    assert_eq!((&out["service_tier"], out.get("metadata")), (&json!("default"), None));
    assert_eq!(lost, "metadata");
}

#[test]
fn what_has_no_place_is_told_or_refused() {
    let data = |mime: &'static str, data: &'static str| Source::Data {
        mime: mime.into(),
        data: data.into(),
    };
    let document = |source| part(Body::Document { source, name: None });
    let fit = Fit::new(Form::Chat);
    let text = document(data("text/plain", "SGk="));
    let (out, _) = messages(turns(vec![user(vec![text, image()])]), &fit);
    assert_eq!(out[0]["content"][0], json!({"type": "text", "text": "Hi"}));
    let (out, _) =
        messages(turns(vec![user(vec![document(data("application/pdf", "AA=="))])]), &fit);
    let file = json!({"filename": "document.pdf", "file_data": "data:application/pdf;base64,AA=="});
    assert_eq!(out[0]["content"][0]["file"], file);
    let linked = document(Source::Url("https://x.test/a.pdf".into()));
    assert!(written(turns(vec![user(vec![linked])]), Form::Messages, &fit).is_err());
    let said = part(Body::Image { source: Source::Url("https://x.test".into()), detail: None });
    assert!(written(turns(vec![assistant(vec![said])]), Form::Generate, &fit).is_err());
    let mut plain = Fit::new(Form::Chat);
    plain.lacks = vec![Field::CacheControl];
    let cached = Part { cache_control: Some(Json::from("x")), ..Part::text("x") };
    let (out, lost) = messages(turns(vec![user(vec![cached.clone()])]), &plain);
    assert_eq!((&out[0]["content"], &*lost), (&json!("x"), "cache_control"));
    let (out, _) = messages(turns(vec![user(vec![cached])]), &fit);
    assert_eq!(out[0]["content"], json!([{"type": "text", "text": "x", "cache_control": "x"}]));
}

fn reply(parts: Vec<Part<'static>>, finish: Finish) -> Value {
    let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
    let asked = asked(true);
    let mut usage = Usage::new(100, 20);
    (usage.cached, usage.cache_write, usage.cache_write_1h) = (40, 5, 6);
    let reply = Reply { choices: vec![choice], usage: Some(usage), ..Reply::default() };
    serde_json::from_slice(&Json::Object(write_reply(reply, &asked)).to_vec()).unwrap()
}

#[test]
fn an_answer_of_another_provider() {
    let mut signed = call(None, "g");
    if let Body::ToolCall { signature, .. } = &mut signed.body {
        *signature = Some(Signature::new(Form::Generate, "RmlY"));
    }
    let out = reply(
        vec![
            thought("why", Some(Signature::new(Form::Messages, "S"))),
            part(Body::Redacted(Signature::new(Form::Messages, "R"))),
            Part::text("Check"),
            Part::text("ing."),
            call(Some("toolu_1"), "f"),
            signed,
        ],
        Finish::ToolCalls,
    );
    let id = out["choices"][0]["message"]["tool_calls"][1]["id"].clone();
    assert!(id.as_str().unwrap().starts_with("call_"));
    assert_eq!(
        out,
        json!({"id": asked(true).id("chatcmpl-", 0), "object": "chat.completion", "created": 0,
            "model": "M", "choices": [{"index": 0, "message": {"role": "assistant",
                "content": "Checking.", "refusal": null, "reasoning_content": "why",
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "why", "signature": "tollway:messages:S"},
                    {"type": "redacted_thinking", "data": "tollway:messages:R"}],
                "tool_calls": [
                    {"id": "toolu_1", "type": "function",
                        "function": {"name": "f", "arguments": "{}"}},
                    {"id": id, "type": "function", "function": {"name": "g", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "RmlY"}}}]},
                "logprobs": null, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 11}}})
    );
}

#[test]
fn content_is_null_only_where_something_else_was_said() {
    let content = |parts, finish| reply(parts, finish)["choices"][0]["message"]["content"].clone();
    assert_eq!(content(vec![], Finish::Length), "");
    assert_eq!(content(vec![call(None, "f")], Finish::ToolCalls), Value::Null);
    assert_eq!(content(vec![part(Body::Refusal("No.".into()))], Finish::Stop), Value::Null);
    let reason = |finish| reply(vec![], finish)["choices"][0]["finish_reason"].clone();
    assert_eq!(reason(Finish::Paused), "stop");
    assert_eq!(reason(Finish::Filtered), "content_filter");
    assert_eq!(reason(Finish::Failed), "length");
    // An unsigned thought is its text.
    let out = reply(vec![thought("why", None)], Finish::Stop);
    assert_eq!(out["choices"][0]["message"].get("thinking_blocks"), None);
}

#[test]
fn pages_and_images_of_an_answer() {
    let page = Citation {
        url: "https://x.test".into(),
        title: None,
        range: Some((0, 2)),
        quote: Some("q".into()),
    };
    let text = part(Body::Text { text: "ab".into(), citations: vec![page] });
    let out = reply(vec![text, image()], Finish::Stop);
    let message = &out["choices"][0]["message"];
    let page = json!({"start_index": 0, "end_index": 2, "url": "https://x.test", "title": ""});
    assert_eq!(message["annotations"], json!([{"type": "url_citation", "url_citation": page}]));
    assert_eq!(message["images"][0]["image_url"]["url"], "https://x.test/a.png");
}

#[test]
fn unknown_usage_is_left_out() {
    let asked = asked(true);
    let out = Json::Object(write_reply(Reply::default(), &asked)).to_text();
    assert!(!out.contains("usage"), "{out}");
}
