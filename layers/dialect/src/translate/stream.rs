use super::{
    Asked, Form, chat, generate,
    hub::{Event, StreamError},
    messages, responses,
};
use crate::sse;

/// Reads a provider's stream, event by event.
pub(crate) trait StreamReader: Send {
    /// Emits what one SSE event says. An event nobody knows says nothing; one that can't be read is
    /// an error, and the stream is over.
    fn read(
        &mut self,
        name: Option<&[u8]>,
        data: &[u8],
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error>;

    /// The body has ended. Forms without a terminal event (Gemini) tell the end from here.
    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let _ = emit;
    }
}

/// Writes a stream for the client. What it never gets to see the end of, it must not end.
pub(crate) trait StreamWriter: Send {
    /// Appends the bytes of whole SSE events.
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>);
}

/// A stream on its way from one form to another.
pub struct Stream {
    events: Events,
    writer: Box<dyn StreamWriter>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("over", &self.events.over).finish_non_exhaustive()
    }
}

impl Stream {
    /// From a provider that speaks `from` to the client that asked.
    pub fn new(from: Form, asked: &Asked) -> Self {
        Self { events: Events::new(from), writer: writer(asked) }
    }

    /// The same, with a bound of its own on the provider's events: `max` bytes are held of one at
    /// most. One that is larger ends the stream with an error.
    pub fn with_max_event(self, max: usize) -> Self {
        let parser = sse::Parser::with_max_event(max);
        Self { events: Events { parser, ..self.events }, ..self }
    }

    /// Takes a chunk in and appends what it gives to `out`.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Self { events, writer } = self;
        events.feed(chunk, |event| writer.write(event, out));
    }

    /// The provider's body has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let Self { events, writer } = self;
        events.finish(|event| writer.write(event, out));
    }
}

/// Makes events of a provider's bytes.
pub(super) struct Events {
    parser: sse::Parser,
    reader: Box<dyn StreamReader>,
    /// An error, or the end, has been told: nothing may follow.
    over: bool,
}

impl Events {
    pub(super) fn new(from: Form) -> Self {
        Self { parser: sse::Parser::new(), reader: reader(from), over: false }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], mut emit: impl FnMut(Event<'_>)) {
        let Self { parser, reader, over } = self;
        let mut emit = |event: Event<'_>| pass(over, event, &mut emit);
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            if event.oversized {
                emit(failure(TOO_LARGE));
            }
            if let Some(data) = event.data {
                step(&mut **reader, event.name, data, &mut emit);
            }
        }
        if parser.is_oversized() {
            emit(failure(TOO_LARGE));
        }
    }

    pub(super) fn finish(&mut self, mut emit: impl FnMut(Event<'_>)) {
        let Self { parser, reader, over } = self;
        let mut emit = |event: Event<'_>| pass(over, event, &mut emit);
        if let Some(event) = parser.finish() {
            // Without its blank line it counts if it is whole.
            let whole = event.data.filter(|data| {
                data.trim_ascii() == b"[DONE]"
                    || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
            });
            if let Some(data) = whole {
                step(&mut **reader, event.name, data, &mut emit);
            }
        }
        reader.end(&mut emit);
    }
}

const TOO_LARGE: &str = "The provider sent an event too large to be read.";

pub(super) fn reader(form: Form) -> Box<dyn StreamReader> {
    match form {
        Form::Chat => Box::new(chat::Reader::default()),
        Form::Responses => Box::new(responses::Reader::default()),
        Form::Messages => Box::new(messages::Reader::default()),
        Form::Generate => Box::new(generate::Reader::default()),
    }
}

pub(super) fn writer(asked: &Asked) -> Box<dyn StreamWriter> {
    match asked.form {
        Form::Chat => Box::new(chat::Writer::new(asked)),
        Form::Responses => Box::new(responses::Writer::new(asked)),
        Form::Messages => Box::new(messages::Writer::new(asked)),
        Form::Generate => Box::new(generate::Writer::new(asked)),
    }
}

fn step(
    reader: &mut dyn StreamReader,
    name: Option<&[u8]>,
    data: &[u8],
    emit: &mut dyn FnMut(Event<'_>),
) {
    if reader.read(name, data, emit).is_err() {
        emit(failure("The provider sent an event that can't be read."));
    }
}

fn pass(over: &mut bool, event: Event<'_>, emit: &mut impl FnMut(Event<'_>)) {
    if !*over {
        *over = matches!(event, Event::Error(_) | Event::End);
        emit(event);
    }
}

fn failure(message: &'static str) -> Event<'static> {
    let class = tollway_core::ErrorClass::Server;
    Event::Error(StreamError { class, message: message.into(), code: None })
}
