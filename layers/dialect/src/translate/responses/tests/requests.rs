use serde_json::{Value, json};

use super::{super::*, object, sample, value};
use crate::{
    BadRequest,
    json::Json,
    translate::{
        Fit, Form, Loss, Losses, Reasoning, Strictness,
        hub::{
            Arguments, Body, Effort, Format, Part, Request, Role, Signature, Source, Thinking,
            Tool, ToolChoice, Turn,
        },
    },
};

/// A request with one of everything that the API's reference lists for input.
pub(super) fn everything() -> Value {
    let input = json!([
        {"role": "developer", "content": "Use tools."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "Look."},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
            {"type": "input_file", "filename": "a.txt", "file_data": "CCCC"},
            {"type": "input_file", "file_url": "https://x/a.pdf"}]},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": [
            {"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hm.", "logprobs": [], "annotations": [
                {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2},
                {"type": "file_citation", "file_id": "f", "index": 1}]},
                {"type": "refusal", "refusal": "No."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
            "arguments": "{\"a\":1}", "status": "completed"},
        {"type": "function_call", "call_id": "call_2", "name": "f", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "fine"},
        {"type": "function_call_output", "call_id": "call_2", "output": [
            {"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": "https://x/b.png"}]},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]);
    json!({
        "model": "gpt-5.4", "instructions": "Be brief.", "stream": true, "max_output_tokens": 9,
        "temperature": 0.5, "top_p": 1, "user": "u", "safety_identifier": "s", "store": true,
        "parallel_tool_calls": false, "truncation": "auto", "service_tier": "flex",
        "metadata": {"a": "b"}, "prompt_cache_key": "k", "max_tool_calls": 3, "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "reasoning": {"effort": "high", "summary": "auto"}, "background": false,
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n",
            "schema": {"type": "object"}, "strict": true}},
        "tools": [{"type": "function", "name": "f", "description": "d", "strict": false,
            "parameters": {"type": "object"}}, {"type": "web_search"}],
        "tool_choice": {"type": "allowed_tools", "mode": "required",
            "tools": [{"type": "function", "name": "f"}]},
        "input": input,
    })
}

fn read(body: &Value) -> Result<Request<'static>, BadRequest> {
    let text: &'static str = Box::leak(body.to_string().into_boxed_str());
    read_request(Json::read(text.as_bytes()).unwrap())
}

fn input(items: Value) -> Request<'static> {
    read(&json!({ "input": items })).unwrap()
}

fn extras(request: &Request<'_>) -> Vec<(String, Loss)> {
    request.extras.iter().map(|extra| (extra.name.to_string(), extra.loss)).collect()
}

fn write_for(client: Form, request: &mut Request<'_>, fit: &Fit) -> (Value, Option<String>) {
    let lenient = Strictness { refuse_meaning: false, refuse_harmless: false };
    let mut losses = Losses::new(client, Form::Responses, lenient);
    let body = value(write_request(request, fit, &mut losses).unwrap());
    (body, losses.header().map(|header| header.to_str().unwrap().to_owned()))
}

fn write(turns: Vec<Turn<'_>>) -> (Value, Option<String>) {
    let mut request = Request { turns, ..Request::default() };
    write_for(Form::Messages, &mut request, &Fit::new(Form::Responses))
}

#[test]
fn the_sample() {
    let bytes = sample("openai/responses_basic.req.json");
    let request = read_request(Json::Object(object(&bytes))).unwrap();
    assert_eq!(request.model, "gpt-5.4");
    assert_eq!(
        request.turns,
        [
            Turn::new(Role::System, vec![Part::text("Be brief.")]),
            Turn::new(Role::User, vec![Part::text("Two plus two?")]),
        ]
    );
    assert_eq!(request.max_tokens, Some(64));
    let low = Thinking { effort: Some(Effort::Low), ..Thinking::default() };
    assert_eq!(request.thinking, Some(low));
    // `store: false` is what happens anyway.
    assert_eq!(extras(&request), []);
}

#[test]
fn everything_has_its_place() {
    let request = read(&everything()).unwrap();
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    use Role::{Assistant, System, User};
    assert_eq!(roles, [System, System, User, Assistant, User, Assistant, User]);
    let given: Vec<_> = request.turns[2].parts.iter().map(|part| &part.body).collect();
    let data = |mime: &'static str, data: &'static str| Source::Data {
        mime: mime.into(),
        data: data.into(),
    };
    let document =
        |source, name: Option<&'static str>| Body::Document { source, name: name.map(Into::into) };
    assert_eq!(
        given,
        [
            &Part::text("Look.").body,
            &Body::Image { source: data("image/png", "AAAA"), detail: Some("low".into()) },
            &Body::Image { source: Source::File("file-1".into()), detail: None },
            &document(data("application/pdf", "BBBB"), Some("a.pdf")),
            &document(data("text/plain", "CCCC"), Some("a.txt")),
            &document(Source::Url("https://x/a.pdf".into()), None),
        ]
    );
    let said = &request.turns[3].parts;
    assert_eq!(said.len(), 5);
    let own = Signature::new(Form::Responses, "rs_1:gAAA");
    assert_eq!(said[0].body, Body::Thinking { text: "One\n\nTwo".into(), signature: Some(own) });
    assert!(matches!(&said[1].body, Body::Text { citations, .. } if citations.len() == 1));
    assert_eq!(said[2].body, Body::Refusal("No.".into()));
    assert!(matches!(&said[4].body, Body::ToolCall { id: Some(id), .. } if id == "call_2"));
    let results = &request.turns[4].parts;
    assert_eq!(results.len(), 2);
    assert!(matches!(&results[1].body, Body::ToolResult { content, .. } if content.len() == 2));
    assert_eq!(request.tools.len(), 1);
    let only = ToolChoice::Allowed { names: vec!["f".into()], required: true };
    assert_eq!(request.tool_choice, Some(only));
    assert!(matches!(request.format, Some(Format::Schema { strict: Some(true), .. })));
    assert_eq!(request.verbosity.as_deref(), Some("low"));
    assert_eq!(request.logprobs, Some(2));
    assert_eq!(request.parallel_tools, Some(false));
    assert_eq!(request.user.as_deref(), Some("u"));
    let high = Thinking { effort: Some(Effort::High), budget: None, shown: Some(true) };
    assert_eq!(request.thinking, Some(high));
    let mut extras = extras(&request);
    extras.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        extras,
        [
            ("input.content.annotations".to_owned(), Loss::Harmless),
            ("max_tool_calls".to_owned(), Loss::Harmless),
            ("metadata".to_owned(), Loss::Harmless),
            ("prompt_cache_key".to_owned(), Loss::Harmless),
            ("safety_identifier".to_owned(), Loss::Harmless),
            ("service_tier".to_owned(), Loss::Harmless),
            ("store".to_owned(), Loss::Harmless),
            ("tools.web_search".to_owned(), Loss::Meaning),
            ("truncation".to_owned(), Loss::Harmless),
        ]
    );
}

#[test]
fn what_points_to_something_stored_or_hosted_loses_its_meaning() {
    let cases = [
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"conversation": {"id": "conv_1"}}), "conversation"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"background": true, "input": "x"}), "background"),
        (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "input.item_reference"),
        (json!({"input": [{"id": "msg_1"}]}), "input.item_reference"),
        (json!({"input": [{"type": "web_search_call", "id": "ws_1"}]}), "input.web_search_call"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
            "input.content.input_audio",
        ),
        (json!({"input": "x", "tool_choice": {"type": "file_search"}}), "tool_choice"),
        (json!({"input": "x", "text": {"format": {"type": "grammar"}}}), "text.format.grammar"),
    ];
    for (body, name) in cases {
        let request = read(&body).unwrap();
        assert_eq!(extras(&request), [(name.to_owned(), Loss::Meaning)], "{body}");
    }
    for kind in ["file_search", "code_interpreter", "mcp", "image_generation", "custom"] {
        let request = read(&json!({"input": "x", "tools": [{"type": kind}]})).unwrap();
        assert_eq!(extras(&request), [(format!("tools.{kind}"), Loss::Meaning)]);
    }
}

#[test]
fn what_is_so_anyway_costs_nothing() {
    let request = read(&json!({
        "input": "x", "background": false, "store": false, "truncation": "disabled",
        "service_tier": "auto", "metadata": {}, "stream_options": {"include_obfuscation": false},
        "previous_response_id": null, "tools": [], "text": {"format": {"type": "text"}},
        "reasoning": {"effort": null}, "include": ["reasoning.encrypted_content"],
        "top_logprobs": 0,
    }))
    .unwrap();
    assert_eq!(extras(&request), []);
    assert_eq!(request.thinking, None);
    assert_eq!(request.logprobs, None);
    assert_eq!(request.turns, [Turn::new(Role::User, vec![Part::text("x")])]);
}

#[test]
fn unknown_members_are_told_by_their_path() {
    let request = read(&json!({
        "input": [{"role": "user", "phase": "x", "content": [
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {}}]}],
        "tools": [{"type": "function", "name": "f", "defer_loading": true}],
        "text": {"x": 1}, "reasoning": {"context": "auto", "effort": "ultra"}, "seed": 1,
    }))
    .unwrap();
    let mut names: Vec<_> = extras(&request).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "input.content.prompt_cache_breakpoint",
            "input.phase",
            "reasoning.context",
            "reasoning.effort",
            "seed",
            "text.x",
            "tools.defer_loading",
        ]
    );
    assert!(request.extras.iter().all(|extra| extra.loss == Loss::Harmless));
}

#[test]
fn a_wrong_type_is_refused_where_it_stands() {
    let cases = [
        (json!({"input": 1}), "input"),
        (json!({}), "input"),
        (json!({"input": [1]}), "input[0]"),
        (json!({"input": [{}]}), "input[0].type"),
        (json!({"input": [{"role": "tool", "content": ""}]}), "input[0].role"),
        (json!({"input": [{"role": "user"}]}), "input[0].content"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "input[0].content[0].image_url",
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}),
            "input[0].content[0].text",
        ),
        (json!({"input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id"),
        (json!({"input": [{"type": "function_call_output", "call_id": "c"}]}), "input[0].output"),
        (
            json!({"input": [{"type": "reasoning", "summary": [{"text": []}]}]}),
            "input[0].summary[0].text",
        ),
        (json!({"input": "x", "tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"input": "x", "tools": {}}), "tools"),
        (json!({"input": "x", "tool_choice": "any"}), "tool_choice"),
        (json!({"input": "x", "tool_choice": {"type": "function"}}), "tool_choice.name"),
        (json!({"input": "x", "text": {"format": {"type": "json_schema"}}}), "text.format.schema"),
        (json!({"input": "x", "reasoning": "high"}), "reasoning"),
        (json!({"input": "x", "include": [1]}), "include[0]"),
        (json!({"input": "x", "max_output_tokens": -1}), "max_output_tokens"),
        (json!({"input": "x", "metadata": {}, "temperature": "hot"}), "temperature"),
    ];
    for (body, param) in cases {
        let error = read(&body).unwrap_err();
        assert_eq!(error.param(), Some(param), "{body}: {error}");
    }
}

#[test]
fn a_calls_signature_comes_back_as_reasoning() {
    let request = input(json!([
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "tollway:generate:c2ln"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [], "encrypted_content": "tollway:messages:c2ln"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
    ]));
    let parts = &request.turns[0].parts;
    assert_eq!(parts.len(), 3);
    assert!(matches!(&parts[0].body, Body::ToolCall { signature: Some(signature), .. }
        if *signature == Signature::new(Form::Generate, "c2ln")));
    assert_eq!(parts[1].body, Body::Redacted(Signature::new(Form::Messages, "c2ln")));
    assert!(matches!(&parts[2].body, Body::ToolCall { signature: None, .. }));
}

#[test]
fn nothing_is_stored_and_thoughts_are_asked_for_where_there_are_some() {
    let with = |thinking, turns| {
        let mut request = Request { thinking, turns, ..Request::default() };
        write_for(Form::Messages, &mut request, &Fit::new(Form::Responses)).0
    };
    let plain = with(None, Vec::new());
    assert_eq!(plain["store"], false);
    assert_eq!(plain.get("include"), None);
    assert_eq!(plain.get("reasoning"), None);

    let adaptive = with(Some(Thinking::default()), Vec::new());
    assert_eq!(adaptive["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(adaptive.get("reasoning"), None);

    let budget = Thinking { effort: None, budget: Some(4096), shown: Some(true) };
    let budget = with(Some(budget), Vec::new());
    assert_eq!(budget["reasoning"], json!({"effort": "medium", "summary": "auto"}));

    let off = Thinking { effort: Some(Effort::None), ..Thinking::default() };
    let off = with(Some(off), Vec::new());
    assert_eq!(off["reasoning"], json!({"effort": "none"}));
    assert_eq!(off.get("include"), None);

    let own = Signature::new(Form::Responses, "rs_1:gAAA");
    let own = Body::Thinking { text: "Hm".into(), signature: Some(own) };
    let again = with(None, vec![Turn::new(Role::Assistant, vec![Part::new(own)])]);
    assert_eq!(again["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(
        again["input"],
        json!([{"type": "reasoning", "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAA"}])
    );
}

#[test]
fn a_model_that_cannot_be_told_how_much_to_think_is_not() {
    let mut fit = Fit::new(Form::Responses);
    fit.reasoning = Reasoning::None;
    let thinking = Some(Thinking { effort: Some(Effort::High), ..Thinking::default() });
    let mut request = Request { thinking, ..Request::default() };
    let (body, dropped) = write_for(Form::Messages, &mut request, &fit);
    assert_eq!((body.get("reasoning"), body.get("include")), (None, None));
    assert_eq!(dropped.as_deref(), Some("thinking"));
}

#[test]
fn unsealed_thoughts_stay_here() {
    let thought = |signature| Part::new(Body::Thinking { text: "Hm".into(), signature });
    let foreign = Signature::new(Form::Messages, "x");
    let turns = || {
        let parts = vec![thought(None), thought(Some(foreign.clone())), Part::text("Yes.")];
        vec![Turn::new(Role::Assistant, parts)]
    };
    let (body, dropped) = write(turns());
    assert_eq!(body["input"], json!([{"type": "message", "role": "assistant", "content": "Yes."}]));
    assert_eq!(dropped.as_deref(), Some("thinking"));

    let mut fit = Fit::new(Form::Responses);
    fit.echo_reasoning = true;
    let mut request = Request { turns: turns(), ..Request::default() };
    let (body, dropped) = write_for(Form::Messages, &mut request, &fit);
    assert_eq!(
        body["input"][0],
        json!({"type": "reasoning", "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm"}]})
    );
    assert_eq!(dropped, None);
}

#[test]
fn instructions_stand_where_they_stood() {
    let system = |texts: &[&'static str]| {
        Turn::new(Role::System, texts.iter().map(|text| Part::text(*text)).collect())
    };
    let user = || Turn::new(Role::User, vec![Part::text("Hi")]);
    let hi = json!({"type": "message", "role": "user", "content": "Hi"});

    let (body, _) = write(vec![system(&["One"]), user(), system(&["Two"])]);
    assert_eq!(body["instructions"], "One");
    let two = json!({"type": "message", "role": "system", "content": "Two"});
    assert_eq!(body["input"], json!([hi, two]));

    let mut fit = Fit::new(Form::Responses);
    fit.developer_role = true;
    let mut request =
        Request { turns: vec![system(&["One", "Two"]), user()], ..Request::default() };
    let (body, _) = write_for(Form::Chat, &mut request, &fit);
    assert_eq!(body.get("instructions"), None);
    assert_eq!(
        body["input"][0],
        json!({"type": "message", "role": "developer", "content": [
            {"type": "input_text", "text": "One"}, {"type": "input_text", "text": "Two"}]})
    );
}

#[test]
fn results_without_an_id_answer_the_calls_in_order() {
    let call = |id: Option<&'static str>, name: &'static str| {
        Part::new(Body::ToolCall {
            id: id.map(Into::into),
            name: name.into(),
            arguments: Arguments::Value(Json::read(b"{\"a\":1}").unwrap()),
            signature: None,
        })
    };
    let result = |id: Option<&'static str>, name: &'static str, content, is_error| {
        Part::new(Body::ToolResult {
            id: id.map(Into::into),
            name: Some(name.into()),
            content,
            is_error,
        })
    };
    let image = || {
        let source = Source::Data { mime: "image/png".into(), data: "AAAA".into() };
        Part::new(Body::Image { source, detail: None })
    };
    let (body, dropped) = write(vec![
        Turn::new(Role::Assistant, vec![call(None, "f"), call(Some("g1"), "g"), call(None, "f")]),
        Turn::new(
            Role::User,
            vec![
                result(None, "g", vec![Part::text("no")], true),
                result(None, "f", vec![image()], true),
                result(None, "f", vec![], false),
                result(None, "h", vec![Part::text("a"), Part::text("b")], false),
                Part::text("So?"),
            ],
        ),
    ]);
    let image = json!({"type": "input_image", "image_url": "data:image/png;base64,AAAA"});
    let text = |text: &str| json!({"type": "input_text", "text": text});
    let call = |id: &str, name: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{\"a\":1}"});
    let output = |id: &str, output: Value| json!({"type": "function_call_output", "call_id": id, "output": output});
    assert_eq!(
        body["input"],
        json!([
            call("call_0", "f"), call("g1", "g"), call("call_2", "f"),
            output("g1", json!("Error: no")),
            output("call_0", json!([text("Error: "), image])),
            output("call_2", json!("")),
            output("call_3", json!([text("a"), text("b")])),
            {"type": "message", "role": "user", "content": "So?"},
        ])
    );
    assert_eq!(dropped, None);
}

#[test]
fn what_an_answer_cannot_have_is_told() {
    let source = Source::Url("https://x/a.png".into());
    let image = Part::new(Body::Image { source, detail: None });
    let (body, dropped) = write(vec![Turn::new(Role::Assistant, vec![image, Part::text("a")])]);
    assert_eq!(body["input"], json!([{"type": "message", "role": "assistant", "content": "a"}]));
    assert_eq!(dropped.as_deref(), Some("image"));
}

#[test]
fn functions_are_not_strict_unless_told_so() {
    let tool = |strict| Tool { name: "f".into(), strict, ..Tool::default() };
    let mut request = Request { tools: vec![tool(None), tool(Some(true))], ..Request::default() };
    request.tool_choice = Some(ToolChoice::Named("f".into()));
    request.temperature = serde_json::Number::from_f64(1.5);
    let mut fit = Fit::new(Form::Responses);
    fit.max_temperature = Some(1.0);
    let (body, dropped) = write_for(Form::Chat, &mut request, &fit);
    let empty = json!({"type": "object", "properties": {}});
    assert_eq!(
        body["tools"],
        json!([
            {"type": "function", "name": "f", "parameters": empty, "strict": false},
            {"type": "function", "name": "f", "parameters": empty, "strict": true},
        ])
    );
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": "f"}));
    assert_eq!(body["temperature"], 1.0);
    assert_eq!(dropped.as_deref(), Some("temperature"));
}

#[test]
fn a_sibling_shares_its_fields_and_others_do_not() {
    for (client, stored) in [(Form::Chat, true), (Form::Messages, false)] {
        let mut request = Request::default();
        for name in ["store", "metadata", "service_tier", "logit_bias"] {
            request.extra(name, Json::Bool(true), Loss::Harmless);
        }
        let (body, _) = write_for(client, &mut request, &Fit::new(Form::Responses));
        assert_eq!(body["store"], stored);
        assert_eq!(body.get("metadata").is_some(), stored);
        // Anthropic's is read in OpenAI's words.
        assert!(body.get("service_tier").is_some());
        assert_eq!(body.get("logit_bias"), None);
        assert!(!request.extras.is_empty());
    }
}
