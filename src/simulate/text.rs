use super::random::Random;

/// Tokens of a prompt, as the simulated provider counts them: for each message, 4, and 1 for each 4
/// bytes of its text, rounded up. Tool definitions count nothing; images, audio and files count nothing
/// in OpenAI's form, 258 each in Anthropic's and Gemini's.
///
/// ```
/// use tollway::simulate::input_tokens;
///
/// assert_eq!(input_tokens(["You are terse.", "Hello there"]), (4 + 4) + (4 + 3));
/// ```
pub fn input_tokens<'a>(messages: impl IntoIterator<Item = &'a str>) -> u64 {
    messages.into_iter().map(|text| message_tokens(text.len())).sum()
}

/// Tokens of one message whose text has this many bytes.
pub(super) fn message_tokens(bytes: usize) -> u64 {
    4 + bytes.div_ceil(4) as u64
}

/// Tokens of one image or document in a prompt of Anthropic's or Gemini's form.
pub(super) const MEDIA_TOKENS: u64 = 258;

const WORDS: [&str; 32] = [
    "amber", "bridge", "copper", "distant", "ember", "forest", "gentle", "harbour", "island",
    "juniper", "kettle", "lantern", "meadow", "northern", "orchard", "paper", "quiet", "river",
    "silver", "timber", "under", "velvet", "willow", "yellow", "zephyr", "along", "beneath",
    "carries", "drifts", "every", "follows", "gathers",
];

/// What is generated: a text, and how it falls into tokens.
#[derive(Clone, Debug)]
pub(super) struct Generated {
    pub(super) text: String,
    pieces: Pieces,
    pub(super) tokens: u32,
    /// The caller's bound cut it.
    pub(super) cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    Words,
    /// Up to 8 bytes each, which is how JSON falls into tokens here.
    Bytes,
}

impl Generated {
    /// `tokens` words, at most `bound`: those of `echo`, then words by chance.
    pub(super) fn words(echo: &str, tokens: u32, bound: Option<u32>, random: &mut Random) -> Self {
        let wanted = tokens.min(bound.unwrap_or(u32::MAX));
        let mut text = String::with_capacity(wanted.min(4096) as usize * 8);
        let mut echo = echo.split_whitespace();
        let mut bits = 0u64;
        for n in 0..wanted {
            if n > 0 {
                text.push(' ');
            }
            let word = echo.next().unwrap_or_else(|| {
                if bits == 0 {
                    bits = random.next() | 1 << 63;
                }
                let word = WORDS.get((bits & 31) as usize).copied().unwrap_or("word");
                bits >>= 5;
                word
            });
            text.push_str(word);
        }
        Self { text, pieces: Pieces::Words, tokens: wanted, cut: wanted < tokens }
    }

    /// A JSON text, cut after `bound` tokens.
    pub(super) fn json(mut text: String, bound: Option<u32>) -> Self {
        let (mut at, mut tokens) = (0, 0u32);
        while at < text.len() && bound.is_none_or(|bound| tokens < bound) {
            at = piece_end(Pieces::Bytes, &text, at);
            tokens = tokens.saturating_add(1);
        }
        let cut = at < text.len();
        text.truncate(at);
        Self { text, pieces: Pieces::Bytes, tokens, cut }
    }

    /// The same without its words: they are counted, not sent.
    pub(super) fn unspoken(mut self) -> Self {
        self.text.clear();
        self
    }

    /// The token that starts at byte `at`; empty at the end.
    pub(super) fn piece(&self, at: usize) -> &str {
        self.text.get(at..piece_end(self.pieces, &self.text, at)).unwrap_or_default()
    }
}

fn piece_end(pieces: Pieces, text: &str, at: usize) -> usize {
    match pieces {
        Pieces::Words => {
            let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
            rest.iter().position(|byte| *byte == b' ').map_or(text.len(), |space| at + 1 + space)
        }
        Pieces::Bytes => {
            let mut end = (at + 8).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(generated: &Generated) -> Vec<&str> {
        let (mut at, mut all) = (0, Vec::new());
        while at < generated.text.len() {
            let piece = generated.piece(at);
            at += piece.len();
            all.push(piece);
        }
        all
    }

    #[test]
    fn one_word_is_one_token() {
        let text = Generated::words("Grüße  aus 東京\n🙂", 6, None, &mut Random::new(1, 1));
        assert!(text.text.starts_with("Grüße aus 東京 🙂 "), "{}", text.text);
        let pieces = pieces(&text);
        assert_eq!(pieces.len(), 6);
        assert_eq!((pieces[0], pieces[1]), ("Grüße", " aus"));
        assert_eq!(pieces.concat(), text.text);
        assert!(!text.cut);
    }

    #[test]
    fn a_bound_cuts() {
        let text = Generated::words("one two three", 16, Some(2), &mut Random::new(1, 1));
        assert_eq!((text.text.as_str(), text.tokens, text.cut), ("one two", 2, true));
        let json = Generated::json(r#"{"city":"東京東京東京"}"#.into(), Some(2));
        assert_eq!((json.tokens, json.cut), (2, true));
        assert_eq!(pieces(&json).len(), 2);
        let nothing = Generated::words("x", 0, None, &mut Random::new(1, 1));
        assert_eq!((nothing.text.as_str(), nothing.tokens), ("", 0));
    }
}
