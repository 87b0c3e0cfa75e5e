//! No input makes anything panic.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{super::*, asked, sample};
use crate::{
    json::Json,
    translate::{
        Fit, Form, Losses, StreamReader, StreamWriter, Strictness,
        hub::{Event, StreamError},
    },
};

fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), all);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                pointers(member, format!("{at}/{key}"), all);
            }
        }
        _ => {}
    }
    all.push(at);
}

fn replacement() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-z:_;,\\PC]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"type": "output_text", "text": "x"}, 1, null])),
        Just(json!({"type": "function_call", "name": "f", "call_id": "c"})),
        Just(json!({"type": "reasoning", "summary": ["a", {"text": "b"}],
            "encrypted_content": "tollway:messages:x"})),
        Just(json!("tollway:responses:")),
        Just(json!("data:;base64,")),
    ]
}

/// Samples of this form, and an input with all that it may hold.
fn documents() -> Vec<Value> {
    let read = |name: &str| serde_json::from_slice(&sample(name)).unwrap();
    let mut all = vec![
        read("openai/responses_basic.req.json"),
        read("openai/responses_basic.res.json"),
        super::requests::everything(),
    ];
    for name in ["responses_stream.sse", "responses_stream_failed.sse", "responses_stream_tool.sse"]
    {
        all.extend(super::data(&sample(&format!("openai/{name}"))));
    }
    all
}

fn try_all(document: &Value) {
    let text = document.to_string();
    let lenient = Strictness { refuse_meaning: false, refuse_harmless: false };
    let Ok(json) = Json::read(text.as_bytes()) else { return };
    if let Ok(mut request) = read_request(json.clone()) {
        let mut losses = Losses::new(Form::Chat, Form::Responses, lenient);
        let _ = write_request(&mut request, &Fit::new(Form::Responses), &mut losses);
    }
    let asked = asked(&text);
    if let Ok(reply) = read_reply(json) {
        Json::Object(write_reply(reply, &asked)).to_vec();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mutated(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), replacement()), 1..4),
    ) {
        let all = documents();
        let mut document = which.get(&all).clone();
        for (place, new) in changes {
            let mut places = Vec::new();
            pointers(&document, String::new(), &mut places);
            let place: &String = place.get(&places);
            if let Some(value) = document.pointer_mut(place) {
                *value = new;
            }
        }
        try_all(&document);
    }

    #[test]
    fn mutated_streams(
        order in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), replacement()), 1..8),
    ) {
        let all = documents();
        let asked = asked("{\"tools\": 1, \"text\": []}");
        let mut reader = Reader::default();
        let mut writer = Writer::new(&asked);
        let mut out = Vec::new();
        for (which, place, new) in order {
            let mut document = which.get(&all).clone();
            let mut places = Vec::new();
            pointers(&document, String::new(), &mut places);
            let place: &String = place.get(&places);
            if let Some(value) = document.pointer_mut(place) {
                *value = new;
            }
            let data = document.to_string();
            let _ = reader.read(Some(b"x"), data.as_bytes(), &mut |e| writer.write(e, &mut out));
        }
        super::data(&out);
    }

    #[test]
    fn any_order_of_events_is_valid_json(which in vec(0usize..12, 0..12)) {
        let asked = asked("no json");
        let signature = || crate::translate::hub::Signature::new(Form::Generate, "x");
        let mut writer = Writer::new(&asked);
        let mut out = Vec::new();
        for which in which {
            let (choice, call) = (u32::from(which == 11), 3);
            writer.write(match which {
                0 => Event::Text { choice, text: "a".into() },
                1 => Event::Thinking { choice, text: "b".into() },
                2 => Event::Signature { choice, signature: signature() },
                3 => Event::Redacted { choice, data: signature() },
                4 => Event::ToolStart {
                    choice, call, id: None, name: "f".into(), signature: Some(signature()),
                },
                5 => Event::ToolArguments { choice, call, json: "{".into() },
                6 => Event::Refusal { choice, text: "r".into() },
                7 => Event::Logprobs { choice, logprobs: Json::Null },
                8 => Event::Finish {
                    choice, finish: crate::translate::hub::Finish::Failed, stop_sequence: None,
                },
                9 => Event::Error(StreamError {
                    class: tollway_core::ErrorClass::Server, message: "m".into(), code: None,
                }),
                10 => Event::End,
                _ => Event::Text { choice, text: "of another choice".into() },
            }, &mut out);
        }
        let events = super::data(&out);
        let other = |event: &Value| event.to_string().contains("of another choice");
        prop_assert!(!events.iter().any(other));
    }
}
