mod read_reply;
mod read_request;
mod read_stream;
mod write_reply;
mod write_request;
mod write_stream;

pub(crate) use read_reply::read_reply;
pub(crate) use read_request::read_request;
pub(crate) use read_stream::Reader;
pub(crate) use write_reply::write_reply;
pub(crate) use write_request::write_request;
pub(crate) use write_stream::Writer;
