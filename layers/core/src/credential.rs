use std::{borrow::Cow, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use memchr::memmem::{self, Finder};

/// Shorter ones are placeholders (`none`, `ollama`), which any text may hold by chance.
const SHORTEST: usize = 8;

/// In a response's extensions: the provider was called with this proxy's own credential, so what
/// it says of the credential is not for the caller's eyes.
///
/// It knows the credential, to blank it out wherever a provider repeats it: by as many stars, so
/// that no length changes. Printed, it tells nothing. Cheap to clone.
///
/// ```
/// use tollway_core::ProxyCredential;
///
/// let ours = ProxyCredential::new(["sk-our-secret"]);
/// assert_eq!(ours.blanked(b"no such key: sk-our-secret").unwrap(), b"no such key: *************");
/// assert_eq!(ours.blanked(b"no such key: sk-theirs"), None);
/// ```
#[derive(Clone, Default)]
pub struct ProxyCredential(Option<Arc<[Finder<'static>]>>);

impl fmt::Debug for ProxyCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredential")
    }
}

impl ProxyCredential {
    /// Of what a request is sent with. Secrets of fewer than eight bytes are not looked for: those
    /// are words, which stand in texts by chance.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let long = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST);
        let finders: Arc<[_]> = long
            .flat_map(spellings)
            .map(|text| Finder::new(text.as_bytes()).into_owned())
            .collect();
        Self(Some(finders).filter(|finders| !finders.is_empty()))
    }

    /// Whether there is anything to look for.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    fn secrets(&self) -> &[Finder<'static>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// `text` with every secret in it blanked out; `None` if there is none.
    pub fn blanked(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut clean: Option<Vec<u8>> = None;
        for secret in self.secrets() {
            let mut from = 0;
            while let Some(at) =
                clean.as_deref().unwrap_or(text).get(from..).and_then(|rest| secret.find(rest))
            {
                let start = from + at;
                from = start + secret.needle().len();
                let clean = clean.get_or_insert_with(|| text.to_vec());
                clean.get_mut(start..from).unwrap_or_default().fill(b'*');
            }
        }
        // Few texts hold any escape, and to look for one byte takes no preparation.
        let from = memchr::memchr(b'\\', text).and_then(|at| text.get(at..));
        let escaped = from.is_some_and(|text| {
            [br"\u", br"\\"].iter().any(|mark| memmem::find(text, *mark).is_some())
        });
        if text.len() >= SHORTEST && self.is_known() && escaped {
            Decoded::each(text).for_each(|read| self.blank_decoded(&read, text, &mut clean));
        }
        clean
    }

    /// The same for what is a secret once JSON's escapes are read (`\u0053`).
    fn blank_decoded(&self, read: &Decoded, text: &[u8], clean: &mut Option<Vec<u8>>) {
        for secret in self.secrets() {
            for at in secret.find_iter(&read.bytes) {
                let clean = clean.get_or_insert_with(|| text.to_vec());
                let place = read.start(at)..read.start(at + secret.needle().len());
                clean.get_mut(place).unwrap_or_default().fill(b'*');
            }
        }
    }

    /// The same for a body that comes in pieces: gives what may go out, and what has to wait for
    /// the next piece, as it may be the beginning of a secret. `held` is what waited until now.
    pub fn blanked_piece(&self, held: Bytes, piece: Bytes) -> (Bytes, Bytes) {
        let mut text = match held.is_empty() {
            true => piece,
            false => {
                let mut joined = BytesMut::from(held);
                joined.extend_from_slice(&piece);
                joined.freeze()
            }
        };
        if let Some(clean) = self.blanked(&text) {
            text = clean.into();
        }
        let waits = self.secrets().iter().map(|secret| begun(secret.needle(), &text)).max();
        let mut goes = text.len() - waits.unwrap_or_default();
        if self.is_known() && memchr::memchr(b'\\', &text).is_some() {
            for read in Decoded::each(&text) {
                let waits = self.secrets().iter().map(|secret| begun(secret.needle(), &read.bytes));
                goes = goes.min(read.start(read.bytes.len() - waits.max().unwrap_or_default()));
            }
        }
        let held = text.split_off(goes);
        (text, held)
    }
}

/// How many bytes at the end of `text` are the beginning of `secret`.
fn begun(secret: &[u8], text: &[u8]) -> usize {
    let longest = secret.len().saturating_sub(1).min(text.len());
    let is_begun = |n: &usize| secret.get(..*n).is_some_and(|start| text.ends_with(start));
    (1..=longest).rev().find(is_begun).unwrap_or_default()
}

/// A text with JSON's escapes read, and where each byte of it began.
struct Decoded {
    bytes: Vec<u8>,
    /// One more than there are bytes: the last is where an escape begins that is not all there, or
    /// the end.
    starts: Vec<usize>,
}

impl Decoded {
    fn of(text: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(text.len());
        let mut starts = Vec::with_capacity(text.len() + 1);
        let mut rest = text;
        while let Some((byte, len)) = unescaped(rest) {
            bytes.push(byte);
            starts.push(text.len() - rest.len());
            rest = rest.get(len..).unwrap_or_default();
        }
        starts.push(text.len() - rest.len());
        Self { bytes, starts }
    }

    /// The text read once; then, as an error may quote another one, what was escaped twice, and so
    /// on.
    fn each(text: &[u8]) -> impl Iterator<Item = Self> {
        const MOST: usize = 4;
        std::iter::successors(Some(Self::of(text)), |read| {
            memchr::memchr(b'\\', &read.bytes)?;
            let mut again = Self::of(&read.bytes);
            again.starts.iter_mut().for_each(|at| *at = read.start(*at));
            Some(again)
        })
        .take(MOST)
    }

    fn start(&self, at: usize) -> usize {
        self.starts.get(at).copied().unwrap_or_default()
    }
}

/// The first byte of `text`, and how many bytes it is written in; `None` if they are not all there.
/// What is no letter of any secret is a zero.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [] | [b'\\'] => None,
        [b'\\', b'u', digits @ ..] => match digits.get(..4) {
            None if digits.iter().all(u8::is_ascii_hexdigit) => None,
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                let code = std::str::from_utf8(digits).ok()?;
                let code = u8::from_str_radix(code, 16).ok().filter(u8::is_ascii);
                Some((code.unwrap_or_default(), 6))
            }
            _ => Some((b'\\', 1)),
        },
        [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => Some((*byte, 2)),
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => Some((0, 2)),
        [byte, ..] => Some((*byte, 1)),
    }
}

/// How a secret may be written: as it is, and as JSON may have it.
fn spellings(secret: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let escaped = secret.replace('\\', r"\\").replace('"', r#"\""#);
    let slashed = escaped.replace('/', r"\/");
    let other = slashed != escaped;
    let escaped = (escaped != secret).then_some(escaped);
    let slashed = other.then_some(slashed);
    std::iter::once(secret.into()).chain(escaped.into_iter().chain(slashed).map(Cow::from))
}

/// The credential that a pair of a query holds, as clients of Google send theirs: `key=...`, in
/// whatever way it is encoded. Whoever forwards a request of an authenticated caller must
/// take these out as well.
///
/// ```
/// use tollway_core::key_in_query;
///
/// assert_eq!(key_in_query("key=AIza").as_deref(), Some("AIza"));
/// assert_eq!(key_in_query("%6bey=%41Iza").as_deref(), Some("AIza"));
/// assert_eq!(key_in_query("monkey=AIza"), None);
/// ```
pub fn key_in_query(pair: &str) -> Option<Cow<'_, str>> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let mut rest = name.as_bytes();
    for wanted in b"key" {
        rest = match rest {
            [byte, rest @ ..] if byte == wanted => rest,
            [b'%', high, low, rest @ ..] if is_byte([*high, *low], *wanted) => rest,
            _ => return None,
        };
    }
    rest.is_empty().then(|| decoded(value))
}

fn is_byte(hex: [u8; 2], wanted: u8) -> bool {
    byte(hex) == Some(wanted)
}

fn byte(hex: [u8; 2]) -> Option<u8> {
    let [high, low] = hex.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// What is no encoded text stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let encoded = match rest {
            [b'%', high, low, after @ ..] => byte([*high, *low]).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = encoded.unwrap_or((*first, after));
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).map_or(text.into(), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_and_spelling_is_blanked() {
        let ours = ProxyCredential::new([r#"sk/own\"key"#, "another-one", "short"]);
        let text = br#"short another-one sk/own\"key sk\/own\\\"key another-oneanother-one"#;
        let clean = ours.blanked(text).unwrap();
        assert_eq!(
            String::from_utf8(clean).unwrap(),
            format!(
                "short {} {} {} {}",
                "*".repeat(11),
                "*".repeat(11),
                "*".repeat(14),
                "*".repeat(22)
            )
        );
        assert_eq!(ours.blanked(b"another-on sk/own short"), None);
        assert!(!format!("{ours:?}").contains("own"));
        assert!(ours.is_known() && !ProxyCredential::new(["short"]).is_known());
    }

    #[test]
    fn a_key_is_read_however_it_is_encoded() {
        for (pair, key) in [
            ("key=%74w_a%5Fb", Some("tw_a_b")),
            ("key=100%", Some("100%")),
            ("key=%zz%4", Some("%zz%4")),
            ("key=%ff", Some("%ff")),
            ("key=%C3%BC", Some("ü")),
            ("k%2565y=a", None),
            ("key", Some("")),
        ] {
            assert_eq!(key_in_query(pair).as_deref(), key, "{pair}");
        }
    }

    #[test]
    fn what_decodes_to_a_secret_is_one() {
        let ours = ProxyCredential::new(["sk-own/key"]);
        for text in [r"sk-own\u002fkey", r"\u0073k-own/key", r"\u0073\u006B-own\/ke\u0079"] {
            for (before, after) in [("", ""), (r"\\", r"\u00"), (r"\u0073k-", r"\n")] {
                let whole = format!("{before}{text}{after}");
                let expected = format!("{before}{}{after}", "*".repeat(text.len()));
                assert_eq!(ours.blanked(whole.as_bytes()).unwrap(), expected.as_bytes());
                for size in 1..whole.len() {
                    let out = in_pieces(&ours, whole.as_bytes(), size);
                    assert_eq!(String::from_utf8(out).unwrap(), expected, "{size}");
                }
            }
        }
        // A zero byte, and no letter of it.
        assert_eq!(ours.blanked(br"\u0000k-own/key"), None);
    }

    #[test]
    fn an_error_in_an_error_is_read_too() {
        let ours = ProxyCredential::new(["sk-own/key"]);
        for text in [
            r"\\u0073k-own/key",
            r"sk-own\\\/key",
            r"sk-own\\/key",
            r"\\\\u0073k-own/key",
            r"\u005cu0073k-own/key",
        ] {
            let whole = format!("\"{text}\\\"");
            let expected = format!("\"{}\\\"", "*".repeat(text.len()));
            let clean = ours.blanked(whole.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(clean).unwrap(), expected);
            for size in 1..whole.len() {
                assert_eq!(in_pieces(&ours, whole.as_bytes(), size), expected.as_bytes(), "{size}");
            }
        }
    }

    fn in_pieces(ours: &ProxyCredential, text: &[u8], size: usize) -> Vec<u8> {
        let (mut out, mut held) = (Vec::new(), Bytes::new());
        for piece in text.chunks(size) {
            let (clean, rest) = ours.blanked_piece(held, Bytes::copy_from_slice(piece));
            out.extend_from_slice(&clean);
            held = rest;
        }
        out.extend_from_slice(&held);
        out
    }

    proptest::proptest! {
        #[test]
        fn pieces_make_the_same_text(
            text in proptest::collection::vec(proptest::sample::select(b"aaaaaaaab\\/".to_vec()), 0..80),
            size in 1usize..20,
        ) {
            let ours = ProxyCredential::new(["aaaaaaab", "aaaa/aaaa"]);
            let out = in_pieces(&ours, &text, size);
            proptest::prop_assert_eq!(out.len(), text.len());
            proptest::prop_assert_eq!(ours.blanked(&out), None);
            let kept = out.iter().zip(&text).all(|(out, text)| out == text || *out == b'*');
            proptest::prop_assert!(kept);
        }
    }
}
