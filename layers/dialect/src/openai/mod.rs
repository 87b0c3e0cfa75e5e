//! The OpenAI dialect: what OpenAI speaks, and every provider in OpenAI's form (Groq, xAI,
//! DeepSeek, Moonshot, and the OpenAI-form endpoints of Anthropic and Gemini).

mod edits;
pub mod error;
pub(crate) mod model;
mod operation;
pub mod reply;
pub mod request;
pub mod usage;

pub use edits::Edits;
pub(crate) use edits::Span;
pub use operation::operation;
pub(crate) use operation::{model_in_path, operation_behind, path_model};
