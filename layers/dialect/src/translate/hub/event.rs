use std::{borrow::Cow, time::SystemTime};

use tollway_core::{ErrorClass, Usage};

use super::{Citation, Finish, Signature};
use crate::{json::Json, openai::error::classify_event};

/// One step of an answer that streams.
///
/// Pieces have no begin and end here, because half of the forms have none: a piece begins when an
/// event speaks of another kind of piece (or another tool call) than the one before it of the same
/// choice. Writers that have to say begin and end remember what is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// Always the first. Ids and names are the provider's.
    Start {
        id: Option<Cow<'a, str>>,
        model: Option<Cow<'a, str>>,
        created: Option<u64>,
    },
    Text {
        choice: u32,
        text: Cow<'a, str>,
    },
    /// Of the text before it.
    Citation {
        choice: u32,
        citation: Citation<'a>,
    },
    Thinking {
        choice: u32,
        text: Cow<'a, str>,
    },
    /// Ends the thinking before it; alone it is a thinking without text.
    Signature {
        choice: u32,
        signature: Signature<'a>,
    },
    Redacted {
        choice: u32,
        data: Signature<'a>,
    },
    Refusal {
        choice: u32,
        text: Cow<'a, str>,
    },
    /// `call` numbers the calls of a choice from 0, in the order they began.
    ToolStart {
        choice: u32,
        call: u32,
        /// `None`: the writer makes one.
        id: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        signature: Option<Signature<'a>>,
    },
    /// A piece of the arguments' JSON; calls may alternate.
    ToolArguments {
        choice: u32,
        call: u32,
        json: Cow<'a, str>,
    },
    /// Log probabilities of the piece that follows, in OpenAI's shape.
    Logprobs {
        choice: u32,
        logprobs: Json<'a>,
    },
    /// The last of its choice. May come before or after [`Usage`](Self::Usage).
    Finish {
        choice: u32,
        finish: Finish,
        stop_sequence: Option<Cow<'a, str>>,
    },
    /// May come more than once; the last one counts, whole.
    Usage(Usage),
    /// Nothing follows.
    Error(StreamError<'a>),
    /// The provider said that the stream is over. A stream without it broke off: a writer must not
    /// invent an end.
    End,
}

/// An error inside of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamError<'a> {
    pub(crate) class: ErrorClass,
    pub(crate) message: Cow<'a, str>,
    pub(crate) code: Option<Cow<'a, str>>,
}

impl StreamError<'static> {
    /// What an error of a provider's says, whatever its form.
    pub(crate) fn read(event: &[u8]) -> Self {
        // The clock is for dates in headers, and there are none.
        let failure = classify_event(event, SystemTime::UNIX_EPOCH);
        let message = failure.message().to_owned().into();
        Self { class: failure.class(), message, code: None }
    }
}
