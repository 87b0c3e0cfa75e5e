//! Server-sent events: the same events however the stream is cut, and those that a plain reading
//! of the specification finds.

use std::ops::Range;

use tollway_dialect::sse::{DEFAULT_MAX_EVENT, Event, Parser};

use super::input;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub data: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    retry: Option<u64>,
    oversized: bool,
}

/// The first byte's top bit asks for a small bound, its low bits for chunk sizes.
pub fn check(data: &[u8]) {
    let (sizes, text) = input::sizes(data);
    let small = data.first().is_some_and(|byte| *byte >= 0x80);
    let max = if small { 24 } else { DEFAULT_MAX_EVENT };
    let expected = by_the_book(text, max);
    assert_eq!(parse(max, [text]), expected, "whole");
    assert_eq!(parse(max, input::cut(text, sizes)), expected, "cut");
    assert_eq!(parse(max, text.chunks(1)), expected, "byte by byte");
    if text.len() <= 64 {
        for at in 0..=text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(parse(max, [a, b]), expected, "cut at {at}");
        }
    }
}

fn parse<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut parser = Parser::with_max_event(max);
    let mut all = Vec::new();
    for chunk in chunks {
        let mut at = 0;
        let mut end = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            // Only the LF of a CRLF whose event is out may lie between two blocks.
            let skipped = &chunk[end..event.raw.start];
            assert!(skipped.is_empty() || (end == 0 && skipped == b"\n"), "{skipped:?}");
            assert!(event.raw.end == at && at > end, "{:?} {at}", event.raw);
            end = at;
            all.push(seen(&event));
        }
        assert_eq!(at, chunk.len());
        let skipped = &chunk[end..chunk.len() - parser.tail()];
        assert!(skipped.is_empty() || (end == 0 && skipped == b"\n"), "{skipped:?}");
    }
    all.extend(parser.finish().map(|event| seen(&event)));
    assert_eq!(parser.finish(), None, "finished twice");
    all
}

fn seen(event: &Event<'_>) -> Seen {
    let own = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
    Seen {
        data: own(event.data),
        name: own(event.name),
        id: own(event.id),
        retry: event.retry,
        oversized: event.oversized,
    }
}

/// Every block of a stream with its empty line, which the last may lack: then false.
pub fn blocks(text: &[u8]) -> Vec<(Range<usize>, bool)> {
    let (mut blocks, mut start, mut line) = (Vec::new(), 0, 0);
    while let Some(found) = text[line..].iter().position(|byte| b"\r\n".contains(byte)) {
        let end = line + found;
        let after = end + if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        if end == line {
            blocks.push((start..after, true));
            start = after;
        }
        line = after;
    }
    if start < text.len() {
        blocks.push((start..text.len(), false));
    }
    blocks
}

/// A slow and simple reader.
fn by_the_book(text: &[u8], max: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    for (index, (span, ended)) in blocks(text).into_iter().enumerate() {
        let block = &text[span];
        // The LF of the last CRLF may come after the event is out, so it never counts.
        let counted = block.len() - usize::from(ended && block.ends_with(b"\r\n"));
        if counted <= max {
            all.push(fields(block, index == 0));
        } else if ended {
            all.push(Seen { oversized: true, ..Seen::default() });
        }
    }
    all
}

pub fn fields(block: &[u8], first: bool) -> Seen {
    let block = if first { block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block) } else { block };
    let mut seen = Seen::default();
    for line in block.split(|byte| b"\r\n".contains(byte)) {
        let colon = line.iter().position(|byte| *byte == b':');
        let name = &line[..colon.unwrap_or(line.len())];
        let value = colon.map_or(&[][..], |at| &line[at + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => match &mut seen.data {
                Some(data) => data.extend([b"\n", value].concat()),
                None => seen.data = Some(value.to_vec()),
            },
            b"event" => seen.name = Some(value.to_vec()),
            b"id" if !value.contains(&0) => seen.id = Some(value.to_vec()),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                seen.retry = number.or(seen.retry);
            }
            _ => {}
        }
    }
    seen
}
