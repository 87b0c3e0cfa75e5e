//! Anthropic's Messages.

mod ids;
mod queue;
mod read_content;
mod read_reply;
mod read_request;
mod read_stream;
mod schema;
mod stop;
mod thinking;
mod tools;
mod usage;
mod write_content;
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

/// The tool by which models without structured output are made to answer in JSON. Its name is
/// ours alone: a call of it is read as the answer's text.
const JSON_TOOL: &str = "tollway_json_response";
