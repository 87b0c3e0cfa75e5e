//! One event of a stream, written member by member.

use std::io::Write as _;

use crate::json::Json;

#[must_use = "without its end it is no event"]
pub(super) struct Line<'o>(&'o mut Vec<u8>);

// Memory does not fail to be written to.
impl<'o> Line<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>, name: &str, number: &mut u64) -> Self {
        let _ =
            write!(out, "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number}");
        *number += 1;
        Self(out)
    }

    /// `value` is JSON already.
    pub(super) fn raw(mut self, key: &str, value: &[u8]) -> Self {
        self.key(key);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        let _ = serde_json::to_writer(&mut *self.0, value);
        self
    }

    pub(super) fn number(mut self, key: &str, value: usize) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    pub(super) fn json<'a>(mut self, key: &str, value: impl Into<Json<'a>>) -> Self {
        self.key(key);
        value.into().write(self.0);
        self
    }

    pub(super) fn end(self) {
        self.0.extend_from_slice(b"}\n\n");
    }

    fn key(&mut self, key: &str) {
        // Formatting would take longer than all the rest.
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}
