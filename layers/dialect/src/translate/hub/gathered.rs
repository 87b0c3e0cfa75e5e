use std::borrow::Cow;

use super::{Arguments, Body, Choice, Citation, Event, Part, Reply, Signature, StreamError};
use crate::json::Json;

/// What a stream's events come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Gathered {
    pub(crate) reply: Reply<'static>,
    /// Of each choice, which of its parts are calls.
    calls: Vec<Vec<usize>>,
    pub(crate) error: Option<StreamError<'static>>,
    /// The provider said that it was over.
    pub(crate) complete: bool,
}

impl Gathered {
    /// Takes one more event in.
    pub(crate) fn see(&mut self, event: Event<'_>) {
        match event {
            Event::Start { id, model, created } => {
                (self.reply.id, self.reply.model) = (id.map(own), model.map(own));
                self.reply.created = created;
            }
            Event::Text { choice, text } => match self.last(choice) {
                Some(Body::Text { text: all, citations }) if citations.is_empty() => {
                    all.to_mut().push_str(&text);
                }
                _ => self.push(choice, Body::Text { text: own(text), citations: Vec::new() }),
            },
            Event::Citation { choice, citation: Citation { url, title, range, quote } } => {
                if let Some(Body::Text { citations, .. }) = self.last(choice) {
                    let (title, quote) = (title.map(own), quote.map(own));
                    citations.push(Citation { url: own(url), title, range, quote });
                }
            }
            Event::Refusal { choice, text } => match self.last(choice) {
                Some(Body::Refusal(all)) => all.to_mut().push_str(&text),
                _ => self.push(choice, Body::Refusal(own(text))),
            },
            Event::Thinking { choice, text } => match self.last(choice) {
                Some(Body::Thinking { text: all, signature: None }) => all.to_mut().push_str(&text),
                _ => self.push(choice, Body::Thinking { text: own(text), signature: None }),
            },
            Event::Signature { choice, signature } => match self.last(choice) {
                Some(Body::Thinking { signature: place @ None, .. }) => {
                    *place = Some(made(signature));
                }
                _ => {
                    let signature = Some(made(signature));
                    self.push(choice, Body::Thinking { text: "".into(), signature });
                }
            },
            Event::Redacted { choice, data } => self.push(choice, Body::Redacted(made(data))),
            Event::ToolStart { choice, id, name, signature, .. } => {
                let place = self.choice(choice);
                let number = self.reply.choices.get(place).map_or(0, |said| said.parts.len());
                if let Some(calls) = self.calls.get_mut(place) {
                    calls.push(number);
                }
                let (id, name, signature) = (id.map(own), own(name), signature.map(made));
                let arguments = Arguments::Text("".into());
                self.push(choice, Body::ToolCall { id, name, arguments, signature });
            }
            Event::ToolArguments { choice, call, json } => {
                if let Some(Arguments::Text(all)) = self.arguments(choice, call) {
                    all.to_mut().push_str(&json);
                }
            }
            Event::Logprobs { choice, logprobs } => {
                if let Some(choice) = self.said(choice) {
                    choice.logprobs = Some(joined(choice.logprobs.take(), logprobs.into_owned()));
                }
            }
            Event::Finish { choice, finish, stop_sequence } => {
                if let Some(choice) = self.said(choice) {
                    choice.finish = Some(finish);
                    choice.stop_sequence = stop_sequence.map(own);
                }
            }
            Event::Usage(usage) => self.reply.usage = Some(usage),
            Event::Error(StreamError { class, message, code }) => {
                let (message, code) = (own(message), code.map(own));
                self.error = Some(StreamError { class, message, code });
            }
            Event::End => self.complete = true,
        }
    }

    /// Its place.
    fn choice(&mut self, index: u32) -> usize {
        let choices = &mut self.reply.choices;
        choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            choices.push(Choice { index, ..Choice::default() });
            self.calls.push(Vec::new());
            choices.len() - 1
        })
    }

    fn said(&mut self, index: u32) -> Option<&mut Choice<'static>> {
        let place = self.choice(index);
        self.reply.choices.get_mut(place)
    }

    fn push(&mut self, index: u32, body: Body<'static>) {
        if let Some(choice) = self.said(index) {
            choice.parts.push(Part::new(body));
        }
    }

    fn last(&mut self, index: u32) -> Option<&mut Body<'static>> {
        Some(&mut self.said(index)?.parts.last_mut()?.body)
    }

    fn arguments(&mut self, index: u32, call: u32) -> Option<&mut Arguments<'static>> {
        let place = self.choice(index);
        let part = *self.calls.get(place)?.get(usize::try_from(call).ok()?)?;
        match &mut self.reply.choices.get_mut(place)?.parts.get_mut(part)?.body {
            Body::ToolCall { arguments, .. } => Some(arguments),
            _ => None,
        }
    }
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn made(signature: Signature<'_>) -> Signature<'static> {
    Signature::new(signature.of, signature.data.into_owned())
}

/// The lists of a piece behind those of the pieces before it.
fn joined(before: Option<Json<'static>>, piece: Json<'static>) -> Json<'static> {
    let (mut all, piece) = match (before, piece) {
        (Some(Json::Object(all)), Json::Object(piece)) => (all, piece),
        (_, piece) => return piece,
    };
    for (key, value) in piece.into_members() {
        let known = all.iter_mut().find(|(known, _)| *known == key).map(|(_, list)| list);
        match (known, value) {
            (Some(Json::Array(list)), Json::Array(more)) => list.extend(more),
            (Some(place), value) if place.is_null() => *place = value,
            (Some(_), _) => {}
            (None, value) => all.push(key, value),
        }
    }
    all.into()
}
