//! OpenAI's dialect: which path is what, and the wire shapes.

mod chat;
mod embeddings;
mod error;
mod files;
mod media;
mod multipart;
mod order;
mod request;
mod responses;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    State,
    body::Events,
    dialect::Trouble,
    future::{Answer, Exchange},
    limits::{self, Levels, Verdict},
    reply::{self, GARBAGE},
    write,
};
use error::Error;

/// The largest body that is kept; a larger one is a 413.
const BODY_LIMIT: usize = 64 << 20;
/// Of what is only counted, this much is kept, for the form fields before the file.
const COUNTED_LIMIT: usize = 1 << 20;

/// What the simulated OpenAI keeps between requests.
#[derive(Debug, Default)]
pub(super) struct OpenAi {
    files: files::Files,
}

/// An answer, or the error to answer with.
type Outcome = Result<Answer, Box<Error>>;

/// The path below the base URL, which may be any of the usual ones.
fn below_base(path: &str) -> &str {
    let path = path.strip_prefix("/openai").unwrap_or(path);
    path.strip_prefix("/v1beta/openai").or_else(|| path.strip_prefix("/v1")).unwrap_or(path)
}

/// How much of a body has to be kept for this path.
pub(super) fn body_bytes_needed(path: &str) -> usize {
    if needs_whole_body(path) { BODY_LIMIT } else { COUNTED_LIMIT }
}

/// Whether a body larger than that is refused: an audio upload is only counted.
pub(super) fn needs_whole_body(path: &str) -> bool {
    !below_base(path).starts_with("/audio/t")
}

pub(super) fn refuse(x: &Exchange, trouble: &Trouble) -> Answer {
    let error = match trouble {
        Trouble::Control(text) => Error::invalid(text).param("x-simulate"),
        Trouble::Broken => Error::invalid("The request's body ended too early."),
        Trouble::TooLarge => {
            let mut error = Error::invalid("Maximum content size limit exceeded.");
            error.status = StatusCode::PAYLOAD_TOO_LARGE;
            error
        }
    };
    error.answer(x)
}

impl OpenAi {
    pub(super) fn answer(&self, state: &State, x: &mut Exchange) -> Answer {
        if let Some(refusal) = &x.fate.refusal {
            return error::refused(x, refusal);
        }
        if x.is_garbage() {
            return whole(x, "text/html", Bytes::from_static(GARBAGE.as_bytes()), 0, 0);
        }
        self.route(state, x).unwrap_or_else(|error| error.answer(x))
    }

    fn route(&self, state: &State, x: &mut Exchange) -> Outcome {
        let uri = x.parts.uri.clone();
        let path = below_base(uri.path()).trim_end_matches('/');
        let post: fn(&State, &mut Exchange) -> Outcome = match path {
            "/chat/completions" => chat::chat,
            "/completions" => chat::completions,
            "/responses" => responses::responses,
            "/embeddings" => embeddings::embeddings,
            "/moderations" => media::moderations,
            "/images/generations" | "/images/edits" | "/images/variations" => media::images,
            "/audio/transcriptions" | "/audio/translations" => media::transcriptions,
            "/audio/speech" => media::speech,
            _ => return self.route_stored(x, path),
        };
        if x.parts.method == Method::POST { post(state, x) } else { Err(error::wrong_method(x)) }
    }

    /// Models, files and batches: paths with a name in them.
    fn route_stored(&self, x: &Exchange, path: &str) -> Outcome {
        let mut names = path.trim_start_matches('/').splitn(3, '/');
        let (kind, id, rest) = (names.next(), names.next(), names.next());
        match (kind, id, rest) {
            // A model's name may have slashes in it.
            (Some("models"), Some(_), _) if x.parts.method == Method::GET => {
                Ok(media::model(x, path.strip_prefix("/models/").unwrap_or_default()))
            }
            (Some("models"), None, None) if x.parts.method == Method::GET => Ok(media::models(x)),
            (Some("models"), ..) => Err(error::wrong_method(x)),
            (Some("files"), id, rest) => self.files.files(x, id, rest),
            (Some("batches"), id, rest) => self.files.batches(x, id, rest),
            _ => Err(error::no_such_path(x)),
        }
    }
}

/// Counts `tokens` against the limits.
fn admit(state: &State, x: &Exchange, model: &str, tokens: u64) -> Result<Levels, Box<Error>> {
    match state.limits.admit(&x.config, limits::account(&x.parts), tokens) {
        Verdict::Admitted(levels) => Ok(levels),
        Verdict::NoQuota => Err(Box::new(Error::quota())),
        Verdict::Full { scope, limit, used, wait, levels } => {
            Err(Box::new(error::full(model, scope, (limit, used, tokens), wait, levels)))
        }
    }
}

impl Answer {
    fn with_levels(mut self, levels: &Levels) -> Self {
        error::rate_headers(levels, self.response.headers_mut());
        self
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
const VERSION: HeaderName = HeaderName::from_static("openai-version");

/// The headers that every reply has.
fn head(x: &Exchange, headers: &mut HeaderMap, kind: &'static str) {
    headers.reserve(8);
    reply::content_type(headers, kind);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(x.id("req_"))) {
        headers.insert(REQUEST_ID, value);
    }
    let ms = u64::try_from(x.fate.latency.as_millis()).unwrap_or(u64::MAX);
    headers.insert(ORGANIZATION, HeaderValue::from_static("org-simulated"));
    headers.insert(PROCESSING_MS, HeaderValue::from(ms));
    headers.insert(VERSION, HeaderValue::from_static("2020-10-01"));
}

/// A reply in one piece; `output` tokens of work are in it.
fn whole(x: &Exchange, kind: &'static str, bytes: Bytes, output: u64, tokens: u64) -> Answer {
    let late_error = || Error::of(StatusCode::INTERNAL_SERVER_ERROR).body();
    let mut answer = reply::whole(x, bytes, (output, tokens), late_error);
    head(x, answer.response.headers_mut(), kind);
    answer
}

/// A reply of events.
fn streamed(x: &Exchange, events: Box<dyn Events>, tokens: u64) -> Answer {
    let mut answer = reply::streamed(x, events, tokens);
    head(x, answer.response.headers_mut(), "text/event-stream; charset=utf-8");
    answer
}
