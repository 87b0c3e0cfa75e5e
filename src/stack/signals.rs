//! What only some routes ask of a request: read when they ask.

use std::{
    borrow::Cow,
    hash::{BuildHasher, Hasher},
};

use foldhash::fast::FixedState;
use http::Request;
use serde::Deserialize;
use tollway_core::{Ask, Needs, Operation, SystemClock, WallClock};
use tollway_dialect::{
    RequestBody,
    prompt::{self, Piece, Role},
};
use tollway_route::{
    Moment, ReadSignals,
    auto::{self, Scanner, Signals},
};

/// Bytes of a prompt's start that its provider's cache is likely to know it by: about the 1024
/// tokens from which on OpenAI caches.
const PREFIX: usize = 4096;

/// Reads bodies that are held; of one that streams through nothing is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads;

impl Reads {
    /// `auto`: some rule asks how hard prompts look, which takes a table that is made now.
    pub(super) fn new(auto: bool) -> Self {
        if auto {
            let _ = Scanner::new();
        }
        Self
    }
}

fn visit<B>(request: &Request<RequestBody<B>>, each: &mut impl FnMut(Piece<'_>)) -> Option<()> {
    let ask = request.extensions().get::<Ask>()?;
    prompt::visit(ask.operation, request.body().as_bytes()?, each);
    Some(())
}

/// What a request and the pieces of its prompt say of what a model must be able to do.
fn found<B>(request: &Request<B>, mut seen: prompt::Needs) -> Needs {
    // Speech and transcription are audio whatever the body says, and most are forms.
    let ask = request.extensions().get::<Ask>();
    seen.audio |= ask.is_some_and(|ask| ask.operation == Operation::Audio);
    let all = [
        (seen.vision, Needs::VISION),
        (seen.tools, Needs::TOOLS),
        (seen.json, Needs::JSON),
        (seen.reasoning, Needs::REASONING),
        (seen.audio, Needs::AUDIO),
    ];
    let needed = all.into_iter().filter(|(needed, _)| *needed);
    needed.fold(Needs::NONE, |all, (_, need)| all | need)
}

fn scan(scanner: &mut Scanner, piece: Piece<'_>) {
    match piece {
        Piece::Message(role) => scanner.turn(speaker(role)),
        Piece::Text { text, .. } => scanner.text(text),
        Piece::Image => scanner.image(),
        Piece::Tool => scanner.tool(),
        Piece::Schema => scanner.schema(),
        _ => {}
    }
}

impl<B> ReadSignals<RequestBody<B>> for Reads {
    fn needs(&self, request: &Request<RequestBody<B>>) -> Needs {
        let mut seen = prompt::Needs::default();
        visit(request, &mut |piece: Piece<'_>| seen.see(&piece));
        found(request, seen)
    }

    fn signals(&self, request: &Request<RequestBody<B>>) -> Option<Signals> {
        self.look(request).1
    }

    /// In one walk over the body.
    fn look(&self, request: &Request<RequestBody<B>>) -> (Needs, Option<Signals>) {
        let (mut seen, mut scanner) = (prompt::Needs::default(), Scanner::new());
        let read = visit(request, &mut |piece: Piece<'_>| {
            seen.see(&piece);
            scan(&mut scanner, piece);
        });
        (found(request, seen), read.map(|()| scanner.finish()))
    }

    /// Of what stands before the model's first word, at most [`PREFIX`] bytes: the same for every
    /// turn of a conversation, and for conversations that share a long start.
    fn prefix(&self, request: &Request<RequestBody<B>>) -> Option<u64> {
        // The same number in every process, so that several proxies agree.
        let (mut left, mut hash) = (PREFIX, FixedState::with_seed(0).build_hasher());
        visit(request, &mut |piece: Piece<'_>| match piece {
            Piece::Message(Role::Assistant) => left = 0,
            Piece::Text { text, .. } => {
                let start = text.as_bytes();
                let start = start.get(..left).unwrap_or(start);
                if !start.is_empty() {
                    hash.write(start);
                    left -= start.len();
                }
            }
            _ => {}
        })?;
        (left < PREFIX).then(|| hash.finish())
    }

    /// `metadata.task`. A body that streams through, or is no JSON, says none.
    fn task<'a>(&'a self, request: &'a Request<RequestBody<B>>) -> Option<Cow<'a, str>> {
        task(request.body().as_bytes()?)
    }

    /// Hours of policies are in UTC.
    fn moment(&self) -> Option<Moment> {
        let now = jiff::Timestamp::try_from(SystemClock.now()).ok()?;
        let now = now.to_zoned(jiff::tz::TimeZone::UTC);
        Some(Moment {
            weekday: now.weekday().to_monday_zero_offset().try_into().ok()?,
            minute: u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).ok()?,
        })
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    task: Cow<'a, str>,
}

fn task(body: &[u8]) -> Option<Cow<'_, str>> {
    let said: Said<'_> = serde_json::from_slice(body).ok()?;
    Some(said.metadata.task)
}

fn speaker(role: Role) -> auto::Role {
    match role {
        Role::System => auto::Role::System,
        Role::User => auto::Role::User,
        Role::Assistant => auto::Role::Assistant,
        Role::Tool => auto::Role::Tool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_and_transcription_need_audio() {
        for (operation, body, needs) in [
            (Operation::Audio, RequestBody::streaming(()), Needs::AUDIO),
            (Operation::Audio, RequestBody::buffered(r#"{"input":"Hi"}"#), Needs::AUDIO),
            (Operation::Embeddings, RequestBody::streaming(()), Needs::NONE),
        ] {
            let mut request = Request::new(body);
            request.extensions_mut().insert(Ask::new(operation));
            assert_eq!(Reads.needs(&request), needs, "{operation:?}");
        }
    }

    #[test]
    fn the_body_says_its_task() {
        let said = |body: &str| task(body.as_bytes()).map(Cow::into_owned);
        let body = r#"{"model":"auto","messages":[{"metadata":{"task":"no"}}],"metadata":{"user":"x","task":"code"}}"#;
        assert_eq!(said(body).as_deref(), Some("code"));
        assert_eq!(said(r#"{"metadata":{"task":"a\u002db"}}"#).as_deref(), Some("a-b"));
        for none in ["", "[]", "{}", r#"{"metadata":null}"#, r#"{"metadata":{"task":3}}"#, "{"] {
            assert_eq!(said(none), None, "{none}");
        }
    }
}
