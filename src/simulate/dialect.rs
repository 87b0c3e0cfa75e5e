//! Whose API a request is for: its path tells, so one simulator answers all of them at once.

use http::request::Parts;
use tollway_core::Dialect;

use super::{
    State, anthropic,
    future::{Answer, Exchange},
    gemini, openai,
};

/// What kept a request from being read.
pub(super) enum Trouble {
    /// Its `x-simulate` header says nonsense; this is what would be right.
    Control(String),
    /// The body ended too early.
    Broken,
    /// The body is larger than the path takes.
    TooLarge,
}

/// The dialect of a request, and how much of its body is kept.
pub(super) fn of(parts: &Parts) -> (Dialect, usize) {
    let path = parts.uri.path();
    if gemini::answers(parts) {
        (Dialect::Gemini, gemini::BODY_LIMIT)
    } else if anthropic::answers(path, &parts.headers) {
        (Dialect::Anthropic, anthropic::BODY_LIMIT)
    } else {
        (Dialect::OpenAi, openai::body_bytes_needed(path))
    }
}

/// Whether a body that is larger than what is kept is refused.
pub(super) fn needs_whole_body(dialect: Dialect, path: &str) -> bool {
    dialect != Dialect::OpenAi || openai::needs_whole_body(path)
}

pub(super) fn answer(dialect: Dialect, state: &State, x: &mut Exchange) -> Answer {
    match dialect {
        Dialect::Anthropic => state.anthropic.answer(state, x),
        Dialect::Gemini => gemini::answer(state, x),
        _ => state.openai.answer(state, x),
    }
}

pub(super) fn refuse(dialect: Dialect, x: &Exchange, trouble: &Trouble) -> Answer {
    match dialect {
        Dialect::Anthropic => anthropic::refuse(x, trouble),
        Dialect::Gemini => gemini::refuse(x, trouble),
        _ => openai::refuse(x, trouble),
    }
}
