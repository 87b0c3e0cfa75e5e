//! Just enough of multipart/form-data (RFC 7578) for an upload's fields and its file.

use http::{HeaderMap, header::CONTENT_TYPE};

/// One part of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) content: &'a [u8],
}

/// The parts of `body`; the last one may be cut off. `None`: this is no form.
pub(super) fn parts<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (_, boundary) = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    if boundary.is_empty() {
        return None;
    }
    let mark = format!("--{boundary}");
    let mut rest = body.get(find(body, mark.as_bytes())? + mark.len()..)?;
    let close = format!("\r\n{mark}");
    let mut parts = Vec::new();
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        let end = find(after, close.as_bytes());
        parts.extend(part(after.get(..end.unwrap_or(after.len()))?));
        let Some(end) = end else { break };
        rest = after.get(end + close.len()..)?;
    }
    Some(parts)
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let split = find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..split)?).ok()?;
    let disposition = head.lines().find(|line| {
        line.get(..20).is_some_and(|name| name.eq_ignore_ascii_case("content-disposition:"))
    })?;
    Some(Part {
        name: quoted(disposition, "; name=")?,
        file: quoted(disposition, "; filename="),
        content: bytes.get(split + 4..)?,
    })
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let value = line.get(line.find(key)? + key.len()..)?;
    match value.strip_prefix('"') {
        Some(inner) => inner.split('"').next(),
        None => value.split(';').next().map(str::trim),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_form() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "multipart/form-data; boundary=\"xy\"".parse().unwrap());
        let body = b"--xy\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xy\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: x/y\r\n\r\n\
            \x00--x\r\n\r\n--xy--\r\n";
        let all = parts(&headers, body).unwrap();
        assert_eq!(all[0], Part { name: "purpose", file: None, content: b"batch" });
        assert_eq!(all[1], Part { name: "file", file: Some("a.jsonl"), content: b"\x00--x\r\n" });
        for cut in 0..body.len() {
            let _ = parts(&headers, &body[..cut]);
        }
        assert_eq!(parts(&headers, b"nothing"), None);
        assert_eq!(parts(&HeaderMap::new(), body), None);
    }
}
