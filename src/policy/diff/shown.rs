//! Values as people write them: read back from what Rust prints of them.

use super::Changes;

/// A value, taken apart.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    /// A number, a word, a text.
    Leaf(String),
    /// A list.
    Many(Vec<Shown>),
    /// Names (a variant's, if it has one) and values.
    Fields(String, Vec<(String, Shown)>),
}

use Shown::{Fields, Leaf, Many};

/// What only wraps another value.
const WRAPPERS: [&str; 3] = ["Some", "Glob", "Usd"];

/// Tells what differs of two values, as Rust prints them: part by part.
pub(super) fn changes(path: &str, old: &str, new: &str, all: &mut Changes) {
    compare(path, &Shown::read(old), &Shown::read(new), all);
}

fn compare(path: &str, old: &Shown, new: &Shown, all: &mut Changes) {
    match (old, new) {
        (Fields(one, olds), Fields(other, news))
            if one == other
                && olds.iter().map(|(name, _)| name).eq(news.iter().map(|(name, _)| name)) =>
        {
            for ((name, old), (_, new)) in olds.iter().zip(news).filter(|(old, new)| old != new) {
                compare(&format!("{path}.{name}"), old, new, all);
            }
        }
        _ => all.tell(path, format!("{} -> {}", old.words(), new.words())),
    }
}

impl Shown {
    /// What can't be read is shown as it is.
    fn read(text: &str) -> Self {
        let mut rest = text;
        match value(&mut rest) {
            Some(shown) if rest.is_empty() => shown,
            _ => Leaf(text.to_owned()),
        }
    }

    fn words(&self) -> String {
        match self {
            Leaf(text) => text.clone(),
            Many(all) if all.is_empty() => "none".to_owned(),
            Many(all) => {
                let one = |one: &Self| match one {
                    Leaf(text) => text.clone(),
                    other => format!("({})", other.words()),
                };
                all.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            Fields(name, fields) => {
                let one = |(name, value): &(String, Self)| match value {
                    Many(all) if all.len() > 1 => format!("{name} ({})", value.words()),
                    _ => format!("{name} {}", value.words()),
                };
                // What is not there goes without saying.
                let there = fields
                    .iter()
                    .filter(|(_, value)| !matches!(value, Leaf(text) if text == "none"));
                let words: Vec<_> = there.map(one).collect();
                if words.is_empty() { word(name) } else { words.join(", ") }
            }
        }
    }
}

fn value(rest: &mut &str) -> Option<Shown> {
    match rest.chars().next()? {
        '"' => text(rest),
        '[' => Some(Many(list(rest, ']')?)),
        '(' => Some(Many(list(rest, ')')?)),
        '{' => {
            let pairs = pairs(rest)?;
            Some(if pairs.is_empty() { Many(Vec::new()) } else { Fields(String::new(), pairs) })
        }
        _ => named(rest),
    }
}

/// A word, and what Rust puts behind the names of types.
fn named(rest: &mut &str) -> Option<Shown> {
    let ends = |at: usize, c: char| {
        let after = rest.get(at + c.len_utf8()..).unwrap_or_default();
        match c {
            ',' | '(' | ')' | ']' | '}' => true,
            ':' => after.starts_with(' '),
            ' ' => after.starts_with(['{', '}']),
            _ => false,
        }
    };
    let end = rest.char_indices().find(|(at, c)| ends(*at, *c)).map_or(rest.len(), |(at, _)| at);
    let (name, after) = rest.split_at(end);
    *rest = after;
    if name.is_empty() {
        return None;
    }
    if rest.starts_with('(') {
        let mut inner = list(rest, ')')?;
        return Some(match (inner.pop(), inner.is_empty()) {
            (Some(one), true) if WRAPPERS.contains(&name) => one,
            (Some(Leaf(number)), true) if name == "PerMille" => Leaf(percent(&number)),
            (Some(one), true) => Fields(name.to_owned(), vec![(word(name), one)]),
            (last, _) => Many(inner.into_iter().chain(last).collect()),
        });
    }
    if let Some(fields) = rest.strip_prefix(' ').filter(|rest| rest.starts_with('{')) {
        *rest = fields;
        return Some(Fields(name.to_owned(), pairs(rest)?));
    }
    Some(Leaf(word(name)))
}

fn list(rest: &mut &str, end: char) -> Option<Vec<Shown>> {
    let mut all = Vec::new();
    *rest = rest.get(1..)?;
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            *rest = after;
            return Some(all);
        }
        all.push(value(rest)?);
        *rest = rest.strip_prefix(", ").or_else(|| rest.starts_with(end).then_some(*rest))?;
    }
}

fn pairs(rest: &mut &str) -> Option<Vec<(String, Shown)>> {
    let mut all = Vec::new();
    *rest = rest.get(1..)?.trim_start_matches(' ');
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return Some(all);
        }
        let name = value(rest)?.words();
        *rest = rest.strip_prefix(": ")?;
        all.push((name, value(rest)?));
        *rest = rest.trim_start_matches([',', ' ']);
    }
}

fn text(rest: &mut &str) -> Option<Shown> {
    let (mut text, mut chars) = (String::new(), rest.get(1..)?.chars());
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    *rest = chars.as_str();
    Some(Leaf(text))
}

/// `RateLimit` as policies have it: `rate_limit`.
fn word(name: &str) -> String {
    if !name.starts_with(|c: char| c.is_ascii_uppercase())
        || !name.chars().all(char::is_alphanumeric)
    {
        return name.to_owned();
    }
    let mut word = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            word.push('_');
        }
        word.extend(c.to_lowercase());
    }
    word
}

fn percent(per_mille: &str) -> String {
    per_mille.parse::<f64>().map_or_else(|_| per_mille.to_owned(), |it| format!("{}%", it / 10.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    enum Kind {
        RateLimit,
        Share(f64),
        Longer { most: Option<u32>, of: Vec<Kind>, time: Duration },
    }

    fn told(old: &impl std::fmt::Debug, new: &impl std::fmt::Debug) -> Vec<String> {
        let mut all = Changes::default();
        changes("at", &format!("{old:?}"), &format!("{new:?}"), &mut all);
        all.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_rust_prints_is_told_as_people_write() {
        use Kind::{Longer, RateLimit, Share};
        let longer = |most, of| Longer { most, of, time: Duration::from_millis(1_500) };
        assert_eq!(told(&Some(5), &None::<u8>), ["at: 5 -> none"]);
        assert_eq!(told(&"a \"b\", c", &["x", "y"]), ["at: a \"b\", c -> x, y"]);
        assert_eq!(told(&RateLimit, &Share(0.5)), ["at: rate_limit -> share 0.5"]);
        assert_eq!(
            told(&longer(None, vec![]), &longer(Some(3), vec![RateLimit, Share(0.1)])),
            ["at.most: none -> 3", "at.of: none -> rate_limit, (share 0.1)"]
        );
        assert_eq!(
            told(&RateLimit, &longer(None, vec![])),
            ["at: rate_limit -> of none, time 1.5s"]
        );
        assert_eq!(told(&[("a", 1)], &[("b", 2)]), ["at: (a, 1) -> (b, 2)"]);
        let address = "[::1]:80".parse::<std::net::SocketAddr>().unwrap();
        assert_eq!(told(&address, &address), ["at: [::1]:80 -> [::1]:80"]);
    }
}
