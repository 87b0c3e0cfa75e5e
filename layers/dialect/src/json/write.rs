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
    let special = |byte: &u8| (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    // All of a step at once, without a branch: the compiler makes a vector of it.
    const STEP: usize = 16;
    let is_plain = |step: &&[u8]| !step.iter().fold(false, |found, byte| found | special(byte));
    let plain = STEP * text.chunks_exact(STEP).take_while(is_plain).count();
    text.get(plain..)?.iter().position(special).map(|at| plain + at)
}
