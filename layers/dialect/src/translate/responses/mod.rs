//! OpenAI's Responses API, and what this project chose where it and the other forms leave room.
//!
//! - **Nothing is stored.** Whatever points to something stored (`previous_response_id`,
//!   `conversation`, `item_reference`, `prompt`, `background`) is refused; `store: true` is told as
//!   lost, replies say `store: false`. A provider of this form, whose default is to keep replies
//!   for 30 days, gets `store: false` unless the client of its sibling asked for the opposite.
//! - **Turns.** All that the assistant said in a row (messages, calls, reasoning) is one turn,
//!   because the other forms need calls of one answer together; so are tool results in a row.
//!   `instructions` is the first instruction, and `developer` is as good as `system`.
//! - **Reasoning** is an item with `summary` (what can be read; several pieces are joined by an
//!   empty line) and `encrypted_content` (the signature). An item without summary is reasoning that
//!   only its maker can read; one with a summary of nothing is a signature alone.
//! - **Ids of reasoning.** OpenAI seals an item's id into its `encrypted_content` and refuses it
//!   under another, so the id travels inside of the signature (`id:encrypted_content`); without it
//!   the item goes without `id`, which is taken as well. Unsealed reasoning is not sent back: the
//!   provider would look its id up in its store and answer 404.
//! - **`include: reasoning.encrypted_content`** is asked of a provider only if the client asked for
//!   thinking or sent some back: models that don't reason refuse it.
//! - **Signatures of calls** (Gemini) have no field here, and clients drop fields that they don't
//!   know; they become a reasoning item of their own before the call, which all clients send back.
//! - **Hosted tools** run at OpenAI: their definitions, their choice and their items are refused.
//! - **Tool calls of a stream** stay open until the answer is over: elsewhere calls may alternate.

mod echo;
mod finish;
mod line;
mod read_content;
mod read_input;
mod read_item;
mod read_reply;
mod read_request;
mod read_stream;
mod stream_item;
mod thought;
mod usage;
mod write_input;
mod write_items;
mod write_reply;
mod write_request;
mod write_stream;

#[cfg(test)]
mod tests;

pub(crate) use read_reply::read_reply;
pub(crate) use read_request::read_request;
pub(crate) use read_stream::Reader;
pub(crate) use write_reply::write_reply;
pub(crate) use write_request::write_request;
pub(crate) use write_stream::Writer;
