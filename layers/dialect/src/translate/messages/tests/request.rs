//! The options of a request, both ways.

use serde_json::{Number, json};

use super::*;
use crate::translate::{
    Field, Loss,
    hub::{Effort, Extra, Format, Part, Role, Thinking, Tool, ToolChoice, Turn},
};

pub(super) fn user(text: &str) -> Turn<'_> {
    Turn::new(Role::User, vec![Part::text(text)])
}

pub(super) fn asking() -> Request<'static> {
    Request {
        model: "m".into(),
        turns: vec![user("Hi")],
        max_tokens: Some(9),
        ..Request::default()
    }
}

fn tool(name: &str) -> Tool<'_> {
    Tool { name: name.into(), ..Tool::default() }
}

fn schema(text: &str) -> Json<'_> {
    Json::read(text.as_bytes()).unwrap()
}

#[test]
fn samples_are_read_and_written_alike() {
    for name in ["basic", "tools", "tool_results"] {
        let text =
            String::from_utf8(sample(&format!("anthropic/messages_{name}.req.json"))).unwrap();
        let first = read(&text);
        assert!(first.extras.is_empty(), "{name}");
        let (written, _) = text_from(Form::Chat, first.clone(), &fit()).unwrap();
        assert_eq!(read(&written), first, "{name}");
    }
}

#[test]
fn everything_that_can_be_asked() {
    let request = read(
        r#"{"model":"m","max_tokens":5,"top_p":0.5,"top_k":3,"temperature":0.25,"stream":true,
        "system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"user","content":"q"}],
        "tools":[{"type":"custom","name":"f","description":"d","strict":true,
            "input_schema":{"type":"object"},"cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
        "thinking":{"type":"adaptive","display":"summarized"},
        "output_config":{"effort":"xhigh","format":{"type":"json_schema","schema":{"a":1}}},
        "metadata":{"user_id":"u"},"stop_sequences":["x"],"speed":"standard",
        "service_tier":"auto","mcp_servers":[]}"#,
    );
    assert_eq!(request.turns[0].role, Role::System);
    assert!(request.turns[0].parts[0].cache_control.is_some());
    assert_eq!(request.turns[1], user("q"));
    assert_eq!(request.tools[0].strict, Some(true));
    assert!(request.tools[0].cache_control.is_some());
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
    assert_eq!(request.parallel_tools, Some(false));
    let thinking = Thinking { effort: Some(Effort::XHigh), budget: None, shown: Some(true) };
    assert_eq!(request.thinking, Some(thinking));
    assert!(matches!(request.format, Some(Format::Schema { .. })));
    assert_eq!(request.user.as_deref(), Some("u"));
    assert_eq!(request.stop, ["x"]);
    assert_eq!((request.max_tokens, request.stream), (Some(5), true));
    assert_eq!(request.top_k, Some(3.into()));
    assert_eq!(request.extras, []);
}

#[test]
fn what_only_anthropic_has() {
    let request = read(
        r#"{"messages":[{"role":"user","name":"n","content":[
            {"type":"text","text":"a","future":1},
            {"type":"server_tool_use","id":"x"},{"type":"container_upload","file_id":"f"}]}],
        "tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","defer_loading":true}],
        "service_tier":"standard_only","container":"c","mcp_servers":[{}],"context_management":{},
        "inference_geo":"eu","speed":"fast","metadata":{"k":1},"output_config":{"task_budget":1},
        "cache_control":{"type":"ephemeral"},"future":null}"#,
    );
    let extra = |name: &str| {
        let found: Vec<&Extra<'_>> =
            request.extras.iter().filter(|extra| extra.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].loss
    };
    for name in [
        "tools.web_search_20250305",
        "messages.content.container_upload",
        "container",
        "mcp_servers",
        "inference_geo",
    ] {
        assert_eq!(extra(name), Loss::Meaning, "{name}");
    }
    for name in [
        "messages.content.future",
        "messages.content.server_tool_use",
        "messages.name",
        "tools.defer_loading",
        "service_tier",
        "context_management",
        "speed",
        "metadata.k",
        "output_config.task_budget",
        "cache_control",
    ] {
        assert_eq!(extra(name), Loss::Harmless, "{name}");
    }
    assert_eq!(request.extras.len(), 15);
    let tier = request.extras.iter().find(|extra| extra.name == "service_tier").unwrap();
    assert_eq!(tier.value, "default".into(), "OpenAI's word");
}

#[test]
fn a_wrong_type_is_refused_by_its_place() {
    for (json, place) in [
        (r#"[]"#, ""),
        (r#"{}"#, "messages"),
        (r#"{"messages":{}}"#, "messages"),
        (r#"{"messages":[1]}"#, "messages[0]"),
        (r#"{"messages":[{"content":""}]}"#, "messages[0].role"),
        (r#"{"messages":[{"role":"tool","content":""}]}"#, "messages[0].role"),
        (r#"{"messages":[{"role":"user"}]}"#, "messages[0].content"),
        (r#"{"messages":[{"role":"user","content":1}]}"#, "messages[0].content"),
        (r#"{"messages":[{"role":"user","content":[{}]}]}"#, "messages[0].content[0].type"),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":1}]}]}"#,
            "messages[0].content[0].text",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":1}}]}]}"#,
            "messages[0].content[0].source.url",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"x"}}]}]}"#,
            "messages[0].content[0].source.type",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text"}]}]}]}"#,
            "messages[0].content[0].content[0].text",
        ),
        (
            r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"f","input":"x"}]}]}"#,
            "messages[0].content[0].input",
        ),
        (r#"{"messages":[],"system":1}"#, "system"),
        (r#"{"messages":[],"max_tokens":-1}"#, "max_tokens"),
        (r#"{"messages":[],"stop_sequences":[1]}"#, "stop_sequences[0]"),
        (r#"{"messages":[],"tools":[{"name":1}]}"#, "tools[0].name"),
        (r#"{"messages":[],"tool_choice":{"type":"some"}}"#, "tool_choice.type"),
        (r#"{"messages":[],"tool_choice":{"type":"tool"}}"#, "tool_choice.name"),
        (r#"{"messages":[],"thinking":{"type":"on"}}"#, "thinking.type"),
        (r#"{"messages":[],"thinking":{"type":"adaptive","display":"x"}}"#, "thinking.display"),
        (r#"{"messages":[],"output_config":{"effort":"minimal"}}"#, "output_config.effort"),
        (r#"{"messages":[],"output_config":{"format":{"type":"x"}}}"#, "output_config.format.type"),
        (r#"{"messages":[],"metadata":{"user_id":1}}"#, "metadata.user_id"),
    ] {
        let error = read_request(Json::read(json.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error.param(), Some(place), "{json}");
    }
}

#[test]
fn a_conversation_held_elsewhere_is_asked_for_whole() {
    let json = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}],
        "thread":{"type":"continue","previous_message_id":"msg_1"}}"#;
    let error = read_request(Json::read(json.as_bytes()).unwrap()).unwrap_err();
    assert_eq!((error.param(), error.status()), (Some("thread"), http::StatusCode::BAD_REQUEST));
    // Upon which Anthropic's SDKs do so.
    let body = crate::ErrorReply::of_request(&error).body_in(tollway_core::Dialect::Anthropic);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["details"]["error_code"], "thread_unsupported_request");
    assert_eq!(body["error"]["type"], "invalid_request_error");
}

#[test]
fn options_as_anthropic_has_them() {
    let mut request = asking();
    request.temperature = Number::from_f64(1.4);
    request.stop = vec!["END".into(), " ".into(), "".into()];
    request.stream = true;
    let (written, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(written["temperature"], json!(1));
    assert_eq!(written["stop_sequences"], json!(["END"]));
    assert_eq!(written["stream"], json!(true));
    assert_eq!(told, "temperature, stop");

    let mut request = asking();
    request.temperature = Number::from_f64(0.5);
    request.top_p = Number::from_f64(0.5);
    let mut one = fit();
    one.one_sampling = true;
    let (written, told) = write_from(Form::Chat, request.clone(), &one).unwrap();
    assert_eq!((&written["temperature"], &told[..]), (&json!(0.5), "top_p"));
    assert!(written.get("top_p").is_none());
    let mut none = fit();
    none.lacks = vec![Field::Temperature, Field::TopP];
    let (written, told) = write_from(Form::Chat, request, &none).unwrap();
    assert_eq!(written.get("temperature"), None);
    assert_eq!(told, "temperature, top_p");
}

#[test]
fn a_bound_is_always_given() {
    let mut request = asking();
    assert_eq!(write(request.clone(), &fit())["max_tokens"], 9);
    request.max_tokens = None;
    assert_eq!(write(request.clone(), &fit())["max_tokens"], 4096);
    let mut known = fit();
    known.max_output_tokens = Some(64_000);
    assert_eq!(write(request, &known)["max_tokens"], 64_000);
}

#[test]
fn the_choice_of_tools() {
    let cases = [
        (None, None, json!(null)),
        (None, Some(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (Some(ToolChoice::Auto), None, json!({"type": "auto"})),
        (Some(ToolChoice::None), Some(false), json!({"type": "none"})),
        (Some(ToolChoice::Required), Some(true), json!({"type": "any"})),
        (
            Some(ToolChoice::Named("f".into())),
            Some(false),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
    ];
    for (choice, parallel, expected) in cases {
        let mut request = asking();
        request.tools = vec![tool("f"), tool("g")];
        request.tool_choice = choice;
        request.parallel_tools = parallel;
        let written = write(request, &fit());
        assert_eq!(written.get("tool_choice").unwrap_or(&json!(null)), &expected);
        assert_eq!(written["tools"].as_array().unwrap().len(), 2);
        let schema = json!({"type": "object", "properties": {}});
        assert_eq!(written["tools"][0], json!({"name": "f", "input_schema": schema}));
    }
    for (required, kind) in [(false, "auto"), (true, "any")] {
        let mut request = asking();
        request.tools = vec![tool("f"), tool("g")];
        request.tool_choice = Some(ToolChoice::Allowed { names: vec!["g".into()], required });
        let written = write(request, &fit());
        assert_eq!(written["tools"].as_array().unwrap().len(), 1);
        assert_eq!(written["tools"][0]["name"], "g");
        assert_eq!(written["tool_choice"], json!({"type": kind}));
    }
    // A choice among no tools is refused by the provider.
    let mut request = asking();
    request.tool_choice = Some(ToolChoice::None);
    request.parallel_tools = Some(false);
    assert!(write(request, &fit()).get("tool_choice").is_none());
}

#[test]
fn a_schema_is_closed() {
    let mut request = asking();
    request.format = Some(Format::Schema {
        name: Some("n".into()),
        description: Some("What it is.".into()),
        schema: schema(
            r##"{"type":"object","additionalProperties":true,"properties":{
                "properties":{"type":["object","null"]},
                "list":{"type":"array","items":{"properties":{"a":{"type":"string"}}}},
                "any":{"anyOf":[{"type":"object"},{"$ref":"#/$defs/d"}]}},
                "$defs":{"d":{"type":"object"}}}"##,
        ),
        strict: None,
    });
    let written = write(request, &fit());
    let expected = json!({"type": "json_schema", "schema": {
        "type": "object",
        "properties": {
            "properties": {"type": ["object", "null"], "additionalProperties": false},
            "list": {"type": "array", "items":
                {"properties": {"a": {"type": "string"}}, "additionalProperties": false}},
            "any": {"anyOf": [{"type": "object", "additionalProperties": false},
                {"$ref": "#/$defs/d"}]},
        },
        "$defs": {"d": {"type": "object", "additionalProperties": false}},
        "additionalProperties": false,
        "description": "What it is.",
    }});
    assert_eq!(written["output_config"], json!({"format": expected}));
    let mut request = asking();
    let mut strict = tool("f");
    strict.strict = Some(true);
    strict.schema = Some(schema(r#"{"properties":{}}"#));
    request.tools = vec![strict];
    let input = json!({"properties": {}, "type": "object", "additionalProperties": false});
    let expected = json!({"name": "f", "strict": true, "input_schema": input});
    assert_eq!(write(request, &fit())["tools"][0], expected);
}

#[test]
fn a_tool_stands_for_a_schema() {
    let mut older = fit();
    older.structured = false;
    let mut request = asking();
    request.format = Some(Format::Schema {
        name: None,
        description: None,
        schema: schema(r#"{"type":"object"}"#),
        strict: None,
    });
    let written = write(request.clone(), &older);
    assert_eq!(written["tools"][0]["name"], JSON_TOOL);
    assert_eq!(written["tools"][0]["input_schema"], json!({"type": "object"}));
    let choice = json!({"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": true});
    assert_eq!(written["tool_choice"], choice);
    assert!(written.get("output_config").is_none());
    // The model may as well call a tool of the client's.
    request.tools = vec![tool("f")];
    let written = write(request.clone(), &older);
    assert_eq!(written["tool_choice"], json!({"type": "any"}));
    assert_eq!(written["tools"].as_array().unwrap().len(), 2);
    request.tool_choice = Some(ToolChoice::Allowed { names: vec!["f".into()], required: false });
    let written = write(request.clone(), &older);
    assert_eq!(written["tool_choice"], json!({"type": "any"}));
    assert_eq!(written["tools"].as_array().unwrap().len(), 2);
    // Or has to.
    request.tool_choice = Some(ToolChoice::Named("f".into()));
    let written = write(request.clone(), &older);
    assert_eq!(written["tool_choice"], json!({"type": "tool", "name": "f"}));
    assert_eq!(written["tools"].as_array().unwrap().len(), 1);
    // Or must not.
    request.tool_choice = Some(ToolChoice::None);
    assert_eq!(write(request, &older)["tool_choice"], choice);
}

#[test]
fn json_mode_is_an_instruction() {
    let mut request = asking();
    request.turns.insert(0, Turn::new(Role::System, vec![Part::text("Be brief.")]));
    request.format = Some(Format::Json);
    let written = write(request, &fit());
    let system = written["system"].as_str().unwrap();
    assert!(system.starts_with("Be brief.\nAnswer with one JSON object"), "{system}");
}

#[test]
fn fields_of_openais_forms() {
    let mut request = asking();
    request.extra("service_tier", "default".into(), Loss::Harmless);
    request.extra("safety_identifier", "s".into(), Loss::Harmless);
    let written = write(request, &fit());
    assert_eq!(written["service_tier"], "standard_only");
    assert_eq!(written["metadata"], json!({"user_id": "s"}));

    let mut request = asking();
    request.extra("service_tier", "flex".into(), Loss::Harmless);
    request.extra("metadata", schema(r#"{"user_id":"m","k":"v"}"#), Loss::Harmless);
    request.extra("store", true.into(), Loss::Harmless);
    let (written, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert_eq!(written.get("service_tier"), None);
    assert_eq!(written["metadata"], json!({"user_id": "m"}));
    assert_eq!(told, "service_tier, metadata, store");
}

#[test]
fn a_name_of_any_length_is_told_shortened() {
    let kind = "é".repeat(1000);
    let json = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"{kind}"}}]}}],"tools":[{{"type":"{kind}"}}]}}"#
    );
    let request = read(&json);
    let names: Vec<_> = request.extras.iter().map(|extra| &*extra.name).collect();
    let short = "é".repeat(64);
    assert_eq!(names, [format!("messages.content.{short}"), format!("tools.{short}")]);
}

#[test]
fn no_more_names_are_told_than_fit() {
    let mut request = asking();
    for number in 0..100_000 {
        request.extra(format!("x{number}"), Json::Null, Loss::Harmless);
    }
    let (_, told) = write_from(Form::Chat, request, &fit()).unwrap();
    assert!(told.starts_with("x0, x1") && told.len() <= 1024);
}
