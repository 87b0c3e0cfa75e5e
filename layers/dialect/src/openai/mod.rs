//! The OpenAI dialect: what OpenAI speaks, and every provider in OpenAI's form (Groq, xAI,
//! DeepSeek, Moonshot, and the OpenAI-form endpoints of Anthropic and Gemini).

mod edits;
pub mod error;
mod operation;
pub mod reply;
pub mod request;
pub mod usage;

pub use edits::Edits;
pub(crate) use edits::Span;
pub(crate) use operation::is_ambiguous;
pub use operation::operation;
