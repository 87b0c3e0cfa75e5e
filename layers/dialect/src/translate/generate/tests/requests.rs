//! Gemini's clients: what their requests say.

use super::*;
use crate::translate::{
    Loss,
    hub::{Effort, Format, Source, Thinking, ToolChoice},
};

fn extras(json: &str) -> Vec<(String, Loss)> {
    read(json).extras.into_iter().map(|extra| (extra.name.into_owned(), extra.loss)).collect()
}

fn with_config(config: &str) -> String {
    format!(r#"{{"contents":[],"generationConfig":{config}}}"#)
}

fn with_parts(parts: &str) -> String {
    format!(r#"{{"contents":[{{"parts":{parts}}}]}}"#)
}

#[test]
fn basic_sample() {
    let text = sample("gemini/generate_basic.req.json");
    let expected = Request {
        turns: vec![
            Turn::new(Role::System, vec![Part::text("You answer in one word.")]),
            user(vec![Part::text("Capital of France?")]),
        ],
        temperature: serde_json::Number::from_f64(0.2),
        max_tokens: Some(256),
        stop: vec!["END".into()],
        thinking: Some(Thinking { budget: Some(0), ..Thinking::default() }),
        ..Request::default()
    };
    assert_eq!(read(&text), expected);
}

#[test]
fn tool_samples() {
    let text = sample("gemini/generate_tools.req.json");
    let request = read(&text);
    assert_eq!(request.tool_choice, Some(ToolChoice::Auto));
    let [tool] = &request.tools[..] else { panic!() };
    assert_eq!(
        (&*tool.name, tool.description.as_deref()),
        ("get_weather", Some("Current weather of one city"))
    );
    assert_eq!(value(tool.schema.as_ref().unwrap())["properties"]["unit"]["enum"][1], "f");

    let text = sample("gemini/generate_tool_results.req.json");
    let request = read(&text);
    let args = Arguments::Value(parsed(r#"{"city":"Oslo"}"#));
    let signature = Some(Signature::new(Form::Generate, "RmlYdHVyZVNpZw=="));
    let (id, name) = (Some("call_4162774".into()), Cow::Borrowed("get_weather"));
    let expected = [
        user(vec![Part::text("Weather in Oslo?")]),
        model(vec![Part::new(Body::ToolCall { id, name, arguments: args, signature })]),
        user(vec![result(Some("call_4162774"), Some("get_weather"), r#"{"temp":-3}"#)]),
    ];
    assert_eq!(request.turns, expected);
}

#[test]
fn vision_sample() {
    let text = sample("gemini/generate_vision.req.json");
    let request = read(&text);
    assert!(matches!(&request.turns[0].parts[1].body,
        Body::Image { source: Source::Data { mime, .. }, .. } if mime == "image/png"));
    let Some(Format::Schema { schema, .. }) = &request.format else { panic!() };
    assert_eq!(value(schema)["required"][0], "objects");
    assert_eq!(request.extras, []);
}

#[test]
fn both_spellings_say_the_same() {
    let camel = r#"{
        "systemInstruction":"s",
        "contents":[
            {"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}},
                {"fileData":{"mimeType":"image/png","fileUri":"https://x.test/a"}}]},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{}},"thoughtSignature":"aa"},
                {"executableCode":{"code":"1"}},{"codeExecutionResult":{"output":"1"}}]},
            {"role":"function","parts":{"functionResponse":{"name":"f","response":{"result":"r"}}}}],
        "tools":{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object"}}]},
        "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},
        "generationConfig":{"topP":0.5,"topK":4,"maxOutputTokens":"9","stopSequences":["s"],
            "candidateCount":2,"presencePenalty":1,"frequencyPenalty":2,"responseLogprobs":true,
            "logprobs":3,"responseMimeType":"application/json","responseSchema":{"type":"OBJECT"},
            "responseModalities":["TEXT"],"seed":5,
            "thinkingConfig":{"thinkingBudget":7,"thinkingLevel":"LOW","includeThoughts":true}}}"#;
    let mut snake = String::new();
    let mut quoted = String::new();
    // Every key, but for names within schemas, in snake case.
    for piece in camel.split_inclusive('"') {
        quoted.clear();
        let key = piece.strip_suffix('"').filter(|key| {
            key.starts_with(|letter: char| letter.is_ascii_lowercase())
                && key.bytes().all(|letter| letter.is_ascii_alphanumeric())
                && *key != "application"
        });
        match key {
            Some(key) => {
                for letter in key.chars() {
                    if letter.is_ascii_uppercase() {
                        quoted.push('_');
                    }
                    quoted.push(letter.to_ascii_lowercase());
                }
                snake.push_str(&quoted);
                snake.push('"');
            }
            None => snake.push_str(piece),
        }
    }
    assert!(snake.contains("thinking_budget") && snake.contains("function_response"));
    let request = read(camel);
    assert_eq!(read(&snake), request);
    assert_eq!(request.extras, []);
    assert_eq!(
        (request.max_tokens, request.choices, request.logprobs),
        (Some(9), Some(2), Some(3))
    );
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
    let thinking = Thinking { effort: Some(Effort::Low), budget: Some(7), shown: Some(true) };
    assert_eq!(request.thinking, Some(thinking));
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
}

#[test]
fn calls_without_ids_get_the_same_ones_each_time() {
    let contents = r#"
        {"role":"model","parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}},
            {"functionCall":{"name":"f"}},{"functionCall":{"name":"f","id":"call_1"}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f","id":"call_1"}},
            {"functionResponse":{"name":"g"}},{"functionResponse":{"name":"f"}},
            {"functionResponse":{"name":"f","id":"unknown"}},{"functionResponse":{"name":"f"}}]}"#;
    let ids = |json: &str| -> Vec<String> {
        let turns = read(json).turns;
        let parts = turns.iter().flat_map(|turn| &turn.parts);
        parts
            .filter_map(|part| match &part.body {
                Body::ToolCall { id, .. } | Body::ToolResult { id, .. } => id.as_deref(),
                _ => None,
            })
            .map(str::to_owned)
            .collect()
    };
    let first = ids(&format!(r#"{{"contents":[{contents}]}}"#));
    let calls = ["call_0", "call_2", "call_3", "call_1"];
    // By id; by name; the first of that name; an id of no call goes by its name as well; and one
    // that answers nothing has an id nevertheless.
    let results = ["call_1", "call_2", "call_0", "call_3", "call_4"];
    assert_eq!(first, [&calls[..], &results[..]].concat());
    // A history that goes on keeps them.
    let more = r#"{"role":"model","parts":[{"functionCall":{"name":"f"}}]}"#;
    let second = ids(&format!(r#"{{"contents":[{contents},{more}]}}"#));
    assert_eq!(second[..9], first);
    assert_eq!(second[9], "call_5");
}

#[test]
fn what_tools_say() {
    for (response, text, is_error) in [
        (r#"{"result":"r"}"#, "r", false),
        (r#"{"output":"o"}"#, "o", false),
        (r#"{"error":"e"}"#, "e", true),
        (r#"{"error":{"a":1}}"#, r#"{"a":1}"#, true),
        (r#"{"result":[1]}"#, r#"{"result":[1]}"#, false),
        (r#"{"result":"r","b":1}"#, r#"{"result":"r","b":1}"#, false),
        (r#"{"temp":-3}"#, r#"{"temp":-3}"#, false),
        ("{}", "{}", false),
        ("null", "{}", false),
    ] {
        let json = with_parts(&format!(
            r#"[{{"functionResponse":{{"name":"f","response":{response}}}}}]"#
        ));
        let request = read(&json);
        let Body::ToolResult { content, is_error: told, .. } = &request.turns[0].parts[0].body
        else {
            panic!("{request:?}")
        };
        assert_eq!((content[0].as_text(), *told), (Some(text), is_error), "{response}");
    }
    let json = with_parts(
        r#"[{"functionResponse":{"name":"f","response":{"result":"r"},
            "parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}}]}}]"#,
    );
    let request = read(&json);
    let Body::ToolResult { content, .. } = &request.turns[0].parts[0].body else { panic!() };
    assert!(matches!(content[1].body, Body::Image { .. }));
}

#[test]
fn media_by_their_type() {
    let json = with_parts(
        r#"[{"inlineData":{"mimeType":"audio/mpeg","data":"AA"}},
            {"inlineData":{"mimeType":"audio/x-wav","data":"AA"}},
            {"inlineData":{"mimeType":"application/pdf","data":"AA","displayName":"a.pdf"}},
            {"inlineData":{"mimeType":"text/plain","data":"AA"}},
            {"fileData":{"fileUri":"https://x.test/a.PNG?x=1"}},
            {"fileData":{"fileUri":"https://x.test/a","mimeType":"application/pdf"}}]"#,
    );
    let request = read(&json);
    let data = |mime: &'static str| Source::Data { mime: mime.into(), data: "AA".into() };
    let audio = |format: &'static str| Body::Audio { data: "AA".into(), format: format.into() };
    let document =
        |source, name: Option<&'static str>| Body::Document { source, name: name.map(Into::into) };
    let bodies: Vec<_> = request.turns[0].parts.iter().map(|part| part.body.clone()).collect();
    let image = Source::Url("https://x.test/a.PNG?x=1".into());
    let expected = [
        audio("mp3"),
        audio("wav"),
        document(data("application/pdf"), Some("a.pdf")),
        document(data("text/plain"), None),
        Body::Image { source: image, detail: None },
        document(Source::Url("https://x.test/a".into()), None),
    ];
    assert_eq!(bodies, expected);
}

#[test]
fn as_googles_sdks_write_bytes_and_numbers() {
    let inline = |data: &str| {
        let json = with_parts(&format!(
            r#"[{{"inlineData":{{"mimeType":"image/png","data":"{data}"}}}}]"#
        ));
        match &read(&json).turns[0].parts[0].body {
            Body::Image { source: Source::Data { data, .. }, .. } => data.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(inline("ab-_"), "ab+/");
    assert_eq!(inline("ab-_cQ"), "ab+/cQ==");
    assert_eq!(inline("ab+/cQ=="), "ab+/cQ==");
    for (written, meant) in [("40.0", "40"), ("40", "40"), ("0.5", "0.5"), ("-1.0", "-1.0")] {
        let json = with_config(&format!(r#"{{"topK":{written}}}"#));
        assert_eq!(read(&json).top_k.unwrap().to_string(), meant);
    }
}

#[test]
fn what_only_google_knows() {
    let meaning = |name: &str| (name.to_owned(), Loss::Meaning);
    let harmless = |name: &str| (name.to_owned(), Loss::Harmless);
    for part in [
        r#"{"inlineData":{"mimeType":"video/mp4","data":"AA"}}"#,
        r#"{"inline_data":{"mime_type":"video/mp4","data":"AA"}}"#,
    ] {
        let names = extras(&with_parts(&format!("[{part}]")));
        assert_eq!(names, [meaning("contents.parts.inlineData")]);
    }
    for uri in [
        "gs://bucket/a.png",
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://www.youtube.com/watch?v=x",
        "https://x.test/a.mp4",
    ] {
        let names = extras(&with_parts(&format!(r#"[{{"fileData":{{"fileUri":"{uri}"}}}}]"#)));
        assert_eq!(names, [meaning("contents.parts.fileData")], "{uri}");
    }
    let json = r#"{"contents":[{"parts":[{"text":"a","videoMetadata":{}},{"toolCall":{}}],"x":1}],
        "tools":[{"googleSearch":{}},{"codeExecution":{}},{"urlContext":{}},
            {"functionDeclarations":[{"name":"f","behavior":"BLOCKING"}]}],
        "toolConfig":{"retrievalConfig":{"languageCode":"de"}},
        "safetySettings":[],"cachedContent":"cachedContents/x","labels":{},"novel":1,
        "model":"models/x",
        "generationConfig":{"responseModalities":["TEXT","AUDIO"],"speechConfig":{},
            "mediaResolution":"MEDIA_RESOLUTION_LOW","enableAffectiveDialog":false,"novel":1,
            "thinkingConfig":{"novel":1}}}"#;
    let mut names = extras(json);
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        meaning("cachedContent"),
        harmless("contents.parts.videoMetadata"),
        meaning("contents.parts.toolCall"),
        harmless("contents.x"),
        harmless("generationConfig.mediaResolution"),
        harmless("generationConfig.novel"),
        meaning("generationConfig.responseModalities"),
        meaning("generationConfig.speechConfig"),
        harmless("generationConfig.thinkingConfig.novel"),
        harmless("labels"),
        harmless("novel"),
        harmless("safetySettings"),
        harmless("toolConfig.retrievalConfig"),
        meaning("tools.codeExecution"),
        harmless("tools.functionDeclarations.behavior"),
        meaning("tools.googleSearch"),
        meaning("tools.urlContext"),
    ];
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(names, expected);
}

#[test]
fn what_is_said_anyway_costs_nothing() {
    let json = with_config(
        r#"{"responseModalities":["TEXT"],"candidateCount":1,"responseLogprobs":false,
            "responseMimeType":"text/plain","stopSequences":[],"audioTimestamp":false}"#,
    );
    assert_eq!(read(&json), Request::default());
    let json =
        r#"{"contents":[],"toolConfig":{"functionCallingConfig":{"mode":"MODE_UNSPECIFIED"}}}"#;
    assert_eq!(read(json), Request::default());
}

#[test]
fn tool_choices() {
    for (config, choice) in [
        (r#"{"mode":"AUTO"}"#, ToolChoice::Auto),
        (r#"{"mode":"VALIDATED"}"#, ToolChoice::Auto),
        (r#"{"mode":"any"}"#, ToolChoice::Required),
        (r#"{"mode":"NONE","allowedFunctionNames":["f"]}"#, ToolChoice::None),
        (r#"{"mode":"ANY","allowedFunctionNames":["f"]}"#, ToolChoice::Named("f".into())),
        (
            r#"{"mode":"ANY","allowedFunctionNames":["f","g"]}"#,
            ToolChoice::Allowed { names: vec!["f".into(), "g".into()], required: true },
        ),
        (
            r#"{"mode":"VALIDATED","allowedFunctionNames":["f"]}"#,
            ToolChoice::Allowed { names: vec!["f".into()], required: false },
        ),
    ] {
        let json =
            format!(r#"{{"contents":[],"toolConfig":{{"functionCallingConfig":{config}}}}}"#);
        assert_eq!(read(&json).tool_choice, Some(choice), "{config}");
    }
}

#[test]
fn thinking_and_formats() {
    let thinking = |effort, budget, shown| Some(Thinking { effort, budget, shown });
    for (config, expected) in [
        (r#"{"thinkingBudget":-1}"#, thinking(None, None, None)),
        (r#"{"thinkingBudget":0}"#, thinking(None, Some(0), None)),
        (r#"{"thinkingLevel":"minimal"}"#, thinking(Some(Effort::Minimal), None, None)),
        (r#"{"includeThoughts":true}"#, thinking(None, None, Some(true))),
    ] {
        let json = with_config(&format!(r#"{{"thinkingConfig":{config}}}"#));
        assert_eq!(read(&json).thinking, expected, "{config}");
    }
    let json = with_config(r#"{"responseMimeType":"application/json"}"#);
    assert_eq!(read(&json).format, Some(Format::Json));
    let json = with_config(r#"{"responseMimeType":"text/x.enum","responseSchema":{"enum":["a"]}}"#);
    let names = extras(&json);
    assert_eq!(names, [("generationConfig.responseMimeType".to_owned(), Loss::Meaning)]);
}

#[test]
fn googles_schema_is_json_schema() {
    let openapi = r##"{"type":"OBJECT","propertyOrdering":["a"],"required":["a"],"properties":{
        "type":{"type":"STRING","nullable":true,"enum":["x"],"format":"enum"},
        "nullable":{"type":"ARRAY","min_items":"2","maxItems":3,
            "items":{"type":"INTEGER","format":"int32","minimum":1,"example":4}},
        "c":{"nullable":true,"any_of":[{"type":"NUMBER"},{"type":"TYPE_UNSPECIFIED"}]},
        "d":{"type":["string"],"additionalProperties":false,"$ref":"#/$defs/e"}}}"##;
    let json = format!(
        r#"{{"contents":[],"tools":[{{"functionDeclarations":[{{"name":"f","parameters":{openapi}}}]}}]}}"#
    );
    let expected = serde_json::json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["x", null]},
            "nullable": {
                "type": "array",
                "minItems": 2,
                "maxItems": 3,
                "items": {"type": "integer", "format": "int32", "minimum": 1, "examples": [4]},
            },
            "c": {"anyOf": [{"type": "number"}, {}, {"type": "null"}]},
            "d": {"type": ["string"], "additionalProperties": false, "$ref": "#/$defs/e"},
        },
    });
    assert_eq!(value(read(&json).tools[0].schema.as_ref().unwrap()), expected);
    let json = with_config(&format!(r#"{{"responseSchema":{openapi}}}"#));
    let Some(Format::Schema { schema, .. }) = read(&json).format else { panic!() };
    assert_eq!(value(&schema), expected);
}

#[test]
fn chunks_that_a_client_kept_are_one_answer() {
    let signature = Signature::new(Form::Messages, "sig");
    let json = format!(
        r#"{{"contents":[{{"role":"user","parts":[{{"text":"q"}}]}},
            {{"role":"model","parts":[{{"text":"Let","thought":true}}]}},
            {{"role":"model","parts":[{{"text":" me","thought":true}}]}},
            {{"role":"model","parts":[{{"text":"","thought":true,"thoughtSignature":"{}"}}]}},
            {{"role":"model","parts":[{{"text":"Fo"}}]}},
            {{"role":"model","parts":[{{"text":"ur"}}]}},
            {{"role":"model","parts":[{{"text":""}}]}}]}}"#,
        signature.text(Form::Generate)
    );
    let expected = [
        user(vec![Part::text("q")]),
        model(vec![thinking("Let me", Some(signature)), Part::text("Four")]),
    ];
    assert_eq!(read(&json).turns, expected);
}

#[test]
fn placeholders_are_no_signatures() {
    for placeholder in ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"]
    {
        let json = format!(
            r#"{{"contents":[{{"role":"model","parts":[
                {{"functionCall":{{"name":"f"}},"thoughtSignature":"{placeholder}"}}]}}]}}"#
        );
        let request = read(&json);
        assert!(matches!(request.turns[0].parts[0].body, Body::ToolCall { signature: None, .. }));
    }
}

#[test]
fn refusals_name_the_place() {
    for (json, message) in [
        ("[]", "`` must be an object, but it is an array."),
        ("{}", "`contents` is missing, and must be an array."),
        (r#"{"contents":[1]}"#, "`contents[0]` must be an object, but it is a number."),
        (r#"{"contents":[{"role":"assistant"}]}"#, "`contents[0].role` must be user or model."),
        (
            r#"{"contents":[{"parts":[{"text":"a"},{"text":1}]}]}"#,
            "`contents[0].parts[1].text` must be a string, but it is a number.",
        ),
        (
            r#"{"contents":[{"parts":[{"inline_data":{"mimeType":"image/png"}}]}]}"#,
            "`contents[0].parts[0].inline_data.data` is missing, and must be a string.",
        ),
        (
            r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":[]}}]}]}"#,
            "`contents[0].parts[0].functionCall.args` must be an object, but it is an array.",
        ),
        (
            r#"{"contents":[],"generation_config":{"max_output_tokens":-1}}"#,
            "`generation_config.max_output_tokens` must be a whole number, not negative, but it \
             is a number.",
        ),
        (
            r#"{"contents":[],"generationConfig":{"stopSequences":["a",2]}}"#,
            "`generationConfig.stopSequences[1]` must be a string, but it is a number.",
        ),
        (
            r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":1}]}]}"#,
            "`tools[0].functionDeclarations[0].name` must be a string, but it is a number.",
        ),
        (
            r#"{"contents":[],"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}"#,
            "`toolConfig.functionCallingConfig.mode` must be AUTO, ANY, NONE or VALIDATED.",
        ),
        (
            r#"{"contents":[],"generationConfig":{"thinkingConfig":{"thinkingLevel":"A LOT"}}}"#,
            "`generationConfig.thinkingConfig.thinkingLevel` must be MINIMAL, LOW, MEDIUM or HIGH.",
        ),
    ] {
        assert_eq!(refused(json), message, "{json}");
    }
}
