//! What a conversation is, in no provider's words: the middle of every translation.
//!
//! Each form has one reader and one writer of each of these types, so four forms need eight codecs
//! and not sixteen. Whatever a form can say that has a counterpart in another form has a place
//! here; whatever has none is an [`Extra`](request::Extra) and counts as lost unless the writer is
//! of the same family.

#[cfg(test)]
pub(crate) mod arbitrary;
mod event;
mod gathered;
mod part;
mod reply;
mod request;
mod signature;

pub(crate) use event::{Event, StreamError};
pub(crate) use gathered::Gathered;
pub(crate) use part::{Arguments, Body, Citation, Part, Source, UNREADABLE, bounded_id};
pub(crate) use reply::{Choice, Finish, Reply};
#[cfg(test)]
pub(crate) use request::Extra;
pub(crate) use request::{Effort, Format, Request, Role, Thinking, Tool, ToolChoice, Turn};
pub(crate) use signature::{MARK, MARK_IN_BASE64, Signature};
