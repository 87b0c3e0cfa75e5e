use super::Json;

/// An array that is written as it grows: its items are not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    pub(crate) fn push<'a>(&mut self, item: impl Into<Json<'a>>) {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        item.into().write(&mut self.0);
    }

    pub(crate) fn extend<'a, T: Into<Json<'a>>>(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Rows> for Json<'_> {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows)
    }
}

impl Json<'_> {
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        out
    }

    /// The value as compact JSON text: how OpenAI's `arguments` carry an object.
    pub(crate) fn to_text(&self) -> String {
        String::from_utf8(self.to_vec()).unwrap_or_default()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            // Memory does not fail to be written to.
            Self::Number(number) => drop(serde_json::to_writer(out, number)),
            Self::String(text) => write_str(text, out),
            Self::Array(items) => list(items, b"[]", out, Self::write),
            Self::Object(object) => list(&object.0, b"{}", out, |(key, value), out| {
                write_str(key, out);
                out.push(b':');
                value.write(out);
            }),
            Self::Items(items) => {
                list(items.clone().each(), b"[]", out, |item, out| item.write(out))
            }
            Self::Rows(rows) if rows.is_empty() => out.extend_from_slice(b"[]"),
            Self::Rows(rows) => {
                // With room for what follows: to grow then would be to copy it all.
                out.reserve(rows.0.len() + 512);
                out.extend_from_slice(&rows.0);
                out.push(b']');
            }
        }
    }
}

fn list<T>(
    items: impl IntoIterator<Item = T>,
    [open, close]: &[u8; 2],
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(*open);
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(*close);
}

/// Writes a string with its quotes.
fn write_str(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((before, [byte, after @ ..])) =
        escape(rest).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(before);
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |digit: u8| HEX[usize::from(digit & 15)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(*byte)]);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that can't stand in a string as it is (RFC 8259, section 7).
fn escape(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    // Sets the highest bit of the bytes that are less: exact up to the first of them, which will do.
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word & (ONES << 7);
    let is = |word, byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let escapes = |word: u64| less(word, 0x20) | is(word, b'"') | is(word, b'\\');
    let mut words = text.chunks_exact(8);
    for (n, word) in words.by_ref().enumerate() {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let found = escapes(word);
        if found != 0 {
            return Some(8 * n + (found.trailing_zeros() / 8) as usize);
        }
    }
    let tail = words.remainder();
    // Most strings need none: the tail is looked at as a word too, with what is before or again.
    let word = match (text.last_chunk::<8>(), text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(word), ..) => Some(u64::from_le_bytes(*word)),
        (None, Some(head), Some(end)) => {
            let [head, end] = [head, end].map(|half| u64::from(u32::from_le_bytes(*half)));
            Some(head << 32 | end)
        }
        _ => None,
    };
    if word.is_some_and(|word| escapes(word) == 0) {
        return None;
    }
    let at = tail.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
    at.map(|at| text.len() - tail.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_are_written_as_serde_writes_them(
            pieces in prop::collection::vec(prop_oneof![
                ".{0,20}", "[ -~]{0,20}", "[\\x00-\\x22\\\\]{0,3}",
            ], 0..6),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(Json::from(&*text).to_text(), serde_json::to_string(&text).unwrap());
        }
    }
}
