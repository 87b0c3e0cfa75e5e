use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use tollway_core::{Ask, BoxError, find_error};
use tower_service::Service;

use super::{InspectConfig, InspectFuture, RequestBody, kind::Kind};
use crate::{
    BadRequest,
    recognize::{is_ambiguous, recognize},
};

/// Reads what each request asks for and leaves it in the extensions, as [`Ask`]; whose call it is
/// tells [`recognize`].
///
/// A JSON call that is known by its path is held whole, read, and passed on as
/// [`RequestBody::as_bytes`]; of a multipart upload only the first bytes are held; everything else
/// streams through.
///
/// Fails with [`BadRequest`] for a request that nobody could answer, for a path that could be read
/// in two ways, and for a body over its bound. Where that shows only while the body streams, the
/// body fails with it, and so the inner call.
#[derive(Clone, Debug)]
pub struct Inspect<S> {
    pub(super) inner: S,
    pub(super) config: InspectConfig,
}

impl<S, B, R> Service<Request<B>> for Inspect<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = InspectFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (method, path) = (request.method(), request.uri().path());
        if is_ambiguous(method, path) {
            return InspectFuture::refused(invalid_path());
        }
        let (dialect, operation) = recognize(method, path, request.headers());
        let kind = match Kind::of(operation, request.method(), request.headers()) {
            Ok(kind) => kind,
            Err(refused) => return InspectFuture::refused(refused),
        };
        let max = kind.max(&self.config);
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > max) {
            return InspectFuture::refused(too_large(max));
        }
        if matches!(kind, Kind::Opaque) {
            let mut ask = Ask::new(operation);
            ask.dialect = dialect;
            request.extensions_mut().insert(ask);
            let request = request.map(|body| RequestBody::streaming(body).with_max(max));
            return InspectFuture::calling(self.inner.call(request));
        }
        // The inner service is called after the body has come: take the instance that is ready.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        InspectFuture::reading(ready, request, (dialect, operation), kind, self.config)
    }
}

/// Read here in one way and upstream in another, it would slip past every limit and permission.
fn invalid_path() -> BadRequest {
    BadRequest::invalid(
        "Invalid path: it can be read as another one (empty or dot segments, backslashes, NULs or \
         encoded slashes), and so read it is a call with a model, or leads out of `/v1`. Send the \
         path as it is meant.",
    )
    .with_code("invalid_path")
}

pub(super) fn too_large(max: u64) -> BadRequest {
    BadRequest::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("The request body is larger than {max} bytes, the most that is taken here."),
    )
    .with_code("request_too_large")
}

/// What a body's error says of the request.
pub(super) fn incomplete(error: BoxError, max: u64) -> BadRequest {
    if find_error::<http_body_util::LengthLimitError>(&*error).is_some() {
        return too_large(max).with_source(error);
    }
    let message = "The request body ended early: the connection broke before all of it came.";
    BadRequest::invalid(message).with_code("incomplete_body").with_source(error)
}
