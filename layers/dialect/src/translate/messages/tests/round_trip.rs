//! What is written is read again, whatever it is; and nothing that is read makes a reader panic.

use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Number;

use super::{
    stream::{Said, read_chunks, write_events},
    *,
};
use crate::translate::{
    StreamReader,
    hub::{
        Arguments, Body, Choice, Effort, Event, Format, Part, Reply, Role, Signature, Source,
        Thinking, Tool, ToolChoice, Turn,
    },
};

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    "[a-zé\"\\\\\n 🙂]{0,6}[a-z]".prop_map(Cow::Owned)
}

fn word() -> impl Strategy<Value = Cow<'static, str>> {
    "[a-zA-Z0-9_-]{1,8}".prop_map(Cow::Owned)
}

fn object() -> impl Strategy<Value = Json<'static>> {
    vec((word(), text()), 0..3).prop_map(|members| {
        let mut object = crate::json::Object::new();
        for (key, value) in members {
            object.push(key, value);
        }
        object.into()
    })
}

fn mark() -> impl Strategy<Value = Option<Json<'static>>> {
    option::weighted(0.2, Just(Json::read(br#"{"type":"ephemeral"}"#).unwrap()))
}

fn own() -> impl Strategy<Value = Signature<'static>> {
    "[a-zA-Z0-9+/]{4,8}".prop_map(|data| Signature::new(Form::Messages, data))
}

fn marked(body: impl Strategy<Value = Body<'static>>) -> impl Strategy<Value = Part<'static>> {
    (body, mark()).prop_map(|(body, cache_control)| Part { body, cache_control })
}

fn said() -> impl Strategy<Value = Body<'static>> {
    prop_oneof![
        text().prop_map(|text| Body::Text { text, citations: Vec::new() }),
        text().prop_map(|url| Body::Image {
            source: Source::Url(format!("https://{url}").into()),
            detail: None
        }),
        word().prop_map(|data| Body::Image {
            source: Source::Data { mime: "image/webp".into(), data },
            detail: None
        }),
        (word(), option::of(text())).prop_map(|(data, name)| Body::Document {
            source: Source::Data { mime: "application/pdf".into(), data },
            name,
        }),
    ]
}

/// Answers end in something said or called, as Anthropic wants them to.
fn answer() -> impl Strategy<Value = Vec<Part<'static>>> {
    let thought = prop_oneof![
        (text(), own()).prop_map(|(text, own)| Body::Thinking { text, signature: Some(own) }),
        own().prop_map(Body::Redacted),
    ];
    let call = (word(), object()).prop_map(|(name, input)| Body::ToolCall {
        id: None,
        name,
        arguments: Arguments::Value(input),
        signature: None,
    });
    let said = text().prop_map(|text| Body::Text { text, citations: Vec::new() });
    (vec(thought.prop_map(Part::new), 0..3), vec(marked(prop_oneof![said, call]), 1..4)).prop_map(
        |(mut parts, rest)| {
            parts.extend(rest);
            parts
        },
    )
}

/// Turns in the order that Anthropic has them: each call has its result, first in the next turn.
fn turns() -> impl Strategy<Value = Vec<Turn<'static>>> {
    let asked = vec(marked(said()), 1..3).boxed();
    let results = vec((vec(said().prop_map(Part::new), 0..3), any::<bool>()), 4);
    let exchange = (answer(), results, asked.clone());
    (
        option::of(vec(
            marked(text().prop_map(|text| Body::Text { text, citations: Vec::new() })),
            1,
        )),
        asked,
        vec(exchange, 0..3),
    )
        .prop_map(|(system, first, exchanges)| {
            let mut turns = Vec::new();
            turns.extend(system.map(|parts| Turn::new(Role::System, parts)));
            turns.push(Turn::new(Role::User, first));
            let mut number = 0;
            for (mut answer, results, next) in exchanges {
                let mut parts = Vec::new();
                let mut results = results.into_iter();
                for part in &mut answer {
                    let Body::ToolCall { id: called, .. } = &mut part.body else { continue };
                    let new: Cow<'static, str> = format!("call-{number}").into();
                    number += 1;
                    *called = Some(new.clone());
                    let Some((content, is_error)) = results.next() else { continue };
                    let id = Some(new);
                    parts.push(Part::new(Body::ToolResult { id, name: None, content, is_error }));
                }
                parts.extend(next);
                turns.push(Turn::new(Role::Assistant, answer));
                turns.push(Turn::new(Role::User, parts));
            }
            turns
        })
}

fn tools() -> impl Strategy<Value = Vec<Tool<'static>>> {
    let schema = Json::read(br#"{"type":"object","additionalProperties":false}"#).unwrap();
    let tool = (option::of(text()), option::of(Just(true)), mark()).prop_map(
        move |(description, strict, cache_control)| {
            let schema = Some(schema.clone());
            Tool { name: "".into(), description, schema, strict, cache_control }
        },
    );
    vec(tool, 1..4).prop_map(|mut tools| {
        for (number, tool) in tools.iter_mut().enumerate() {
            tool.name = format!("t{number}").into();
        }
        tools
    })
}

fn choice() -> impl Strategy<Value = (Option<ToolChoice<'static>>, Option<bool>)> {
    let choices = [None, Some(ToolChoice::Required), Some(ToolChoice::Named("t0".into()))].to_vec();
    prop_oneof![(select(choices), option::of(Just(false))), Just((Some(ToolChoice::None), None)),]
}

fn thinking() -> impl Strategy<Value = Thinking> {
    use Effort::{High, Low, Max, Medium, None};
    (option::of(select(vec![Low, Medium, High, Max])), option::of(any::<bool>()))
        .prop_map(|(effort, shown)| Thinking { effort, budget: Option::None, shown })
        .boxed()
        .prop_union(Just(Thinking { effort: Some(None), ..Thinking::default() }).boxed())
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let options = (
        option::of(thinking()),
        option::of(select(vec![0.25, 1.0])),
        option::of(1..9u64),
        vec(word(), 0..3),
        option::of(text()),
        any::<(bool, bool)>(),
    );
    (turns(), option::of((tools(), choice())), options).prop_map(|(turns, tools, options)| {
        let (thinking, top_p, top_k, stop, user, (stream, form)) = options;
        let (tools, (tool_choice, parallel_tools)) = tools.unwrap_or_default();
        let schema = Json::read(br#"{"type":"object","additionalProperties":false}"#).unwrap();
        // Thinking leaves sampling alone.
        let samples = thinking.is_none_or(|thinking| thinking.is_off());
        Request {
            model: "m".into(),
            turns,
            tools,
            tool_choice,
            parallel_tools,
            max_tokens: Some(77),
            temperature: Some(Number::from(1u64)),
            top_p: top_p.and_then(Number::from_f64).filter(|_| samples),
            top_k: top_k.map(Number::from).filter(|_| samples),
            stop,
            format: form.then_some(Format::Schema {
                name: None,
                description: None,
                schema,
                strict: None,
            }),
            thinking,
            user,
            stream,
            wants_usage: true,
            ..Request::default()
        }
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u16; 6]>().prop_map(|[fresh, cached, write, write_1h, output, reasoning]| {
        let [cached, write, write_1h] = [cached, write, write_1h].map(u64::from);
        let mut usage =
            Usage::new(1 + u64::from(fresh) + cached + write + write_1h, u64::from(output));
        usage.cached = cached;
        usage.cache_write = write;
        usage.cache_write_1h = write_1h;
        usage.reasoning = u64::from(reasoning).min(usage.output);
        usage
    })
}

fn reply() -> impl Strategy<Value = Reply<'static>> {
    let part = prop_oneof![
        text().prop_map(|text| Body::Text { text, citations: Vec::new() }),
        (text(), option::of(own()))
            .prop_map(|(text, signature)| Body::Thinking { text, signature }),
        own().prop_map(Body::Redacted),
        (word(), text(), object(), option::of(word())).prop_map(|(id, name, input, signature)| {
            Body::ToolCall {
                id: Some(id),
                name,
                arguments: Arguments::Value(input),
                signature: signature.map(|data| Signature::new(Form::Generate, data)),
            }
        }),
    ];
    let finish = select(vec![Finish::Length, Finish::ToolCalls, Finish::Filtered, Finish::Stop]);
    (vec(part.prop_map(Part::new), 0..5), finish, option::of(usage()), any::<bool>()).prop_map(
        |(parts, finish, usage, met)| {
            let calls = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
            let finish = match finish {
                Finish::Stop if calls => Finish::ToolCalls,
                Finish::ToolCalls if !calls => Finish::Stop,
                finish => finish,
            };
            let stop_sequence = (met && finish == Finish::Stop).then_some("END".into());
            let choice = Choice { parts, finish: Some(finish), stop_sequence, ..Choice::default() };
            Reply {
                id: Some("msg_1".into()),
                model: Some("m".into()),
                choices: vec![choice],
                usage,
                service_tier: Some("default".into()),
                ..Reply::default()
            }
        },
    )
}

/// Pieces of an answer, calls cut and mixed in any way.
fn events() -> impl Strategy<Value = Vec<Event<'static>>> {
    let piece = prop_oneof![
        text().prop_map(|text| Event::Text { choice: 0, text }),
        text().prop_map(|text| Event::Thinking { choice: 0, text }),
        own().prop_map(|signature| Event::Signature { choice: 0, signature }),
        own().prop_map(|data| Event::Redacted { choice: 0, data }),
    ];
    let call = (word(), option::of(word()), object().prop_map(|object| object.to_text()));
    let mixed = vec((0usize..4, any::<prop::sample::Index>()), 0..20);
    (vec(piece, 0..8), vec(call, 0..4), mixed, option::of(usage())).prop_map(
        |(pieces, calls, mixed, usage)| {
            let mut events = vec![Event::Start { id: None, model: None, created: None }];
            let mut rest: Vec<(u32, &str)> = Vec::new();
            let mut pieces = pieces.into_iter();
            for (number, (name, signature, json)) in calls.iter().enumerate() {
                let call = number as u32;
                events.extend(pieces.next());
                events.push(Event::ToolStart {
                    choice: 0,
                    call,
                    id: Some(format!("c{number}").into()),
                    name: name.clone(),
                    signature: signature.clone().map(|data| Signature::new(Form::Generate, data)),
                });
                rest.push((call, json));
                // Some of what is left of some call.
                for (_, cut) in mixed.iter().filter(|(of, _)| *of == number) {
                    let place = cut.index(rest.len());
                    let (call, json) = rest[place];
                    let mut end = cut.index(json.len() + 1);
                    while !json.is_char_boundary(end) {
                        end += 1;
                    }
                    let (now, later) = json.split_at(end);
                    rest[place].1 = later;
                    let json = now.to_owned().into();
                    events.push(Event::ToolArguments { choice: 0, call, json });
                }
            }
            events.extend(pieces);
            for (call, json) in rest.into_iter().rev() {
                let json = json.to_owned().into();
                events.push(Event::ToolArguments { choice: 0, call, json });
            }
            let finish = if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
            events.push(Event::Finish { choice: 0, finish, stop_sequence: None });
            events.extend(usage.map(Event::Usage));
            events.push(Event::End);
            events
        },
    )
}

/// A sample with some bytes changed, left out or doubled: JSON often enough.
fn mutated(names: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<(u8, u8)>()), 0..6);
    (select(names.to_vec()), changes).prop_map(|(name, changes)| {
        let mut bytes = sample(name);
        for (place, (how, byte)) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match how % 4 {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                // Another value in the place of a number, string or word.
                _ => {
                    let other: &[u8] = [&b"null"[..], b"[]", b"{}", b"-1", b"\"\"", b"1e400"]
                        [usize::from(byte) % 6];
                    if let Some(colon) = bytes[at..].iter().position(|byte| *byte == b':') {
                        let from = at + colon + 1;
                        let len = bytes[from..]
                            .iter()
                            .position(|byte| b",}\n".contains(byte))
                            .unwrap_or(0);
                        bytes.splice(from..from + len, other.iter().copied());
                    }
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests(request in request()) {
        let (written, told) = text_from(Form::Chat, request.clone(), &fit()).unwrap();
        prop_assert_eq!(told, "");
        prop_assert_eq!(read(&written), request);
    }

    #[test]
    fn replies(reply in reply()) {
        let asked = asked();
        let written = Json::Object(write_reply(reply.clone(), &asked)).to_vec();
        prop_assert_eq!(read_reply(Json::read(&written).unwrap()).unwrap(), reply);
    }

    #[test]
    fn streams(events in events()) {
        let mut expected = Said::default();
        events.iter().cloned().for_each(|event| expected.take(event));
        let written = write_events(events);
        prop_assert_eq!(read_chunks(&[written.as_bytes()]), expected);
    }

    #[test]
    fn no_request_panics(bytes in mutated(&[
        "anthropic/messages_basic.req.json",
        "anthropic/messages_tools.req.json",
        "anthropic/messages_tool_results.req.json",
        "pairs/request.anthropic.expected.json",
    ])) {
        let Ok(json) = Json::read(&bytes) else { return Ok(()) };
        let Ok(request) = read_request(json) else { return Ok(()) };
        let mut older = fit();
        older.structured = false;
        older.reasoning = crate::translate::Reasoning::Budget;
        let _ = write_from(Form::Messages, request.clone(), &older);
        let _ = write_from(Form::Chat, request, &fit());
    }

    #[test]
    fn no_reply_panics(bytes in mutated(&[
        "anthropic/messages_cache.res.json",
        "anthropic/messages_tools.res.json",
        "anthropic/messages_thinking.res.json",
    ])) {
        let Ok(json) = Json::read(&bytes) else { return Ok(()) };
        let Ok(reply) = read_reply(json) else { return Ok(()) };
        let _ = write_reply(reply, &asked());
    }

    #[test]
    fn no_stream_panics(bytes in mutated(&[
        "anthropic/messages_stream_tools.sse",
        "anthropic/messages_stream_thinking_cache.sse",
        "anthropic/messages_stream_overloaded_midway.sse",
    ])) {
        let mut stream = crate::translate::stream::Stream::new(Form::Messages, &asked());
        let mut out = Vec::new();
        stream.feed(&bytes, &mut out);
        stream.finish(&mut out);
        let mut reader = Reader::default();
        let mut said = Said::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let data = line.strip_prefix(b"data: ").unwrap_or(line);
            let _ = reader.read(None, data, &mut |event| said.take(event));
        }
    }
}
