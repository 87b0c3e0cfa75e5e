//! The conversation: turns, blocks, ids.

use serde_json::json;

use super::{request::asking, *};
use crate::translate::{
    Field, Loss,
    hub::{
        Arguments, Body, Citation, Effort, Part, Role, Signature, Source, Tool, ToolChoice, Turn,
    },
};

fn part(body: Body<'_>) -> Part<'_> {
    Part::new(body)
}

fn call<'a>(id: Option<&'a str>, name: &'a str, arguments: &'a str) -> Part<'a> {
    part(Body::ToolCall {
        id: id.map(Into::into),
        name: name.into(),
        arguments: Arguments::Text(arguments.into()),
        signature: None,
    })
}

fn result<'a>(id: Option<&'a str>, name: Option<&'a str>, text: &'a str) -> Part<'a> {
    part(Body::ToolResult {
        id: id.map(Into::into),
        name: name.map(Into::into),
        content: vec![Part::text(text)],
        is_error: false,
    })
}

fn image(data: &str) -> Part<'_> {
    let source = Source::Data { mime: "image/png".into(), data: data.into() };
    part(Body::Image { source, detail: None })
}

fn turns<'a>(turns: Vec<(Role, Vec<Part<'a>>)>) -> Request<'a> {
    let turns = turns.into_iter().map(|(role, parts)| Turn::new(role, parts));
    Request { turns: turns.collect(), ..asking() }
}

use Role::{Assistant, System, User};

/// `pairs/request.openai.json` as the hub has it.
#[test]
fn the_golden_pair() {
    let expected: Value =
        serde_json::from_slice(&sample("pairs/request.anthropic.expected.json")).unwrap();
    let data = expected["messages"][0]["content"][1]["source"]["data"].as_str().unwrap();
    let schema = expected["tools"][0]["input_schema"].to_string();
    let mut request = turns(vec![
        (System, vec![Part::text("Be brief.")]),
        (System, vec![Part::text("Use tools.")]),
        (
            User,
            vec![
                Part::text("What is here, and the weather in Oslo and Zürich?"),
                part(Body::Image {
                    source: Source::from_url(format!("data:image/png;base64,{data}").into()),
                    detail: None,
                }),
            ],
        ),
        (
            Assistant,
            vec![
                Part::text("Checking."),
                call(Some("call_oslo01"), "get_weather", r#"{"city":"Oslo"}"#),
                call(Some("call_zuri02"), "get_weather", ""),
            ],
        ),
        (User, vec![result(Some("call_oslo01"), None, r#"{"temp":-3}"#)]),
        (User, vec![result(Some("call_zuri02"), None, "no data")]),
        (User, vec![Part::text("Summarise.")]),
    ]);
    request.model = "M".into();
    request.tools = vec![Tool {
        name: "get_weather".into(),
        description: Some("Current weather of one city".into()),
        schema: Some(Json::read(schema.as_bytes()).unwrap()),
        ..Tool::default()
    }];
    request.tool_choice = Some(ToolChoice::Required);
    request.parallel_tools = Some(false);
    request.max_tokens = Some(300);
    request.temperature = serde_json::Number::from_f64(1.4);
    request.stop = vec!["END".into(), " ".into()];
    request.user = Some("u-17".into());
    request.seed = Some(7.into());
    let (written, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(written, expected);
    assert_eq!(told, "seed, temperature, stop");
}

#[test]
fn results_stand_first_in_one_message() {
    // Images that stand between results split them (1jehuang/jcode#276).
    let written = write(
        turns(vec![
            (User, vec![Part::text("q")]),
            (Assistant, vec![call(Some("a"), "f", ""), call(Some("b"), "f", "")]),
            (User, vec![result(Some("a"), None, "1")]),
            (User, vec![image("AAAA"), Part::text("see")]),
            (User, vec![result(Some("b"), None, "2")]),
            (User, vec![Part::text("go on")]),
        ]),
        &fit(),
    );
    let messages = written["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    let last = messages[2]["content"].as_array().unwrap();
    let kinds: Vec<_> = last.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tool_result", "tool_result", "image", "text", "text"]);
    assert_eq!(messages[0]["content"], "q");
}

#[test]
fn nothing_is_empty_and_roles_alternate() {
    let written = write(
        turns(vec![
            (System, vec![Part::text("a")]),
            (User, vec![Part::text("1")]),
            (System, vec![Part::text(""), Part::text("b")]),
            (Assistant, vec![Part::text("")]),
            (User, vec![Part::text(" \n"), Part::text("2")]),
            (Assistant, vec![Part::text("x")]),
            (Assistant, vec![part(Body::Refusal("no".into()))]),
            (User, vec![Part::text("3")]),
        ]),
        &fit(),
    );
    let text = |text| json!({"type": "text", "text": text});
    assert_eq!(written["system"], "a\nb");
    assert_eq!(
        written["messages"],
        json!([
            {"role": "user", "content": [text("1"), text("2")]},
            {"role": "assistant", "content": [text("x"), text("no")]},
            {"role": "user", "content": "3"},
        ])
    );
}

#[test]
fn marks_for_the_cache_stay() {
    let mark = || Some(Json::read(br#"{"type":"ephemeral"}"#).unwrap());
    let marked = |text| Part { cache_control: mark(), ..Part::text(text) };
    let mut request =
        turns(vec![(System, vec![Part::text("a"), marked("b")]), (User, vec![marked("c")])]);
    request.tools = vec![Tool { name: "f".into(), cache_control: mark(), ..Tool::default() }];
    request.extra("cache_control", mark().unwrap(), Loss::Harmless);
    let written = write(request, &fit());
    let ephemeral = json!({"type": "ephemeral"});
    assert_eq!(
        written["system"],
        json!([{"type": "text", "text": "a"},
            {"type": "text", "text": "b", "cache_control": ephemeral}])
    );
    assert_eq!(
        written["messages"][0]["content"],
        json!([{"type": "text", "text": "c", "cache_control": ephemeral}])
    );
    assert_eq!(written["tools"][0]["cache_control"], ephemeral);
    assert_eq!(written["cache_control"], ephemeral);
}

#[test]
fn ids_are_such_as_anthropic_takes() {
    let written = write(
        turns(vec![
            (User, vec![Part::text("q")]),
            (
                Assistant,
                vec![
                    call(Some("functions.f:0"), "f", ""),
                    call(Some("ok-1_A"), "f", ""),
                    call(None, "g", ""),
                    call(None, "g", ""),
                ],
            ),
            (
                User,
                vec![
                    result(None, Some("g"), "g1"),
                    result(Some("ok-1_A"), None, "ok"),
                    result(None, Some("g"), "g2"),
                    result(Some("functions.f:0"), None, "f"),
                ],
            ),
            // Providers that number the calls of each turn anew use an id twice.
            (Assistant, vec![call(Some("ok-1_A"), "f", "")]),
            (User, vec![result(Some("ok-1_A"), None, "again")]),
        ]),
        &fit(),
    );
    let messages = &written["messages"];
    let id = |message: usize, at: usize, key: &str| {
        messages[message]["content"][at][key].as_str().unwrap().to_owned()
    };
    let calls: Vec<_> = (0..4).map(|at| id(1, at, "id")).chain([id(3, 0, "id")]).collect();
    assert_eq!(calls[1], "ok-1_A");
    let unique: std::collections::HashSet<_> = calls.iter().collect();
    assert_eq!(unique.len(), 5);
    for id in &calls {
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    }
    let results: Vec<_> = (0..4).map(|at| id(2, at, "tool_use_id")).collect();
    assert_eq!(results, [&calls[2], &calls[1], &calls[3], &calls[0]].map(String::as_str));
    assert_eq!(id(4, 0, "tool_use_id"), calls[4]);
}

#[test]
fn arguments_are_objects() {
    let request = turns(vec![
        (Assistant, vec![call(Some("a"), "f", "{oops")]),
        (User, vec![result(Some("a"), None, "")]),
    ]);
    let error = write_from(Form::Chat, request, &fit()).unwrap_err();
    assert_eq!(error.param(), Some("messages.tool_calls.function.arguments"));
}

#[test]
fn results_of_many_kinds() {
    let body = Body::ToolResult {
        id: Some("a".into()),
        name: None,
        content: vec![Part::text(""), Part::text("x"), image("AAAA")],
        is_error: true,
    };
    let empty =
        Body::ToolResult { id: Some("b".into()), name: None, content: Vec::new(), is_error: false };
    let written = write(
        turns(vec![
            (Assistant, vec![call(Some("a"), "f", ""), call(Some("b"), "f", "")]),
            (User, vec![part(body), part(empty)]),
        ]),
        &fit(),
    );
    let source = json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
    assert_eq!(
        written["messages"][1]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "a", "is_error": true, "content":
                [{"type": "text", "text": "x"}, {"type": "image", "source": source}]},
            {"type": "tool_result", "tool_use_id": "b"},
        ])
    );
}

#[test]
fn media_by_their_source() {
    let data = |mime: &'static str, data: &'static str| Source::Data {
        mime: mime.into(),
        data: data.into(),
    };
    let image = |source| Body::Image { source, detail: None };
    let document = |source| Body::Document { source, name: Some("n".into()) };
    for (body, source) in [
        (image(Source::Url("https://x/a".into())), json!({"type": "url", "url": "https://x/a"})),
        (
            image(data("image/jpg", "AA==")),
            json!({"type": "base64", "media_type": "image/jpeg", "data": "AA=="}),
        ),
        (
            document(data("application/pdf", "AA==")),
            json!({"type": "base64", "media_type": "application/pdf", "data": "AA=="}),
        ),
        (
            document(data("text/csv", "YSxi")),
            json!({"type": "text", "media_type": "text/plain", "data": "a,b"}),
        ),
        (document(Source::Url("http://x".into())), json!({"type": "url", "url": "http://x"})),
    ] {
        let written = write(turns(vec![(User, vec![part(body)])]), &fit());
        assert_eq!(written["messages"][0]["content"][0]["source"], source);
    }
    for body in [
        image(data("image/bmp", "AA==")),
        image(Source::Url("gs://bucket/a".into())),
        image(Source::File("file-1".into())),
        document(Source::File("file-1".into())),
        document(data("application/zip", "AA==")),
        document(data("text/plain", "//8=")),
        document(Source::Url("data:,x".into())),
        Body::Audio { data: "AA==".into(), format: "wav".into() },
    ] {
        let request = turns(vec![(User, vec![part(body.clone())])]);
        let error = write_from(Form::Chat, request, &fit()).unwrap_err();
        assert_eq!(error.code(), Some("unsupported_parameter"), "{body:?}");
    }
}

#[test]
fn only_thoughts_of_its_own_are_sent_back() {
    let thought = |signature: Option<Signature<'static>>| {
        part(Body::Thinking { text: "t".into(), signature })
    };
    let own = || Some(Signature::new(Form::Messages, "c2ln"));
    let request = turns(vec![
        (User, vec![Part::text("q")]),
        (
            Assistant,
            vec![
                thought(own()),
                part(Body::Redacted(Signature::new(Form::Messages, "cmVk"))),
                thought(None),
                thought(Some(Signature::new(Form::Messages, ""))),
                thought(Some(Signature::new(Form::Generate, "x"))),
                part(Body::Redacted(Signature::new(Form::Responses, "y"))),
                Part::text("a"),
                thought(own()),
            ],
        ),
        (User, vec![Part::text("q2")]),
    ]);
    let (written, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(
        written["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "t", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "cmVk"},
            {"type": "text", "text": "a"},
        ])
    );
    assert_eq!(told, "thinking_blocks, reasoning_content");
}

#[test]
fn an_answer_may_be_begun_where_the_model_goes_on() {
    let request = turns(vec![
        (User, vec![Part::text("q")]),
        (Assistant, vec![Part::text("It is \n")]),
        (Assistant, vec![Part::text("")]),
    ]);
    for (client, field) in [
        (Form::Chat, "messages.content"),
        (Form::Responses, "input.content"),
        (Form::Generate, "contents.parts.text"),
    ] {
        let (written, told) = write_from(client, request.clone(), &fit()).unwrap();
        assert_eq!(
            written["messages"][1],
            json!({"role": "assistant", "content": [{"type": "text", "text": "It is"}]})
        );
        assert_eq!(told, field);
    }
    let mut newer = fit();
    newer.prefill = false;
    for (client, param) in
        [(Form::Chat, "messages"), (Form::Responses, "input"), (Form::Generate, "contents")]
    {
        let error = write_from(client, request.clone(), &newer).unwrap_err();
        assert_eq!((error.status().as_u16(), error.param()), (400, Some(param)));
    }
}

#[test]
fn citations_of_earlier_answers_are_not_sent() {
    let citation = Citation { url: "https://x".into(), title: None, range: None, quote: None };
    let text = Body::Text { text: "a".into(), citations: vec![citation] };
    let request = turns(vec![(Assistant, vec![part(text)]), (User, vec![Part::text("q")])]);
    let (written, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(written["messages"][0]["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(told, "annotations");
}

fn parts(content: &str) -> Vec<Part<'static>> {
    let json = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
    let json = Json::read(json.as_bytes()).unwrap().into_owned();
    read_request(json).unwrap().turns.remove(0).parts
}

#[test]
fn blocks_are_read() {
    let texts = |texts: &[&'static str]| -> Vec<Part<'static>> {
        texts.iter().map(|text| Part::text(*text)).collect()
    };
    for (content, expected) in [
        (r#""a""#, texts(&["a"])),
        (
            r#"[{"type":"document","title":"T","context":"C","citations":{"enabled":false},
                "source":{"type":"text","media_type":"text/plain","data":"D"}}]"#,
            texts(&["T", "C", "D"]),
        ),
        (
            r#"[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},
                {"type":"text","text":"b"}]}}]"#,
            texts(&["a", "b"]),
        ),
        (
            r#"[{"type":"search_result","title":"T","source":"https://s","content":
                [{"type":"text","text":"a"}],"citations":{"enabled":true}}]"#,
            texts(&["T", "https://s", "a"]),
        ),
        (r#"[{"type":"compaction","content":"so far"}]"#, texts(&["so far"])),
        (
            r#"[{"type":"document","title":"T","source":{"type":"file","file_id":"f"}}]"#,
            vec![part(Body::Document { source: Source::File("f".into()), name: Some("T".into()) })],
        ),
        (
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]"#,
            vec![image("AAAA")],
        ),
        (
            r#"[{"type":"thinking","thinking":"t","signature":"tollway:chat:"},
                {"type":"thinking","thinking":"t","signature":"c2ln"},
                {"type":"redacted_thinking","data":"tollway:responses:x"}]"#,
            vec![
                part(Body::Thinking { text: "t".into(), signature: None }),
                part(Body::Thinking {
                    text: "t".into(),
                    signature: Some(Signature::new(Form::Messages, "c2ln")),
                }),
                part(Body::Redacted(Signature::new(Form::Responses, "x"))),
            ],
        ),
        (
            r#"[{"type":"redacted_thinking","data":"tollway:generate:x"},
                {"type":"tool_use","id":"a","name":"f","input":{"k":[1]}}]"#,
            vec![part(Body::ToolCall {
                id: Some("a".into()),
                name: "f".into(),
                arguments: Arguments::Value(Json::read(br#"{"k":[1]}"#).unwrap()),
                signature: Some(Signature::new(Form::Generate, "x")),
            })],
        ),
        (
            r#"[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"x"},
                {"type":"tool_result","tool_use_id":"b"}]"#,
            vec![
                part(Body::ToolResult {
                    id: Some("a".into()),
                    name: None,
                    content: texts(&["x"]),
                    is_error: true,
                }),
                part(Body::ToolResult {
                    id: Some("b".into()),
                    name: None,
                    content: Vec::new(),
                    is_error: false,
                }),
            ],
        ),
    ] {
        assert_eq!(parts(content), expected, "{content}");
    }
    let marked = parts(
        r#"[{"type":"document","title":"T","cache_control":{"type":"ephemeral"},
            "source":{"type":"text","data":"D"}}]"#,
    );
    let marks: Vec<_> = marked.iter().map(|part| part.cache_control.is_some()).collect();
    assert_eq!(marks, [false, true], "the mark covers all that came of the block");
}

/// The rest of the table: `tool_choice`'s and `thinking`'s losses are elsewhere.
#[test]
fn what_has_no_place_is_told_or_refused() {
    let mut request = asking();
    request.seed = Some(1.into());
    request.frequency_penalty = Some(1.into());
    request.verbosity = Some("low".into());
    let (_, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(told, "frequency_penalty, seed, verbosity");
    for change in [
        (|request: &mut Request<'_>| request.choices = Some(2)) as fn(&mut Request<'_>),
        |request| request.logprobs = Some(0),
        |request| request.extra("audio", Json::Null, Loss::Meaning),
        |request| {
            let image = Body::Image { source: Source::Url("https://x".into()), detail: None };
            request.turns.push(Turn::new(System, vec![part(image)]));
        },
        |request| request.tool_choice = Some(ToolChoice::Required),
    ] {
        let mut request = asking();
        change(&mut request);
        assert!(write_from(Form::Chat, request, &fit()).is_err());
    }
    let mut blind = fit();
    blind.lacks = vec![Field::ImageData, Field::Thinking];
    let request = turns(vec![(User, vec![image("AA==")])]);
    assert!(write_from(Form::Chat, request, &blind).is_err());
    let mut request = asking();
    request.thinking =
        Some(crate::translate::hub::Thinking { effort: Some(Effort::Low), ..Default::default() });
    let (_, told) = write_from(Form::Chat, request, &blind).unwrap();
    assert_eq!(told, "reasoning_effort");
}
