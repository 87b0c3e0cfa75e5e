//! What is written is read again, whatever it is; and no input makes a reader panic.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Number;
use tollway_core::ErrorClass;

use super::*;
use crate::translate::{
    generate::{read_reply, write_reply},
    hub::{Choice as ReplyChoice, Effort, Format, Reply, Source, Thinking, Tool, ToolChoice},
};

type Text = Cow<'static, str>;

fn text() -> impl Strategy<Value = Text> {
    const PIECES: [&str; 10] = ["a", " ", "\"", "\\", "\n", "\r", "ß", "東", "🙂", "\u{2028}"];
    vec(select(&PIECES[..]), 1..6).prop_map(|pieces| pieces.concat().into())
}

fn word() -> impl Strategy<Value = Text> {
    "[a-z][a-z0-9_]{0,7}".prop_map(Cow::Owned)
}

fn base64() -> impl Strategy<Value = Text> {
    "([A-Za-z0-9+/]{4}){1,4}".prop_map(Cow::Owned)
}

/// No key of it is one that wraps a result; they are sorted, as `serde_json::Value` has them.
fn json() -> impl Strategy<Value = Object<'static>> {
    vec(("k[a-z]{2}", text()), 0..3).prop_map(|mut members| {
        members.sort();
        let mut object = Object::new();
        for (key, value) in members {
            if object.get(&key).is_none() {
                object.push(key, value);
            }
        }
        object
    })
}

fn signature() -> impl Strategy<Value = Signature<'static>> {
    (select(&Form::ALL[..]), base64()).prop_map(|(of, data)| Signature::new(of, data))
}

fn own() -> impl Strategy<Value = Signature<'static>> {
    base64().prop_map(|data| Signature::new(Form::Generate, data))
}

fn media() -> impl Strategy<Value = Part<'static>> {
    (base64(), 0..3).prop_map(|(data, kind)| {
        let source = |mime: &'static str| Source::Data { mime: mime.into(), data: data.clone() };
        Part::new(match kind {
            0 => Body::Image { source: source("image/webp"), detail: None },
            1 => Body::Document { source: source("application/pdf"), name: None },
            _ => Body::Audio { data, format: "wav".into() },
        })
    })
}

/// A call, with the result to it.
fn called(
    signature: impl Strategy<Value = Signature<'static>>,
) -> impl Strategy<Value = (Part<'static>, Part<'static>)> {
    let said = prop_oneof![text(), json().prop_map(|json| Json::Object(json).to_text().into())];
    (base64(), word(), json(), option::of(signature), said, any::<bool>()).prop_map(
        |(id, name, args, signature, said, is_error)| {
            let (id, arguments) = (Some(id), Arguments::Value(args.into()));
            let result = Body::ToolResult {
                id: id.clone(),
                name: Some(name.clone()),
                content: vec![Part::text(said)],
                is_error,
            };
            (Part::new(Body::ToolCall { id, name, arguments, signature }), Part::new(result))
        },
    )
}

fn answer() -> impl Strategy<Value = Vec<Turn<'static>>> {
    let thought = option::of((text(), option::of(own())));
    let texts = vec((text(), option::of(own())), 1..3);
    let asked = vec(prop_oneof![text().prop_map(Part::text), media()], 1..3);
    (thought, texts, vec(called(own()), 0..3), asked).prop_map(|(thought, texts, calls, asked)| {
        let mut said = Vec::new();
        if let Some((text, signature)) = thought {
            said.push(Part::new(Body::Thinking { text, signature }));
        }
        for (text, signature) in texts {
            said.push(Part::text(text));
            let alone = |it| Part::new(Body::Thinking { text: "".into(), signature: Some(it) });
            said.extend(signature.map(alone));
        }
        let (calls, mut results): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        // A signature before an unsigned call is that call's.
        let unsigned = calls.first().is_some_and(|call: &Part<'_>| {
            matches!(call.body, Body::ToolCall { signature: None, .. })
        });
        said.truncate(
            said.len() - usize::from(unsigned && said.last().unwrap().as_text().is_none()),
        );
        said.extend(calls);
        results.extend(asked);
        vec![Turn::new(Role::Assistant, said), Turn::new(Role::User, results)]
    })
}

fn tool() -> impl Strategy<Value = Tool<'static>> {
    (word(), option::of(text()), option::of(json())).prop_map(|(name, description, schema)| Tool {
        name,
        description,
        schema: schema.map(Json::Object),
        strict: None,
        cache_control: None,
    })
}

fn options() -> impl Strategy<Value = Request<'static>> {
    let number =
        || option::of((0u32..20).prop_map(|n| Number::from_f64(f64::from(n) / 8.0).unwrap()));
    let numbers = [number().boxed(), number().boxed(), number().boxed(), number().boxed()];
    let choice = option::of(prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        word().prop_map(ToolChoice::Named),
        vec(word(), 2..4).prop_map(|names| ToolChoice::Allowed { names, required: true }),
    ]);
    let format = option::of(prop_oneof![
        Just(Format::Json),
        json().prop_map(|schema| Format::Schema {
            name: None,
            description: None,
            schema: schema.into(),
            strict: None,
        }),
    ]);
    let efforts = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
    let thinking = option::of((select(efforts.to_vec()), any::<Option<bool>>()));
    let counts = (option::of(1u64..9999), option::of(2u64..9), option::of(0u64..9), 0u64..99);
    (numbers, choice, format, thinking, counts, vec(tool(), 0..3), vec(text(), 0..5)).prop_map(
        |(numbers, tool_choice, format, thinking, counts, tools, stop)| {
            let [temperature, top_p, top_k, frequency_penalty] = numbers;
            Request {
                tools,
                tool_choice,
                max_tokens: counts.0,
                temperature,
                top_p,
                // A whole one loses its fraction.
                top_k: top_k.filter(|number| number.as_f64().is_some_and(|k| k.fract() != 0.0)),
                frequency_penalty,
                presence_penalty: None,
                seed: Some(counts.3.into()),
                choices: counts.1,
                stop,
                logprobs: counts.2,
                format,
                thinking: thinking.map(|(effort, shown)| Thinking {
                    effort: Some(effort),
                    budget: None,
                    shown,
                }),
                ..Request::default()
            }
        },
    )
}

fn a_request() -> impl Strategy<Value = Request<'static>> {
    (option::of(text()), vec(answer(), 0..3), options()).prop_map(|(system, answers, options)| {
        let mut turns = Vec::new();
        turns.extend(system.map(|text| Turn::new(Role::System, vec![Part::text(text)])));
        turns.push(Turn::new(Role::User, vec![Part::text("Hello")]));
        turns.extend(answers.into_iter().flatten());
        Request { turns, ..options }
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    [1..1000u64, 0..1000, 0..1000, 0..1000, 0..1000].prop_map(
        |[input, output, cached, reasoning, audio]| {
            let mut usage = Usage::new(input, output);
            usage.cached = cached.min(input);
            usage.reasoning = reasoning.min(output);
            usage.input_audio = audio.min(input);
            usage
        },
    )
}

/// What one choice says, in an order that streams keep too.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let text = || text().prop_map(Cow::into_owned);
    let thought = prop_oneof![
        (text(), option::of(signature())).prop_map(|(text, it)| Piece::Thinking(text, it)),
        signature().prop_map(|it| Piece::Thinking(String::new(), Some(it))),
        base64().prop_map(|data| Piece::Redacted(Signature::new(Form::Messages, data))),
    ];
    let call = (option::of(base64()), word(), json(), option::of(signature())).prop_map(
        |(id, name, args, signed)| Piece::Call {
            call: 0,
            id: id.map(Cow::into_owned),
            name: name.into_owned(),
            args: Json::Object(args).to_text(),
            signed,
        },
    );
    let step = (option::of(thought), option::of(text().prop_map(Piece::Text)), vec(call, 0..3));
    vec(step, 0..3).prop_map(|steps| {
        let mut pieces = Vec::new();
        for (thought, text, calls) in steps {
            // Two of a kind are one.
            let last = pieces.last();
            let thinks = matches!(last, Some(Piece::Thinking(..) | Piece::Redacted(_)));
            pieces.extend(thought.filter(|_| !thinks));
            let speaks = matches!(pieces.last(), Some(Piece::Text(_)));
            pieces.extend(text.filter(|_| !speaks));
            pieces.extend(calls);
        }
        let calls = pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Call { call, .. } => Some(call),
            _ => None,
        });
        calls.zip(0..).for_each(|(call, number)| *call = number);
        pieces
    })
}

fn finish(pieces: &[Piece], finish: Finish) -> Finish {
    let called = pieces.iter().any(|piece| matches!(piece, Piece::Call { .. }));
    if called && finish == Finish::Stop { Finish::ToolCalls } else { finish }
}

fn finishes() -> impl Strategy<Value = Finish> {
    select(&[Finish::Stop, Finish::Length, Finish::Filtered][..])
}

fn events(index: u32, pieces: &[Piece], cut: usize) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    let halves = |text: &str| {
        let mut at = cut.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (first, second) = text.split_at(at);
        [first, second].map(|half| Text::Owned(half.to_owned()))
    };
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                events.extend(halves(text).map(|text| Event::Text { choice: index, text }));
            }
            Piece::Thinking(text, signature) => {
                events.extend(halves(text).map(|text| Event::Thinking { choice: index, text }));
                events.extend(
                    signature
                        .clone()
                        .map(|signature| Event::Signature { choice: index, signature }),
                );
            }
            Piece::Redacted(data) => {
                events.push(Event::Redacted { choice: index, data: data.clone() });
            }
            Piece::Call { call, id, name, args, signed } => {
                events.push(Event::ToolStart {
                    choice: index,
                    call: *call,
                    id: id.clone().map(Cow::Owned),
                    name: name.clone().into(),
                    signature: signed.clone(),
                });
                let call = *call;
                events.extend(halves(args).map(|json| Event::ToolArguments {
                    choice: index,
                    call,
                    json,
                }));
            }
        }
    }
    events
}

fn parts(pieces: &[Piece]) -> Vec<Part<'static>> {
    let part = |piece: &Piece| match piece.clone() {
        Piece::Text(text) => Part::text(text),
        Piece::Thinking(text, signature) => {
            Part::new(Body::Thinking { text: text.into(), signature })
        }
        Piece::Redacted(data) => Part::new(Body::Redacted(data)),
        Piece::Call { id, name, args, signed, .. } => Part::new(Body::ToolCall {
            id: id.map(Cow::Owned),
            name: name.into(),
            arguments: Arguments::Value(parsed(&args).into_owned()),
            signature: signed,
        }),
    };
    pieces.iter().map(part).collect()
}

/// A sample with something else in one of its places.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: [&str; 10] = [
        "generate_basic.req.json",
        "generate_tools.req.json",
        "generate_tool_results.req.json",
        "generate_vision.req.json",
        "generate_basic.res.json",
        "generate_tools.res.json",
        "generate_tools_signature.res.json",
        "blocked_prompt.res.json",
        "max_tokens_in_thinking.res.json",
        "audio_modalities.res.json",
    ];
    const VALUES: [&str; 9] = ["null", "1", "-1e300", "\"\"", "\"a\"", "[]", "{}", "true", "[{}]"];
    (select(&NAMES[..]), any::<prop::sample::Index>(), select(&VALUES[..])).prop_map(
        |(name, place, with)| {
            let mut json: Value = serde_json::from_str(&sample(&format!("gemini/{name}"))).unwrap();
            let mut paths = Vec::new();
            collect(&json, String::new(), &mut paths);
            let path = &paths[place.index(paths.len())];
            *json.pointer_mut(path).unwrap() = serde_json::from_str(with).unwrap();
            serde_json::to_vec(&json).unwrap()
        },
    )
}

fn collect(json: &Value, path: String, paths: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| collect(value, format!("{path}/{key}"), paths));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| collect(value, format!("{path}/{index}"), paths));
        }
        _ => {}
    }
    paths.push(path);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_come_back(request in a_request()) {
        let (out, dropped) = written(request.clone(), Form::Generate, &Fit::new(Form::Generate));
        prop_assert_eq!(dropped, "");
        let text = out.to_string();
        prop_assert_eq!(read(&text), request);
    }

    #[test]
    fn replies_come_back(
        pieces in vec((pieces(), finishes()), 1..3),
        usage in option::of(usage()),
        id in base64(),
    ) {
        let choices = pieces.iter().enumerate().map(|(index, (pieces, reason))| ReplyChoice {
            index: index as u32,
            parts: parts(pieces),
            finish: Some(finish(pieces, *reason)),
            ..ReplyChoice::default()
        });
        let choices = choices.collect();
        let model = Some("m".into());
        let reply = Reply { id: Some(id), model, choices, usage, ..Reply::default() };
        let asked = asked(true);
        let text = Json::Object(write_reply(reply.clone(), &asked)).to_text();
        prop_assert_eq!(read_reply(parsed(&text)).unwrap(), reply);
    }

    #[test]
    fn streams_come_back(
        said in vec((pieces(), finishes()), 1..3),
        usage in option::of(usage()),
        cut in 0usize..9,
        sse: bool,
    ) {
        let mut all = vec![Event::Start { id: Some("r".into()), model: Some("m".into()), created: None }];
        let mut expected = Heard { id: Some("r".into()), model: Some("m".into()), usage, ended: true, ..Heard::default() };
        for (index, (pieces, reason)) in (0..).zip(&said) {
            let finish = finish(pieces, *reason);
            all.extend(events(index, pieces, cut));
            all.push(Event::Finish { choice: index, finish, stop_sequence: None });
            let parts = pieces.clone();
            expected.choices.push(Choice { index, parts, finish: Some(finish), cited: Vec::new() });
        }
        all.extend(usage.map(Event::Usage));
        all.push(Event::End);
        let out = write_all(&all, sse);
        let mut read = if sse {
            heard([out.as_bytes()])
        } else {
            let chunks: Vec<Value> = serde_json::from_str(&out).unwrap();
            let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            heard([events.as_bytes()])
        };
        // A choice that says nothing is heard of in the end.
        read.choices.sort_by_key(|choice| choice.index);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_input_makes_it_panic(bytes in mutated()) {
        if let Ok(json) = Json::read(&bytes) {
            let _ = read_reply(json.clone());
            if let Ok(request) = read_request(json) {
                let strict = Strictness::default();
                let mut losses = Losses::new(Form::Generate, Form::Generate, strict);
                let _ = write_request(&mut request.clone(), &Fit::new(Form::Generate), &mut losses);
            }
        }
        let mut reader = Reader::default();
        let _ = reader.read(None, &bytes, &mut |_| {});
        let _ = reader.read(None, &bytes, &mut |_| {});
        reader.end(&mut |_| {});
    }

    #[test]
    fn no_order_of_events_makes_it_panic(
        said in pieces(),
        order in vec(any::<prop::sample::Index>(), 0..12),
        sse: bool,
    ) {
        let mut all = events(0, &said, 1);
        all.push(Event::Finish { choice: 3, finish: Finish::Stop, stop_sequence: None });
        all.push(Event::Usage(Usage::new(u64::MAX, u64::MAX)));
        all.push(Event::End);
        let class = ErrorClass::Server;
        all.push(Event::Error(StreamError { class, message: "".into(), code: None }));
        let mixed: Vec<_> = order.iter().map(|place| all[place.index(all.len())].clone()).collect();
        write_all(&mixed, sse);
    }
}
