//! Gemini's dialect: content, its count of tokens, embeddings, models.

mod contents;
mod embed;
mod error;
mod generate;
mod models;
mod proto;
mod read;
mod request;
mod stream;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::VARY, request::Parts};
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

pub(super) const BODY_LIMIT: usize = 64 << 20;

const KEY: &str = "x-goog-api-key";
const JSON: &str = "application/json; charset=UTF-8";

/// An answer, or the error to answer with.
type Outcome = Result<Answer, Box<Error>>;

/// What a path under `models/` asks to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Generate,
    Stream,
    CountTokens,
    Embed,
    BatchEmbed,
}

/// The model and the verb of a path, if it names a method of this API.
fn method(path: &str) -> Option<(&str, Verb)> {
    let rest = path.rsplit_once("/models/")?.1;
    // A client may write the colon either way.
    let (model, verb) = rest.rsplit_once(':').or_else(|| rest.rsplit_once("%3A"))?;
    let verb = match verb {
        "generateContent" => Verb::Generate,
        "streamGenerateContent" => Verb::Stream,
        "countTokens" => Verb::CountTokens,
        "embedContent" => Verb::Embed,
        "batchEmbedContents" => Verb::BatchEmbed,
        _ => return None,
    };
    Some((model, verb))
}

/// The path below the base URL; `None`: another API's.
fn below_base(parts: &Parts) -> Option<&str> {
    let path = parts.uri.path();
    let rest = match path.strip_prefix("/v1beta") {
        Some(rest) => rest,
        // Models have the same path as OpenAI's in the first version; the key's header tells.
        None if parts.headers.contains_key(KEY) => {
            path.strip_prefix("/v1").filter(|rest| rest.starts_with("/models"))?
        }
        None => return None,
    };
    rest.starts_with('/').then_some(rest.trim_end_matches('/'))
}

/// Whether a request is for this API, not for its form of OpenAI's.
pub(super) fn answers(parts: &Parts) -> bool {
    method(parts.uri.path()).is_some()
        || below_base(parts).is_some_and(|path| path != "/openai" && !path.starts_with("/openai/"))
}

/// Whether the reply, errors too, is a JSON array: a stream that is no SSE.
fn is_array(x: &Exchange) -> bool {
    let streams = method(x.parts.uri.path()).is_some_and(|(_, verb)| verb == Verb::Stream);
    let mut query = x.parts.uri.query().unwrap_or_default().split('&');
    streams && !query.any(|pair| pair == "alt=sse")
}

pub(super) fn refuse(x: &Exchange, trouble: &Trouble) -> Answer {
    let error = match trouble {
        Trouble::Control(text) => Error::invalid(text),
        Trouble::Broken => Error::invalid("The request's body ended too early."),
        Trouble::TooLarge => {
            Error::invalid(format!("Request payload size exceeds the limit: {BODY_LIMIT} bytes."))
        }
    };
    error.answer(x)
}

pub(super) fn answer(state: &State, x: &mut Exchange) -> Answer {
    if let Some(refusal) = &x.fate.refusal {
        return error::refused(x, refusal);
    }
    if x.is_garbage() {
        return whole(x, "text/html", Bytes::from_static(GARBAGE.as_bytes()), (0, 0));
    }
    route(state, x).unwrap_or_else(|error| error.answer(x))
}

fn route(state: &State, x: &mut Exchange) -> Outcome {
    let uri = x.parts.uri.clone();
    if let Some((model, verb)) = method(uri.path()) {
        if x.parts.method != Method::POST {
            return Err(error::no_such_path());
        }
        return match verb {
            Verb::Generate | Verb::Stream => generate::generate(state, x, model, verb),
            Verb::CountTokens => generate::count_tokens(x, model),
            Verb::Embed => embed::one(state, x, model),
            Verb::BatchEmbed => embed::several(state, x, model),
        };
    }
    let get = x.parts.method == Method::GET;
    let path = below_base(&x.parts).filter(|_| get).and_then(|path| path.strip_prefix("/models"));
    match path {
        Some("") => Ok(models::models(x)),
        Some(path) if !path.contains(':') => {
            let name = path.strip_prefix('/').filter(|name| !name.is_empty());
            name.map(|name| models::model(x, name)).ok_or_else(error::no_such_path)
        }
        _ => Err(error::no_such_path()),
    }
}

/// Counts `tokens` against the limits.
fn admit(state: &State, x: &Exchange, model: &str, tokens: u64) -> Result<Levels, Box<Error>> {
    match state.limits.admit(&x.config, limits::account(&x.parts), tokens) {
        Verdict::Admitted(levels) => Ok(levels),
        Verdict::NoQuota => Err(Box::new(error::quota(model))),
        Verdict::Full { scope, limit, wait, .. } => {
            Err(Box::new(error::full(model, scope, limit, wait)))
        }
    }
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The headers that every reply has; none of them names the request or a limit.
fn head(x: &Exchange, headers: &mut HeaderMap, kind: &'static str) {
    reply::content_type(headers, kind);
    headers.insert(VARY, HeaderValue::from_static("Origin, X-Origin, Referer"));
    let timing = format!("gfet4t7; dur={}", x.fate.latency.as_millis());
    if let Ok(value) = HeaderValue::try_from(timing) {
        headers.insert(SERVER_TIMING, value);
    }
}

/// A reply in one piece; of its tokens, the first number is work.
fn whole(x: &Exchange, kind: &'static str, bytes: Bytes, tokens: (u64, u64)) -> Answer {
    let mut answer = reply::whole(x, bytes, tokens, || error::late().to_string());
    head(x, answer.response.headers_mut(), kind);
    answer
}

fn json(x: &Exchange, value: &Value, tokens: (u64, u64)) -> Answer {
    whole(x, JSON, write::json(value), tokens)
}

/// A reply of events, or of the elements of an array.
fn streamed(x: &Exchange, events: Box<dyn Events>, tokens: u64) -> Answer {
    let mut answer = reply::streamed(x, events, tokens);
    let kind = if is_array(x) { JSON } else { "text/event-stream" };
    head(x, answer.response.headers_mut(), kind);
    answer
}
