//! The objects of a streamed JSON array, found in chunks that are cut anywhere.

use memchr::memchr2;

const KEPT_CAPACITY: usize = 16 << 10;

/// Finds the objects of one array, or one object by itself: how Gemini streams without `alt=sse`.
///
/// What stands between them is not looked at. Of what is no array and no object the first
/// byte is given, once.
#[derive(Debug)]
pub(crate) struct Elements {
    /// Bytes of the unfinished object from earlier chunks.
    carry: Vec<u8>,
    max: usize,
    depth: u32,
    place: Place,
    oversized: bool,
    spent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first byte that is not white space.
    Start,
    Between,
    Inside,
    InString,
    /// Behind a backslash.
    Escaped,
    /// In what is not read.
    Lost,
}

impl Elements {
    /// Never stores more than `max` bytes: a larger object is given as an empty slice.
    pub(crate) fn with_max(max: usize) -> Self {
        let place = Place::Start;
        Self { carry: Vec::new(), max, depth: 0, place, oversized: false, spent: false }
    }

    /// The next object that ends in `chunk` at or after `at`, which is moved behind it.
    ///
    /// Call until `None` with the same chunk before the next chunk is given: then what is left of
    /// the chunk has been taken in.
    pub(crate) fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
        if std::mem::take(&mut self.spent) {
            self.carry.clear();
            self.carry.shrink_to(KEPT_CAPACITY);
        }
        let (mut from, mut pos) = (*at, *at);
        while let Some(byte) = chunk.get(pos) {
            match (self.place, byte) {
                (Place::Start | Place::Between, b'{') => {
                    (self.place, self.depth, from) = (Place::Inside, 1, pos);
                }
                (Place::Start, b'[') => self.place = Place::Between,
                (Place::Start, byte) if byte.is_ascii_whitespace() => {}
                (Place::Start, _) => {
                    self.place = Place::Lost;
                    *at = chunk.len();
                    return chunk.get(pos..=pos);
                }
                (Place::Inside, b'"') => self.place = Place::InString,
                (Place::Inside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (Place::Inside, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.place = Place::Between;
                        *at = pos + 1;
                        return Some(self.whole(chunk.get(from..=pos).unwrap_or_default()));
                    }
                }
                (Place::InString, _) => {
                    let rest = chunk.get(pos..).unwrap_or_default();
                    let Some(found) = memchr2(b'"', b'\\', rest) else { break };
                    pos += found;
                    let escape = rest.get(found) == Some(&b'\\');
                    self.place = if escape { Place::Escaped } else { Place::Inside };
                }
                (Place::Escaped, _) => self.place = Place::InString,
                (Place::Lost, _) => break,
                (Place::Between | Place::Inside, _) => {}
            }
            pos += 1;
        }
        *at = chunk.len();
        if !matches!(self.place, Place::Start | Place::Between | Place::Lost) {
            self.take_in(chunk.get(from..).unwrap_or_default());
        }
        None
    }

    fn whole<'a>(&'a mut self, last: &'a [u8]) -> &'a [u8] {
        self.spent = true;
        if std::mem::take(&mut self.oversized) || self.carry.len() + last.len() > self.max {
            return &[];
        }
        if self.carry.is_empty() {
            return last;
        }
        self.carry.extend_from_slice(last);
        &self.carry
    }

    fn take_in(&mut self, part: &[u8]) {
        self.oversized |= self.carry.len() + part.len() > self.max;
        if self.oversized {
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn found(max: usize, chunks: &[&[u8]]) -> Vec<String> {
        let mut elements = Elements::with_max(max);
        let mut all = Vec::new();
        for chunk in chunks {
            let mut at = 0;
            while let Some(element) = elements.next(chunk, &mut at) {
                all.push(String::from_utf8_lossy(element).into_owned());
            }
            assert_eq!(at, chunk.len());
        }
        all
    }

    #[test]
    fn objects_are_found_however_the_array_is_cut() {
        for (text, objects) in [
            (r#"[{"a":1},{"b":"}]\"{"}]"#, &[r#"{"a":1}"#, r#"{"b":"}]\"{"}"#][..]),
            ("\n[\n{\n\"a\": [ { } ]\n}\r\n,\r\n{}\n]\n", &["{\n\"a\": [ { } ]\n}", "{}"]),
            (r#"{"error":{"é":"\\"}}"#, &[r#"{"error":{"é":"\\"}}"#]),
            ("[]", &[]),
            ("", &[]),
            (r#"[{"cut":"#, &[]),
        ] {
            assert_eq!(found(1000, &[text.as_bytes()]), objects);
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(found(1000, &bytes), objects);
            for cut in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                assert_eq!(found(1000, &[first, second]), objects, "{cut}");
            }
        }
        assert_eq!(found(9, &[b"<html>{}", b"</html>{}"]), ["<"]);
    }

    #[test]
    fn what_is_too_large_is_told_and_not_stored() {
        let text = br#"[{"a":"bcdefgh"},{"a":1}]"#;
        assert_eq!(found(8, &[text]), ["", r#"{"a":1}"#]);
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(found(8, &bytes), ["", r#"{"a":1}"#]);
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere(text in "[\\[\\]{}\"\\\\,:a é]{0,40}", sizes in vec(1usize..7, 1..9)) {
            let text = text.as_bytes();
            let (mut chunks, mut rest) = (Vec::new(), text);
            for size in sizes.iter().cycle() {
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                chunks.push(chunk);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found(1000, &chunks), found(1000, &[text]));
        }
    }
}
