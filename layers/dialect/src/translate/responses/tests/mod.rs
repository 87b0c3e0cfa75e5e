//! The Responses API against its samples, and against itself.

mod arbitrary;
mod replies;
mod requests;
mod robust;
mod round_trip;
mod streams;

use std::{fs, path::PathBuf};

use serde_json::Value;
use tollway_core::{ErrorClass, Usage};

use super::Reader;
use crate::{
    json::{At, Json, Object},
    sse::Parser,
    translate::{
        Asked, Form, StreamReader, StreamWriter,
        hub::{Arguments, Body, Citation, Event, Finish, Part, Signature},
    },
};

fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    fs::read(path).unwrap()
}

/// Every sample of this form whose name ends so, with what is expected.
fn samples(suffix: &str) -> Vec<(String, Value)> {
    let all: Value = serde_json::from_slice(&sample("expected.json")).unwrap();
    let all = all.as_object().unwrap().iter();
    let found: Vec<_> = all
        .filter(|(name, _)| name.contains("/responses_") && name.ends_with(suffix))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert!(!found.is_empty());
    found
}

fn asked(body: &str) -> Asked {
    Asked {
        form: Form::Responses,
        model: "fast".into(),
        stream: false,
        wants_usage: true,
        sse: true,
        body: body.to_owned().into(),
        nonce: 0xabcd,
        now: 1_800_000_000,
    }
}

fn object(json: &[u8]) -> Object<'_> {
    Json::read(json).unwrap().into_object(&At::Root).unwrap()
}

fn value(object: Object<'_>) -> Value {
    serde_json::from_slice(&Json::Object(object).to_vec()).unwrap()
}

/// What a stream's events say in the end.
#[derive(Clone, Debug, Default, PartialEq)]
struct Collected {
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    parts: Vec<Part<'static>>,
    logprobs: Vec<String>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    error: Option<(ErrorClass, String, Option<String>)>,
    starts: u32,
    complete: bool,
}

impl Collected {
    fn see(&mut self, event: Event<'_>) {
        assert!(!self.complete && self.error.is_none(), "something follows the end: {event:?}");
        assert_eq!(self.starts == 0, matches!(event, Event::Start { .. }), "{event:?}");
        let own = |text: std::borrow::Cow<'_, str>| text.into_owned();
        match event {
            Event::Start { id, model, created } => {
                self.starts += 1;
                (self.id, self.model, self.created) = (id.map(own), model.map(own), created);
            }
            Event::Text { choice: 0, text } => match self.parts.last_mut().map(|p| &mut p.body) {
                Some(Body::Text { text: before, .. }) => before.to_mut().push_str(&text),
                _ => self.parts.push(Part::text(own(text))),
            },
            Event::Refusal { choice: 0, text } => {
                match self.parts.last_mut().map(|p| &mut p.body) {
                    Some(Body::Refusal(before)) => before.to_mut().push_str(&text),
                    _ => self.parts.push(Part::new(Body::Refusal(own(text).into()))),
                }
            }
            Event::Thinking { choice: 0, text } => {
                match self.parts.last_mut().map(|part| &mut part.body) {
                    Some(Body::Thinking { text: before, signature: None }) => {
                        before.to_mut().push_str(&text);
                    }
                    _ => self.think(own(text), None),
                }
            }
            Event::Signature { choice: 0, signature } => {
                let signature = Signature::new(signature.of, own(signature.data));
                match self.parts.last_mut().map(|part| &mut part.body) {
                    Some(Body::Thinking { signature: place @ None, .. }) => {
                        *place = Some(signature);
                    }
                    _ => self.think(String::new(), Some(signature)),
                }
            }
            Event::Redacted { choice: 0, data } => {
                let data = Signature::new(data.of, own(data.data));
                self.parts.push(Part::new(Body::Redacted(data)));
            }
            Event::Citation { choice: 0, citation } => {
                let Some(Body::Text { citations, .. }) =
                    self.parts.last_mut().map(|part| &mut part.body)
                else {
                    panic!("of no text")
                };
                citations.push(Citation {
                    url: own(citation.url).into(),
                    title: citation.title.map(|title| own(title).into()),
                    range: citation.range,
                    quote: citation.quote.map(|quote| own(quote).into()),
                });
            }
            Event::ToolStart { choice: 0, call, id, name, signature } => {
                assert!(signature.is_none());
                assert_eq!(self.calls().count(), call as usize);
                self.parts.push(Part::new(Body::ToolCall {
                    id: id.map(|id| own(id).into()),
                    name: own(name).into(),
                    arguments: Arguments::Text("".into()),
                    signature: None,
                }));
            }
            Event::ToolArguments { choice: 0, call, json } => {
                match self.calls().nth(call as usize).unwrap() {
                    Body::ToolCall { arguments: Arguments::Text(text), .. } => {
                        text.to_mut().push_str(&json);
                    }
                    other => panic!("{other:?}"),
                }
            }
            Event::Logprobs { choice: 0, logprobs } => self.logprobs.push(logprobs.to_text()),
            Event::Finish { choice: 0, finish, stop_sequence: None } => {
                assert_eq!(self.finish.replace(finish), None);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(error) => {
                self.error = Some((error.class, own(error.message), error.code.map(own)));
            }
            Event::End => self.complete = true,
            other => panic!("{other:?}"),
        }
    }

    fn think(&mut self, text: String, signature: Option<Signature<'static>>) {
        self.parts.push(Part::new(Body::Thinking { text: text.into(), signature }));
    }

    fn calls(&mut self) -> impl Iterator<Item = &mut Body<'static>> {
        let bodies = self.parts.iter_mut().map(|part| &mut part.body);
        bodies.filter(|body| matches!(body, Body::ToolCall { .. }))
    }

    fn text(&self) -> String {
        self.parts.iter().filter_map(Part::as_text).collect()
    }
}

fn collect<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Collected {
    let mut parser = Parser::new();
    let mut reader = Reader::default();
    let mut collected = Collected::default();
    for chunk in chunks {
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            let Some(data) = event.data else { continue };
            reader.read(event.name, data, &mut |event| collected.see(event)).unwrap();
        }
    }
    reader.end(&mut |event| collected.see(event));
    collected
}

/// The bytes that a writer makes of events.
fn written<'e>(asked: &Asked, events: impl IntoIterator<Item = Event<'e>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = super::Writer::new(asked);
    for event in events {
        writer.write(event, &mut out);
    }
    out
}

/// The data of each event; its name has to be the same as its type.
fn data(stream: &[u8]) -> Vec<Value> {
    let mut parser = Parser::new();
    let (mut at, mut all) = (0, Vec::new());
    while let Some(event) = parser.next(stream, &mut at) {
        let value: Value = serde_json::from_slice(event.data.unwrap()).unwrap();
        assert_eq!(value["type"].as_str().unwrap().as_bytes(), event.name.unwrap());
        assert_eq!(value["sequence_number"], all.len());
        all.push(value);
    }
    assert!(parser.finish().is_none());
    all
}
