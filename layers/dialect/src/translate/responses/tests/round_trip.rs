//! What is written is read back the same.

use proptest::prelude::*;

use super::{super::*, arbitrary, asked, collect, data, value, written};
use crate::{
    json::Json,
    translate::{
        Fit, Form, Losses, Strictness,
        hub::{Arguments, Body, Choice, Event, Finish, Part, Reply, Request, Role, Signature},
    },
};

fn sorted<'a>(mut request: Request<'a>) -> Request<'a> {
    request.extras.sort_by(|a, b| a.name.cmp(&b.name));
    request
}

/// `size`: of the pieces that texts come in.
fn events<'p>(parts: &'p [Part<'static>], size: usize) -> Vec<Event<'p>> {
    let pieces = |text: &'p str| -> Vec<&'p str> {
        let mut at: Vec<_> = text.char_indices().map(|(at, _)| at).step_by(size).collect();
        at.push(text.len());
        at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    };
    let mut events = Vec::new();
    let mut call = 0;
    for part in parts {
        match &part.body {
            Body::Text { text, citations } => {
                let of = |text: &'p str| Event::Text { choice: 0, text: text.into() };
                events.extend(pieces(text).into_iter().map(of));
                let of =
                    |citation: &_| Event::Citation { choice: 0, citation: Clone::clone(citation) };
                events.extend(citations.iter().map(of));
            }
            Body::Refusal(text) => {
                let of = |text: &'p str| Event::Refusal { choice: 0, text: text.into() };
                events.extend(pieces(text).into_iter().map(of));
            }
            Body::Thinking { text, signature } => {
                let of = |text: &'p str| Event::Thinking { choice: 0, text: text.into() };
                events.extend(pieces(text).into_iter().map(of));
                let of = |signature| Event::Signature { choice: 0, signature };
                events.extend(signature.clone().map(of));
            }
            Body::Redacted(data) => events.push(Event::Redacted { choice: 0, data: data.clone() }),
            Body::ToolCall { id, name, arguments: Arguments::Text(text), signature } => {
                events.push(Event::ToolStart {
                    choice: 0,
                    call,
                    id: id.clone(),
                    name: name.clone(),
                    signature: signature.clone(),
                });
                let of =
                    |text: &'p str| Event::ToolArguments { choice: 0, call, json: text.into() };
                events.extend(pieces(text).into_iter().map(of));
                call += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    events
}

/// Neighbouring texts are one in a stream.
fn merged(parts: &[Part<'static>]) -> Vec<Part<'static>> {
    let mut merged: Vec<Part<'static>> = Vec::new();
    for part in parts {
        match (merged.last_mut().map(|part| &mut part.body), &part.body) {
            (
                Some(Body::Text { text: before, citations: cited }),
                Body::Text { text, citations },
            ) => {
                before.to_mut().push_str(text);
                cited.extend(citations.iter().cloned());
            }
            (Some(Body::Refusal(before)), Body::Refusal(text)) => before.to_mut().push_str(text),
            _ => merged.push(part.clone()),
        }
    }
    merged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests(request in arbitrary::request()) {
        let fit = Fit::new(Form::Responses);
        let mut losses = Losses::new(Form::Responses, Form::Responses, Strictness {
            refuse_meaning: true,
            refuse_harmless: true,
        });
        let mut left = request.clone();
        let body = write_request(&mut left, &fit, &mut losses).unwrap();
        prop_assert!(left.extras.is_empty() && left.turns.is_empty() && left.tools.is_empty());
        let text = Json::Object(body).to_vec();
        let read = read_request(Json::read(&text).unwrap()).unwrap();
        prop_assert_eq!(sorted(read), sorted(request));
    }

    #[test]
    fn replies(reply in arbitrary::reply()) {
        let asked = asked("{}");
        let text = Json::Object(write_reply(reply.clone(), &asked)).to_vec();
        prop_assert_eq!(read_reply(Json::read(&text).unwrap()).unwrap(), reply);
    }

    #[test]
    fn streams(reply in arbitrary::reply(), size in 1usize..5, usage_first in any::<bool>()) {
        let asked = asked("{}");
        let Reply { id, model, created, choices, usage, .. } = reply;
        let Choice { parts, finish, .. } = choices.into_iter().next().unwrap();
        // Ids of reasoning are told before its signature is known.
        let parts: Vec<_> = parts.into_iter().filter(|part| !matches!(&part.body,
            Body::Thinking { signature: Some(signature), .. } if signature.of == Form::Responses
        )).collect();
        let mut all = vec![Event::Start { id: id.clone(), model: model.clone(), created }];
        all.extend(events(&parts, size));
        let finish = finish.unwrap();
        let end = Event::Finish { choice: 0, finish, stop_sequence: None };
        let usage_event = usage.map(Event::Usage);
        if usage_first {
            all.extend(usage_event);
            all.push(end);
        } else {
            all.push(end);
            all.extend(usage_event);
        }
        all.push(Event::End);
        let stream = written(&asked, all);
        let read = collect([&stream[..]]);
        prop_assert_eq!(&read.parts, &merged(&parts));
        prop_assert_eq!((read.id, read.model), (id.map(Into::into), model.map(Into::into)));
        prop_assert_eq!(read.created, created);
        let called = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
        let finish = if finish == Finish::ToolCalls && !called { Finish::Stop } else { finish };
        prop_assert_eq!((read.finish, read.usage), (Some(finish), usage));
        prop_assert!(read.complete && read.error.is_none());

        // What the events said piece by piece, the last one says whole.
        let last = data(&stream).pop().unwrap();
        let whole = last["response"].to_string();
        let whole = read_reply(Json::read(whole.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(&whole.choices[0].parts, &merged(&parts));
        prop_assert_eq!((whole.choices[0].finish, whole.usage), (Some(finish), usage));
    }

    /// A client sends the output back as input, as OpenAI's guides tell it to.
    #[test]
    fn answers_come_back(
        mut parts in arbitrary::answer(&[Form::Messages]),
        sign in proptest::collection::vec(any::<bool>(), 6),
        size in 1usize..5,
    ) {
        for (part, sign) in parts.iter_mut().zip(sign) {
            match &mut part.body {
                Body::ToolCall { signature, .. } if sign => {
                    *signature = Some(Signature::new(Form::Generate, "c2ln"));
                }
                Body::Thinking { text, .. } if sign => *text = "".into(),
                _ => {}
            }
        }
        let asked = asked("{}");
        let choice = Choice { parts: parts.clone(), ..Choice::default() };
        let reply = Reply { choices: vec![choice], ..Reply::default() };
        let whole = value(write_reply(reply, &asked));
        let mut all = events(&parts, size);
        all.push(Event::End);
        let last = data(&written(&asked, all)).pop().unwrap();
        for (output, parts) in
            [(&whole["output"], parts.clone()), (&last["response"]["output"], merged(&parts))]
        {
            let body = serde_json::json!({"input": output}).to_string();
            let request = read_request(Json::read(body.as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(&request.extras, &[]);
            prop_assert_eq!(request.turns.len(), 1);
            prop_assert_eq!(request.turns[0].role, Role::Assistant);
            prop_assert_eq!(&request.turns[0].parts, &parts);
        }
    }
}
