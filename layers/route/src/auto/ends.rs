//! The beginning and the end of a text that comes in pieces.

/// Bytes kept of each end.
pub(super) const END: usize = 8 << 10;

/// A text's first and last bytes, cut between characters.
#[derive(Clone)]
pub(super) struct Ends {
    head: String,
    tail: String,
    /// Something went behind the head.
    full: bool,
}

/// Takes what fits.
fn fill(part: &mut String, text: &str) -> usize {
    let taken = up_to(text, END.saturating_sub(part.len()));
    part.push_str(text.get(..taken).unwrap_or_default());
    taken
}

impl Ends {
    pub(super) const EMPTY: Self = Self { head: String::new(), tail: String::new(), full: false };

    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.tail.clear();
        self.full = false;
    }

    pub(super) fn push(&mut self, text: &str) {
        let taken = if self.full { 0 } else { fill(&mut self.head, text) };
        let rest = text.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        self.full = true;
        let rest = rest.get(from(rest, rest.len().saturating_sub(END))..).unwrap_or_default();
        if self.tail.len() + rest.len() > END {
            // Half at most, so that many small pieces don't move it every time.
            let keep = (END / 2).min(END.saturating_sub(rest.len()));
            let old = from(&self.tail, self.tail.len().saturating_sub(keep));
            self.tail.drain(..old);
        }
        fill(&mut self.tail, rest);
    }

    pub(super) fn head(&self) -> &str {
        &self.head
    }

    pub(super) fn tail(&self) -> &str {
        &self.tail
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
fn from(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}
