//! The beginning and the end of a text that comes in pieces.

/// Bytes kept of each end.
pub(super) const END: usize = 8 << 10;

/// A text's first and last bytes, cut between characters.
#[derive(Clone)]
pub(super) struct Ends {
    head: Part,
    tail: Part,
    /// Something went behind the head.
    full: bool,
}

#[derive(Clone)]
struct Part {
    bytes: [u8; END],
    len: usize,
}

impl Part {
    const EMPTY: Self = Self { bytes: [0; END], len: 0 };

    fn text(&self) -> &str {
        // It was cut between characters, so it is whole.
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Takes what fits.
    fn push(&mut self, text: &str) -> usize {
        let taken = up_to(text, END - self.len);
        let place = self.bytes.get_mut(self.len..self.len + taken);
        if let (Some(place), Some(bytes)) = (place, text.as_bytes().get(..taken)) {
            place.copy_from_slice(bytes);
            self.len += taken;
        }
        taken
    }

    /// Lets go of what is older than the last `keep` bytes.
    fn keep_last(&mut self, keep: usize) {
        let text = self.text();
        let from = from(text, self.len.saturating_sub(keep));
        self.bytes.copy_within(from..self.len, 0);
        self.len -= from;
    }
}

impl Ends {
    pub(super) const EMPTY: Self = Self { head: Part::EMPTY, tail: Part::EMPTY, full: false };

    pub(super) fn clear(&mut self) {
        (self.head.len, self.tail.len, self.full) = (0, 0, false);
    }

    pub(super) fn push(&mut self, text: &str) {
        let taken = if self.full { 0 } else { self.head.push(text) };
        let rest = text.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        self.full = true;
        let rest = rest.get(from(rest, rest.len().saturating_sub(END))..).unwrap_or_default();
        if self.tail.len + rest.len() > END {
            // Half at most, so that many small pieces don't move it every time.
            self.tail.keep_last((END / 2).min(END - rest.len()));
        }
        self.tail.push(rest);
    }

    pub(super) fn head(&self) -> &str {
        self.head.text()
    }

    pub(super) fn tail(&self) -> &str {
        self.tail.text()
    }
}

/// The last place between characters that is not behind `at`.
pub(super) fn up_to(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first place between characters that is not before `at`.
pub(super) fn from(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}
