//! What a client may write, and what is refused.

use super::*;
use crate::translate::{
    Loss,
    hub::{Arguments, Body, Effort, Format, Part, Role, Signature, Source, Thinking, ToolChoice},
};

const ASK: &str = r#"{"role":"user","content":"Hi"}"#;

fn with(fields: &str) -> String {
    format!(r#"{{"model":"m","messages":[{ASK}],{fields}}}"#)
}

fn of(messages: &str) -> String {
    format!(r#"{{"model":"m","messages":[{messages}]}}"#)
}

/// The parts of the last turn.
fn parts(messages: &str) -> Vec<Part<'static>> {
    let text = of(messages).leak();
    request(text).unwrap().turns.pop().unwrap().parts
}

#[test]
fn wrong_types_are_refused_by_their_place() {
    for (body, param) in [
        ("[]".to_owned(), ""),
        ("{}".to_owned(), "messages"),
        (r#"{"messages":{}}"#.to_owned(), "messages"),
        (of("1"), "messages[0]"),
        (of(r#"{"content":"x"}"#), "messages[0].role"),
        (of(r#"{"role":"robot","content":"x"}"#), "messages[0].role"),
        (of(r#"{"role":"user"}"#), "messages[0].content"),
        (of(r#"{"role":"user","content":null}"#), "messages[0].content"),
        (of(r#"{"role":"user","content":7}"#), "messages[0].content"),
        (of(r#"{"role":"user","content":["x"]}"#), "messages[0].content[0]"),
        (of(r#"{"role":"user","content":[{"text":"x"}]}"#), "messages[0].content[0].type"),
        (
            of(
                r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":1}}]}"#,
            ),
            "messages[0].content[1].image_url.url",
        ),
        (
            of(r#"{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"A"}}]}"#),
            "messages[0].content[0].input_audio.format",
        ),
        (
            of(r#"{"role":"user","content":[{"type":"file","file":{"filename":"a"}}]}"#),
            "messages[0].content[0].file.file_data",
        ),
        (of(r#"{"role":"tool","content":"x"}"#), "messages[0].tool_call_id"),
        (
            of(r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"arguments":"{}"}}]}"#),
            "messages[0].tool_calls[0].function.name",
        ),
        (
            of(r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":3}}]}"#),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (of(r#"{"role":"assistant","thinking_blocks":[1]}"#), "messages[0].thinking_blocks[0]"),
        (with(r#""temperature":"hot""#), "temperature"),
        (with(r#""n":1.5"#), "n"),
        (with(r#""stop":[1]"#), "stop[0]"),
        (with(r#""stop":{}"#), "stop"),
        (with(r#""stream":1"#), "stream"),
        (with(r#""stream_options":{"include_usage":"yes"}"#), "stream_options.include_usage"),
        (with(r#""tools":[{"type":"function"}]"#), "tools[0].function"),
        (
            with(r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#),
            "tools[0].function.parameters",
        ),
        (with(r#""tool_choice":"maybe""#), "tool_choice"),
        (with(r#""tool_choice":{"type":"function"}"#), "tool_choice.function"),
        (
            with(r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"x"}}"#),
            "tool_choice.allowed_tools.mode",
        ),
        (
            with(r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":1}}"#),
            "tool_choice.allowed_tools.tools",
        ),
        (with(r#""function_call":3"#), "function_call"),
        (with(r#""response_format":{"type":"json_schema"}"#), "response_format.json_schema"),
        (
            with(r#""response_format":{"type":"json_schema","json_schema":{"name":"a"}}"#),
            "response_format.json_schema.schema",
        ),
    ] {
        let error = request(&body).unwrap_err();
        assert_eq!(error.param(), Some(param), "{body}");
    }
}

#[test]
fn what_goes_without_saying_costs_nothing() {
    let body = with(
        r#""store":false,"logprobs":false,"top_logprobs":0,"n":1,"service_tier":"auto",
           "modalities":["text"],"logit_bias":{},"metadata":{},"parallel_tool_calls":true,
           "stream_options":{"include_usage":true,"include_obfuscation":false},"tools":[],
           "response_format":{"type":"text"},"prediction":null,"seed":null,"stop":null,
           "max_tokens":null"#,
    );
    let read = request(&body).unwrap();
    assert_eq!(read.extras, []);
    assert!(read.wants_usage && read.format.is_none() && read.parallel_tools.is_none());
    assert!(read.logprobs.is_none() && read.stop.is_empty());
}

#[test]
fn what_no_other_form_knows_is_told_or_refused() {
    for (field, name, loss) in [
        (r#""logit_bias":{"1":2}"#, "logit_bias", Loss::Harmless),
        (r#""store":true"#, "store", Loss::Harmless),
        (r#""metadata":{"a":"b"}"#, "metadata", Loss::Harmless),
        (r#""service_tier":"flex""#, "service_tier", Loss::Harmless),
        (r#""prediction":{"type":"content"}"#, "prediction", Loss::Harmless),
        (r#""prompt_cache_key":"k""#, "prompt_cache_key", Loss::Harmless),
        (r#""reasoning_effort":"default""#, "reasoning_effort", Loss::Harmless),
        (r#""top_logprobs":3"#, "top_logprobs", Loss::Harmless),
        (r#""from_the_future":1"#, "from_the_future", Loss::Harmless),
        (r#""user":"a","safety_identifier":"b""#, "safety_identifier", Loss::Harmless),
        (r#""modalities":["text","audio"]"#, "modalities", Loss::Meaning),
        (r#""web_search_options":{}"#, "web_search_options", Loss::Meaning),
        (r#""tools":[{"type":"custom","custom":{"name":"c"}}]"#, "tools.custom", Loss::Meaning),
        (r#""tool_choice":{"type":"custom","custom":{}}"#, "tool_choice", Loss::Meaning),
        (r#""response_format":{"type":"grammar"}"#, "response_format", Loss::Meaning),
        (
            r#""tools":[{"type":"function","function":{"name":"f","x":1}}]"#,
            "tools.function.x",
            Loss::Harmless,
        ),
    ] {
        let body = with(field);
        let read = request(&body).unwrap();
        let [extra] = &read.extras[..] else { panic!("{field}: {:?}", read.extras) };
        assert_eq!((&*extra.name, extra.loss), (name, loss));
    }
    for (message, name, loss) in [
        (r#"{"role":"user","name":"Ann","content":"x"}"#, "messages.name", Loss::Harmless),
        (
            r#"{"role":"assistant","content":"x","audio":{"id":"a"}}"#,
            "messages.audio",
            Loss::Meaning,
        ),
        (
            r#"{"role":"user","content":[{"type":"video_url","video_url":{}}]}"#,
            "messages.content.video_url",
            Loss::Meaning,
        ),
        (
            r#"{"role":"user","content":[{"type":"text","text":"x","foo":1}]}"#,
            "messages.content.foo",
            Loss::Harmless,
        ),
        (
            r#"{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{}}]}"#,
            "messages.tool_calls.custom",
            Loss::Meaning,
        ),
    ] {
        let body = of(message);
        let read = request(&body).unwrap();
        let [extra] = &read.extras[..] else { panic!("{message}: {:?}", read.extras) };
        assert_eq!((&*extra.name, extra.loss), (name, loss));
    }
}

#[test]
fn options_by_all_their_names() {
    let read = |fields: &str| request(with(fields).leak()).unwrap();
    assert_eq!(read(r#""max_tokens":5"#).max_tokens, Some(5));
    assert_eq!(read(r#""max_tokens":5,"max_completion_tokens":6"#).max_tokens, Some(6));
    let [told] = &read(r#""max_tokens":5,"max_completion_tokens":6"#).extras[..] else { panic!() };
    assert_eq!((&*told.name, told.loss), ("max_tokens", Loss::Harmless));
    assert_eq!(read(r#""max_tokens":5,"max_completion_tokens":5"#).extras, []);
    assert_eq!(read(r#""stop":"END""#).stop, ["END"]);
    assert_eq!(read(r#""logprobs":true"#).logprobs, Some(0));
    assert_eq!(read(r#""logprobs":true,"top_logprobs":2"#).logprobs, Some(2));
    assert_eq!(read(r#""safety_identifier":"s""#).user.as_deref(), Some("s"));
    assert_eq!(read(r#""metadata":{"user_id":"u"}"#).user.as_deref(), Some("u"));
    let thinks = |effort, budget| Some(Thinking { effort, budget, shown: None });
    assert_eq!(read(r#""reasoning_effort":"xhigh""#).thinking, thinks(Some(Effort::XHigh), None));
    assert_eq!(
        read(r#""thinking":{"type":"disabled"}"#).thinking,
        thinks(Some(Effort::None), None)
    );
    assert_eq!(
        read(r#""thinking":{"type":"enabled","budget_tokens":2000}"#).thinking,
        thinks(None, Some(2000))
    );
    assert_eq!(read(r#""response_format":{"type":"json_object"}"#).format, Some(Format::Json));
    let tools = r#""tools":[{"type":"function","function":{"name":"f","strict":true},
        "cache_control":{"type":"ephemeral"}}]"#;
    let tool = read(tools).tools.remove(0);
    assert_eq!((tool.name.as_ref(), tool.strict), ("f", Some(true)));
    assert!(tool.cache_control.is_some() && tool.schema.is_none());
}

#[test]
fn choices_of_tools() {
    let read = |choice: &str| {
        let fields = format!(r#""tool_choice":{choice}"#);
        request(with(&fields).leak()).unwrap().tool_choice.unwrap()
    };
    assert_eq!(read(r#""auto""#), ToolChoice::Auto);
    assert_eq!(read(r#""none""#), ToolChoice::None);
    assert_eq!(read(r#""required""#), ToolChoice::Required);
    let named = r#"{"type":"function","function":{"name":"f"}}"#;
    assert_eq!(read(named), ToolChoice::Named("f".into()));
    let allowed = r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[
        {"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]}}"#;
    let names = vec!["f".into(), "g".into()];
    assert_eq!(read(allowed), ToolChoice::Allowed { names, required: true });
}

#[test]
fn the_old_functions() {
    let body = r#"{"model":"m","functions":[{"name":"f","parameters":{"type":"object"}}],
        "function_call":{"name":"f"},"messages":[
        {"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
        {"role":"function","name":"f","content":"7"},
        {"role":"function","name":"g","content":"8"}]}"#;
    let read = request(body).unwrap();
    assert_eq!(read.extras, []);
    assert_eq!(read.tools[0].name, "f");
    assert_eq!(read.tool_choice, Some(ToolChoice::Named("f".into())));
    let id = |n: usize| match &read.turns[n].parts[0].body {
        Body::ToolCall { id, .. } | Body::ToolResult { id, .. } => id.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((id(0), id(1)), ("call_f_0".into(), "call_f_0".into()));
    assert_eq!(id(2), "call_g_2");
}

#[test]
fn pieces_of_a_message() {
    let all = parts(
        r#"{"role":"user","cache_control":{"type":"ephemeral"},"content":[
            {"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"auto"}},
            {"type":"image_url","image_url":"https://x.test/a.png"},
            {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,BBBB"}},
            {"type":"file","file":{"file_data":"CCCC"}},
            {"type":"file","file":{"file_id":"file-1"}},
            {"type":"input_audio","input_audio":{"data":"DDDD","format":"mp3"}}]}"#,
    );
    assert!(all[0].cache_control.is_some() && all[6].cache_control.is_some());
    let pdf =
        |data: &'static str| Source::Data { mime: "application/pdf".into(), data: data.into() };
    let bodies: Vec<_> = all.into_iter().skip(1).map(|part| part.body).collect();
    let png = Source::Data { mime: "image/png".into(), data: "AAAA".into() };
    assert_eq!(
        bodies,
        [
            Body::Image { source: png, detail: None },
            Body::Image { source: Source::Url("https://x.test/a.png".into()), detail: None },
            Body::Document { source: pdf("BBBB"), name: Some("a.pdf".into()) },
            Body::Document { source: pdf("CCCC"), name: None },
            Body::Document { source: Source::File("file-1".into()), name: None },
            Body::Audio { data: "DDDD".into(), format: "mp3".into() },
        ]
    );
}

#[test]
fn an_assistants_message() {
    let all = parts(
        r#"{"role":"assistant","content":"","refusal":"No.","reasoning_content":"why",
            "annotations":[],"tool_calls":[{"id":"a","index":0,"type":"function",
            "function":{"name":"f","arguments":"not json"},
            "extra_content":{"google":{"thought_signature":"c2ln"}}}]}"#,
    );
    let signature = Some(Signature::new(Form::Generate, "c2ln"));
    let (id, name) = (Some("a".into()), "f".into());
    let arguments = Arguments::Text("not json".into());
    let bodies: Vec<_> = all.into_iter().map(|part| part.body).collect();
    assert_eq!(
        bodies,
        [
            Body::Thinking { text: "why".into(), signature: None },
            Body::Refusal("No.".into()),
            Body::ToolCall { id, name, arguments, signature },
        ]
    );
    // Nothing said is no turn.
    let body = of(r#"{"role":"assistant","content":null}"#);
    assert_eq!(request(&body).unwrap().turns, []);
}

#[test]
fn thinking_blocks_win_over_their_text() {
    let all = parts(
        r#"{"role":"assistant","content":"x","reasoning_content":"short","reasoning":"short",
            "thinking_blocks":[{"type":"thinking","thinking":"a","signature":"tollway:messages:S"},
            {"type":"redacted_thinking","data":"R"},{"type":"thinking","thinking":"b"}]}"#,
    );
    let signed = Some(Signature::new(Form::Messages, "S"));
    assert_eq!(all[0].body, Body::Thinking { text: "a".into(), signature: signed });
    assert_eq!(all[1].body, Body::Redacted(Signature::new(Form::Chat, "R")));
    assert_eq!(all[2].body, Body::Thinking { text: "b".into(), signature: None });
    assert_eq!(all.len(), 4);
    // Empty ones say nothing, so the text counts.
    let all = parts(r#"{"role":"assistant","content":"x","reasoning":"r","thinking_blocks":[]}"#);
    assert_eq!(all[0].body, Body::Thinking { text: "r".into(), signature: None });
}

#[test]
fn a_tools_message_may_be_in_parts() {
    let all = parts(
        r#"{"role":"tool","tool_call_id":"a","name":"f","content":[{"type":"text","text":"1"},
            {"type":"image_url","image_url":{"url":"https://x.test/a.png"}}]}"#,
    );
    let Body::ToolResult { id, name, content, is_error } = &all[0].body else { panic!("{all:?}") };
    assert_eq!((id.as_deref(), name.as_deref()), (Some("a"), Some("f")));
    assert_eq!((content.len(), *is_error), (2, false));
}

#[test]
fn instructions_stay_where_they_stand() {
    let body = of(&format!(
        r#"{{"role":"system","content":"a"}},{ASK},{{"role":"developer","content":[{{"type":"text","text":"b"}}]}}"#
    ));
    let roles: Vec<_> = request(&body).unwrap().turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::System]);
}
