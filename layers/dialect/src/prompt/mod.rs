//! What a request says and asks for: its texts by who speaks, its images, tools and wishes.
//!
//! For whoever judges a request by its content, such as a router that looks for a model that can
//! serve it. One reader for chat completions, completions, Responses, Messages and
//! generateContent; what each form calls by its own name is one [`Piece`] here.

mod walk;

use tollway_core::Operation;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Whoever wrote the application: `system`, `developer`, `instructions`, `systemInstruction`.
    System,
    /// Who asks; also a role nobody has heard of, and none.
    User,
    /// The model, earlier on: `assistant`, `model`.
    Assistant,
    /// What a tool answered.
    Tool,
}

/// A part of a request, in the order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece<'a> {
    /// A message begins.
    Message(Role),
    /// The message that begins now stands before all others, wherever in the body it is:
    /// `instructions`, `system`, `systemInstruction`.
    Instructions,
    /// The model did something earlier on that is no message: thought, or called a tool, by an item
    /// of its own in Responses. Elsewhere that is part of a message.
    Act,
    /// What the client calls the conversation, or what it shares with others: `conversation`,
    /// `prompt_cache_key`, `cachedContent`.
    Session(&'a str),
    /// A text of a message, or one of several; escapes are undone.
    Text {
        /// Whose it is. Within a user's message it may be a tool's.
        role: Role,
        /// What it says.
        text: &'a str,
    },
    /// An image to look at.
    Image,
    /// Sound to listen to, or an answer to be spoken.
    Audio,
    /// A document or any other file.
    File,
    /// A tool that the model may call, or that the provider has for it.
    Tool,
    /// The answer has to be JSON, of whatever kind.
    Json,
    /// The answer has to follow a schema.
    Schema,
    /// The model is asked to think before it answers.
    Reasoning,
    /// The answer is to be streamed. Gemini's calls say that in their path instead.
    Stream,
}

/// Calls `each` for every piece of a request's JSON body.
///
/// Nothing is checked: what can't be read is left out, and a body that breaks off, or is nested
/// deeper than 127 levels, is read up to there. Calls that carry no prompt for an answer
/// (embeddings, say) have no pieces. Tools' definitions, calls' arguments and the model's own
/// thoughts are passed over. Nothing is copied but strings with escapes, into one buffer.
///
/// `Piece::Reasoning` is a `reasoning_effort` (`reasoning.effort`, `thinkingLevel`) above
/// `minimal`, a `thinking` that is enabled or adaptive, a `thinkingBudget` other than zero.
///
/// ```
/// use tollway_core::Operation;
/// use tollway_dialect::prompt::{Piece, Role, visit};
///
/// let body = br#"{"model":"m","messages":[
///     {"role":"system","content":"Be brief."},
///     {"role":"user","content":[{"type":"text","text":"What is it?"},
///         {"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}"#;
/// let (mut asked, mut images) = (String::new(), 0);
/// visit(Operation::ChatCompletions, body, &mut |piece: Piece<'_>| match piece {
///     Piece::Text { role: Role::User, text } => asked.push_str(text),
///     Piece::Image => images += 1,
///     _ => {}
/// });
/// assert_eq!((asked.as_str(), images), ("What is it?", 1));
/// ```
pub fn visit(operation: Operation, body: &[u8], each: &mut impl FnMut(Piece<'_>)) {
    if matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Messages
            | Operation::GenerateContent
            | Operation::CountTokens
    ) {
        walk::body(body, each);
    }
}

/// What a model must be able to do to serve a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Needs {
    /// Looking at images.
    pub vision: bool,
    /// Calling tools.
    pub tools: bool,
    /// Answering in JSON, with a schema or without.
    pub json: bool,
    /// Thinking, as far as it is asked for.
    pub reasoning: bool,
    /// Listening or speaking.
    pub audio: bool,
    /// Streaming, as far as the body says so.
    pub streaming: bool,
}

impl Needs {
    /// Takes note of one piece, for whoever visits a request for something else besides.
    pub fn see(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Image => self.vision = true,
            Piece::Tool => self.tools = true,
            Piece::Json | Piece::Schema => self.json = true,
            Piece::Reasoning => self.reasoning = true,
            Piece::Audio => self.audio = true,
            Piece::Stream => self.streaming = true,
            Piece::Message(_)
            | Piece::Instructions
            | Piece::Act
            | Piece::Session(_)
            | Piece::Text { .. }
            | Piece::File => {}
        }
    }
}

/// What a request's body asks for, as [`visit`] reads it.
///
/// ```
/// use tollway_core::Operation;
/// use tollway_dialect::prompt::needs;
///
/// let body = br#"{"tools":[{"googleSearch":{}}],"generationConfig":
///     {"responseMimeType":"application/json","thinkingConfig":{"thinkingBudget":0}}}"#;
/// let needs = needs(Operation::GenerateContent, body);
/// assert!(needs.tools && needs.json && !needs.reasoning && !needs.vision);
/// ```
pub fn needs(operation: Operation, body: &[u8]) -> Needs {
    let mut needs = Needs::default();
    visit(operation, body, &mut |piece: Piece<'_>| needs.see(&piece));
    needs
}
