//! Finding all words in one pass.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::{
    Feature,
    feature::Each,
    words::{TABLES, UNITS},
};

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

/// Longest passage in quotation marks whose words are taken for words that are spoken about, in
/// bytes.
const LONGEST_QUOTE: usize = 160;
/// Where the beginning of a message ends, in bytes: what makes a request trivial stands there.
const BEGINNING: usize = 240;
/// Letters below are of alphabets whose words stand between spaces.
const SPACED: char = '\u{590}';
/// Words of so few bytes stand in many others: they are looked for with the space before them.
const SHORT: usize = 4;
/// An answer of so few words is a short one.
const FEW_WORDS: u32 = 25;
/// What is looked for in program text; other words are no request there.
const OF_PROGRAMS: [Feature; 3] = [Feature::Code, Feature::Trace, Feature::Maths];
const QUOTES: [&str; 8] = ["\"", "“", "”", "„", "«", "»", "「", "」"];

#[derive(Clone, Copy, Debug)]
enum Sign {
    Word(Feature),
    /// A unit of length, in words.
    Unit(u32),
    Quote,
    /// Behind it is program text, up to the next one.
    Fence,
}

#[derive(Clone, Copy, Debug)]
struct Pattern {
    sign: Sign,
    /// No letter may stand before it, or behind it.
    starts: bool,
    ends: bool,
}

/// Counts of what was found in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) counts: Each<u16>,
    /// The longest that was asked for, in words.
    pub(super) words_asked: u32,
}

impl Found {
    pub(super) const NONE: Self = Self { counts: Each::all(0), words_asked: 0 };

    fn add(&mut self, feature: Feature) {
        let count = self.counts.get_mut(feature);
        *count = count.saturating_add(1);
    }
}

pub(super) struct Lexicon {
    /// Of ASCII text alone: small enough to be fast.
    ascii: Table,
    any: Table,
}

struct Table {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
}

impl Table {
    fn new(kind: AhoCorasickKind, all: impl Iterator<Item = (String, Pattern)>) -> Self {
        let (texts, patterns): (Vec<_>, _) = all.unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(kind))
            .build(texts);
        // It fails for more patterns than a u32 counts.
        Self { automaton: automaton.ok(), patterns }
    }
}

impl Lexicon {
    pub(super) fn get() -> &'static Self {
        &LEXICON
    }

    fn new() -> Self {
        let mut all = Vec::new();
        let mut add = |text: &str, sign| {
            let stem = text.strip_suffix('*');
            let text = stem.unwrap_or(text);
            let spaced = |letter: Option<char>| {
                letter.is_some_and(|letter| letter.is_alphanumeric() && letter < SPACED)
            };
            let starts = spaced(text.chars().next()) && !matches!(sign, Sign::Unit(_));
            let ends = spaced(text.chars().next_back()) && stem.is_none();
            for text in [Some(text.to_owned()), capital(text)].into_iter().flatten() {
                if starts && text.len() <= SHORT {
                    let pattern = Pattern { sign, starts: false, ends };
                    all.extend([" ", "\n"].map(|before| (format!("{before}{text}"), pattern)));
                } else {
                    all.push((text, Pattern { sign, starts, ends }));
                }
            }
        };
        for (feature, words) in TABLES.iter().copied().flatten() {
            words.iter().for_each(|word| add(word, Sign::Word(*feature)));
        }
        UNITS.iter().for_each(|(unit, words)| add(unit, Sign::Unit(*words)));
        add("```", Sign::Fence);
        QUOTES.iter().for_each(|quote| add(quote, Sign::Quote));
        let ascii = all.iter().filter(|(text, _)| text.is_ascii()).cloned();
        Self {
            ascii: Table::new(AhoCorasickKind::DFA, ascii),
            any: Table::new(AhoCorasickKind::ContiguousNFA, all.into_iter()),
        }
    }

    /// Adds what is found in `text`; only where it is `first`, it has a beginning.
    pub(super) fn read(&self, text: &str, first: bool, found: &mut Found) {
        let Table { automaton, patterns } = if text.is_ascii() { &self.ascii } else { &self.any };
        let Some(automaton) = automaton else { return };
        let mut quote: Option<(usize, Found)> = None;
        let mut fenced = false;
        for hit in automaton.find_iter(text) {
            let Some(pattern) = patterns.get(hit.pattern().as_usize()) else { continue };
            if pattern.starts && letter_before(text, hit.start())
                || pattern.ends && letter_behind(text, hit.end())
            {
                continue;
            }
            match pattern.sign {
                Sign::Quote => match quote.take() {
                    Some((at, before)) if hit.start() - at <= LONGEST_QUOTE => *found = before,
                    _ => quote = Some((hit.end(), *found)),
                },
                Sign::Unit(words) => {
                    let number = text.get(..hit.start()).map_or(0, number_at_end);
                    let asked = number.saturating_mul(words);
                    found.words_asked = found.words_asked.max(asked);
                    if (1..=FEW_WORDS).contains(&asked) {
                        found.add(Feature::Brief);
                    }
                }
                Sign::Word(Feature::Trivial) if !first || hit.start() > BEGINNING => {}
                Sign::Fence => {
                    fenced = !fenced;
                    found.add(Feature::Code);
                }
                Sign::Word(feature) if fenced && !OF_PROGRAMS.contains(&feature) => {}
                Sign::Word(feature) => found.add(feature),
            }
        }
    }
}

fn letter_before(text: &str, at: usize) -> bool {
    match at.checked_sub(1).and_then(|at| text.as_bytes().get(at)) {
        None => false,
        Some(byte) if byte.is_ascii() => is_letter(char::from(*byte)),
        _ => text.get(..at).and_then(|text| text.chars().next_back()).is_some_and(is_letter),
    }
}

fn letter_behind(text: &str, at: usize) -> bool {
    match text.as_bytes().get(at) {
        None => false,
        Some(byte) if byte.is_ascii() => is_letter(char::from(*byte)),
        _ => text.get(at..).and_then(|text| text.chars().next()).is_some_and(is_letter),
    }
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// With a capital, if the automaton would not find it by itself.
fn capital(text: &str) -> Option<String> {
    let first = text.chars().next().filter(|first| !first.is_ascii())?;
    let mut capital: String = first.to_uppercase().collect();
    capital.push_str(text.strip_prefix(first)?);
    (capital != text).then_some(capital)
}

/// The number that a text ends with, spaces and hyphens behind it left out; zero for none.
fn number_at_end(text: &str) -> u32 {
    let text = text.trim_end_matches([' ', '-', '\u{a0}']);
    let digits = text
        .bytes()
        .rev()
        .take(9)
        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'.'));
    let (mut number, mut place) = (0_u32, 1_u32);
    for digit in digits.filter(u8::is_ascii_digit) {
        number = number.saturating_add(u32::from(digit - b'0').saturating_mul(place));
        place = place.saturating_mul(10);
    }
    number
}
