//! Anthropic's dialect: Messages, its count of tokens, its models.

mod blocks;
mod cache;
mod check;
mod conversation;
mod error;
mod messages;
mod meter;
mod models;
mod request;
mod stream;
mod tools;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

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

/// The largest body that the real one's edge lets through.
pub(super) const BODY_LIMIT: usize = 32 << 20;

const VERSION: &str = "anthropic-version";
/// The versions that there are; the last one has no sampling fields.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", WITHOUT_SAMPLING];
const WITHOUT_SAMPLING: &str = "2026-10-21";

/// What the simulated Anthropic keeps between requests.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    cache: cache::Cache,
}

/// An answer, or the error to answer with.
type Outcome = Result<Answer, Box<Error>>;

/// The path below the base URL, which may be any of the usual ones.
fn below_base(path: &str) -> &str {
    let path = path.strip_prefix("/anthropic").unwrap_or(path);
    path.strip_prefix("/v1").unwrap_or(path).trim_end_matches('/')
}

/// Whether a request is for this API: its models have the same path as OpenAI's.
pub(super) fn answers(path: &str, headers: &HeaderMap) -> bool {
    let path = below_base(path);
    let is = |name: &str| {
        path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is("/messages") || is("/models") && headers.contains_key(VERSION)
}

pub(super) fn refuse(x: &Exchange, trouble: &Trouble) -> Answer {
    let error = match trouble {
        Trouble::Control(text) => Error::invalid(text),
        Trouble::Broken => Error::invalid("The request's body ended too early."),
        Trouble::TooLarge => Error::of(StatusCode::PAYLOAD_TOO_LARGE),
    };
    error.answer(x)
}

impl Anthropic {
    pub(super) fn answer(&self, state: &State, x: &mut Exchange) -> Answer {
        if let Some(refusal) = &x.fate.refusal {
            return error::refused(x, refusal);
        }
        if x.is_garbage() {
            return whole(x, "text/html", Bytes::from_static(GARBAGE.as_bytes()), (0, 0));
        }
        self.route(state, x).unwrap_or_else(|error| error.answer(x))
    }

    fn route(&self, state: &State, x: &mut Exchange) -> Outcome {
        check_version(x)?;
        let uri = x.parts.uri.clone();
        let path = below_base(uri.path());
        let name = path.strip_prefix("/models").map(|rest| rest.trim_start_matches('/'));
        let method = if name.is_some() { Method::GET } else { Method::POST };
        if x.parts.method != method {
            return Err(error::wrong_method());
        }
        match (path, name) {
            ("/messages", _) => messages::messages(state, &self.cache, x),
            ("/messages/count_tokens", _) => messages::count_tokens(x),
            (_, Some("")) => Ok(models::models(x)),
            (_, Some(name)) => Ok(models::model(x, name)),
            _ => Err(error::no_such_path()),
        }
    }
}

fn check_version(x: &Exchange) -> Result<(), Box<Error>> {
    let version = x.parts.headers.get(VERSION).map(HeaderValue::as_bytes);
    match version {
        None => Err(Box::new(Error::invalid("anthropic-version: header is required"))),
        Some(version) if VERSIONS.iter().any(|known| known.as_bytes() == version) => Ok(()),
        Some(version) => {
            let version = String::from_utf8_lossy(version);
            let text = format!("anthropic-version: {version:?} is not a valid version");
            Err(Box::new(Error::invalid(text)))
        }
    }
}

/// Counts `tokens` against the limits.
fn admit(state: &State, x: &Exchange, tokens: u64) -> Result<Levels, Box<Error>> {
    match state.limits.admit(&x.config, limits::account(&x.parts), tokens) {
        Verdict::Admitted(levels) => Ok(levels),
        Verdict::NoQuota => Err(Box::new(Error::quota())),
        Verdict::Full { scope, limit, wait, levels, .. } => {
            Err(Box::new(error::full(scope, limit, wait, levels)))
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const ORGANIZATION: HeaderName = HeaderName::from_static("anthropic-organization-id");

fn request_id(x: &Exchange) -> String {
    x.id("req_01")
}

/// The headers that every reply has.
fn head(x: &Exchange, headers: &mut HeaderMap, kind: &'static str) {
    reply::content_type(headers, kind);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(request_id(x))) {
        headers.insert(REQUEST_ID, value);
    }
    let organization = HeaderValue::from_static("00000000-0000-4000-8000-000000000000");
    headers.insert(ORGANIZATION, organization);
}

/// A reply in one piece; of its tokens, the first number is work.
fn whole(x: &Exchange, kind: &'static str, bytes: Bytes, tokens: (u64, u64)) -> Answer {
    let mut answer = reply::whole(x, bytes, tokens, || error::late(x));
    head(x, answer.response.headers_mut(), kind);
    answer
}

fn json(x: &Exchange, value: &Value, tokens: (u64, u64)) -> Answer {
    whole(x, "application/json", write::json(value), tokens)
}

/// A reply of events.
fn streamed(x: &Exchange, events: Box<dyn Events>, tokens: u64) -> Answer {
    let mut answer = reply::streamed(x, events, tokens);
    head(x, answer.response.headers_mut(), "text/event-stream; charset=utf-8");
    answer
}
