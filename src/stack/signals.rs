//! What only some routes ask of a request: read when they ask.

use std::borrow::Cow;

use http::Request;
use jiff::tz::TimeZone;
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

use super::opening::Opening;

/// Reads bodies that are held; of one that streams through nothing is known.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    /// Where the policy's hours are meant.
    zone: TimeZone,
}

impl Reads {
    /// `auto`: some rule asks how hard prompts look, which takes a table that is made now.
    pub(super) fn new(auto: bool, zone: TimeZone) -> Self {
        if auto {
            let _ = Scanner::new();
        }
        Self { zone }
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

    fn prefix(&self, request: &Request<RequestBody<B>>) -> Option<u64> {
        let mut opening = Opening::new();
        visit(request, &mut |piece: Piece<'_>| opening.see(&piece))?;
        opening.number()
    }

    /// `metadata.task`. A body that streams through, or is no JSON, says none.
    fn task<'a>(&'a self, request: &'a Request<RequestBody<B>>) -> Option<Cow<'a, str>> {
        task(request.body().as_bytes()?)
    }

    fn moment(&self) -> Option<Moment> {
        moment(jiff::Timestamp::try_from(SystemClock.now()).ok()?, &self.zone)
    }
}

fn moment(now: jiff::Timestamp, zone: &TimeZone) -> Option<Moment> {
    let now = now.to_zoned(zone.clone());
    Some(Moment {
        weekday: now.weekday().to_monday_zero_offset().try_into().ok()?,
        minute: u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).ok()?,
    })
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
            let reads = Reads::new(false, TimeZone::UTC);
            assert_eq!(reads.needs(&request), needs, "{operation:?}");
        }
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let at = |zone: &str, now: &str| {
            let told = moment(now.parse().unwrap(), &TimeZone::get(zone).unwrap()).unwrap();
            (told.weekday, told.minute)
        };
        // A Sunday evening in Greenwich, in summer.
        assert_eq!(at("UTC", "2026-07-05T22:30:00Z"), (6, 22 * 60 + 30));
        assert_eq!(at("Europe/Berlin", "2026-07-05T22:30:00Z"), (0, 30));
        assert_eq!(at("Europe/Berlin", "2026-01-04T22:30:00Z"), (6, 23 * 60 + 30));
        assert_eq!(at("America/New_York", "2026-07-05T22:30:00Z"), (6, 18 * 60 + 30));
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
