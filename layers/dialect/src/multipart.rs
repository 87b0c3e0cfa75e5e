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
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let first = delimiter.get(2..).unwrap_or_default();
    // A preamble is allowed before the first boundary; nobody sends one.
    let mut at = if head.starts_with(first) {
        first.len()
    } else if first.starts_with(head) {
        return Model::NotYet;
    } else {
        match memmem::find(head, &delimiter) {
            Some(found) => found + delimiter.len(),
            None => return Model::NotYet,
        }
    };
    loop {
        let rest = head.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Model::Absent;
        }
        let Some(end) = memmem::find(rest, b"\r\n\r\n") else { return Model::NotYet };
        let is_model = names_model(rest.get(..end).unwrap_or_default());
        let start = at + end + 4;
        let value = head.get(start..).unwrap_or_default();
        let Some(len) = memmem::find(value, &delimiter) else { return Model::NotYet };
        if is_model {
            return Model::Found(start..start + len);
        }
        at = start + len + delimiter.len();
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
        for end in 0..body.len() {
            let found = model(&body[..end], "B");
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
        fn nothing_panics(head in proptest::collection::vec(proptest::sample::select(b"-B\r\n:m;=".to_vec()), 0..60)) {
            let _ = model(&head, "B");
        }
    }
}
