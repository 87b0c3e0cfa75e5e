//! Making structured input out of bytes.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Sizes of chunks from the first bytes, and the rest: the first byte's low three bits say how many
/// bytes of sizes follow.
pub fn sizes(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = data.split_first() else { return (&[], &[]) };
    rest.split_at(usize::from(count & 7).min(rest.len()))
}

/// `whole` in chunks of these sizes, over and over; empty chunks are made too.
pub fn cut<'a>(whole: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    if sizes.iter().all(|size| *size == 0) {
        return whole.chunks(1).collect();
    }
    let (mut chunks, mut rest) = (Vec::new(), whole);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(usize::from(*size).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// What stands before the first empty line, and behind it.
pub fn split_head(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[]),
    }
}

/// The header lines that are any; all others are left out.
pub fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// A number from the first bytes.
pub fn number(data: &[u8]) -> u64 {
    data.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
