use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tollway_core::BoxError;

use super::{
    fate::{Fault, Pace, Place},
    stats::{Counters, add, take},
};

/// Time for what was sent before a reset to leave, or the reset would overtake it.
const BEFORE_RESET: Duration = Duration::from_millis(10);
/// Unpaced events are cut from blocks of this many bytes.
const BLOCK: usize = 4096;
/// Room for a usual event.
const ONE_EVENT: usize = 384;

/// What kind of event an [`Events`] has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Comes before all content.
    Start,
    /// Carries one token.
    Content,
    /// Comes after all content.
    End,
}

/// The events of one streamed reply, in a dialect's wire form.
pub(super) trait Events: Send + Sync {
    /// Writes the next whole event, blank line included; `None` when there are no more.
    fn next(&mut self, out: &mut BytesMut) -> Option<Event>;

    /// Writes the event that says that the reply failed.
    fn error(&mut self, out: &mut BytesMut);

    /// Writes an event that is neither JSON nor UTF-8.
    fn malformed(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"data: {\"id\":\"chatcmpl-\xF0\x9F, oops\n\n");
    }
}

/// The simulated connection broke.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated connection reset")
    }
}

impl std::error::Error for Reset {}

/// The body of a simulated reply: one frame, or one frame an event at the simulated pace.
///
/// A simulated reset is an `Err` here; hyper turns it into a broken connection (HTTP/1.1) or a
/// `RST_STREAM` (HTTP/2). Dropping it before its end counts as [`cancelled`](super::Stats::cancelled).
pub struct SimulatedBody {
    kind: Kind,
    tally: Option<Tally>,
}

enum Kind {
    Full(Option<Bytes>),
    Steps(Steps),
    Stream(Box<Stream>),
}

/// One thing a scripted body does.
pub(super) enum Step {
    Data(Bytes),
    Wait(Duration),
    Stall,
    Reset,
}

#[derive(Default)]
struct Steps {
    left: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
}

struct Stream {
    events: Box<dyn Events>,
    buffer: BytesMut,
    /// The event that waits for its time.
    due: Option<Bytes>,
    pace: Pace,
    started: Option<Instant>,
    content: u32,
    fault: Option<Fault>,
    sleep: Option<Pin<Box<Sleep>>>,
    then: Then,
}

/// What comes after the event under way.
#[derive(PartialEq, Eq)]
enum Then {
    Next,
    Over,
    Stall,
    Reset,
}

impl SimulatedBody {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Full(Some(bytes.into())), tally: None }
    }

    pub(super) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let left = steps.into_iter().collect();
        Self { kind: Kind::Steps(Steps { left, sleep: None }), tally: None }
    }

    pub(super) fn stream(events: Box<dyn Events>, pace: Pace, fault: Option<Fault>) -> Self {
        let stream = Stream {
            events,
            buffer: BytesMut::new(),
            due: None,
            pace,
            started: None,
            content: 0,
            fault,
            sleep: None,
            then: Then::Next,
        };
        Self { kind: Kind::Stream(Box::new(stream)), tally: None }
    }

    /// Counts this reply from here to its end.
    pub(super) fn counted(mut self, counters: &Arc<Counters>) -> Self {
        let stream = matches!(self.kind, Kind::Stream(_));
        if stream {
            add(&counters.open_streams, 1);
        }
        self.tally = Some(Tally { counters: Arc::clone(counters), stream, complete: false });
        self
    }

    fn ended(&mut self) {
        if let Some(mut tally) = self.tally.take() {
            tally.complete = true;
        }
    }
}

impl fmt::Debug for SimulatedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Full(_) => "full",
            Kind::Steps(_) => "steps",
            Kind::Stream(_) => "stream",
        };
        f.debug_struct("SimulatedBody").field("kind", &kind).finish_non_exhaustive()
    }
}

/// Settles a reply's counts when it ends, whichever way.
struct Tally {
    counters: Arc<Counters>,
    stream: bool,
    complete: bool,
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.stream {
            take(&self.counters.open_streams, 1);
        }
        if !self.complete {
            add(&self.counters.cancelled, 1);
        }
    }
}

impl Body for SimulatedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = match &mut self.kind {
            Kind::Full(bytes) => bytes.take().map(Ok),
            Kind::Steps(steps) => ready!(steps.poll(cx)),
            Kind::Stream(stream) => ready!(stream.poll(cx)),
        };
        // A server may never poll again once it has a body's last frame or an error.
        if !matches!(next, Some(Ok(_))) || self.is_end_stream() {
            self.ended();
        }
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Steps(steps) => steps.left.is_empty() && steps.sleep.is_none(),
            Kind::Stream(stream) => stream.then == Then::Over && stream.due.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}

impl Steps {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reset>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.left.front() {
                Some(Step::Stall) => return Poll::Pending,
                Some(Step::Wait(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(*time))),
                _ => {}
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Some(Step::Reset) => return Poll::Ready(Some(Err(Reset))),
                Some(Step::Wait(_) | Step::Stall) => {}
            }
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reset>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            if let Some(event) = self.due.take() {
                return Poll::Ready(Some(Ok(event)));
            }
            match self.then {
                Then::Over => return Poll::Ready(None),
                Then::Stall => return Poll::Pending,
                Then::Reset => {
                    self.then = Then::Over;
                    return Poll::Ready(Some(Err(Reset)));
                }
                Then::Next => self.advance(),
            }
        }
    }

    /// Writes the next event and sets when it is due.
    fn advance(&mut self) {
        if self.buffer.capacity() < ONE_EVENT {
            self.buffer.reserve(if self.pace.is_paced() { ONE_EVENT } else { BLOCK });
        }
        let Some(event) = self.events.next(&mut self.buffer) else {
            self.then = Then::Over;
            return;
        };
        if let Some(due) = self.due_at(event) {
            self.sleep = Some(Box::pin(sleep_until(due)));
        }
        if self.fault_strikes(event) {
            self.strike();
        } else if event == Event::Content {
            self.content = self.content.saturating_add(1);
        }
        if !self.buffer.is_empty() {
            self.due = Some(self.buffer.split().freeze());
        }
    }

    fn due_at(&mut self, event: Event) -> Option<Instant> {
        if !self.pace.is_paced() {
            return None;
        }
        let started = *self.started.get_or_insert_with(Instant::now);
        let nth = if event == Event::Content { self.content } else { self.content.max(1) - 1 };
        let due = started + self.pace.at(nth);
        (due > Instant::now()).then_some(due)
    }

    fn fault_strikes(&self, event: Event) -> bool {
        match self.fault.as_ref().map(Fault::place) {
            None => false,
            Some(Place::Head | Place::First) => true,
            Some(Place::After(_)) if event == Event::End => true,
            Some(Place::After(n)) => event == Event::Content && self.content >= n,
        }
    }

    /// Puts what the fault does in the place of the event just written.
    fn strike(&mut self) {
        match self.fault.take() {
            None => {}
            Some(Fault::Stall(_)) => {
                self.buffer.clear();
                self.then = Then::Stall;
            }
            Some(Fault::Reset(_)) => {
                self.buffer.clear();
                let pause = BEFORE_RESET;
                self.sleep = Some(Box::pin(tokio::time::sleep(pause)));
                self.then = Then::Reset;
            }
            Some(Fault::Truncate(_)) => {
                self.buffer.truncate(self.buffer.len() / 2);
                self.then = Then::Over;
            }
            Some(Fault::Malformed(_)) => {
                self.buffer.clear();
                self.events.malformed(&mut self.buffer);
            }
            Some(Fault::LateError(_)) => {
                self.buffer.clear();
                self.events.error(&mut self.buffer);
                self.then = Then::Over;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// One start event, `0` content events, one end event.
    struct Count(u32, u32);

    impl Events for Count {
        fn next(&mut self, out: &mut BytesMut) -> Option<Event> {
            let at = self.1;
            self.1 += 1;
            out.extend_from_slice(format!("data: {at}\n\n").as_bytes());
            match at {
                0 => Some(Event::Start),
                _ if at <= self.0 => Some(Event::Content),
                _ if at == self.0 + 1 => Some(Event::End),
                _ => {
                    out.clear();
                    None
                }
            }
        }

        fn error(&mut self, out: &mut BytesMut) {
            out.extend_from_slice(b"data: error\n\n");
        }
    }

    async fn play(pace: Pace, fault: Option<Fault>) -> (String, bool) {
        let mut body = SimulatedBody::stream(Box::new(Count(3, 0)), pace, fault);
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => return (String::from_utf8_lossy(&text).replace("\n\n", "|"), true),
            }
        }
        (String::from_utf8_lossy(&text).replace("\n\n", "|"), false)
    }

    #[tokio::test(start_paused = true)]
    async fn faults_fall_where_they_are_put() {
        let now = Pace::default();
        let cases = [
            (None, "data: 0|data: 1|data: 2|data: 3|data: 4|", false),
            (Some(Fault::Reset(Place::After(2))), "data: 0|data: 1|data: 2|", true),
            (Some(Fault::Reset(Place::First)), "", true),
            (Some(Fault::Truncate(Place::After(1))), "data: 0|data: 1|data", false),
            (Some(Fault::LateError(Place::First)), "data: error|", false),
            (Some(Fault::LateError(Place::After(0))), "data: 0|data: error|", false),
            (
                Some(Fault::LateError(Place::After(99))),
                "data: 0|data: 1|data: 2|data: 3|data: error|",
                false,
            ),
        ];
        for (fault, text, broken) in cases {
            let name = format!("{fault:?}");
            assert_eq!(play(now, fault).await, (text.to_owned(), broken), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_at_their_pace() {
        let pace = Pace { first: Duration::from_secs(1), interval: Duration::from_millis(100) };
        let start = Instant::now();
        play(pace, None).await;
        assert_eq!(start.elapsed(), Duration::from_millis(1200));
    }
}
