mod properties;
mod replies;
mod requests;
mod samples;
mod streams;
mod written;

use std::borrow::Cow;

use serde_json::Value;
use tollway_core::Usage;

use super::{Reader, Writer, read_request, write_request};
use crate::{
    json::{Json, Object},
    sse,
    translate::{
        Asked, Fit, Form, Losses, StreamReader, StreamWriter, Strictness,
        hub::{Arguments, Body, Event, Finish, Part, Request, Role, Signature, StreamError, Turn},
        settle::{leftovers, settle},
    },
};

fn value(json: &Json<'_>) -> Value {
    serde_json::from_slice(&json.to_vec()).unwrap()
}

fn parsed(json: &str) -> Json<'_> {
    Json::read(json.as_bytes()).unwrap()
}

fn read(json: &str) -> Request<'_> {
    read_request(parsed(json)).unwrap()
}

fn refused(json: &str) -> String {
    read_request(parsed(json)).unwrap_err().message().to_owned()
}

fn sample(name: &str) -> String {
    let path = format!("{}/tests/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn lenient() -> Strictness {
    Strictness { refuse_meaning: false, refuse_harmless: false }
}

/// As a request from a client of `client` is written, and what it lost.
fn written(mut request: Request<'_>, client: Form, fit: &Fit) -> (Value, String) {
    let mut losses = Losses::new(client, Form::Generate, lenient());
    settle(&mut request, fit, &mut losses).unwrap();
    let out = write_request(&mut request, fit, &mut losses).unwrap();
    leftovers(request, &mut losses).unwrap();
    let dropped = losses.header().map(|header| header.to_str().unwrap().to_owned());
    (value(&Json::Object(out)), dropped.unwrap_or_default())
}

fn user(parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn::new(Role::User, parts)
}

fn model(parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn::new(Role::Assistant, parts)
}

fn request(turns: Vec<Turn<'_>>) -> Request<'_> {
    Request { turns, ..Request::default() }
}

fn call<'a>(id: Option<&'a str>, name: &'a str, arguments: &'a str) -> Part<'a> {
    Part::new(Body::ToolCall {
        id: id.map(Cow::Borrowed),
        name: name.into(),
        arguments: Arguments::Text(arguments.into()),
        signature: None,
    })
}

fn result<'a>(id: Option<&'a str>, name: Option<&'a str>, text: &'a str) -> Part<'a> {
    Part::new(Body::ToolResult {
        id: id.map(Cow::Borrowed),
        name: name.map(Cow::Borrowed),
        content: vec![Part::text(text)],
        is_error: false,
    })
}

fn thinking<'a>(text: &'a str, signature: Option<Signature<'a>>) -> Part<'a> {
    Part::new(Body::Thinking { text: text.into(), signature })
}

fn asked(sse: bool) -> Asked {
    Asked {
        form: Form::Generate,
        model: "alias".into(),
        stream: true,
        wants_usage: true,
        sse,
        body: bytes::Bytes::new(),
        nonce: 7,
        now: 1_763_800_400,
    }
}

/// What a stream says, put together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Heard {
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<StreamError<'static>>,
    ended: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Choice {
    index: u32,
    parts: Vec<Piece>,
    finish: Option<Finish>,
    cited: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Thinking(String, Option<Signature<'static>>),
    Redacted(Signature<'static>),
    Call {
        call: u32,
        id: Option<String>,
        name: String,
        args: String,
        signed: Option<Signature<'static>>,
    },
}

fn kept(signature: Signature<'_>) -> Signature<'static> {
    Signature::new(signature.of, signature.data.into_owned())
}

impl Heard {
    fn choice(&mut self, index: u32) -> &mut Choice {
        if let Some(place) = self.choices.iter().position(|choice| choice.index == index) {
            return &mut self.choices[place];
        }
        self.choices.push(Choice { index, ..Choice::default() });
        self.choices.last_mut().unwrap()
    }

    fn hear(&mut self, event: Event<'_>) {
        assert!(!self.ended && self.error.is_none(), "{event:?} came too late");
        match event {
            Event::Start { id, model, .. } => {
                assert!(self.model.is_none());
                self.id = id.map(Cow::into_owned);
                self.model = model.map(Cow::into_owned);
            }
            Event::Text { choice, text } | Event::Refusal { choice, text } => {
                match self.choice(choice).parts.last_mut() {
                    Some(Piece::Text(known)) => known.push_str(&text),
                    _ => self.choice(choice).parts.push(Piece::Text(text.into_owned())),
                }
            }
            Event::Thinking { choice, text } => match self.choice(choice).parts.last_mut() {
                Some(Piece::Thinking(known, None)) => known.push_str(&text),
                _ => self.choice(choice).parts.push(Piece::Thinking(text.into_owned(), None)),
            },
            Event::Signature { choice, signature } => {
                let signature = Some(kept(signature));
                match self.choice(choice).parts.last_mut() {
                    Some(Piece::Thinking(_, unsigned @ None)) => *unsigned = signature,
                    _ => self.choice(choice).parts.push(Piece::Thinking(String::new(), signature)),
                }
            }
            Event::Redacted { choice, data } => {
                self.choice(choice).parts.push(Piece::Redacted(kept(data)));
            }
            Event::ToolStart { choice, call, id, name, signature } => {
                self.choice(choice).parts.push(Piece::Call {
                    call,
                    id: id.map(Cow::into_owned),
                    name: name.into_owned(),
                    args: String::new(),
                    signed: signature.map(kept),
                });
            }
            Event::ToolArguments { choice, call, json } => {
                let parts = self.choice(choice).parts.iter_mut();
                for part in parts {
                    if let Piece::Call { call: number, args, .. } = part {
                        if *number == call {
                            args.push_str(&json);
                        }
                    }
                }
            }
            Event::Citation { choice, citation } => {
                self.choice(choice).cited.push(citation.url.into_owned());
            }
            Event::Logprobs { .. } => {}
            Event::Finish { choice, finish, .. } => {
                assert!(self.choice(choice).finish.replace(finish).is_none());
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(error) => {
                self.error = Some(StreamError {
                    class: error.class,
                    message: error.message.into_owned().into(),
                    code: None,
                });
            }
            Event::End => self.ended = true,
        }
    }

    fn text(&self) -> String {
        let parts = self.choices.iter().flat_map(|choice| &choice.parts);
        parts
            .filter_map(|part| match part {
                Piece::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// What the reader makes of a provider's body.
fn heard<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let (mut parser, mut reader) = (sse::Parser::new(), Reader::default());
    let mut heard = Heard::default();
    for chunk in chunks {
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            let Some(data) = event.data else { continue };
            reader.read(event.name, data, &mut |event| heard.hear(event)).unwrap();
        }
    }
    reader.end(&mut |event| heard.hear(event));
    heard
}

fn write_all(events: &[Event<'_>], sse: bool) -> String {
    let (mut writer, mut out) = (Writer::new(&asked(sse)), Vec::new());
    for event in events {
        writer.write(event.clone(), &mut out);
    }
    String::from_utf8(out).unwrap()
}
