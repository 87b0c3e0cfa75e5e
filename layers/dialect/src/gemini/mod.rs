//! The Gemini dialect: generateContent, embeddings and counting.

pub(crate) mod elements;
mod operation;
pub mod reply;
pub mod request;
pub mod usage;

pub use operation::Call;
pub(crate) use operation::{Named, full_name};
