//! The `model` field of a `multipart/form-data` body (RFC 7578), without holding the upload.

use std::ops::Range;

use memchr::memmem;

/// What the first bytes of a body say about its `model` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// The field's value stands here in the bytes given.
    Found(Range<usize>),
    /// The bytes end before it is clear.
    NotYet,
    /// The form has no such field, or is no form at all.
    Absent,
}

/// Looks for the form field `model` in `head`, the body's first bytes.
///
/// ```
/// use tollway_dialect::multipart::{Model, model};
///
/// let head = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x";
/// assert_eq!(model(head, "x"), Model::Found(53..62));
/// assert_eq!(model(&head[..40], "x"), Model::NotYet);
/// ```
pub fn model(head: &[u8], boundary: &str) -> Model {
    Search::new(boundary).model(head)
}

/// The same search over a body that grows: no byte is looked at twice but for a few at the seams,
/// whichever way the body is cut.
#[derive(Clone, Debug)]
pub struct Search {
    delimiter: Vec<u8>,
    /// What is being looked for.
    place: Place,
    /// Where it may begin.
    from: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Start,
    Preamble,
    /// The headers of the part that begins here.
    Headers(usize),
    /// The end of the value that begins here.
    Value {
        start: usize,
        is_model: bool,
    },
}

impl Search {
    /// Over a body with this boundary.
    pub fn new(boundary: &str) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Self { delimiter, place: Place::Start, from: 0 }
    }

    /// As [`model`]; `head` begins with the bytes of the last call, and may have more.
    pub fn model(&mut self, head: &[u8]) -> Model {
        loop {
            match self.place {
                Place::Start => {
                    let first = self.delimiter.get(2..).unwrap_or_default();
                    self.place = if head.starts_with(first) {
                        Place::Headers(first.len())
                    } else if first.starts_with(head) {
                        return Model::NotYet;
                    } else {
                        Place::Preamble
                    };
                    self.from = if head.starts_with(first) { first.len() } else { 0 };
                }
                // A preamble is allowed before the first boundary; nobody sends one.
                Place::Preamble => {
                    let Some(found) = self.find(head, false) else { return Model::NotYet };
                    self.part(found + self.delimiter.len());
                }
                Place::Headers(start) => {
                    if head.get(start..).is_some_and(|rest| rest.starts_with(b"--")) {
                        return Model::Absent;
                    }
                    let Some(end) = self.find(head, true) else { return Model::NotYet };
                    let is_model = names_model(head.get(start..end).unwrap_or_default());
                    self.place = Place::Value { start: end + 4, is_model };
                    self.from = end + 4;
                }
                Place::Value { start, is_model } => {
                    let Some(end) = self.find(head, false) else { return Model::NotYet };
                    if is_model {
                        return Model::Found(start..end);
                    }
                    self.part(end + self.delimiter.len());
                }
            }
        }
    }

    fn part(&mut self, start: usize) {
        self.place = Place::Headers(start);
        self.from = start;
    }

    /// Where the blank line behind headers stands, or the next delimiter.
    fn find(&mut self, head: &[u8], blank_line: bool) -> Option<usize> {
        let wanted = if blank_line { b"\r\n\r\n" } else { &self.delimiter[..] };
        let found = memmem::find(head.get(self.from..).unwrap_or_default(), wanted);
        if found.is_none() {
            // Its first bytes may stand at the end.
            self.from = self.from.max((head.len() + 1).saturating_sub(wanted.len()));
        }
        found.map(|found| self.from + found)
    }
}

/// The boundary of a `multipart/form-data` content type.
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let value = value.trim_matches('"');
    (1..=70).contains(&value.len()).then_some(value)
}

fn names_model(headers: &[u8]) -> bool {
    let headers = String::from_utf8_lossy(headers);
    headers.lines().any(|line| {
        let Some((name, value)) = line.split_once(':') else { return false };
        name.trim().eq_ignore_ascii_case("content-disposition")
            && value.split(';').map(str::trim).any(|part| {
                part.strip_prefix("name=").is_some_and(|name| name.trim_matches('"') == "model")
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_field_behind_others_and_at_every_cut() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\n\x00\r\n--\xFF\r\n--B\r\ncontent-disposition:form-data;name=model\r\nContent-Type: text/plain\r\n\r\nwhisper-1\r\n--B--\r\n";
        let Model::Found(span) = model(body, "B") else { panic!() };
        assert_eq!(&body[span.clone()], b"whisper-1");
        let mut grows = Search::new("B");
        for end in 0..body.len() {
            let found = model(&body[..end], "B");
            assert_eq!(grows.model(&body[..end]), found, "{end}");
            assert!(found == Model::NotYet || found == Model::Found(span.clone()), "{end}");
        }
        assert_eq!(model(b"--B\r\n\r\nx\r\n--B--", "B"), Model::Absent);
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data;charset=x; Boundary=\"a b\""), Some("a b"));
        for bad in
            ["multipart/form-data", "text/plain; boundary=x", "multipart/form-data; boundary="]
        {
            assert_eq!(boundary(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_body_that_grows_is_read_as_the_whole(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "-", "B", "\r", "\n", "\r\n--B", "--B", "\r\n\r\n", "m", "--B--",
                "Content-Disposition: form-data; name=model",
            ]), 0..16),
            step in 1usize..20,
        ) {
            let body = parts.concat();
            let mut search = Search::new("B");
            for end in (0..body.len()).step_by(step).chain([body.len()]) {
                let head = &body.as_bytes()[..end];
                let found = search.model(head);
                proptest::prop_assert_eq!(&found, &model(head, "B"));
                if found != Model::NotYet {
                    break;
                }
            }
        }
    }
}
