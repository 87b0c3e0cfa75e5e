//! What the tests of the simulated dialects share: a request in, the whole reply out.

#![allow(dead_code, reason = "each test program uses its part")]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tollway::simulate::{SimulateConfig, Simulator};
use tower::ServiceExt;

/// A reply, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Bytes>,
    /// The body ended in an error.
    pub(crate) broken: bool,
}

impl Reply {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The `error` of a reply of this status.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()["error"].clone()
    }

    /// The message of a 400.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        self.error(400)["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn send(simulator: &Simulator, request: Request<Full<Bytes>>) -> Reply {
    let response = simulator.clone().oneshot(request).await.unwrap();
    let (parts, mut body) = response.into_parts();
    let (mut frames, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(frame.into_data().unwrap()),
            Err(_) => broken = true,
        }
    }
    Reply { status: parts.status, headers: parts.headers, frames, broken }
}

/// A request with these headers; those of an empty value are left out.
pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

pub(crate) fn plain() -> Simulator {
    Simulator::new(SimulateConfig::default())
}

pub(crate) fn with(mut base: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}
