use std::fmt;

use tollway_core::{Ask, Dialect, Operation};

/// One of the four APIs by which providers are talked to: what is translated between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// OpenAI's `POST /v1/chat/completions`.
    Chat,
    /// OpenAI's `POST /v1/responses`.
    Responses,
    /// Anthropic's `POST /v1/messages`.
    Messages,
    /// Gemini's `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`.
    Generate,
}

impl Form {
    /// All of them, in the order of every table here.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Generate];

    /// The form of a call; `None` for calls that are never translated.
    pub fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ChatCompletions => Some(Self::Chat),
            Operation::Responses => Some(Self::Responses),
            Operation::Messages => Some(Self::Messages),
            Operation::GenerateContent => Some(Self::Generate),
            _ => None,
        }
    }

    /// The lower-case name used in policies and docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Generate => "generate",
        }
    }

    /// The call that is in this form.
    pub fn operation(self) -> Operation {
        match self {
            Self::Chat => Operation::ChatCompletions,
            Self::Responses => Operation::Responses,
            Self::Messages => Operation::Messages,
            Self::Generate => Operation::GenerateContent,
        }
    }

    /// Whose form it is.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Chat | Self::Responses => Dialect::OpenAi,
            Self::Messages => Dialect::Anthropic,
            Self::Generate => Dialect::Gemini,
        }
    }

    /// The path, and for Gemini the query, by which a call in this form is made.
    pub fn path(self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".to_owned(),
            Self::Responses => "/v1/responses".to_owned(),
            Self::Messages => "/v1/messages".to_owned(),
            Self::Generate if stream => {
                format!("/v1beta/models/{}:streamGenerateContent?alt=sse", escaped(model))
            }
            Self::Generate => format!("/v1beta/models/{}:generateContent", escaped(model)),
        }
    }

    /// What the layers inside of a translation have to know of the call.
    pub(crate) fn ask(self, outer: &Ask) -> Ask {
        let mut ask = outer.clone();
        ask.dialect = self.dialect();
        ask.operation = self.operation();
        // What is sent was written here, and asks for usage wherever it can.
        ask.wants_usage = true;
        ask
    }

    /// The field that the conversation stands in.
    pub(crate) fn conversation(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages => "messages",
            Self::Responses => "input",
            Self::Generate => "contents",
        }
    }

    /// And where in it a text stands.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages => "messages.content",
            Self::Responses => "input.content",
            Self::Generate => "contents.parts.text",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A model's name as one segment of a path (RFC 3986, 2.3).
fn escaped(model: &str) -> String {
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
