use std::{fmt, sync::Arc};

/// A pattern in which `*` stands for any text; all other characters stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Arc<str>);

impl Glob {
    /// A pattern.
    pub fn new(pattern: impl Into<Arc<str>>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match only one text: itself.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether all of `text` matches. Case matters.
    pub fn matches(&self, text: &str) -> bool {
        wild(self.0.as_bytes(), text.as_bytes())
    }

    /// Whether everything that `other` matches is matched by this too. Sound, and exact for
    /// patterns over an alphabet larger than what they contain: a `*` of `other` can only be met
    /// by a `*` of this one.
    pub fn covers(&self, other: &Self) -> bool {
        wild(self.0.as_bytes(), other.0.as_bytes())
    }
}

/// Greedy match with one point to return to: linear in practice, never exponential.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            // A `*` in the text is another pattern's wildcard: only a wildcard can meet it.
            Some(byte) if *byte == text[t] && text[t] != b'*' => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_covers() {
        let yes = [("*", ""), ("gpt-*", "gpt-4o"), ("*mini", "gpt-4o-mini"), ("a*b*c", "a1b2bc")];
        for (pattern, text) in yes {
            assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in [("gpt-4", "gpt-4o"), ("gpt-*", "GPT-4"), ("a*b", "abc"), ("", "a")]
        {
            assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
        }
        assert!(Glob::new("gpt-*").covers(&Glob::new("gpt-4*")));
        assert!(Glob::new("*").covers(&Glob::new("*x*")));
        assert!(!Glob::new("gpt-4*").covers(&Glob::new("gpt-*")));
        assert!(!Glob::new("gpt-4o").covers(&Glob::new("*")));
    }
}
