//! Calling the attempt layer around a scripted upstream.

#![allow(dead_code, unreachable_pub)]

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tollway_core::{BoxError, Dialect, Metered, Operation};
use tollway_dialect::{
    Attempt, AttemptBody, AttemptConfig, AttemptLayer, RequestBody, anthropic, gemini, openai,
};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

pub type Out = Response<AttemptBody<ScriptedBody>>;
pub type Sent = Request<RequestBody<ScriptedBody>>;
pub type Inner =
    Probe<RequestBody<ScriptedBody>, std::future::Ready<Result<Response<ScriptedBody>, BoxError>>>;

pub fn request(operation: Operation, body: &str) -> Sent {
    let (ask, edits) = openai::request::read(operation, body.as_bytes()).unwrap();
    let body = RequestBody::buffered(Bytes::copy_from_slice(body.as_bytes())).with_edits(edits);
    let mut request = Request::post("/v1/chat/completions").body(body).unwrap();
    request.extensions_mut().insert(ask);
    request
}

/// A call of one of the two other families.
pub fn request_in(dialect: Dialect, stream: bool) -> Sent {
    let (path, body, (ask, edits)) = match dialect {
        Dialect::Anthropic => {
            let body = format!(r#"{{"model":"m","max_tokens":9,"messages":[],"stream":{stream}}}"#);
            let read = anthropic::request::read(Operation::Messages, body.as_bytes()).unwrap();
            ("/v1/messages", body, read)
        }
        _ => {
            let path = match stream {
                true => "/v1beta/models/m:streamGenerateContent",
                false => "/v1beta/models/m:generateContent",
            };
            let call = gemini::Call::of(path).unwrap();
            let body = r#"{"contents":[]}"#.to_owned();
            (
                path,
                body.clone(),
                (gemini::request::read(&call, body.as_bytes()).unwrap(), Default::default()),
            )
        }
    };
    let body = RequestBody::buffered(body.into_bytes()).with_edits(edits);
    let mut request = Request::post(path).body(body).unwrap();
    request.extensions_mut().insert(ask);
    request
}

pub fn streaming() -> Sent {
    request(Operation::ChatCompletions, r#"{"model":"m","stream":true}"#)
}

pub fn streaming_with_usage() -> Sent {
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    request(Operation::ChatCompletions, body)
}

pub fn answering(
    config: AttemptConfig,
    status: u16,
    content_type: &'static str,
    steps: Vec<Step>,
) -> (Attempt<Inner>, Arc<Mutex<Vec<Sent>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let probe = Probe::new(move |request| {
        log.lock().unwrap().push(request);
        let body = ScriptedBody::new(steps.clone());
        let mut response = Response::builder().status(status);
        if !content_type.is_empty() {
            response = response.header("content-type", content_type);
        }
        std::future::ready(Ok(response.header("x-request-id", "r1").body(body).unwrap()))
    });
    let layer = AttemptLayer::with_config(config).unwrap();
    (layer.with_clock(|| SystemTime::UNIX_EPOCH).layer(probe), seen)
}

pub async fn call(request: Sent, status: u16, content_type: &'static str, steps: Vec<Step>) -> Out {
    answering(AttemptConfig::default(), status, content_type, steps)
        .0
        .oneshot(request)
        .await
        .unwrap()
}

pub async fn stream(request: Sent, chunks: &[Vec<u8>]) -> Out {
    call(request, 200, "text/event-stream", steps(chunks)).await
}

/// By a layer that does not tell the caller of a stream that broke.
pub async fn untold(request: Sent, steps: Vec<Step>) -> Out {
    let mut config = AttemptConfig::default();
    config.tell_interruptions = false;
    answering(config, 200, "text/event-stream", steps).0.oneshot(request).await.unwrap()
}

pub fn steps(chunks: &[Vec<u8>]) -> Vec<Step> {
    chunks.iter().map(|chunk| Step::data(chunk.clone())).collect()
}

/// The error event behind a chat stream that broke.
pub fn told(message: &str) -> String {
    format!(
        "data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"server_error\",\
         \"param\":null,\"code\":\"stream_interrupted\"}}}}\n\n"
    )
}

pub const STOPPED: &str = "The provider's stream stopped before its end.";
pub const BROKE: &str = "The connection to the provider broke before the stream's end.";

pub struct Read {
    pub bytes: Vec<u8>,
    pub broken: bool,
    pub trailers: Option<HeaderMap>,
}

pub async fn read<R>(body: AttemptBody<R>) -> Read
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    let mut body = body;
    let mut read = Read { bytes: Vec::new(), broken: false, trailers: None };
    while !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Err(_)) => read.broken = true,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty(), "an empty frame ends an HTTP/1 body");
                    read.bytes.extend_from_slice(&data);
                }
                Err(frame) => read.trailers = frame.into_trailers().ok(),
            },
        }
    }
    assert!(body.frame().await.is_none());
    read
}

pub fn metered(response: &Out) -> Metered {
    response.extensions().get::<Metered>().unwrap().clone()
}
