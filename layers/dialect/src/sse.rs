//! Server-sent events, read incrementally from bytes (WHATWG HTML, section 9.2).
//!
//! Lines end in LF, CRLF or CR; a chunk may be cut at any byte. An event that lies whole inside
//! one chunk is read as slices of it; only an event that is cut is copied, to be put together.

use std::ops::Range;

use memchr::memchr2;

/// Largest event a [`Parser`] puts together unless told otherwise: 1 MiB.
pub const DEFAULT_MAX_EVENT: usize = 1 << 20;

const KEPT_CAPACITY: usize = 16 << 10;

/// One block of a stream, up to and with its empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `data` lines, joined by LF; `None` for a block of comments or blank lines.
    pub data: Option<&'a [u8]>,
    /// The `event` field.
    pub name: Option<&'a [u8]>,
    /// The `id` field.
    pub id: Option<&'a [u8]>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
    /// Where the block lies in the present chunk; a block that began earlier starts at 0.
    pub raw: Range<usize>,
    /// The whole block, put together; empty if it is oversized.
    pub block: &'a [u8],
    /// The block's first bytes came in earlier chunks.
    pub began_earlier: bool,
    /// The block is larger than the bound; its fields were not read.
    pub oversized: bool,
}

/// Finds the events of a stream, whichever way its bytes are cut into chunks.
///
/// ```
/// let mut parser = tollway_dialect::sse::Parser::new();
/// let mut seen = Vec::new();
/// for chunk in [&b"data: 1\r\n\r"[..], b"\ndata: 2\n\n: ping\n\n"] {
///     let mut at = 0;
///     while let Some(event) = parser.next(chunk, &mut at) {
///         seen.extend(event.data.map(<[u8]>::to_vec));
///     }
/// }
/// assert_eq!(seen, [b"1", b"2"]);
/// ```
#[derive(Debug)]
pub struct Parser {
    /// Bytes of the unfinished event from earlier chunks.
    carry: Vec<u8>,
    joined: Vec<u8>,
    max: usize,
    /// Length of the unfinished event so far, stored or not.
    len: usize,
    tail: usize,
    line_empty: bool,
    after_cr: bool,
    first: bool,
    oversized: bool,
    spent: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the start of a stream, with [`DEFAULT_MAX_EVENT`].
    pub fn new() -> Self {
        Self::with_max_event(DEFAULT_MAX_EVENT)
    }

    /// A parser that never stores more than `max` bytes: a larger event is reported as
    /// [`oversized`](Event::oversized), without its fields.
    pub fn with_max_event(max: usize) -> Self {
        Self {
            carry: Vec::new(),
            joined: Vec::new(),
            max,
            len: 0,
            tail: 0,
            line_empty: true,
            after_cr: false,
            first: true,
            oversized: false,
            spent: false,
        }
    }

    /// The next event that ends in `chunk` at or after `at`, which is moved behind it.
    ///
    /// Call until `None` with the same chunk before the next chunk is given: then what is left of
    /// the chunk has been taken in.
    pub fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Option<Event<'a>> {
        if std::mem::take(&mut self.spent) {
            self.carry.clear();
            self.carry.shrink_to(KEPT_CAPACITY);
            self.joined.clear();
            self.joined.shrink_to(KEPT_CAPACITY);
        }
        let mut from = *at;
        if self.after_cr && from < chunk.len() {
            self.after_cr = false;
            if chunk.get(from) == Some(&b'\n') {
                from += 1;
                if self.len == 0 {
                    // The second half of a line end whose event is already out.
                    *at = from;
                }
            }
        }
        let start = *at;
        let Some(end) = self.scan(chunk, from) else {
            self.take_in(chunk.get(start..).unwrap_or_default());
            *at = chunk.len();
            return None;
        };
        *at = end;
        self.tail = 0;
        let began_earlier = self.len > 0;
        // The LF of a last CRLF may come after the event is out, so it never counts.
        let whole = chunk.get(start..end).unwrap_or_default();
        let counted = whole.len() - usize::from(whole.ends_with(b"\r\n"));
        let oversized = self.oversized || self.len + counted > self.max;
        self.len = 0;
        self.oversized = false;
        self.spent = true;
        let block = if oversized {
            &[]
        } else if began_earlier {
            self.carry.extend_from_slice(whole);
            &self.carry[..]
        } else {
            whole
        };
        let first = std::mem::take(&mut self.first);
        let event = read(block, first, &mut self.joined);
        Some(Event { raw: start..end, began_earlier, oversized, ..event })
    }

    /// The unfinished event at the end of the body, if there is one: its empty line never came.
    ///
    /// The specification drops it; a reader may use it if its data is whole by itself.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        if self.len == 0 || self.oversized || std::mem::replace(&mut self.spent, true) {
            return None;
        }
        self.len = 0;
        self.tail = 0;
        Some(read(&self.carry, self.first, &mut self.joined))
    }

    /// How many bytes at the end of the last chunk belong to an event that is not finished.
    pub fn tail(&self) -> usize {
        self.tail
    }

    /// The unfinished event has outgrown the bound.
    pub fn is_oversized(&self) -> bool {
        self.oversized
    }

    /// The position behind the next empty line.
    fn scan(&mut self, chunk: &[u8], mut pos: usize) -> Option<usize> {
        loop {
            let rest = chunk.get(pos..)?;
            let Some(i) = memchr2(b'\n', b'\r', rest) else {
                self.line_empty &= rest.is_empty();
                return None;
            };
            let blank = self.line_empty && i == 0;
            pos += i + 1;
            if rest.get(i) == Some(&b'\r') {
                match chunk.get(pos) {
                    Some(b'\n') => pos += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.line_empty = true;
            if blank {
                return Some(pos);
            }
        }
    }

    fn take_in(&mut self, tail: &[u8]) {
        self.tail = tail.len();
        self.len = self.len.saturating_add(tail.len());
        if self.oversized || self.len > self.max {
            self.oversized = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(tail);
        }
    }
}

fn read<'a>(block: &'a [u8], first: bool, joined: &'a mut Vec<u8>) -> Event<'a> {
    let mut rest = block;
    if first {
        rest = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest);
    }
    let mut event = Event { block, ..Event::default() };
    let mut many = false;
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        // An LF left over from CRLF reads as an empty line, which means nothing inside a block.
        rest = after.get(1..).unwrap_or_default();
        let (field, value) = split_field(line);
        match field {
            b"data" => match event.data {
                None => event.data = Some(value),
                Some(earlier) => {
                    if !std::mem::replace(&mut many, true) {
                        joined.clear();
                        joined.extend_from_slice(earlier);
                    }
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                }
            },
            b"event" => event.name = Some(value),
            b"id" if !value.contains(&0) => event.id = Some(value),
            b"retry" => event.retry = digits(value).or(event.retry),
            _ => {}
        }
    }
    if many {
        event.data = Some(joined);
    }
    event
}

/// A comment has the empty name.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr::memchr(b':', line) else { return (line, &[]) };
    let (field, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

fn digits(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<u64>, bool);

    fn seen(event: &Event<'_>) -> Seen {
        let own = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        (own(event.data), own(event.name), own(event.id), event.retry, event.oversized)
    }

    fn parse<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
        let mut parser = Parser::with_max_event(max);
        let mut all = Vec::new();
        for chunk in chunks {
            let mut at = 0;
            while let Some(event) = parser.next(chunk, &mut at) {
                all.push(seen(&event));
            }
        }
        all.extend(parser.finish().map(|event| seen(&event)));
        all
    }

    #[test]
    fn reads_every_field_and_line_end() {
        let text = b"\xEF\xBB\xBFid: 7\r\nretry: 30\r\nevent: x\r\ndata:a\r\ndata:  b\r\n\r\n: c\r\rdata\n\nretry: 1x\ndata: z\n\n";
        let all = parse(100, [&text[..]]);
        let own = |text: &[u8]| Some(text.to_vec());
        assert_eq!(all[0], (own(b"a\n b"), own(b"x"), own(b"7"), Some(30), false));
        assert_eq!(all[1], (None, None, None, None, false));
        assert_eq!(all[2].0, own(b""));
        assert_eq!((&all[3].0, all[3].3), (&own(b"z"), None));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn an_event_over_the_bound_is_told_and_not_stored() {
        let text = b"data: 123456789012345\n\ndata: 1\n\n";
        for size in 1..=text.len() {
            let all = parse(12, text.chunks(size));
            assert_eq!(all.iter().map(|e| e.4).collect::<Vec<_>>(), [true, false], "{size}");
            assert_eq!(all[1].0.as_deref(), Some(&b"1"[..]));
        }
        let mut parser = Parser::with_max_event(10);
        let mut at = 0;
        assert!(parser.next(&[b'x'; 11], &mut at).is_none());
        assert!(parser.is_oversized() && parser.carry.is_empty());
    }

    #[test]
    fn a_last_event_without_its_empty_line_is_offered_once() {
        let mut parser = Parser::new();
        let mut at = 0;
        assert!(parser.next(b"data: [DONE]\n", &mut at).is_none());
        assert_eq!(parser.tail(), 13);
        assert_eq!(parser.finish().unwrap().data, Some(&b"[DONE]"[..]));
        assert_eq!(parser.finish(), None);
    }

    proptest::proptest! {
        #[test]
        fn chunking_never_changes_the_events(
            text in proptest::collection::vec(proptest::sample::select(
                b"\n\n\n\r\rda:\xEF\xBB\xBF\xFF x".to_vec()), 0..80),
            cuts in proptest::collection::vec(0usize..80, 0..6),
            max in 1usize..40,
        ) {
            let whole = parse(max, [&text[..]]);
            proptest::prop_assert_eq!(&parse(max, text.chunks(1)), &whole);
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts {
                chunks.push(&text[from..cut]);
                from = cut;
            }
            chunks.push(&text[from..]);
            proptest::prop_assert_eq!(&parse(max, chunks), &whole);
        }
    }
}
