//! The wire formats of LLM APIs as pure functions, and thin Tower layers on them.
//!
//! Three families: [`openai`] (and every provider in its form), [`anthropic`] (Messages),
//! [`gemini`] (generateContent); [`recognize`] tells whose call a request is.
//!
//! Pure, usable without the layers: their requests, replies and usage, errors of all of them read
//! by [`openai::error::classify`] and written by [`ErrorReply`], and [`sse`], [`ratelimit`],
//! [`multipart`]. Bytes and values in, bytes and values out; no runtime.
//!
//! [`InspectLayer`] stands in front of whatever wants to know what is asked: it leaves an
//! [`Ask`](tollway_core::Ask) in the request's extensions.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tollway_core::Ask;
//! use tollway_dialect::{InspectLayer, RequestBody};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let service = InspectLayer::new().layer(service_fn(
//!     async |request: Request<RequestBody<Full<Bytes>>>| {
//!         let ask = request.extensions().get::<Ask>().cloned().unwrap_or_default();
//!         Ok::<_, BoxError>(Response::new(ask.model().unwrap_or("none").to_owned()))
//!     },
//! ));
//! let body = Full::from(r#"{"model": "gpt-4o-mini", "messages": []}"#);
//! let response = service.oneshot(Request::post("/v1/chat/completions").body(body)?).await?;
//! assert_eq!(response.body(), "gpt-4o-mini");
//! # Ok(()) }
//! ```
//!
//! [`AttemptLayer`] stands next to the upstream, inside retries: it sends the target's model and
//! reads the reply as it passes. Here with settings of its own:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tollway_core::{Metered, Target};
//! use tollway_dialect::{AttemptConfig, AttemptLayer, Commit, InspectLayer, RequestBody};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let mut config = AttemptConfig::default();
//! config.commit = Commit::Head;
//! config.max_reply = 1 << 20;
//! let upstream = service_fn(async |request: Request<RequestBody<Full<Bytes>>>| {
//!     let sent = request.into_body().collect().await?.to_bytes();
//!     assert_eq!(sent, r#"{"model": "gpt-5", "messages": []}"#);
//!     let reply = r#"{"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 1}}"#;
//!     let response = Response::builder().header("content-type", "application/json");
//!     Ok::<_, BoxError>(response.body(Full::<Bytes>::from(reply))?)
//! });
//! let service = InspectLayer::new().layer(AttemptLayer::with_config(config)?.layer(upstream));
//! let body = Full::from(r#"{"model": "auto", "messages": []}"#);
//! let mut request = Request::post("/v1/chat/completions").body(body)?;
//! request.extensions_mut().insert(Target::new("openai", "main", Some("gpt-5".into())));
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.extensions().get::<Metered>().unwrap().usage().unwrap().total(), 9);
//! # Ok(()) }
//! ```
//!
//! # Bytes pass untouched
//!
//! Only `model` (in the path too, where that names it: `/v1/engines/{model}/completions`,
//! `/v1beta/models/{model}:generateContent`) and chat's `stream_options.include_usage` are changed,
//! in place; every other byte of a request is the caller's, every byte of a reply the provider's,
//! but for what is told of a stream that broke and of errors that no client could read, or none may
//! (see below). Where they stand travels with the [`RequestBody`]; with nothing to change the same
//! bytes go on, uncopied.
//!
//! What [`AttemptLayer`] asked for itself is left out again: the chunk of usage alone, and the
//! `"usage":null` that a provider asked for usage writes into all other chunks. So a caller who did
//! not ask reads what the provider would have sent, and one who did reads every byte. A chunk of
//! bytes that has such a null is copied once, without it, and stays one frame; any other passes as
//! it is. Nothing is left out of what was not read: an event over `max_event`, broken JSON.
//!
//! A chunk leaves as soon as it has come. Where something may have to be left out, or half an event
//! may turn out to be all there is, the part of an event that is not finished waits for its end
//! (never longer than `max_event` bytes): half an event is of no use to anybody.
//!
//! Gemini streams a JSON array unless it is asked for events (`alt=sse`). That passes chunk by
//! chunk as well, and is read object by object (none larger than `max_event`), for content, usage
//! and failures; only, nothing is told in it if it breaks.
//!
//! Of Anthropic's streams the output is counted at the end; until then the meter says what
//! `message_start` told of the input, and estimates the output by what has passed.
//!
//! # Failures
//!
//! A request that nobody could answer is refused with [`BadRequest`], and so is a `model` longer
//! than 256 bytes, or with control characters: names are kept and logged. A path that servers read
//! in different ways (`//`, `/../`, `chat%2Fcompletions`, `models/a/../b:generateContent`) is
//! refused as well: it could be a call that is metered here and another one there, or the other way
//! round.
//!
//! A reply that failed before any of it went out is a response with a
//! [`Failure`](tollway_core::Failure) in its extensions, so that a retry can go elsewhere: an error
//! status, an error event, an event that is not JSON or an end before the first content, broken
//! JSON, and where only JSON or a stream is a reply (chat, completions, Responses, Messages,
//! generateContent, embeddings, counting, moderations), a success of any other type. No type,
//! `text/plain` and `application/octet-stream` say nothing: then the first bytes tell.
//!
//! An error reply keeps its status, and its body too, but for a server error without JSON and an
//! edge's HTML page: in the calls that are only ever answered in JSON those give way to the
//! failure's own body in the caller's form ([`ErrorReply`]), as no client could read them. So does,
//! in every call, what a provider says of a credential that is not the caller's
//! ([`ProxyCredential`](tollway_core::ProxyCredential)): it may repeat part of it. Where an error of
//! another kind, inside a success or a stream, repeats all of it, stars stand in its place; whoever
//! sends sees to the errors that have a status of their own. A packed one of those can't be looked
//! into, and gives way too.
//!
//! Once content has gone out, a failure is noted in the [`Meter`](tollway_core::Meter), and no end
//! is invented. A chat stream counts as failed that stops before `[DONE]` and before all of its
//! choices have their `finish_reason` (some local servers never send `[DONE]`), a Responses stream
//! that stops before its terminal event, a Messages stream before its `message_stop`, one of
//! Gemini's before all of its candidates have their `finishReason` (or the prompt a `blockReason`),
//! and any of them whose connection breaks before it said that it was over. The caller is told,
//! unless the provider did so itself: what of an event is not finished is dropped, unless only its
//! blank line is missing; then comes an error event, then a clean end.
//!
//! ```text
//! data: {"error":{"message":"...","type":"server_error","param":null,"code":"stream_interrupted"}}
//! ```
//!
//! A Responses stream gets an event named `error` instead, with the next `sequence_number`, a
//! Messages stream one of its own form (`{"type":"error","error":{"type":"api_error",...}}`),
//! Gemini's an error object with `"status":"INTERNAL"`.
//! [`tell_interruptions`](AttemptConfig::tell_interruptions) turns that off; other streams end or
//! break as they did. An event that is not JSON passes as it is once content has gone out.
//!
//! Errors of the inner service come through as they are.
//!
//! # When the caller leaves
//!
//! Dropped while the request body is read, nothing has been called. Dropped later, the inner call
//! or body is dropped with it, and the meter keeps what was seen.

pub mod anthropic;
mod attempt;
mod config;
mod duration;
mod error;
mod error_reply;
mod fields;
pub mod gemini;
mod headers;
mod inspect;
mod json;
pub mod multipart;
pub mod openai;
mod path;
pub mod prompt;
pub mod ratelimit;
mod reading;
mod recognize;
mod scan;
pub mod sse;
mod tame;
mod text;
pub mod tokens;
pub mod translate;
mod values;

pub use attempt::{Attempt, AttemptBody, AttemptConfig, AttemptFuture, AttemptLayer, Commit};
pub use config::ConfigError;
pub use error::BadRequest;
pub use error_reply::ErrorReply;
pub use inspect::{Inspect, InspectConfig, InspectFuture, InspectLayer, RequestBody};
pub use reading::Reading;
pub use recognize::recognize;
