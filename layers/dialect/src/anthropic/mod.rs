//! The Anthropic dialect: Messages, and every provider that speaks it.

mod operation;
pub mod reply;
pub mod request;
pub mod usage;

pub(crate) use operation::operation;
