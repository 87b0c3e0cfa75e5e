use std::sync::Arc;

/// Names longer than this are compared with nothing.
const MAX_NAME: usize = 64;
/// Names offered.
const MAX_OFFERED: usize = 3;

/// The names of `known` that are most like `asked`, the nearest first; at most three, none that is
/// far off.
pub(crate) fn nearest(asked: &str, known: &[Arc<str>]) -> Vec<String> {
    if asked.is_empty() || asked.len() > MAX_NAME {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> =
        known.iter().filter_map(|name| Some((likeness(asked, name)?, &**name))).collect();
    near.sort_unstable();
    near.truncate(MAX_OFFERED);
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// How far apart the names are; `None`: too far to be a slip.
fn likeness(asked: &str, name: &str) -> Option<usize> {
    let allowed = (asked.len() / 3).max(2);
    let difference = asked.len().abs_diff(name.len());
    if name.len() <= MAX_NAME && difference <= allowed {
        let distance = distance(asked.as_bytes(), name.as_bytes());
        if distance <= allowed {
            return Some(distance);
        }
    }
    // `claude-haiku` for `claude-haiku-4-5`, or the date left on.
    let (a, b) = (asked.to_ascii_lowercase(), name.to_ascii_lowercase());
    (asked.len() >= 4 && (a.starts_with(&b) || b.starts_with(&a))).then_some(allowed + difference)
}

/// Levenshtein distance of two names of at most [`MAX_NAME`] bytes, without regard to ASCII case.
pub(crate) fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let substituted = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = *cell;
            left = substituted.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(cell) = row.first_mut() {
            *cell = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
        assert_eq!(distance(b"GPT-4o", b"gpt-4o"), 0);
    }

    #[test]
    fn offers_slips_and_shortened_names_only() {
        let known: Vec<Arc<str>> =
            ["gpt-4o", "gpt-4o-mini", "claude-haiku-4-5", "llama"].map(Arc::from).to_vec();
        assert_eq!(nearest("gpt4o", &known), ["gpt-4o"]);
        assert_eq!(nearest("claude-haiku", &known), ["claude-haiku-4-5"]);
        assert_eq!(nearest("gpt-4o-mni", &known), ["gpt-4o-mini", "gpt-4o"]);
        assert!(nearest("mistral-large", &known).is_empty());
        assert!(nearest(&"g".repeat(100_000), &known).is_empty());
    }
}
