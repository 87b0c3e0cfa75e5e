//! The simulated provider in Gemini's dialect: content, its checks, its errors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod simulate_common;

use http::Method;
use serde_json::{Value, json};
use simulate_common::{Reply, plain, request, send, with};
use tollway::simulate::{SimulateConfig, Simulator, input_tokens};

const FLASH: &str = "gemini-2.5-flash";
const NEWEST: &str = "gemini-3.8-flash";

async fn at(simulator: &Simulator, path: &str, control: &str, body: &Value) -> Reply {
    let headers = [("x-simulate", control)];
    send(simulator, request(Method::POST, path, &headers, body.to_string())).await
}

async fn controlled(control: &str, body: &Value) -> Reply {
    at(&plain(), &format!("/v1beta/models/{FLASH}:generateContent"), control, body).await
}

async fn post(body: &Value) -> Reply {
    controlled("", body).await
}

async fn post_to(model: &str, body: &Value) -> Reply {
    at(&plain(), &format!("/v1beta/models/{model}:generateContent"), "", body).await
}

async fn streamed(model: &str, control: &str, body: &Value) -> Reply {
    let path = format!("/v1beta/models/{model}:streamGenerateContent?alt=sse");
    at(&plain(), &path, control, body).await
}

async fn get(path: &str) -> Reply {
    send(&plain(), request(Method::GET, path, &[], "")).await
}

fn ask() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]})
}

fn configured(config: Value) -> Value {
    with(ask(), json!({"generationConfig": config}))
}

fn schema() -> Value {
    json!({
        "type": "OBJECT", "required": ["city", "wet"], "properties": {
            "city": {"type": "STRING"}, "wet": {"type": "BOOLEAN"},
        },
    })
}

fn tools() -> Value {
    json!([{"functionDeclarations": [
        {"name": "get_time"},
        {"name": "get_weather", "description": "Of a city", "parameters": schema()},
    ]}])
}

/// The chunks of a stream: each is one frame.
fn chunks(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let frames = reply.frames.iter().map(|frame| std::str::from_utf8(frame).unwrap());
    frames
        .map(|event| {
            let data = event.strip_prefix("data: ").unwrap().strip_suffix("\r\n\r\n").unwrap();
            serde_json::from_str(data).unwrap()
        })
        .collect()
}

/// The response that chunks add up to: texts of a kind are one part.
fn added_up(chunks: &[Value]) -> Value {
    let mut whole = chunks.last().unwrap().clone();
    let Some(candidates) = whole.get("candidates").and_then(Value::as_array) else { return whole };
    for index in 0..candidates.len() {
        let mut parts: Vec<Value> = Vec::new();
        let all =
            chunks.iter().filter_map(|c| c["candidates"][index]["content"]["parts"].as_array());
        for part in all.flatten() {
            let same = |last: &&mut Value| {
                last.get("text").is_some()
                    && part.get("text").is_some()
                    && (last.get("thought") == part.get("thought"))
            };
            match parts.last_mut().filter(same) {
                Some(last) => {
                    let text = format!(
                        "{}{}",
                        last["text"].as_str().unwrap(),
                        part["text"].as_str().unwrap()
                    );
                    last["text"] = json!(text);
                    if part.get("thoughtSignature").is_some() {
                        last["thoughtSignature"] = part["thoughtSignature"].clone();
                    }
                }
                None => parts.push(part.clone()),
            }
        }
        parts.retain(|part| part["text"] != "");
        let content = &mut whole["candidates"][index]["content"];
        content.as_object_mut().unwrap().remove("parts");
        if !parts.is_empty() {
            content["parts"] = json!(parts);
        }
    }
    whole
}

/// The same request whole, streamed as events and streamed as an array says the same.
async fn all(model: &str, control: &str, body: &Value) -> Value {
    let path = |verb: &str| format!("/v1beta/models/{model}:{verb}");
    let whole = at(&plain(), &path("generateContent"), control, body).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    assert_eq!(added_up(&chunks(&streamed(model, control, body).await)), whole.json());
    let array = at(&plain(), &path("streamGenerateContent"), control, body).await;
    assert_eq!(array.header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(added_up(array.json().as_array().unwrap()), whole.json());
    whole.json()
}

fn parts(response: &Value) -> &Vec<Value> {
    response["candidates"][0]["content"]["parts"].as_array().unwrap()
}

#[tokio::test]
async fn content() {
    let simulator = plain();
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let reply = at(&simulator, path, "", &ask()).await;
    assert_eq!(reply.header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(reply.header("vary"), "Origin, X-Origin, Referer");
    assert_eq!(reply.header("server-timing"), "gfet4t7; dur=0");
    let body = reply.json();
    let text = parts(&body)[0]["text"].as_str().unwrap();
    assert!(text.starts_with("Hello there ") && text.split(' ').count() == 16, "{text}");
    let candidate = &body["candidates"][0];
    assert_eq!((&candidate["finishReason"], &candidate["index"]), (&json!("STOP"), &json!(0)));
    assert_eq!(candidate["content"]["role"], "model");
    assert_eq!((&body["modelVersion"], body["responseId"].is_string()), (&json!(FLASH), true));
    let input = input_tokens(["Hello there"]);
    let usage = json!({
        "promptTokenCount": input, "candidatesTokenCount": 16, "totalTokenCount": input + 16,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": input}],
    });
    assert_eq!(body["usageMetadata"], usage);
    assert_eq!(simulator.stats().tokens, input + 16);
    for path in ["/models/m:generateContent", "/v1/models/m%3AgenerateContent"] {
        assert_eq!(at(&plain(), path, "", &ask()).await.json()["modelVersion"], "m", "{path}");
    }
}

#[tokio::test]
async fn streams_add_up_to_the_whole_reply() {
    all(FLASH, "", &ask()).await;
    let two = all(FLASH, "", &configured(json!({"candidateCount": 2, "maxOutputTokens": 3}))).await;
    assert_eq!(two["candidates"][1]["index"], 1);
    assert_eq!(two["candidates"][1]["finishReason"], "MAX_TOKENS");
    assert_eq!(two["usageMetadata"]["candidatesTokenCount"], 6);
    let called = all(FLASH, "calls=3", &with(ask(), json!({"tools": tools()}))).await;
    assert_eq!(parts(&called).len(), 3);
    let shown = json!({"thinkingConfig": {"includeThoughts": true}});
    let thought = all(NEWEST, "", &configured(shown.clone())).await;
    assert_eq!(parts(&thought)[0]["thought"], true);
    assert!(parts(&thought)[1]["thoughtSignature"].is_string());
    all(NEWEST, "calls=2", &with(configured(shown), json!({"tools": tools()}))).await;
    let hidden =
        all(FLASH, "", &configured(json!({"thinkingConfig": {"thinkingBudget": 512}}))).await;
    assert_eq!(
        (parts(&hidden).len(), &hidden["usageMetadata"]["thoughtsTokenCount"]),
        (1, &json!(8))
    );
    let cut = json!({"thinkingConfig": {"thinkingBudget": 512}, "maxOutputTokens": 5});
    let cut = all(FLASH, "", &configured(cut)).await;
    assert_eq!(cut["candidates"][0]["content"], json!({"role": "model"}));
    assert_eq!(cut["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(cut["usageMetadata"]["thoughtsTokenCount"], 5);
    let tight = with(
        ask(),
        json!({"tools": [{"functionDeclarations": [tools()[0]["functionDeclarations"][1]]}], "generationConfig": {"maxOutputTokens": 2}}),
    );
    assert_eq!(all(FLASH, "", &tight).await["candidates"][0]["finishReason"], "MAX_TOKENS");
    let blocked = all(FLASH, "refuse", &ask()).await;
    assert_eq!(blocked["promptFeedback"], json!({"blockReason": "PROHIBITED_CONTENT"}));
    assert!(blocked.get("candidates").is_none());
}

#[tokio::test]
async fn usage_runs_along_a_stream() {
    let chunks = chunks(&streamed(FLASH, "", &ask()).await);
    assert_eq!(chunks.len(), 16 + 1);
    for (n, chunk) in chunks.iter().enumerate().take(16) {
        assert_eq!(chunk["usageMetadata"]["candidatesTokenCount"], n + 1);
        assert!(chunk["candidates"][0].get("finishReason").is_none());
    }
    assert_eq!(parts(&chunks[0])[0], json!({"text": "Hello"}));
    assert_eq!(parts(&chunks[16])[0], json!({"text": ""}));
}

#[tokio::test]
async fn functions_are_called() {
    let mode = |config: Value| {
        with(ask(), json!({"tools": tools(), "toolConfig": {"functionCallingConfig": config}}))
    };
    let named = mode(json!({"mode": "ANY", "allowedFunctionNames": ["get_weather"]}));
    let reply = all(FLASH, "", &named).await;
    assert_eq!(reply["candidates"][0]["finishReason"], "STOP");
    let args = json!({"city": "Hello there", "wet": true});
    assert_eq!(parts(&reply)[0], json!({"functionCall": {"name": "get_weather", "args": args}}));
    let signed = all(NEWEST, "calls=2", &mode(json!({"mode": "AUTO"}))).await;
    assert!(parts(&signed)[0]["thoughtSignature"].is_string());
    assert!(parts(&signed)[1].get("thoughtSignature").is_none());
    assert!(parts(&signed)[0]["functionCall"]["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(parts(&signed)[1]["functionCall"]["name"], "get_weather");
    let none = all(FLASH, "", &mode(json!({"mode": "NONE"}))).await;
    assert!(parts(&none)[0]["text"].is_string());
}

fn after_calls(calls: Value, responses: Value) -> Value {
    json!({"tools": tools(), "contents": [
        {"role": "user", "parts": [{"text": "What time is it"}]},
        {"role": "model", "parts": calls},
        {"role": "user", "parts": responses},
    ]})
}

fn call() -> Value {
    json!({"functionCall": {"name": "get_time", "args": {}}})
}

fn response() -> Value {
    json!({"functionResponse": {"name": "get_time", "response": {"now": "noon"}}})
}

#[tokio::test]
async fn responses_answer_their_calls() {
    let reply = post(&after_calls(json!([call(), call()]), json!([response(), response()]))).await;
    assert!(parts(&reply.json())[0]["text"].is_string());
    let text = json!({"text": "It is noon"});
    let other = json!({"functionResponse": {"name": "get_weather", "response": {}}});
    for (calls, responses, refusal) in [
        (
            json!([call(), call()]),
            json!([response()]),
            "number of function response parts is equal to",
        ),
        (json!([call()]), json!([text]), "number of function response parts is equal to"),
        (
            json!([text]),
            json!([response()]),
            "function response turn comes immediately after a function call",
        ),
        (json!([call()]), json!([other]), "names of function response parts"),
        (
            json!([call()]),
            json!([{"functionResponse": {"name": "get_time", "response": "noon"}}]),
            "Invalid value at 'contents[2].parts[0].function_response.response' (type.googleapis.com/google.protobuf.Struct), \"noon\"",
        ),
        (
            json!([call()]),
            json!([{"functionResponse": {"name": "get_time"}}]),
            "function_response.response",
        ),
    ] {
        let said = post(&after_calls(calls, responses)).await.refusal();
        assert!(said.contains(refusal), "{said}");
    }
    let mut first = after_calls(json!([call()]), json!([response()]));
    first["contents"].as_array_mut().unwrap().remove(0);
    assert!(
        post(&first).await.refusal().contains("function call turn comes immediately after a user")
    );
}

/// As samples/gemini/error_400_thought_signature.http has it.
#[tokio::test]
async fn the_newest_wants_its_signatures_back() {
    let reply = post_to(NEWEST, &with(ask(), json!({"tools": tools()}))).await.json();
    let signed = parts(&reply)[0].clone();
    let id = signed["functionCall"]["id"].clone();
    let mut response = response();
    response["functionResponse"]["id"] = id;
    let body = |call: &Value| after_calls(json!([call]), json!([response.clone()]));
    assert_eq!(post_to(NEWEST, &body(&signed)).await.status, 200);
    let mut bare = signed.clone();
    bare.as_object_mut().unwrap().remove("thoughtSignature");
    let missing = json!({
        "code": 400, "status": "INVALID_ARGUMENT",
        "message": "Function call is missing a thought_signature in functionCall parts. This is \
                    required for tools to work correctly.",
    });
    assert_eq!(post_to(NEWEST, &body(&bare)).await.error(400), missing);
    assert_eq!(post_to(FLASH, &body(&bare)).await.status, 200);
    let placeholder =
        with(bare.clone(), json!({"thoughtSignature": "skip_thought_signature_validator"}));
    assert_eq!(post_to(NEWEST, &body(&placeholder)).await.status, 200);
    // Some clients write base64 in the letters of URLs.
    let own = signed["thoughtSignature"].as_str().unwrap();
    let own = own.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
    let url_safe = with(bare.clone(), json!({"thoughtSignature": own}));
    assert_eq!(post_to(NEWEST, &body(&url_safe)).await.status, 200);
    let foreign = with(bare.clone(), json!({"thoughtSignature": "RmlYdHVyZVNpZw=="}));
    assert_eq!(post_to(NEWEST, &body(&foreign)).await.refusal(), "Corrupted thought signature.");
    // What was called before the user last spoke needs none.
    let mut past = body(&bare);
    let more = [
        json!({"role": "model", "parts": [{"text": "Noon"}]}),
        json!({"role": "user", "parts": [{"text": "And now"}]}),
    ];
    past["contents"].as_array_mut().unwrap().extend(more);
    assert_eq!(post_to(NEWEST, &past).await.status, 200);
    response["functionResponse"]["id"] = json!("call_other");
    let other = after_calls(json!([signed]), json!([response]));
    assert!(post_to(NEWEST, &other).await.refusal().contains("matches no function call"));
}

#[tokio::test]
async fn structured_output_follows_its_schema() {
    let standard = json!({
        "type": "object", "required": ["city", "wet"], "properties": {
            "city": {"type": "string"}, "wet": {"type": "boolean"},
        },
    });
    for key in ["responseSchema", "responseJsonSchema"] {
        let schema = if key == "responseSchema" { schema() } else { standard.clone() };
        let config = json!({"responseMimeType": "application/json", key: schema});
        let reply = all(FLASH, "", &configured(config.clone())).await;
        let text: Value = serde_json::from_str(parts(&reply)[0]["text"].as_str().unwrap()).unwrap();
        assert!(jsonschema::is_valid(&standard, &text), "{text}");
        let both = with(configured(config), json!({"tools": tools()}));
        assert!(
            post(&both)
                .await
                .refusal()
                .contains("response mime type: 'application/json' is unsupported")
        );
        assert_eq!(post_to(NEWEST, &both).await.status, 200);
    }
    let any = all(FLASH, "", &configured(json!({"response_mime_type": "application/json"}))).await;
    assert!(
        serde_json::from_str::<Value>(parts(&any)[0]["text"].as_str().unwrap())
            .unwrap()
            .is_object()
    );
}

#[tokio::test]
async fn images_are_counted_and_snake_case_is_read() {
    let body = json!({
        "system_instruction": {"parts": [{"text": "Be brief"}]},
        "contents": [{"parts": [
            {"text": "What is it"},
            {"inline_data": {"mime_type": "image/png", "data": "iVBORw0KGgo="}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}},
        ]}],
        "generation_config": {"max_output_tokens": 2, "temperature": 0.5},
    });
    let usage = all(FLASH, "", &body).await["usageMetadata"].clone();
    let text = input_tokens(["Be brief", "What is it"]);
    assert_eq!(usage["promptTokenCount"], text + 516);
    let details = json!([
        {"modality": "TEXT", "tokenCount": text}, {"modality": "IMAGE", "tokenCount": 516},
    ]);
    assert_eq!(usage["promptTokensDetails"], details);
    assert_eq!(usage["candidatesTokenCount"], 2);
    let path = "/v1beta/models/gemini-2.5-flash:countTokens";
    let inner = json!({"generateContentRequest": with(body, json!({"model": "models/x"}))});
    let counted = at(&plain(), path, "", &inner).await.json();
    assert_eq!(counted, json!({"totalTokens": text + 516, "promptTokensDetails": details}));
    let counted = at(&plain(), path, "", &ask()).await.json();
    assert_eq!(counted["totalTokens"], input_tokens(["Hello there"]));
}

#[tokio::test]
async fn embeddings_are_those_of_every_dialect() {
    let path = "/v1beta/models/gemini-embedding-001:embedContent";
    let content =
        |text: &str| json!({"content": {"parts": [{"text": text}]}, "outputDimensionality": 8});
    let one = at(&plain(), path, "", &content("alpha")).await.json();
    let values = one["embedding"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 8);
    let openai = json!({"model": "text-embedding-3-small", "input": "alpha", "dimensions": 8});
    let openai = at(&plain(), "/v1/embeddings", "", &openai).await.json();
    assert_eq!(openai["data"][0]["embedding"], one["embedding"]["values"]);
    let path = "/v1beta/models/gemini-embedding-001:batchEmbedContents";
    let model = json!({"model": "models/gemini-embedding-001"});
    let requests =
        json!({"requests": [with(content("beta"), model.clone()), with(content("alpha"), model)]});
    let several = at(&plain(), path, "", &requests).await.json();
    assert_eq!(several["embeddings"][1], one["embedding"]);
    assert_ne!(several["embeddings"][0], one["embedding"]);
    let unnamed = json!({"requests": [content("x")]});
    assert!(at(&plain(), path, "", &unnamed).await.refusal().contains("model is not specified"));
}

#[tokio::test]
async fn what_the_real_one_refuses() {
    let declared = |fields: Value| json!({"tools": [{"functionDeclarations": [with(json!({"name": "f"}), fields)]}]});
    let said = |role: &str, parts: Value| json!({"contents": [{"role": role, "parts": parts}]});
    let config = |config: Value| json!({"generationConfig": config});
    for (fields, text) in [
        (
            json!({"messages": []}),
            "Invalid JSON payload received. Unknown name \"messages\": Cannot find field.",
        ),
        (
            config(json!({"maxTokens": 1})),
            "Unknown name \"maxTokens\" at 'generation_config': Cannot find field.",
        ),
        (
            config(json!({"temperature": "hot"})),
            "Invalid value at 'generation_config.temperature' (TYPE_DOUBLE), \"hot\"",
        ),
        (config(json!({"temperature": 3})), "temperature must be in the range [0.0, 2.0]."),
        (
            config(json!({"stopSequences": ["a", "b", "c", "d", "e", "f"]})),
            "at most 5 stop sequences",
        ),
        (config(json!({"stopSequences": "a"})), "generation_config.stop_sequences"),
        (config(json!({"candidateCount": 9})), "range [1, 8]"),
        (config(json!({"maxOutputTokens": 0})), "max_output_tokens must be positive."),
        (config(json!({"responseSchema": schema()})), "needs a response mime type"),
        (config(json!({"responseMimeType": "json"})), "allowed mimetypes are `text/plain`"),
        (
            config(json!({"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}})),
            "only one of thinking budget and thinking level",
        ),
        (
            config(json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
            "Thinking level is not supported for this model.",
        ),
        (
            config(json!({"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": true}})),
            "only enabled when thinking is enabled",
        ),
        (json!({"contents": []}), "contents is not specified"),
        (said("assistant", json!([{"text": "x"}])), "Please use a valid role: user, model."),
        (said("function", json!([{"text": "x"}])), "Please use a valid role: user, model."),
        (said("user", json!([])), "contents.parts must not be empty."),
        (said("user", json!([{}])), "required oneof field 'data' must have one initialized field"),
        (
            said(
                "user",
                json!([{"text": "x", "inlineData": {"mimeType": "image/png", "data": "AAAA"}}]),
            ),
            "oneof field 'data' is already set",
        ),
        (
            said("user", json!([{"text": 5}])),
            "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5",
        ),
        (
            said("user", json!([{"inlineData": {"mimeType": "image/png", "data": "data:,"}}])),
            "Base64 decoding failed",
        ),
        (
            declared(json!({"parameters": {"type": "object", "additionalProperties": false}})),
            "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find field.",
        ),
        (
            declared(
                json!({"parameters": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}}),
            ),
            "Unknown name \"type\" at 'tools[0].function_declarations[0].parameters.properties[0].value': Proto field is not repeating, cannot start list.",
        ),
        (
            declared(json!({"parameters": {"type": "object", "required": ["a"]}})),
            "property is not defined: a",
        ),
        (declared(json!({"parameters": {"type": "array"}})), "items: missing field."),
        (
            declared(json!({"parameters": {"type": "object"}, "parametersJsonSchema": {}})),
            "only one of parameters and parameters_json_schema",
        ),
        (declared(json!({"strict": true})), "Unknown name \"strict\""),
        (declared(json!({"name": "1f"})), "Invalid function name."),
        (
            json!({"tools": tools(), "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["get_time"]}}}),
            "allowed only when the mode is ANY",
        ),
        (
            json!({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
            "without function_declarations",
        ),
        (
            json!({"toolConfig": {"functionCallingConfig": {"mode": "REQUIRED"}}}),
            "Invalid value at 'tool_config.function_calling_config.mode'",
        ),
    ] {
        let reply = post(&with(ask(), fields.clone())).await;
        let refusal = reply.refusal();
        assert!(refusal.contains(text), "{fields}: {refusal}");
        assert_eq!(reply.json()["error"]["status"], "INVALID_ARGUMENT");
    }
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    for body in ["", "{", "[]", "7", "null"] {
        let reply = send(&plain(), request(Method::POST, path, &[], body)).await;
        assert!(reply.refusal().starts_with("Invalid JSON payload received."), "{body}");
    }
}

#[tokio::test]
async fn models_and_paths() {
    let models = get("/v1beta/models").await.json();
    assert_eq!(models["models"][0]["name"], "models/gemini-2.5-flash");
    let model = get("/v1beta/models/gemini-3.8-flash").await.json();
    assert_eq!(model["name"], "models/gemini-3.8-flash");
    assert!(
        model["supportedGenerationMethods"].as_array().unwrap().contains(&json!("generateContent"))
    );
    // The newest client asks for the first version.
    let key = [("x-goog-api-key", "x")];
    let first = send(&plain(), request(Method::GET, "/v1/models", &key, "")).await.json();
    assert_eq!(first, models);
    for path in ["/v1beta/models/m:generateContent", "/v1beta/brains"] {
        assert_eq!(get(path).await.error(404)["status"], "NOT_FOUND", "{path}");
    }
    let openai = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    let openai = at(&plain(), "/v1beta/openai/chat/completions", "", &openai).await.json();
    assert_eq!(openai["object"], "chat.completion");
}

/// Every error as the samples have it.
#[tokio::test]
async fn errors_by_header() {
    for (control, code, status, message) in [
        ("status=401", 401, "UNAUTHENTICATED", "authentication"),
        ("status=403", 403, "PERMISSION_DENIED", "Permission denied"),
        ("status=404", 404, "NOT_FOUND", "is not found"),
        (
            "status=429",
            429,
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted (e.g. check quota).",
        ),
        ("status=500", 500, "INTERNAL", "internal error"),
        (
            "status=503; hint=2s",
            503,
            "UNAVAILABLE",
            "The model is overloaded. Please try again later. Please retry in 2s.",
        ),
        ("status=504", 504, "DEADLINE_EXCEEDED", "Deadline"),
        ("speed=9", 400, "INVALID_ARGUMENT", "late_error"),
    ] {
        let reply = controlled(control, &ask()).await;
        let error = reply.error(code);
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)));
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert_eq!(reply.header("retry-after"), "");
    }
    let hinted = controlled("status=429; retry_after=31", &ask()).await.error(429);
    let info = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}]);
    assert_eq!(hinted["details"], info);
    let finer = controlled("status=429; retry_after_ms=1146", &ask()).await.error(429);
    assert_eq!(finer["details"][0]["retryDelay"], "1.146s");
    let quota = controlled("quota", &ask()).await.error(429);
    let violation = &quota["details"][0]["violations"][0];
    assert_eq!(violation["quotaId"], "GenerateRequestsPerDayPerProjectPerModel-FreeTier");
    assert_eq!(violation["quotaDimensions"]["model"], FLASH);
    // A stream that is no SSE is an array, errors too.
    let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    let array = at(&plain(), path, "status=503", &ask()).await;
    assert_eq!(array.json()[0]["error"]["status"], "UNAVAILABLE");
    let page = controlled("status=502; body=garbage", &ask()).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (502, "text/html"));
}

#[tokio::test(start_paused = true)]
async fn faults_in_streams() {
    let array = |control: &'static str| async move {
        let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
        at(&plain(), path, control, &ask()).await
    };
    let late = chunks(&streamed(FLASH, "late_error=first", &ask()).await);
    assert_eq!((late.len(), &late[0]["error"]["status"]), (1, &json!("UNAVAILABLE")));
    assert_eq!(array("late_error=first").await.json()[0]["error"]["code"], 503);
    let midway = chunks(&streamed(FLASH, "late_error=after:2", &ask()).await);
    assert_eq!((midway.len(), &midway[2]["error"]["code"]), (3, &json!(503)));
    let midway = array("late_error=after:2").await.json();
    assert_eq!((midway.as_array().unwrap().len(), &midway[2]["error"]["code"]), (3, &json!(503)));
    let cut = streamed(FLASH, "truncate=after:3", &ask()).await;
    assert!(!cut.broken && cut.frames.len() == 4 && !cut.text().ends_with('\n'));
    assert!(streamed(FLASH, "reset=after:1", &ask()).await.broken);
    let malformed = streamed(FLASH, "malformed=after:1", &ask()).await;
    assert!(malformed.frames[1].starts_with(b"data: {\"candidates\":"));
    assert!(std::str::from_utf8(&malformed.frames[1]).is_err());
    assert!(std::str::from_utf8(&malformed.frames[2]).unwrap().ends_with("\r\n\r\n"));
    assert!(serde_json::from_slice::<Value>(&array("malformed=first").await.bytes()).is_err());
    let uncounted = chunks(&streamed(FLASH, "no_usage", &ask()).await);
    assert!(uncounted.iter().all(|chunk| chunk.get("usageMetadata").is_none()));
    let whole = controlled("late_error=first", &ask()).await;
    assert_eq!((whole.status.as_u16(), &whole.json()["error"]["code"]), (200, &json!(503)));
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_in_the_body_alone() {
    let config = SimulateConfig { requests_per_minute: Some(1), ..SimulateConfig::default() };
    let simulator = Simulator::new(config);
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let reply = at(&simulator, path, "", &ask()).await;
    assert!(reply.headers.keys().all(|name| !name.as_str().contains("ratelimit")));
    tokio::time::advance(std::time::Duration::from_millis(28_500)).await;
    let full = at(&simulator, path, "", &ask()).await;
    let error = full.error(429);
    assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
    let text = "You exceeded your current quota, please check your plan and billing details. Please \
                retry in 31.5s.";
    assert_eq!(error["message"], text);
    let violation = &error["details"][0]["violations"][0];
    assert!(violation["quotaId"].as_str().unwrap().contains("PerMinute"));
    assert_eq!(violation["quotaValue"], "1");
    let types: Vec<&str> = error["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| detail["@type"].as_str().unwrap().rsplit('.').next().unwrap())
        .collect();
    assert_eq!(types, ["QuotaFailure", "Help", "RetryInfo"]);
    assert_eq!(error["details"][2]["retryDelay"], "31.5s");
    assert_eq!(full.header("retry-after"), "");
}
