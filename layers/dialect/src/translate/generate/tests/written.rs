//! Requests for Gemini, from clients of other forms.

use serde_json::json;

use super::*;
use crate::translate::{
    Field, Reasoning,
    generate::part::PLACEHOLDER,
    hub::{Effort, Format, Source, Thinking, Tool, ToolChoice},
};

fn fit() -> Fit {
    Fit::new(Form::Generate)
}

fn contents(turns: Vec<Turn<'_>>, fit: &Fit) -> Value {
    written(request(turns), Form::Chat, fit).0["contents"].clone()
}

/// What `pairs/request.openai.json` says.
fn pair() -> Request<'static> {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let source = Source::Data { mime: "image/png".into(), data: png.into() };
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"},
        "unit":{"type":"string","enum":["c","f"]}},"required":["city"]}"#;
    let question = "What is here, and the weather in Oslo and Zürich?";
    let turns = vec![
        Turn::new(Role::System, vec![Part::text("Be brief.")]),
        Turn::new(Role::System, vec![Part::text("Use tools.")]),
        user(vec![Part::text(question), Part::new(Body::Image { source, detail: None })]),
        model(vec![
            Part::text("Checking."),
            call(Some("call_oslo01"), "get_weather", r#"{"city":"Oslo"}"#),
            call(Some("call_zuri02"), "get_weather", ""),
        ]),
        user(vec![result(Some("call_oslo01"), None, r#"{"temp":-3}"#)]),
        user(vec![result(Some("call_zuri02"), None, "no data")]),
        user(vec![Part::text("Summarise.")]),
    ];
    Request {
        model: "M".into(),
        tools: vec![Tool {
            name: "get_weather".into(),
            description: Some("Current weather of one city".into()),
            schema: Some(parsed(schema)),
            ..Tool::default()
        }],
        tool_choice: Some(ToolChoice::Required),
        parallel_tools: Some(false),
        max_tokens: Some(300),
        temperature: serde_json::Number::from_f64(1.4),
        stop: vec!["END".into(), " ".into()],
        user: Some("u-17".into()),
        seed: Some(7.into()),
        ..request(turns)
    }
}

#[test]
fn the_golden_pair() {
    let expected: Value =
        serde_json::from_str(&sample("pairs/request.gemini.expected.json")).unwrap();
    let (out, dropped) = written(pair(), Form::Chat, &fit());
    assert_eq!(out, expected);
    assert_eq!(dropped, "user, parallel_tool_calls");
}

#[test]
fn results_come_first_and_in_the_order_of_their_calls() {
    let turns = vec![
        model(vec![call(Some("a"), "f", ""), call(Some("b"), "g", ""), call(None, "h", "")]),
        user(vec![Part::text("hm")]),
        user(vec![result(Some("b"), None, "2"), result(None, Some("h"), "3")]),
        user(vec![result(Some("a"), Some("f"), "1")]),
    ];
    let contents = contents(turns, &fit());
    assert_eq!(contents.as_array().unwrap().len(), 2);
    let said = |id: Option<&str>, name: &str, text: &str| {
        let mut response = json!({"name": name, "response": {"result": text}});
        if let Some(id) = id {
            response["id"] = id.into();
        }
        json!({"functionResponse": response})
    };
    let expected = json!([
        said(Some("a"), "f", "1"),
        said(Some("b"), "g", "2"),
        said(None, "h", "3"),
        {"text": "hm"},
    ]);
    assert_eq!(contents[1]["parts"], expected);
}

#[test]
fn a_result_of_no_call_is_refused() {
    let mut request = request(vec![user(vec![result(Some("x"), None, "1")])]);
    let mut losses = Losses::new(Form::Chat, Form::Generate, lenient());
    let error = write_request(&mut request, &fit(), &mut losses).unwrap_err();
    assert!(error.message().contains("the call `x`"), "{error}");
}

#[test]
fn arguments_have_to_be_an_object() {
    let mut request = request(vec![model(vec![call(Some("x"), "f", "[1]")])]);
    let mut losses = Losses::new(Form::Chat, Form::Generate, lenient());
    assert!(write_request(&mut request, &fit(), &mut losses).is_err());
}

#[test]
fn errors_and_images_of_tools() {
    let source = Source::Data { mime: "image/png".into(), data: "AA".into() };
    let image = Part::new(Body::Image { source, detail: None });
    let content = vec![Part::text("a"), image, Part::text("b")];
    let turns = vec![
        model(vec![call(Some("x"), "f", "")]),
        user(vec![Part::new(Body::ToolResult {
            id: Some("x".into()),
            name: None,
            content,
            is_error: true,
        })]),
    ];
    let expected = json!([
        {"functionResponse": {"id": "x", "name": "f", "response": {"error": "a\nb"}}},
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
    ]);
    assert_eq!(contents(turns, &fit())[1]["parts"], expected);
}

#[test]
fn signatures_go_back_to_where_they_stood() {
    let own = |data: &'static str| Some(Signature::new(Form::Generate, data));
    let foreign = Some(Signature::new(Form::Messages, "other"));
    let turns = vec![model(vec![
        thinking("t", own("1")),
        thinking("u", foreign.clone()),
        thinking("", foreign),
        thinking("v", own("")),
        thinking("", own("")),
        Part::text("a"),
        Part::text("b"),
        thinking("", own("2")),
        thinking("", own("3")),
        Part::new(Body::Redacted(Signature::new(Form::Messages, "hidden"))),
    ])];
    let expected = json!([
        {"text": "t", "thought": true, "thoughtSignature": "1"},
        {"text": "u", "thought": true},
        {"text": "v", "thought": true},
        {"text": "a"},
        {"text": "b", "thoughtSignature": "2"},
        {"text": "", "thoughtSignature": "3"},
    ]);
    assert_eq!(contents(turns, &fit())[0]["parts"], expected);
}

#[test]
fn a_signature_before_an_unsigned_call_is_that_calls() {
    // Clients of other forms have no place for it in a call, and keep it before.
    let own = |data: &'static str| Signature::new(Form::Generate, data);
    let turns = vec![model(vec![
        Part::text("a"),
        Part::new(Body::Redacted(own("1"))),
        call(Some("x"), "f", ""),
        thinking("", Some(own("2"))),
        call(Some("y"), "g", ""),
    ])];
    let mut fit = fit();
    fit.needs_signature = true;
    let expected = json!([
        {"text": "a"},
        {"functionCall": {"id": "x", "name": "f", "args": {}}, "thoughtSignature": "1"},
        {"functionCall": {"id": "y", "name": "g", "args": {}}, "thoughtSignature": "2"},
    ]);
    assert_eq!(contents(turns, &fit)[0]["parts"], expected);
}

#[test]
fn the_first_unsigned_call_of_a_turn_gets_the_placeholder() {
    let mut fit = fit();
    let signed = |signature| {
        let arguments = Arguments::Text("".into());
        Part::new(Body::ToolCall { id: Some("s".into()), name: "f".into(), arguments, signature })
    };
    let own = Some(Signature::new(Form::Generate, "own"));
    let turns = || {
        vec![
            model(vec![call(Some("a"), "f", ""), call(Some("b"), "f", "")]),
            user(vec![Part::text("x")]),
            model(vec![signed(own.clone()), call(Some("c"), "f", "")]),
            user(vec![Part::text("x")]),
            model(vec![signed(Some(Signature::new(Form::Messages, "other")))]),
        ]
    };
    let signatures = |contents: Value| -> Vec<Value> {
        let contents = contents.as_array().unwrap().clone();
        let parts = contents.iter().flat_map(|content| content["parts"].as_array().unwrap());
        let calls = parts.filter(|part| part.get("functionCall").is_some());
        calls.map(|part| part["thoughtSignature"].clone()).collect()
    };
    let none = Value::Null;
    let plain = [&none, &none, &json!("own"), &none, &none].map(Clone::clone);
    assert_eq!(signatures(contents(turns(), &fit)), plain);
    fit.needs_signature = true;
    let placeholder = json!(PLACEHOLDER);
    let needed = [&placeholder, &none, &json!("own"), &none, &placeholder].map(Clone::clone);
    assert_eq!(signatures(contents(turns(), &fit)), needed);
}

#[test]
fn only_some_places_are_fetched_from() {
    let image = |url: &'static str| {
        Part::new(Body::Image { source: Source::Url(url.into()), detail: None })
    };
    let document = |url: &'static str| {
        Part::new(Body::Document { source: Source::Url(url.into()), name: None })
    };
    let turns = vec![user(vec![
        image("gs://bucket/a.png"),
        image("https://x.test/a.png"),
        document("https://generativelanguage.googleapis.com/v1beta/files/a"),
        document("https://x.test/a.pdf"),
        document("https://www.youtube.com/watch?v=x"),
    ])];
    let (out, dropped) = written(request(turns.clone()), Form::Responses, &fit());
    let files = "https://generativelanguage.googleapis.com/v1beta/files/a";
    let expected = json!([
        {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}},
        {"fileData": {"fileUri": files}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}},
    ]);
    assert_eq!(out["contents"][0]["parts"], expected);
    assert_eq!(dropped, "input_image, input_file.file_url");
    // Unless told otherwise, that is a refusal.
    let mut losses = Losses::new(Form::Responses, Form::Generate, Strictness::default());
    assert!(write_request(&mut request(turns), &fit(), &mut losses).is_err());
}

#[test]
fn media_and_empty_texts() {
    let audio = Body::Audio { data: "AA".into(), format: "mp3".into() };
    let pdf = Source::Data { mime: "application/pdf".into(), data: "BB".into() };
    let pdf = Body::Document { source: pdf, name: Some("a.pdf".into()) };
    let turns = vec![
        user(vec![Part::text(""), Part::new(audio), Part::new(pdf)]),
        model(vec![Part::text("")]),
        model(vec![Part::new(Body::Refusal("No.".into()))]),
    ];
    let expected = json!([
        {"role": "user", "parts": [
            {"inlineData": {"mimeType": "audio/mp3", "data": "AA"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "BB"}},
        ]},
        {"role": "model", "parts": [{"text": "No."}]},
    ]);
    assert_eq!(contents(turns, &fit()), expected);
}

fn thought(thinking: Thinking, reasoning: Reasoning) -> (Value, String) {
    thought_of(Form::Responses, thinking, reasoning)
}

fn thought_of(client: Form, thinking: Thinking, reasoning: Reasoning) -> (Value, String) {
    let mut fit = fit();
    fit.reasoning = reasoning;
    let request = Request { thinking: Some(thinking), ..Request::default() };
    let (out, dropped) = written(request, client, &fit);
    (out["generationConfig"]["thinkingConfig"].clone(), dropped)
}

#[test]
fn how_much_to_think() {
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    for (asked, level, tokens, level_told, budget_told) in [
        (Effort::None, "MINIMAL", 0, true, false),
        (Effort::Minimal, "MINIMAL", 1024, false, false),
        (Effort::Low, "LOW", 1024, false, false),
        (Effort::Medium, "MEDIUM", 8192, false, false),
        (Effort::High, "HIGH", 24576, false, false),
        (Effort::XHigh, "HIGH", 24576, true, true),
        (Effort::Max, "HIGH", 24576, true, true),
    ] {
        let told = |told| if told { "reasoning.effort".to_owned() } else { String::new() };
        let written = thought(effort(asked), Reasoning::Level);
        assert_eq!(written, (json!({"thinkingLevel": level}), told(level_told)));
        let written = thought(effort(asked), Reasoning::Budget);
        assert_eq!(written, (json!({"thinkingBudget": tokens}), told(budget_told)));
        let written = thought(effort(asked), Reasoning::None);
        assert_eq!(written, (Value::Null, told(true)));
    }
    let budget = Thinking { budget: Some(3000), shown: Some(true), ..Thinking::default() };
    let (config, _) = thought(budget, Reasoning::Budget);
    assert_eq!(config, json!({"thinkingBudget": 3000, "includeThoughts": true}));
    let (config, _) = thought(budget, Reasoning::Level);
    assert_eq!(config, json!({"thinkingLevel": "MEDIUM", "includeThoughts": true}));
    // As it likes.
    assert_eq!(thought(Thinking::default(), Reasoning::Budget).0, json!({"thinkingBudget": -1}));
    assert_eq!(thought(Thinking::default(), Reasoning::Level), (Value::Null, String::new()));
}

#[test]
fn reasoning_is_shown_where_a_client_can_not_ask_for_that() {
    let low = Thinking { effort: Some(Effort::Low), ..Thinking::default() };
    for (client, shown) in [(Form::Chat, true), (Form::Messages, true), (Form::Responses, false)] {
        let (config, _) = thought_of(client, low, Reasoning::Level);
        assert_eq!(config.get("includeThoughts").is_some(), shown, "{client}");
        let off = Thinking { effort: Some(Effort::None), ..Thinking::default() };
        let (config, _) = thought_of(client, off, Reasoning::Budget);
        assert_eq!(config, json!({"thinkingBudget": 0}));
        let silent = Thinking { shown: Some(false), ..low };
        let (config, _) = thought_of(client, silent, Reasoning::Level);
        assert_eq!(config["includeThoughts"], json!(false));
    }
}

#[test]
fn all_other_options() {
    let schema = Format::Schema {
        name: Some("n".into()),
        description: None,
        schema: parsed(r#"{"type":"object"}"#),
        strict: Some(true),
    };
    let request = Request {
        top_p: serde_json::Number::from_f64(0.5),
        top_k: Some(4.into()),
        frequency_penalty: Some(1.into()),
        presence_penalty: Some(2.into()),
        choices: Some(2),
        logprobs: Some(3),
        format: Some(schema),
        tool_choice: Some(ToolChoice::Named("f".into())),
        ..Request::default()
    };
    let (out, dropped) = written(request, Form::Chat, &fit());
    let expected = json!({
        "contents": [],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "topP": 0.5,
            "topK": 4,
            "presencePenalty": 2,
            "frequencyPenalty": 1,
            "candidateCount": 2,
            "responseLogprobs": true,
            "logprobs": 3,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
        },
    });
    assert_eq!((out, dropped.as_str()), (expected, ""));
    let request = Request { format: Some(Format::Json), ..Request::default() };
    let (out, _) = written(request, Form::Chat, &fit());
    assert_eq!(out["generationConfig"], json!({"responseMimeType": "application/json"}));
}

#[test]
fn a_free_choice_among_some_tools_is_those_tools() {
    let tool = |name: &'static str| Tool { name: name.into(), ..Tool::default() };
    let allowed = |required| Request {
        tools: vec![tool("f"), tool("g"), tool("h")],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["f".into(), "h".into()], required }),
        ..Request::default()
    };
    let (out, _) = written(allowed(false), Form::Chat, &fit());
    assert_eq!(out["tools"], json!([{"functionDeclarations": [{"name": "f"}, {"name": "h"}]}]));
    assert_eq!(out["toolConfig"]["functionCallingConfig"], json!({"mode": "AUTO"}));
    let (out, _) = written(allowed(true), Form::Chat, &fit());
    assert_eq!(out["tools"][0]["functionDeclarations"].as_array().unwrap().len(), 3);
    let expected = json!({"mode": "ANY", "allowedFunctionNames": ["f", "h"]});
    assert_eq!(out["toolConfig"]["functionCallingConfig"], expected);
}

#[test]
fn a_temperature_too_high_is_bent_and_told() {
    let mut fit = fit();
    fit.max_temperature = Some(1.0);
    let (out, dropped) = written(pair(), Form::Chat, &fit);
    assert_eq!(out["generationConfig"]["temperature"], 1.0);
    assert!(dropped.contains("temperature"));
    fit.lacks.push(Field::Temperature);
    let (out, _) = written(pair(), Form::Chat, &fit);
    assert!(out["generationConfig"].get("temperature").is_none());
}
