//! Gemini's `generateContent` and `streamGenerateContent`.
//!
//! What the form can't say by itself and how it is said all the same:
//!
//! - Calls may have no id there: a request's are numbered in order (`call_0`), and results find
//!   theirs by id, else by name and order.
//! - A signature beside a text is a thinking without text behind it, and is written back to where
//!   it stood. Redacted thinking is the signature of an empty thought, marked as such.
//! - Arguments that are no JSON object reach the client as `{"INVALID_JSON": ...}`.
//! - A client that keeps the chunks of a stream sends each back as a content by itself: contents
//!   of one role are one turn, and thoughts are joined up to their signature.

mod citations;
mod config;
mod finish;
mod identify;
mod logprobs;
mod media;
mod names;
mod part;
mod piece;
mod read_reply;
mod read_request;
mod read_stream;
mod schema;
#[cfg(test)]
mod tests;
mod tools;
mod usage;
mod write_config;
mod write_parts;
mod write_reply;
mod write_request;
mod write_stream;

pub(crate) use read_reply::read_reply;
pub(crate) use read_request::read_request;
pub(crate) use read_stream::Reader;
pub(crate) use write_reply::write_reply;
pub(crate) use write_request::write_request;
pub(crate) use write_stream::Writer;
