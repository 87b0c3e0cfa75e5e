//! The dialect's two layers around an upstream that remembers what it was sent.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tollway_core::{BoxError, Failure, Metered, Target, Usage};
use tollway_dialect::{AttemptConfig, AttemptLayer, InspectLayer, RequestBody};
use tower::{Layer, ServiceExt, service_fn};

/// What went each way.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// The body that the upstream got.
    pub sent: Vec<u8>,
    /// `Content-Length` as the upstream saw it.
    pub length: Option<usize>,
    /// The body that the caller got.
    pub got: Vec<u8>,
    pub ok: bool,
    pub usage: Option<Usage>,
    pub output_bytes: u64,
    /// Of the whole reply, or met in its middle.
    pub failure: Option<(tollway_core::ErrorClass, String)>,
    /// The reply was answered in the provider's place.
    pub replaced: bool,
}

/// A call: its path, content type and body, and what the upstream answers.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub path: &'a str,
    pub content_type: &'a [u8],
    pub body: &'a [&'a [u8]],
    pub target: &'static str,
    pub reply_type: &'static str,
    pub reply: &'a [&'a [u8]],
    pub config: AttemptConfig,
}

/// Sends the call through; nothing in it ever waits.
pub fn pass(call: Call<'_>) -> Result<Passed, BoxError> {
    let seen = Arc::new(Mutex::new((Vec::new(), None)));
    let reply: VecDeque<Bytes> =
        call.reply.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    let remember = seen.clone();
    let upstream = service_fn(move |request: Request<RequestBody<_>>| {
        let (remember, reply) = (remember.clone(), reply.clone());
        async move {
            let length = request.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            let body = request.into_body().collect().await?.to_bytes();
            *remember.lock().expect("nobody panics with it") = (body.to_vec(), length);
            let response = Response::builder().header(header::CONTENT_TYPE, call.reply_type);
            Ok::<_, BoxError>(response.body(Parts(reply))?)
        }
    });
    let service = AttemptLayer::with_config(call.config)?.layer(upstream);
    let service = InspectLayer::new().layer(service);
    let length: usize = call.body.iter().map(|part| part.len()).sum();
    let parts = call.body.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    let request = Request::post(call.path)
        .header(header::CONTENT_TYPE, call.content_type)
        .header(header::CONTENT_LENGTH, length)
        .extension(Target::new("p", "k", Some(call.target.into())))
        .body(Parts(parts))?;
    let response = now(service.oneshot(request))?;
    let (parts, body) = response.into_parts();
    let got = now(body.collect()).map(|body| body.to_bytes().to_vec())?;
    let meter = parts.extensions.get::<Metered>().cloned();
    let whole = parts.extensions.get::<Failure>();
    let failure = whole.or_else(|| meter.as_ref()?.failure());
    let (sent, length) = std::mem::take(&mut *seen.lock().expect("nobody panics with it"));
    Ok(Passed {
        sent,
        length,
        got,
        ok: parts.status.is_success(),
        usage: meter.as_ref().and_then(|meter| meter.usage()),
        output_bytes: meter.as_ref().map_or(0, |meter| meter.output_bytes()),
        failure: failure.map(|failure| (failure.class(), failure.message().to_owned())),
        replaced: whole.is_some() && !parts.status.is_success(),
    })
}

/// A body whose next frame is always there.
struct Parts(VecDeque<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }
}

/// The output of a future that never waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}
