//! Reading requests and editing them in place.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_core::{Ask, Dialect, Operation};
use tollway_dialect::{
    BadRequest,
    openai::{Edits, request},
};

fn chat(body: &str) -> Result<(Ask, Edits), BadRequest> {
    request::read(Operation::ChatCompletions, body.as_bytes())
}

fn refused(body: &str) -> BadRequest {
    chat(body).unwrap_err()
}

#[test]
fn reads_the_samples() {
    for (name, operation, model, stream, bound) in [
        ("chat_basic", Operation::ChatCompletions, "gpt-4o-mini", false, Some(16)),
        ("chat_stream", Operation::ChatCompletions, "gpt-4o-mini", true, None),
        ("chat_tools", Operation::ChatCompletions, "gpt-4.1", false, None),
        ("chat_tool_results", Operation::ChatCompletions, "gpt-4.1", false, None),
        ("chat_vision_json_schema", Operation::ChatCompletions, "gpt-4o", false, Some(200)),
        ("responses_basic", Operation::Responses, "gpt-5.4", false, Some(64)),
    ] {
        let body = common::sample(&format!("openai/{name}.req.json"));
        let (ask, _) = request::read(operation, &body).unwrap();
        assert_eq!(ask.model(), Some(model), "{name}");
        assert_eq!((ask.stream, ask.wants_usage), (stream, stream), "{name}");
        assert_eq!((ask.max_output_tokens, ask.choices), (bound, 1), "{name}");
        assert!(ask.input_tokens > 0, "{name}");
    }
}

#[test]
fn an_image_counts_flat_and_its_data_not_at_all() {
    let image = |url: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": url}}]}]});
        chat(&body.to_string()).unwrap().0.input_tokens
    };
    let large = format!("data:image/png;base64,{}", "A".repeat(100_000));
    assert_eq!(image(&large), image("https://example.com/a.png"));
    let responses = json!({"model": "m", "input": [{"type": "input_image", "image_url": large}],
        "instructions": large});
    let (ask, _) = request::read(Operation::Responses, responses.to_string().as_bytes()).unwrap();
    assert!((1500..1600).contains(&ask.input_tokens), "{}", ask.input_tokens);
}

#[test]
fn an_image_that_tells_its_size_counts_by_it() {
    // 2048 x 1024 pixels: 1536 x 768 once scaled, six tiles.
    const PNG: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAACAAAAAQACAIAAAA=";
    let prompt = |operation, body: Value| {
        let (ask, _) = request::read(operation, body.to_string().as_bytes()).unwrap();
        assert_eq!(ask.input_tokens, ask.prompt.text + ask.prompt.media(Dialect::OpenAi));
        ask.prompt
    };
    let chat = |image: Value| {
        let content = json!([{"type": "image_url", "image_url": image}]);
        let messages = json!([{"role": "user", "content": content}]);
        let body = json!({"model": "m", "messages": messages});
        prompt(Operation::ChatCompletions, body)
    };
    let whole = chat(json!({"url": PNG, "detail": "high"}));
    assert_eq!((whole.text, whole.media), (3, [85 + 6 * 170, 1600, 8 * 258]));
    let low = chat(json!({"detail": "low", "url": PNG}));
    assert_eq!(low.media(Dialect::OpenAi), 85);
    let responses = |image: &Value| {
        let body = json!({"model": "m", "input": [{"role": "user", "content": [image, image]}]});
        prompt(Operation::Responses, body).media(Dialect::OpenAi)
    };
    let image = json!({"type": "input_image", "image_url": PNG});
    assert_eq!(responses(&image), 2 * (85 + 6 * 170));
    for image in [
        json!({"type": "input_image", "image_url": PNG, "detail": "low"}),
        json!({"detail": "low", "type": "input_image", "image_url": PNG}),
    ] {
        assert_eq!(responses(&image), 2 * 85);
    }
}

#[test]
fn tokens_are_estimated() {
    let tokens = |operation, body: &Value| {
        request::read(operation, body.to_string().as_bytes()).unwrap().0.input_tokens
    };
    let text = "x".repeat(400);
    let messages = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    assert_eq!(tokens(Operation::ChatCompletions, &messages), 103);
    let input = json!({"model": "m", "input": [text, text]});
    assert_eq!(tokens(Operation::Embeddings, &input), 200);
    let input = json!({"model": "m", "input": [[1, 2, 3], [4]]});
    assert_eq!(tokens(Operation::Embeddings, &input), 4);
    let other = json!({"model": "m", "metadata": {"a": text}});
    assert_eq!(tokens(Operation::ChatCompletions, &other), 0);
}

#[test]
fn every_reply_of_a_legacy_completion_counts() {
    for (more, choices) in [
        (r#""prompt":"Hi""#, 1),
        (r#""prompt":["Hi","Ho","Ha"]"#, 3),
        (r#""prompt":[1,2,3]"#, 1),
        (r#""prompt":[[1,2],[3]],"n":2"#, 4),
        (r#""prompt":"Hi","n":2,"best_of":8"#, 8),
        (r#""prompt":[]"#, 1),
        (r#""prompt":null,"best_of":null"#, 1),
    ] {
        let body = format!(r#"{{"model":"m","max_tokens":5,{more}}}"#);
        let (ask, _) = request::read(Operation::Completions, body.as_bytes()).unwrap();
        assert_eq!((ask.choices, ask.max_output_tokens), (choices, Some(5 * u64::from(choices))));
    }
    let chat = r#"{"model":"m","messages":[],"best_of":"any"}"#;
    assert_eq!(request::read(Operation::ChatCompletions, chat.as_bytes()).unwrap().0.choices, 1);
}

#[test]
fn bounds_and_choices() {
    let ask = |body: &str| chat(body).unwrap().0;
    let both = ask(r#"{"model":"m","max_tokens":5,"max_completion_tokens":7,"n":3}"#);
    assert_eq!((both.max_output_tokens, both.choices), (Some(21), 3));
    let nulls = ask(r#"{"model":"m","max_tokens":null,"n":null,"stream":null}"#);
    assert_eq!((nulls.max_output_tokens, nulls.choices, nulls.stream), (None, 1, false));
    assert_eq!(ask(r#"{"model":"m","max_tokens":16.0}"#).max_output_tokens, Some(16));
}

#[test]
fn escaped_names_are_the_same_names() {
    let body = r#"{"mod\u0065l":"a\u002fb\u00e9","str\u0065am":true}"#;
    let (ask, edits) = chat(body).unwrap();
    assert_eq!((ask.model(), ask.stream), (Some("a/bé"), true));
    let sent = edits.apply(&Bytes::from(body), Some("q\"\\"), false);
    assert_eq!(sent, r#"{"mod\u0065l":"q\"\\","str\u0065am":true}"#);
}

#[test]
fn a_model_is_needed_only_where_the_call_needs_one() {
    for operation in [Operation::ChatCompletions, Operation::Completions, Operation::Embeddings] {
        assert!(request::read(operation, b"{}").is_err());
    }
    assert!(request::read(Operation::Responses, br#"{"prompt":{"id":"p"}}"#).is_ok());
    assert!(request::read(Operation::Responses, br#"{"input":"x"}"#).is_err());
    assert!(request::read(Operation::Moderations, br#"{"input":"x"}"#).is_ok());
}

#[test]
fn a_model_is_a_short_name() {
    let body = |model: &str| json!({"model": model, "messages": []}).to_string();
    let longest = "é".repeat(128);
    assert_eq!(chat(&body(&longest)).unwrap().0.model(), Some(&*longest));
    for (model, words) in [
        (format!("{longest}x"), "257 bytes long"),
        ("x".repeat(1 << 20), "1048576 bytes long"),
        ("x\nINFO request user=admin".to_owned(), "control characters"),
        ("\u{1b}[31m".to_owned(), "control characters"),
        ("a\u{7f}".to_owned(), "control characters"),
        ("a\u{85}".to_owned(), "control characters"),
    ] {
        let error = refused(&body(&model));
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!((error.param(), error.code()), (Some("model"), Some("invalid_model")));
        assert!(error.message().contains(words) && error.message().len() < 200, "{error}");
    }
}

#[test]
fn errors_say_what_to_do() {
    for (body, param, code, words) in [
        ("", None, "invalid_json", &["it is empty"][..]),
        ("[1]", None, "invalid_json", &["must be a JSON object", "array"]),
        ("hello", None, "invalid_json", &["\"hello\""]),
        ("{\"model\":\"m\",\n \"x\": tru}", None, "invalid_json", &["line 2, column"]),
        (r#"{"model":"m","x":"#, None, "invalid_json", &["ends in the middle", "cut off"]),
        (r#"{"model":"m"} x"#, None, "invalid_json", &["trailing"]),
        (r#"{"a":1}"#, Some("model"), "missing_required_parameter", &["`model` is missing"]),
        (r#"{"model":null}"#, Some("model"), "missing_required_parameter", &["is missing"]),
        (r#"{"model":""}"#, Some("model"), "missing_required_parameter", &["is empty"]),
        (
            "{\n\"model\": 5}",
            Some("model"),
            "invalid_type",
            &["a string", "the number 5", "line 2, column 10"],
        ),
        (r#"{"model":["a"]}"#, Some("model"), "invalid_type", &["an array"]),
        (
            r#"{"model":"m","stream":"yes"}"#,
            Some("stream"),
            "invalid_type",
            &["true or false", "the string \"yes\"", "column 23"],
        ),
        (r#"{"model":"m","n":0}"#, Some("n"), "invalid_type", &["at least 1", "the number 0"]),
        (r#"{"model":"m","n":-1}"#, Some("n"), "invalid_type", &["-1"]),
        (
            r#"{"model":"m","max_tokens":"9"}"#,
            Some("max_tokens"),
            "invalid_type",
            &["whole number"],
        ),
        (
            r#"{"model":"m","stream_options":[]}"#,
            Some("stream_options"),
            "invalid_type",
            &["an object"],
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":1}}"#,
            Some("stream_options.include_usage"),
            "invalid_type",
            &["column 48"],
        ),
        (
            r#"{"model":"m","model":"k"}"#,
            Some("model"),
            "duplicate_field",
            &["`model` is given twice", "column 22"],
        ),
        (r#"{"model":"m","mod\u0065l":"k"}"#, Some("model"), "duplicate_field", &["twice"]),
        (
            r#"{"model":"m","messages":[],"messages":[]}"#,
            Some("messages"),
            "duplicate_field",
            &["twice"],
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
            Some("stream_options"),
            "duplicate_field",
            &["twice"],
        ),
    ] {
        let error = refused(body);
        assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!((error.param(), error.code()), (param, Some(code)), "{body}: {error}");
        for word in words {
            assert!(error.message().contains(word), "{body}: {error}");
        }
        let answer: Value = serde_json::from_slice(&error.to_body()).unwrap();
        assert_eq!(answer["error"]["message"], error.message());
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
}

#[test]
fn bad_utf8_is_found_wherever_it_stands() {
    let body = b"{\"model\":\"m\",\n\"x\":\"\xFF\"}";
    let error = request::read(Operation::ChatCompletions, body).unwrap_err();
    assert_eq!(error.code(), Some("invalid_utf8"));
    assert!(error.message().contains("byte 19 (line 2, column 6)"), "{error}");
}

#[test]
fn deep_nesting_is_refused_in_any_field() {
    for key in ["messages", "x", "tools"] {
        let deep =
            |n: usize| format!(r#"{{"model":"m","{key}":{}1{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(chat(&deep(100)).is_ok());
        for n in [200, 100_000] {
            assert_eq!(refused(&deep(n)).code(), Some("nested_too_deep"), "{key}");
        }
    }
    // In what is passed over as well.
    for (before, after) in [
        (r#""stream_options":{"x":"#, "}"),
        (r#""messages":[{"id":"#, "}]"),
        (r#""messages":[{"role":"#, "}]"),
        (r#""messages":[{"content":[{"image_url":"#, "}]}]"),
    ] {
        let deep = |n: usize| {
            let (open, close) = ("[".repeat(n), "]".repeat(n));
            format!(r#"{{"model":"m",{before}{open}1{close}{after}}}"#)
        };
        assert!(chat(&deep(100)).is_ok(), "{before}");
        for n in [129, 100_000] {
            assert_eq!(refused(&deep(n)).code(), Some("nested_too_deep"), "{before}");
        }
    }
}

#[test]
fn numbers_beyond_a_double_are_json_too() {
    let huge = ["1e400", "-1E+999", "1e99999999999999999999", &"9".repeat(400)];
    for number in huge {
        for (before, after) in [
            (r#"{"zz":"#, r#","model":"m"}"#),
            (r#"{"model":"m","zz":[{"a":"#, "}]}"),
            (r#"{"model":"m","tools":[{"maximum":"#, "}]}"),
            (r#"{"model":"m","messages":[{"role":"#, "}]}"),
            (r#"{"model":"m","stream_options":{"x":"#, "}}"),
        ] {
            let body = format!("{before}{number}{after}");
            let (ask, edits) = chat(&body).unwrap();
            assert_eq!(ask.model(), Some("m"), "{body}");
            let sent = edits.apply(&Bytes::from(body.clone()), Some("gpt-x"), true);
            let sent = std::str::from_utf8(&sent).unwrap();
            assert!(sent.contains(number) && sent.contains(r#""model":"gpt-x""#), "{sent}");
            assert!(chat(sent).unwrap().0.wants_usage);
        }
        // Where a number counts it has to be one that does.
        for field in ["n", "max_tokens"] {
            for other in ["", r#","zz":1e400"#] {
                let error = refused(&format!(r#"{{"model":"m","{field}":{number}{other}}}"#));
                assert_eq!((error.param(), error.code()), (Some(field), Some("invalid_type")));
            }
        }
    }
    for broken in ["1e400x", "1e400]", "[1e400", "1e400,\"y\":tru"] {
        let error = refused(&format!(r#"{{"model":"m","zz":{broken}}}"#));
        assert_eq!(error.code(), Some("invalid_json"), "{broken}: {error}");
    }
    let deep = format!(r#"{{"model":"m","y":1e400,"zz":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(refused(&deep).code(), Some("nested_too_deep"));
    let reply = br#"{"zz":1e400,"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let read = tollway_dialect::openai::reply::read(reply).unwrap();
    assert_eq!(read.usage.unwrap().total(), 4);
}

#[test]
fn stream_options_are_spliced_in() {
    for (before, after) in [
        (r#" {"model":"m"}"#, r#" {"stream_options":{"include_usage":true},"model":"m"}"#),
        (
            r#"{"stream_options":null,"model":"m"}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m"}"#,
        ),
        (
            r#"{"model":"m","stream_options": { }}"#,
            r#"{"model":"m","stream_options": {"include_usage":true }}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"x":{"include_usage":false}}}"#,
            r#"{"model":"m","stream_options":{"include_usage":true,"x":{"include_usage":false}}}"#,
        ),
        (
            r#"{"stream_options":{"a":1,"include_usage" : false ,"b":2},"model":"m"}"#,
            r#"{"stream_options":{"a":1,"include_usage" : true ,"b":2},"model":"m"}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":null}}"#,
            r#"{"model":"m","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":true}}"#,
            r#"{"model":"m","stream_options":{"include_usage":true}}"#,
        ),
    ] {
        let edits = chat(before).unwrap().1;
        let body = Bytes::from(before);
        assert_eq!(edits.apply(&body, None, true), after);
        let same = edits.apply(&body, None, false);
        assert_eq!((same.as_ptr(), same.len()), (body.as_ptr(), body.len()), "not copied");
        let both = after.replace(r#""model":"m""#, r#""model":"gpt-x""#);
        assert_eq!(edits.apply(&body, Some("gpt-x"), true), both);
        assert!(chat(after).unwrap().0.wants_usage);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\_é]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_splice_changes_the_model_and_nothing_else(
        fields in prop::collection::btree_map("[a-z\"\\\\é]{1,6}", any_json(), 0..5),
        at in 0usize..6,
        model in "\\PC{1,12}",
        new in ".{1,12}",
        pretty: bool,
    ) {
        let mut pairs: Vec<(String, Value)> =
            fields.into_iter().filter(|(key, _)| !["n", "text", "tools"].contains(&key.as_str())).collect();
        let at = at.min(pairs.len());
        pairs.insert(at, ("model".to_owned(), Value::from(model.clone())));
        let write = |model: &str| {
            let gap = if pretty { " \n\t" } else { "" };
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| {
                let value = if key == "model" { json!(model) } else { value.clone() };
                format!("{gap}{}{gap}:{gap}{}{gap}", json!(key), value)
            }).collect();
            format!("{gap}{{{}}}{gap}", pairs.join(","))
        };
        let body = write(&model);
        let (ask, edits) = chat(&body).unwrap();
        prop_assert_eq!(ask.model(), Some(&*model));
        prop_assert_eq!(edits.apply(&Bytes::from(body), Some(&new), false), write(&new));
        let with_usage = edits.apply(&Bytes::from(write(&model)), Some(&new), true);
        let mut value: Value = serde_json::from_slice(&with_usage).unwrap();
        prop_assert_eq!(value["stream_options"]["include_usage"].take(), Value::Bool(true));
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = request::read(Operation::ChatCompletions, &bytes);
        let _ = tollway_dialect::openai::reply::read(&bytes);
        let _ = tollway_dialect::openai::reply::read_event(&bytes);
        let _ = tollway_dialect::openai::error::classify_event(&bytes, std::time::SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn reading_odd_json_never_panics(value in any_json(), key in "(model|stream|stream_options|n|max_tokens|messages|usage|choices|error|delta|type|response)") {
        let body = format!(r#"{{"model":"m",{}:{value}}}"#, json!(key));
        let _ = chat(&body);
        let _ = tollway_dialect::openai::reply::read_event(body.as_bytes());
        let _ = tollway_dialect::openai::error::classify_event(body.as_bytes(), std::time::SystemTime::UNIX_EPOCH);
        // Edits of one body applied to another change bytes, but never panic.
        if let Ok((_, edits)) = chat(&body) {
            let _ = edits.apply(&Bytes::from_static(b"{}"), Some("x"), true);
        }
    }
}
