//! An item of an answer that is being read.

use std::borrow::Cow;

use super::{read_content, thought};
use crate::{
    json::{At, Json, Object},
    translate::hub::{Body, Event},
};

pub(super) type Emit<'e> = dyn FnMut(Event<'_>) + 'e;

#[derive(Debug)]
pub(super) struct Item {
    pub(super) index: u64,
    /// The kind of what came of it, and the index of the last piece.
    pub(super) last: Option<(Piece, u64)>,
    /// The number of the call that it is.
    pub(super) call: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text,
    Refusal,
    Summary,
    Reasoning,
    Arguments,
}

impl Item {
    pub(super) fn piece(
        &mut self,
        piece: Piece,
        index: u64,
        text: Cow<'_, str>,
        logprobs: Option<Json<'_>>,
        emit: &mut Emit<'_>,
    ) {
        if text.is_empty() {
            return;
        }
        let thinks = matches!(piece, Piece::Summary | Piece::Reasoning);
        match self.last {
            // A summary and the reasoning itself: whichever came first.
            Some((other, _)) if thinks && other != piece => return,
            Some((_, before)) if thinks && before != index => {
                emit(Event::Thinking { choice: 0, text: thought::SEPARATOR.into() });
            }
            _ => {}
        }
        let event = match piece {
            Piece::Text => Event::Text { choice: 0, text },
            Piece::Refusal => Event::Refusal { choice: 0, text },
            Piece::Summary | Piece::Reasoning => Event::Thinking { choice: 0, text },
            Piece::Arguments => match self.call {
                Some(call) => Event::ToolArguments { choice: 0, call, json: text },
                // Its end will tell what it is.
                None => return,
            },
        };
        self.last = Some((piece, index));
        if let Some(logprobs) = logprobs.filter(|l| l.as_array().is_some_and(|l| !l.is_empty())) {
            let logprobs = Object::new().with("content", logprobs).into();
            emit(Event::Logprobs { choice: 0, logprobs });
        }
        emit(event);
    }

    pub(super) fn message(&mut self, content: Vec<Json<'_>>, emit: &mut Emit<'_>) {
        for (index, part) in content.into_iter().enumerate() {
            let Json::Object(mut part) = part else { continue };
            let (piece, key) = match part.str("type") {
                Some("output_text") => (Piece::Text, "text"),
                Some("refusal") => (Piece::Refusal, "refusal"),
                _ => continue,
            };
            let logprobs = part.take("logprobs");
            if let Some(Json::String(text)) = part.take(key) {
                self.piece(piece, index as u64, text, logprobs, emit);
            }
            if let Some(Json::Array(annotations)) = part.take("annotations") {
                for citation in annotations.into_iter().filter_map(read_content::citation) {
                    emit(Event::Citation { choice: 0, citation });
                }
            }
        }
    }

    /// Its signature is the one at its end: the one at its beginning is another.
    pub(super) fn reasoning(&mut self, mut item: Object<'_>, emit: &mut Emit<'_>) {
        let Ok(Some(part)) = thought::read(&mut item, &At::Root, &mut |_, _| {}) else { return };
        match part.body {
            Body::Thinking { text, signature } => {
                if self.last.is_none() {
                    self.piece(Piece::Summary, 0, text, None, emit);
                }
                if let Some(signature) = signature {
                    emit(Event::Signature { choice: 0, signature });
                }
            }
            Body::Redacted(signature) if self.last.is_some() => {
                emit(Event::Signature { choice: 0, signature });
            }
            Body::Redacted(data) => emit(Event::Redacted { choice: 0, data }),
            _ => {}
        }
    }
}
