//! What another policy will do, in words: what changes, and what becomes of what is under way.

mod limits;
mod providers;
mod routes;
mod settings;
mod shown;

use std::{fmt, hash::Hash};

use serde_json::{Value, json};

use super::Policy;

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: `limits.user`, `providers.groq.keys`, `listen`.
    pub path: String,
    /// What is different, and what that does to what is there already. Never a secret.
    pub words: String,
    /// It holds only once the program starts again.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restart = if self.needs_restart { " (needs a restart)" } else { "" };
        write!(f, "{}: {}{restart}", self.path, self.words)
    }
}

impl Change {
    /// As JSON: `path`, `change`, `needs_restart`.
    pub fn json(&self) -> Value {
        json!({ "path": self.path, "change": self.words, "needs_restart": self.needs_restart })
    }
}

/// Everything that is different, section by section; empty: nothing is.
///
/// ```
/// use tollway::policy::{Env, Policy, diff::diff};
///
/// let policy = |rate: u32| {
///     let limit = format!("{{ name: user, per: user, requests: {rate}/min }}");
///     let text = format!("providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {limit}\n");
///     Policy::parse("policy.yaml", &text, &Env::new(|_| None))
/// };
/// let changes = diff(&policy(60)?, &policy(120)?);
/// assert_eq!(changes[0].path, "limits.user");
/// assert!(changes[0].words.contains("60 requests a minute -> 120 requests a minute"), "{}", changes[0]);
/// assert!(diff(&policy(60)?, &policy(60)?).is_empty());
/// # Ok::<(), tollway::policy::Diagnostics>(())
/// ```
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut all = Changes::default();
    all.listeners(old, new);
    all.state(old, new);
    all.callers(old, new);
    providers::changes(&old.providers, &new.providers, &mut all);
    limits::changes(&old.limits, &new.limits, &mut all);
    all.alerts(old, new);
    all.resilience(old, new);
    all.routes(old, new);
    all.models(old, new);
    all.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn tell(&mut self, path: impl Into<String>, words: impl Into<String>) {
        let (path, words) = (path.into(), words.into());
        self.0.push(Change { path, words, needs_restart: false });
    }

    /// One value in place of another.
    fn value<T: PartialEq + fmt::Debug>(&mut self, path: &str, old: &T, new: &T) {
        if old != new {
            shown::changes(path, &format!("{old:?}"), &format!("{new:?}"), self);
        }
    }

    /// A value that a running program does not change.
    fn fixed<T: PartialEq + fmt::Debug>(&mut self, path: &str, old: &T, new: &T) {
        let before = self.0.len();
        self.value(path, old, new);
        self.0.iter_mut().skip(before).for_each(|change| change.needs_restart = true);
    }

    /// A part that is there or not; `what` becomes of what there is.
    fn part<T: PartialEq + fmt::Debug>(
        &mut self,
        path: &str,
        (old, new): (Option<&T>, Option<&T>),
        (added, removed, kept): (&str, &str, &str),
        fields: impl FnOnce(&T, &T, &mut Self),
    ) {
        match (old, new) {
            (None, Some(_)) => self.tell(path, added),
            (Some(_), None) => self.tell(path, removed),
            (Some(old), Some(new)) if old != new => {
                let before = self.0.len();
                fields(old, new, self);
                for change in self.0.iter_mut().skip(before) {
                    change.words = format!("{}; {kept}", change.words);
                }
            }
            _ => {}
        }
    }

    /// Pairs by name what is in either of two lists, the new list's order first.
    fn named<T: PartialEq, N: Eq + Hash + fmt::Display>(
        &mut self,
        path: &str,
        (old, new): (&[T], &[T]),
        name: impl Fn(&T) -> &N,
        mut tell: impl FnMut(&str, (Option<&T>, Option<&T>), &mut Self),
    ) {
        let find = |all: &'_ [T], wanted: &N| all.iter().position(|one| name(one) == wanted);
        for one in new {
            let before = find(old, name(one)).and_then(|at| old.get(at));
            if before != Some(one) {
                tell(&format!("{path}.{}", name(one)), (before, Some(one)), self);
            }
        }
        for one in old.iter().filter(|one| find(new, name(one)).is_none()) {
            tell(&format!("{path}.{}", name(one)), (Some(one), None), self);
        }
    }
}
