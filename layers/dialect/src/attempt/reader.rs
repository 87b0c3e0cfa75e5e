use serde_json::Error;
use tollway_core::Dialect;

use crate::{Reading, anthropic, gemini, openai};

/// How the replies of one family read.
#[derive(Debug)]
pub(super) enum Reader {
    OpenAi(openai::reply::EventReader),
    Anthropic(anthropic::reply::EventReader),
    Gemini(gemini::reply::EventReader),
}

impl Reader {
    /// At the start of a stream.
    pub(super) fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Anthropic => Self::Anthropic(anthropic::reply::EventReader::new()),
            Dialect::Gemini => Self::Gemini(gemini::reply::EventReader::new()),
            _ => Self::OpenAi(openai::reply::EventReader::new()),
        }
    }

    /// Reads one event, by its name and data.
    pub(super) fn read_event(
        &mut self,
        name: Option<&[u8]>,
        data: &[u8],
    ) -> Result<Reading, Error> {
        match self {
            Self::OpenAi(reader) => reader.read(data),
            Self::Anthropic(reader) => reader.read(name, data),
            Self::Gemini(reader) => reader.read(data),
        }
    }
}

/// Reads a whole reply.
pub(super) fn read_whole(dialect: Dialect, body: &[u8]) -> Result<Reading, Error> {
    match dialect {
        Dialect::Anthropic => anthropic::reply::read(body),
        Dialect::Gemini => gemini::reply::read(body),
        _ => openai::reply::read(body),
    }
}
