use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bpe_openai::Tokenizer;
use tollway_core::{Ask, Dialect, Operation};

use crate::{anthropic, fields::count_text, gemini, openai, text::Count};

/// Bytes of text that are counted; what is beyond them is taken to be like them.
///
/// Counting is linear, whatever the text: this much takes a third of a millisecond for prose, 1.2 ms
/// for base64.
const MAX_BYTES: usize = 16 << 10;
/// What beginning another piece of text costs, in bytes counted.
const PIECE: usize = 16;

/// One of OpenAI's vocabularies: whose models' text can be counted exactly.
///
/// Needs the feature `exact-tokens`. A vocabulary takes some 35 MB of memory from its first use on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Of gpt-4o, gpt-4.1, gpt-5 and later, the o models and gpt-oss.
    O200k,
    /// Of gpt-4, gpt-3.5 and the embedding models.
    Cl100k,
}

/// What the names of models begin with; the first that fits decides.
const NAMES: &[(&str, Vocabulary)] = &[
    ("gpt-4o", Vocabulary::O200k),
    ("chatgpt-4o", Vocabulary::O200k),
    ("gpt-4.1", Vocabulary::O200k),
    ("gpt-4.5", Vocabulary::O200k),
    ("gpt-5", Vocabulary::O200k),
    ("gpt-6", Vocabulary::O200k),
    ("gpt-oss", Vocabulary::O200k),
    ("o1", Vocabulary::O200k),
    ("o3", Vocabulary::O200k),
    ("o4", Vocabulary::O200k),
    ("gpt-4", Vocabulary::Cl100k),
    ("gpt-3.5", Vocabulary::Cl100k),
    ("gpt-35", Vocabulary::Cl100k),
    ("text-embedding-3", Vocabulary::Cl100k),
    ("text-embedding-ada-002", Vocabulary::Cl100k),
];

struct Slot {
    begun: AtomicBool,
    loaded: OnceLock<&'static Tokenizer>,
}

impl Slot {
    const fn new() -> Self {
        Self { begun: AtomicBool::new(false), loaded: OnceLock::new() }
    }
}

impl Vocabulary {
    /// The vocabulary of this model, if it is one of OpenAI's: with a vendor before its name
    /// (`openai/gpt-4o`), fine-tuned (`ft:gpt-4o:...`) or dated (`gpt-4o-2024-11-20`).
    ///
    /// ```
    /// use tollway_dialect::tokens::Vocabulary;
    ///
    /// assert_eq!(Vocabulary::of("openai/gpt-5-mini"), Some(Vocabulary::O200k));
    /// assert_eq!(Vocabulary::of("gpt-4-turbo"), Some(Vocabulary::Cl100k));
    /// assert_eq!(Vocabulary::of("claude-haiku-4-5"), None);
    /// ```
    pub fn of(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let fits = |start: &str| {
            let rest = name.strip_prefix(start)?;
            // `o1-mini`, not `o10`.
            (!rest.starts_with(|next: char| next.is_ascii_digit())).then_some(())
        };
        NAMES.iter().find(|(start, _)| fits(start).is_some()).map(|(_, vocabulary)| *vocabulary)
    }

    fn slot(self) -> &'static Slot {
        static O200K: Slot = Slot::new();
        static CL100K: Slot = Slot::new();
        match self {
            Self::O200k => &O200K,
            Self::Cl100k => &CL100K,
        }
    }

    /// Loads the vocabulary, which blocks for a good part of a second the first time.
    pub fn load(self) {
        let slot = self.slot();
        slot.begun.store(true, Ordering::Relaxed);
        slot.loaded.get_or_init(|| match self {
            Self::O200k => bpe_openai::o200k_base(),
            Self::Cl100k => bpe_openai::cl100k_base(),
        });
    }

    /// The vocabulary, once it is loaded; the first to ask has it loaded aside.
    fn ready(self) -> Option<&'static Tokenizer> {
        let slot = self.slot();
        let loaded = slot.loaded.get().copied();
        if loaded.is_none() && !slot.begun.swap(true, Ordering::Relaxed) {
            let thread = thread::Builder::new().name("vocabulary".to_owned());
            if thread.spawn(move || self.load()).is_err() {
                slot.begun.store(false, Ordering::Relaxed);
            }
        }
        loaded
    }

    /// Tokens of the text of a request that was read from `body`, and of the frames around its
    /// messages, as [`Prompt::exact`](tollway_core::Prompt::exact) has them.
    ///
    /// Exact for plain chats of up to 16 KiB of text; what is beyond is taken to be like that. What
    /// a tool costs is not published: its schema's keys and strings count as text. `None` until the
    /// vocabulary is loaded, which the first call begins, and for a body that holds no such
    /// request.
    pub fn count(self, ask: &Ask, body: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(body).ok()?;
        let table = match ask.dialect {
            Dialect::OpenAi => &openai::request::TABLE,
            Dialect::Anthropic => &anthropic::request::TABLE,
            Dialect::Gemini => &gemini::request::TABLE,
            _ => return None,
        };
        let exact = Exact { vocabulary: self.ready()?, left: MAX_BYTES, tokens: 0 };
        let mut count = Count::exactly(exact);
        count_text(text, table, &mut count);
        let (counted, all) = (count.prompt().text, ask.prompt.text);
        let exact = count.exact(in_messages(ask.operation))?;
        if counted >= all {
            return Some(exact);
        }
        let all = u128::from(exact) * u128::from(all);
        u64::try_from(all.checked_div(u128::from(counted))?).ok()
    }
}

/// Whether what is asked comes as messages, even if it is one string.
fn in_messages(operation: Operation) -> bool {
    !matches!(operation, Operation::Completions | Operation::Embeddings | Operation::Moderations)
}

/// Text that is counted by a vocabulary.
pub(crate) struct Exact {
    vocabulary: &'static Tokenizer,
    /// Bytes that may still be counted.
    left: usize,
    pub(crate) tokens: u64,
}

impl Exact {
    /// Counts what may be counted of this piece, and says how much that was.
    pub(crate) fn count<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let left = self.left.checked_sub(PIECE)?;
        let mut end = text.len().min(left);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end)?;
        self.left = left - end;
        self.tokens += self.vocabulary.count(text) as u64;
        Some(text)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exact").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
