use std::{fmt, sync::Arc};

use crate::Needs;

/// The wire protocol a client or provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI: chat completions, responses, embeddings and the rest under `/v1`.
    #[default]
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini generateContent.
    Gemini,
}

impl Dialect {
    /// The lower-case name used in policies, labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of call a request is, told from method and path alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`; Gemini's `:embedContent` and `:batchEmbedContents`
    Embeddings,
    /// Anthropic's `POST /v1/messages`
    Messages,
    /// Gemini's `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`
    GenerateContent,
    /// What a prompt would count, without an answer: Anthropic's `POST /v1/messages/count_tokens`,
    /// Gemini's `POST /v1beta/models/{model}:countTokens`
    CountTokens,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/...`
    Images,
    /// `POST /v1/audio/...`
    Audio,
    /// `/v1/models` and `/v1/models/{id}`
    Models,
    /// `/v1/files...` and `/v1/uploads...`
    Files,
    /// `/v1/batches...`
    Batches,
    /// Any other path: passed on untouched.
    #[default]
    Other,
}

impl Operation {
    /// A low-cardinality name for labels and logs; OpenTelemetry `gen_ai.operation.name` values
    /// where they exist (`chat`, `text_completion`, `embeddings`, `generate_content`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "text_completion",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::GenerateContent => "generate_content",
            Self::CountTokens => "count_tokens",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Models => "models",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Other => "other",
        }
    }
}

impl Operation {
    /// Whether its replies have output tokens to speak of, and how many is not known before.
    pub fn has_output(self) -> bool {
        self.uses_tokens() && self != Self::Embeddings
    }

    /// Whether a success has used tokens even where no usage was reported: what an estimate is made
    /// for.
    pub fn uses_tokens(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::Messages
                | Self::GenerateContent
                | Self::Embeddings
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request asks for, as far as limits, routing and accounting care.
///
/// Token counts are estimates made before the call; the reply's [`Usage`](crate::Usage) is the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// Protocol the caller speaks; the answer, errors included, is given in it.
    pub dialect: Dialect,
    /// Kind of call.
    pub operation: Operation,
    /// Model name exactly as the caller wrote it; `None` where the request names none.
    pub model: Option<Arc<str>>,
    /// The caller wants the reply as a stream of events.
    pub stream: bool,
    /// The caller opted into a usage event (`stream_options.include_usage: true`).
    pub wants_usage: bool,
    /// Estimated input tokens: the best figure there is. Where it is read, the bytes' own.
    pub input_tokens: u64,
    /// What that figure is made from.
    pub prompt: Prompt,
    /// The caller's own bound on output tokens for the whole reply, if it set one.
    pub max_output_tokens: Option<u64>,
    /// Replies asked for (`n`); at least 1.
    pub choices: u32,
    /// What it needs of a model, as far as it was read.
    pub needs: Needs,
}

/// What of a request becomes input tokens, before anything is known of who will count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Tokens of its text at four bytes each, and of the frames around its messages.
    pub text: u64,
    /// Tokens of its images, audio and files by the rules of OpenAI, Anthropic and Gemini.
    pub media: [u64; 3],
    /// Tokens of its text by the asked model's own vocabulary, where somebody counted.
    pub exact: Option<u64>,
}

impl Prompt {
    /// Of this much text and no media.
    pub fn new(text: u64) -> Self {
        Self { text, ..Self::default() }
    }

    /// Tokens of its images, audio and files as this family counts them.
    pub fn media(&self, family: Dialect) -> u64 {
        let [openai, anthropic, gemini] = self.media;
        match family {
            Dialect::OpenAi => openai,
            Dialect::Anthropic => anthropic,
            Dialect::Gemini => gemini,
        }
    }

    /// Text and media, as they were read.
    pub fn tokens(&self, family: Dialect) -> u64 {
        self.text.saturating_add(self.media(family))
    }
}

impl Ask {
    /// An ask of this kind in the OpenAI dialect, one choice, everything else unset.
    pub fn new(operation: Operation) -> Self {
        Self { operation, choices: 1, ..Self::default() }
    }

    /// The same ask for `model`.
    pub fn with_model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The same ask for this prompt, counted as its own dialect's family counts.
    pub fn with_prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = prompt;
        self.input_tokens = prompt.tokens(self.dialect);
        self
    }

    /// The same ask with these needs.
    pub fn with_needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// The model the caller named.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}
