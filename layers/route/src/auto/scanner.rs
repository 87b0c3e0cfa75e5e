use std::fmt;

use super::{
    Feature, Signals,
    ends::{END, Ends, up_to},
    feature::Each,
    lexicon::{Found, Lexicon},
    shape::{clauses, figures},
};

/// Bytes read of everything besides the last user message.
const CONTEXT: usize = 2 * END;
/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Whoever wrote the application: system and developer messages, instructions.
    System,
    /// Who asks.
    User,
    /// The model, earlier on.
    Assistant,
    /// What a tool answered.
    Tool,
}

/// Reads a request's texts as they come, in one pass and with bounded work.
///
/// Of the last user message the first and the last 8 KB are read, of all the rest the first
/// 16 KB; other bytes only add to the lengths. Only the
/// former are kept until the end.
///
/// ```
/// use tollway_route::auto::{Feature, Role, Scanner};
///
/// let mut scanner = Scanner::new();
/// scanner.turn(Role::System);
/// scanner.text("You are a mathematician.");
/// scanner.turn(Role::User);
/// scanner.text("Prove that there are infinitely many primes.");
/// let signals = scanner.finish();
/// assert_eq!(signals.count(Feature::Proof), 1);
/// assert_eq!(signals.tokens(), 17);
/// ```
#[derive(Clone)]
pub struct Scanner {
    role: Role,
    /// The model has spoken since the user did.
    answered: bool,
    ask: Ends,
    /// Of the last user message, and of everything.
    ask_bytes: u64,
    bytes: u64,
    context: Context,
    turns: u16,
    tools: u16,
    images: u16,
    schema: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("role", &self.role)
            .field("bytes", &self.bytes)
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner of one request. The first one in a process makes the table of words, which takes
    /// some milliseconds: make one at the start.
    pub fn new() -> Self {
        let _ = Lexicon::get();
        Self {
            role: Role::User,
            answered: false,
            ask: Ends::EMPTY,
            ask_bytes: 0,
            bytes: 0,
            context: Context::EMPTY,
            turns: 0,
            tools: 0,
            images: 0,
            schema: false,
        }
    }

    /// A message begins. Text before the first one is the user's.
    ///
    /// User messages without an answer between them are one.
    pub fn turn(&mut self, role: Role) {
        self.role = role;
        self.answered |= role == Role::Assistant;
    }

    /// A text of the message that began last, or a part of it.
    pub fn text(&mut self, text: &str) {
        let len = text.len() as u64;
        self.bytes = self.bytes.saturating_add(len);
        if self.role != Role::User {
            return self.context.read(self.role, text);
        }
        if std::mem::take(&mut self.answered) && self.ask_bytes > 0 {
            self.context.read(Role::User, self.ask.head());
            self.context.read(Role::User, self.ask.tail());
            self.ask.clear();
            self.ask_bytes = 0;
            self.turns = self.turns.saturating_add(1);
        }
        self.ask_bytes = self.ask_bytes.saturating_add(len);
        // Parts don't run into each other, and the first line is a line like any other.
        self.ask.push("\n");
        self.ask.push(text);
    }

    /// An image.
    pub fn image(&mut self) {
        self.images = self.images.saturating_add(1);
    }

    /// A tool that the model may call.
    pub fn tool(&mut self) {
        self.tools = self.tools.saturating_add(1);
    }

    /// The answer has to follow a schema.
    pub fn schema(&mut self) {
        self.schema = true;
    }

    /// What was found.
    pub fn finish(&self) -> Signals {
        let (head, tail) = (self.ask.head(), self.ask.tail());
        let mut found = Found::NONE;
        Lexicon::get().read(head, true, &mut found);
        Lexicon::get().read(tail, false, &mut found);
        let Found { mut counts, words_asked } = found;
        let Context { system, asked: earlier, said, .. } = &self.context;
        let (narrow, earlier) = (small(&system.counts), hard(&earlier.counts));
        if system.counts.get(Feature::Trivial) > 0 {
            // The application asks for something small, and the user's message is its material.
            OF_REQUESTS.iter().for_each(|it| *counts.get_mut(*it) = 0);
        }
        let goes_on = counts.get(Feature::Trivial).max(counts.get(Feature::Brief)) == 0;
        let context = hard(&system.counts).saturating_add(hard(&said.counts));
        // Numbers are data, unless something is asked about them.
        let asked = counts.get(Feature::Questions).max(counts.get(Feature::Reasoning)) > 0;
        let figures = if asked { figures(head).saturating_add(figures(tail)) } else { 0 };
        let mut set = |feature, count| *counts.get_mut(feature) = count;
        set(Feature::AskLength, doublings(tokens(self.ask_bytes), 4));
        set(Feature::PromptLength, doublings(tokens(self.bytes), 512));
        set(Feature::LengthAsked, doublings(words_asked.into(), 100));
        set(Feature::Turns, self.turns);
        set(Feature::Tools, doublings(u64::from(self.tools) * 2, 1));
        set(Feature::Images, self.images);
        set(Feature::Schema, self.schema.into());
        set(Feature::Figures, figures);
        set(Feature::Context, context.saturating_add(earlier));
        set(Feature::Earlier, if goes_on { earlier } else { 0 });
        set(Feature::Narrow, narrow);
        set(Feature::Clauses, clauses(head, tail));
        let scanned = (CONTEXT - self.context.left + head.len() + tail.len()) as u64;
        Signals { counts, tokens: tokens(self.bytes), scanned }
    }
}

/// Everything besides the last user message.
#[derive(Clone)]
struct Context {
    system: Found,
    /// The user, before the last message.
    asked: Found,
    /// The model and its tools.
    said: Found,
    /// Bytes that may be read yet.
    left: usize,
}

impl Context {
    const EMPTY: Self =
        Self { system: Found::NONE, asked: Found::NONE, said: Found::NONE, left: CONTEXT };

    fn read(&mut self, role: Role, text: &str) {
        let end = up_to(text, self.left);
        self.left -= end;
        let found = match role {
            Role::System => &mut self.system,
            Role::User => &mut self.asked,
            Role::Assistant | Role::Tool => &mut self.said,
        };
        if let Some(text) = text.get(..end).filter(|text| !text.is_empty()) {
            Lexicon::get().read(text, role == Role::System, found);
        }
    }
}

/// Marks of hard matters.
fn hard(counts: &Each<u16>) -> u16 {
    let hard = [
        Feature::Code,
        Feature::Trace,
        Feature::Maths,
        Feature::Proof,
        Feature::Reasoning,
        Feature::Analysis,
        Feature::Design,
    ];
    hard.into_iter().fold(0, |sum: u16, it| sum.saturating_add(counts.get(it)))
}

/// What only counts in a text that asks for something.
const OF_REQUESTS: [Feature; 6] = [
    Feature::Proof,
    Feature::Reasoning,
    Feature::Analysis,
    Feature::Design,
    Feature::Task,
    Feature::Topic,
];

/// Marks of small ones.
fn small(counts: &Each<u16>) -> u16 {
    counts.get(Feature::Trivial).saturating_add(counts.get(Feature::Brief))
}

/// Four bytes a token, rounded up, as everywhere.
fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

/// How often `from` has to be doubled to reach `length`.
fn doublings(length: u64, from: u64) -> u16 {
    (length / from).checked_ilog2().map_or(0, |doublings| doublings as u16)
}
