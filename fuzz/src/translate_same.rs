//! A request to a provider of the client's own form, through `TranslateLayer`: not a byte changes,
//! unless another provider's reasoning is in it.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tollway_core::{Ask, Target};
use tollway_dialect::{
    RequestBody,
    translate::{Fit, Form, TranslateLayer},
};
use tower::{Layer, Service, service_fn};

use super::cell;

/// How reasoning of elsewhere is marked, and the same in base64.
const MARKS: [&str; 2] = ["tollway:", "dG9sbHdheT"];

/// The first byte says which form.
pub fn check(data: &[u8]) {
    let Some((form, _, _, text)) = cell::split(data) else { return };
    let body = Bytes::copy_from_slice(text);
    let sent = sent(form, body.clone());
    let json = serde_json::from_slice::<Value>(text).ok();
    let marked = String::from_utf8_lossy(text);
    // Half a letter is read all the same, though not here.
    if json.is_none() && marked.contains("\\u") {
        return;
    }
    if json.is_none() || !MARKS.iter().any(|mark| marked.contains(mark)) {
        assert_eq!(sent.as_ptr(), body.as_ptr(), "copied for nothing");
        return;
    }
    let after: Value = serde_json::from_slice(&sent).expect("JSON");
    assert_eq!(self::sent(form, sent.clone()), sent, "another time");
    let (Some(Value::Object(before)), Value::Object(after)) = (json, after) else { return };
    for (key, value) in before {
        if !["input", "messages", "contents"].contains(&&*key) {
            assert_eq!(after.get(&key), Some(&value), "{key}");
        }
    }
}

fn sent(form: Form, body: Bytes) -> Bytes {
    let seen = Arc::new(Mutex::new(Bytes::new()));
    let saw = seen.clone();
    let upstream = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let body = request.body().as_bytes().cloned().unwrap_or_default();
        *saw.lock().expect("nobody panics with it") = body;
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let layer = TranslateLayer::new(move |_: &Target, asked: Form| Some(Arc::new(Fit::new(asked))));
    let mut ask = Ask::default();
    ask.operation = form.operation();
    ask.dialect = form.dialect();
    let mut request = Request::new(RequestBody::buffered(body));
    request.extensions_mut().insert(ask);
    request.extensions_mut().insert(Target::new("p", "k", None));
    drop(layer.layer(upstream).call(request));
    seen.lock().expect("nobody panics with it").clone()
}
