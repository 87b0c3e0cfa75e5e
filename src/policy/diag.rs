//! What is wrong with a policy, told so that a person can act on it and no secret leaks.

use std::fmt;

use super::node::Span;

/// Everything wrong with one policy file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

/// One thing wrong with a policy.
///
/// No part of it ever holds a secret of the policy or a value that came from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name as it was given.
    pub file: String,
    /// From 1; 0 where the place is unknown.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Place inside the policy: `limits[2].requests`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// What to do, the nearest valid name among it.
    pub help: Option<String>,
    /// The line's text, what may be secret masked; empty where there is none.
    pub text: String,
    /// Characters marked under the line.
    pub width: usize,
}

impl Diagnostics {
    /// Sorts by place.
    pub(super) fn new(mut all: Vec<Diagnostic>) -> Self {
        all.sort_by_key(|one| (one.line, one.column));
        all.dedup();
        Self(all)
    }

    /// All of them, in the order of the file; never empty.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl Diagnostics {
    /// The same as JSON: a list, each with its place and, as `shown`, with line and caret.
    pub fn json(&self) -> serde_json::Value {
        let one = |one: &Diagnostic| {
            serde_json::json!({
                "file": one.file,
                "line": one.line,
                "column": one.column,
                "path": one.path,
                "message": one.message,
                "expected": one.expected,
                "help": one.help,
                "shown": one.to_string(),
            })
        };
        self.iter().map(one).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            one.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "{margin}--> {}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, " ({})", self.path)?;
        }
        writeln!(f)?;
        if !self.text.is_empty() {
            let before = " ".repeat(self.column.saturating_sub(1));
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {}", self.text)?;
            writeln!(f, "{margin} | {before}{}", "^".repeat(self.width.max(1)))?;
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "{margin} = expected {expected}")?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// Whether `text` looks like a credential that somebody put in the wrong place.
pub(super) fn looks_secret(text: &str) -> bool {
    let known = ["sk-", "gsk_", "xai-", "AIza", "tw_", "tollway_"];
    let prefixed = |word: &str| word.len() > 8 && known.iter().any(|start| word.starts_with(start));
    // A long run of letters mixed with digits; names of models have separators in between.
    let random = |run: &str| {
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        run.len() >= 20 && digits >= 3 && run.len() - digits >= 3
    };
    (text.contains("://") && text.contains('@'))
        || text.split(|c: char| c.is_whitespace() || "\"'{},:=[]".contains(c)).any(prefixed)
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(random)
}

/// `text` for a message: short, on one line, and masked if it looks like a credential.
pub(super) fn show(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    if looks_secret(text) {
        return "****".into();
    }
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.into(),
    }
}

/// A line of the source, which begins at `start`, with every character hidden that `open` does not
/// allow, and without its comment.
pub(super) fn masked(
    line: &str,
    start: usize,
    value: impl Fn(usize) -> bool,
    open: impl Fn(usize) -> bool,
) -> String {
    // A comment may hold anything, an old key too. A `#` inside a value that may be shown is none.
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| {
        let apart = line[..*at].chars().next_back().is_none_or(char::is_whitespace);
        apart && !value(start + at)
    });
    let line = &line[..comment.unwrap_or(line.len())];
    let mut shown: String = line
        .char_indices()
        .map(|(at, c)| match c {
            '\t' => ' ',
            c if c.is_whitespace() || open(start + at) => c,
            _ => '*',
        })
        .collect();
    shown.truncate(shown.trim_end().len());
    shown
}

/// The text of the span's line, masked.
pub(super) fn line_of(
    source: &str,
    span: Span,
    value: impl Fn(usize) -> bool,
    open: impl Fn(usize) -> bool,
) -> (String, usize) {
    let Some(line) = span.line.checked_sub(1).and_then(|nth| source.split('\n').nth(nth)) else {
        return (String::new(), 0);
    };
    let start = line.as_ptr() as usize - source.as_ptr() as usize;
    let shown = masked(line, start, value, open);
    let rest = shown.chars().count().saturating_sub(span.column.saturating_sub(1));
    let marked = source.get(span.start..span.end).unwrap_or_default();
    let width = marked.lines().next().unwrap_or_default().trim_end().chars().count();
    (clip(shown, span.column), width.clamp(1, rest.clamp(1, 120)))
}

/// Keeps giant lines out of terminals; the caret's place stays.
fn clip(line: String, column: usize) -> String {
    match line.char_indices().nth(column + 160) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// The candidate nearest to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(80).flat_map(char::to_lowercase).collect();
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(far, candidate)| *far <= 1.max(name.len().max(candidate.len()) / 3))
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two names, case aside.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().flat_map(char::to_lowercase).collect();
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}
