//! What is counted in a request without knowing a word.

/// The longest paragraph in which somebody says what is asked, in bytes; a longer one is material.
const LONGEST_PARAGRAPH: usize = 1200;
const BETWEEN_PARAGRAPHS: &str = "\n\n";

/// Commas and semicolons in the first paragraph of `head` and in the last one of `tail`, or of
/// `head` if that is all: there people say what they want.
pub(super) fn clauses(head: &str, tail: &str) -> u16 {
    let head = head.trim();
    let (first, rest) = head.split_once(BETWEEN_PARAGRAPHS).unwrap_or((head, ""));
    let end = if tail.is_empty() { rest } else { tail };
    let last = end.rsplit_once(BETWEEN_PARAGRAPHS).map_or(end, |(_, last)| last);
    let asks = [first, last].into_iter().filter(|text| text.len() <= LONGEST_PARAGRAPH);
    u16::try_from(asks.map(commas).sum::<usize>()).unwrap_or(u16::MAX)
}

/// Not those within numbers and tables; those of Chinese, Japanese and Arabic by their last two
/// bytes.
fn commas(text: &str) -> usize {
    let bytes = text.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let commas = pairs.filter(|pair| {
        matches!(pair, (b',' | b';', b' ') | (0xbc, 0x8c | 0x9b) | (0x80, 0x81) | (0xd8, 0x8c))
    });
    commas.count()
}

/// Numbers written in digits.
pub(super) fn figures(text: &str) -> u16 {
    let bytes = text.as_bytes();
    let starts = bytes.iter().zip(bytes.iter().skip(1));
    let starts = starts.filter(|(before, byte)| !before.is_ascii_digit() && byte.is_ascii_digit());
    u16::try_from(starts.count()).unwrap_or(u16::MAX)
}
