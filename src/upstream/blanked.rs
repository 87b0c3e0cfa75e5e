use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tollway_core::ProxyCredential;

/// Blanks the credential out of a reply's headers, whatever its status.
pub(super) fn blank_headers(headers: &mut HeaderMap, credential: &ProxyCredential) {
    for value in headers.values_mut() {
        let clean = credential.blanked(value.as_bytes());
        if let Some(clean) = clean.and_then(|clean| HeaderValue::from_bytes(&clean).ok()) {
            *value = clean;
        }
    }
}

/// A provider's reply without the credential that it was asked with: should the provider repeat it
/// in an error, or in trailers, stars stand in its place. Of a success no byte of the body is
/// looked at.
#[pin_project]
#[derive(Debug)]
pub struct BlankedBody<B> {
    #[pin]
    inner: B,
    /// `None`: nothing is secret.
    credential: Option<ProxyCredential>,
    /// Of an error: what may be the beginning of the credential.
    held: Option<Bytes>,
    /// What came behind it.
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> BlankedBody<B> {
    /// A body to be passed as it is.
    pub(super) fn plain(inner: B) -> Self {
        Self { inner, credential: None, held: None, trailers: None, ended: false }
    }

    pub(super) fn new(inner: B, credential: ProxyCredential, is_error: bool) -> Self {
        let held = is_error.then(Bytes::new);
        Self { inner, credential: Some(credential), held, trailers: None, ended: false }
    }

    fn holds_nothing(&self) -> bool {
        self.held.as_ref().is_none_or(Bytes::is_empty) && self.trailers.is_none()
    }
}

impl<B: Body<Data = Bytes>> Body for BlankedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        loop {
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if *this.ended {
                return Poll::Ready(None);
            }
            let frame = ready!(this.inner.as_mut().poll_frame(cx));
            let Some(credential) = this.credential else { return Poll::Ready(frame) };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    *this.ended = true;
                    return Poll::Ready(end(this.held));
                }
            };
            match (frame.into_data(), &mut *this.held) {
                (Ok(data), None) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                (Ok(data), Some(held)) => {
                    let (clean, rest) = credential.blanked_piece(std::mem::take(held), data);
                    *held = rest;
                    if !clean.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(clean))));
                    }
                }
                (Err(frame), _) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    blank_headers(&mut trailers, credential);
                    *this.trailers = Some(trailers);
                    if let Some(rest) = end(this.held) {
                        return Poll::Ready(Some(rest));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.holds_nothing() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, held) = (self.inner.size_hint(), self.held.as_ref().map_or(0, Bytes::len));
        let held = held as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

/// What was held turns out to be no more than a beginning.
fn end<E>(held: &mut Option<Bytes>) -> Option<Result<Frame<Bytes>, E>> {
    held.take().filter(|rest| !rest.is_empty()).map(|rest| Ok(Frame::data(rest)))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tollway_testkit::{ScriptedBody, Step};

    use super::*;

    const SECRET: &str = "sk-our-secret";

    /// What comes of `text` in pieces of `size`, and of trailers with the secret behind it.
    async fn through(text: &str, size: usize, is_error: bool) -> (String, HeaderMap) {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-told", format!("<{SECRET}>").parse().unwrap());
        let pieces = text.as_bytes().chunks(size).map(|piece| Step::data(piece.to_vec()));
        let body = ScriptedBody::new(pieces.chain([Step::Trailers(trailers)]));
        let ours = ProxyCredential::new([SECRET]);
        let whole = BlankedBody::new(body, ours, is_error).collect().await.unwrap();
        let trailers = whole.trailers().unwrap().clone();
        (String::from_utf8(whole.to_bytes().to_vec()).unwrap(), trailers)
    }

    #[tokio::test]
    async fn an_error_loses_the_secret_and_nothing_else() {
        let text = format!("no {SECRET}{SECRET}, sk-our-secre, sk-their-secret sk-our-");
        let clean = text.replace(SECRET, "*************");
        for size in 1..=text.len() {
            let (got, trailers) = through(&text, size, true).await;
            assert_eq!(got, clean, "{size}");
            assert_eq!(trailers["x-told"], "<*************>");
            let (got, trailers) = through(&text, size, false).await;
            assert_eq!(got, text, "a success is not read");
            assert_eq!(trailers["x-told"], "<*************>");
        }
    }

    #[tokio::test]
    async fn what_waits_still_counts() {
        let steps = [Step::data("at sk-our-")];
        let ours = ProxyCredential::new([SECRET]);
        let mut body = BlankedBody::new(ScriptedBody::new(steps), ours, true);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "at ");
        assert!(body.size_hint().lower() == 7 && !body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "sk-our-");
        assert!(body.frame().await.is_none());
    }
}
