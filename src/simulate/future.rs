use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Sleep;
use tollway_core::{BoxError, Dialect};

use super::{
    SimulateConfig, SimulatedBody, Simulator,
    control::{Control, HEADER},
    dialect::{self, Trouble},
    fate::{Fate, Fault, Place},
    random::Random,
    stats::{Counters, add},
};

/// A request as it is answered: what came, and what was decided about it.
pub(super) struct Exchange {
    pub(super) parts: Parts,
    /// The body, or its first part where the answer needs no more of it.
    pub(super) body: Bytes,
    /// Length of the whole body in bytes.
    pub(super) received: u64,
    /// This request's number; the first is 0.
    pub(super) number: u64,
    pub(super) config: Arc<SimulateConfig>,
    pub(super) fate: Fate,
    pub(super) random: Random,
}

/// A reply, and when it comes.
pub(super) struct Answer {
    pub(super) response: Response<SimulatedBody>,
    /// Time that making a plain reply takes, on top of the latency.
    pub(super) work: Duration,
    /// Input and output tokens, for the statistics.
    pub(super) tokens: u64,
}

/// The future of a [`Simulator`]'s reply: reads the request's body, decides, waits.
///
/// Dropping it cancels the request, which counts as [`cancelled`](super::Stats::cancelled).
#[pin_project]
pub struct SimulateFuture<B> {
    #[pin]
    body: B,
    simulator: Simulator,
    /// Taken when the body is there.
    ask: Option<Ask>,
    read: Read,
    wait: Option<Pin<Box<Sleep>>>,
    response: Option<Response<SimulatedBody>>,
    stalled: bool,
    unanswered: Option<Unanswered>,
}

struct Ask {
    parts: Parts,
    dialect: Dialect,
    keep: usize,
}

#[derive(Default)]
struct Read {
    first: Bytes,
    more: BytesMut,
    received: u64,
}

/// Counts a request whose client left before the head.
struct Unanswered(Option<Arc<Counters>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(counters) = &self.0 {
            add(&counters.cancelled, 1);
        }
    }
}

impl<B> SimulateFuture<B> {
    pub(super) fn new(simulator: Simulator, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let (dialect, keep) = dialect::of(&parts);
        let unanswered = if is_own(&parts) {
            None
        } else {
            let counters = &simulator.0.counters;
            add(&counters.requests, 1);
            Some(Unanswered(Some(Arc::clone(counters))))
        };
        Self {
            body,
            simulator,
            ask: Some(Ask { parts, dialect, keep }),
            read: Read::default(),
            wait: None,
            response: None,
            stalled: false,
            unanswered,
        }
    }
}

impl<B> fmt::Debug for SimulateFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulateFuture").field("stalled", &self.stalled).finish_non_exhaustive()
    }
}

impl<B> Future for SimulateFuture<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<SimulatedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(ask) = this.ask.as_ref() {
            let complete = loop {
                match ready!(this.body.as_mut().poll_frame(cx)) {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            this.read.take(data, ask.keep);
                        }
                    }
                }
            };
            let Some(Ask { parts, dialect, keep }) = this.ask.take() else {
                return Poll::Pending;
            };
            let (body, received) = std::mem::take(this.read).finish();
            let read = Received { complete, whole: received <= keep as u64, bytes: body, received };
            let (answer, delay, stall) = answer(this.simulator, dialect, parts, read);
            *this.stalled = stall;
            if !delay.is_zero() {
                *this.wait = Some(Box::pin(tokio::time::sleep(delay)));
            }
            *this.response = Some(answer);
        }
        if *this.stalled {
            return Poll::Pending;
        }
        if let Some(wait) = this.wait {
            ready!(wait.as_mut().poll(cx));
        }
        let Some(mut response) = this.response.take() else {
            return Poll::Pending;
        };
        if let Some(counters) = this.unanswered.take().and_then(|mut waiting| waiting.0.take()) {
            response = response.map(|body| body.counted(&counters));
        }
        Poll::Ready(Ok(response))
    }
}

struct Received {
    complete: bool,
    whole: bool,
    bytes: Bytes,
    received: u64,
}

impl Read {
    fn take(&mut self, data: Bytes, keep: usize) {
        let held = usize::try_from(self.received).unwrap_or(usize::MAX);
        self.received = self.received.saturating_add(data.len() as u64);
        let data = data.slice(..data.len().min(keep.saturating_sub(held)));
        if self.first.is_empty() {
            self.first = data;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&data);
        }
    }

    fn finish(self) -> (Bytes, u64) {
        let body = if self.more.is_empty() { self.first } else { self.more.freeze() };
        (body, self.received)
    }
}

fn is_own(parts: &Parts) -> bool {
    parts.uri.path().starts_with("/__simulate/")
}

/// Decides; also how long the reply takes, and whether it never comes.
fn answer(
    simulator: &Simulator,
    dialect: Dialect,
    parts: Parts,
    read: Received,
) -> (Response<SimulatedBody>, Duration, bool) {
    if is_own(&parts) {
        return (own(simulator, &parts), Duration::ZERO, false);
    }
    let state = &*simulator.0;
    let (number, config) = (simulator.next_number(), simulator.current());
    let mut random = Random::new(config.seed, number);
    let control = parts
        .headers
        .get(HEADER)
        .map(|value| Control::parse(value.to_str().unwrap_or("\u{fffd}")).map(Box::new));
    let (control, wrong) = match control.transpose() {
        Ok(control) => (control, None),
        Err(text) => (Some(Box::default()), Some(text)),
    };
    let fate = Fate::decide(&config, control, &mut random);
    let latency = fate.latency;
    let fault = fate.fault;
    let mut exchange =
        Exchange { parts, body: read.bytes, received: read.received, number, config, fate, random };
    let needs_whole = dialect::needs_whole_body(dialect, exchange.parts.uri.path());
    let trouble = if let Some(text) = wrong {
        Some(Trouble::Control(text))
    } else if !read.complete {
        Some(Trouble::Broken)
    } else {
        (!read.whole && needs_whole).then_some(Trouble::TooLarge)
    };
    let answer = match trouble {
        Some(trouble) => dialect::refuse(dialect, &exchange, &trouble),
        None => dialect::answer(dialect, state, &mut exchange),
    };
    let status = answer.response.status();
    state.counters.answered(status, answer.tokens);
    let mut response = answer.response;
    let before = status.is_success().then_some(fault).flatten();
    if before == Some(Fault::Reset(Place::Head)) {
        *response.body_mut() = SimulatedBody::steps([super::body::Step::Reset]);
    }
    let stall = before == Some(Fault::Stall(Place::Head));
    (response, latency.saturating_add(answer.work), stall)
}

fn own(simulator: &Simulator, parts: &Parts) -> Response<SimulatedBody> {
    let found = parts.method == Method::GET && parts.uri.path() == "/__simulate/stats";
    let text = if found {
        serde_json::to_string(&simulator.stats()).unwrap_or_default()
    } else {
        r#"{"error":{"message":"the only path here is GET /__simulate/stats"}}"#.to_owned()
    };
    let mut response = Response::new(SimulatedBody::full(text));
    if !found {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
