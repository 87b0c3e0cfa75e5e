use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use jiff::civil::Date;
use tollway_core::{SystemClock, WallClock};

type Vars<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;
type Files<'a> = Box<dyn Fn(&Path) -> io::Result<String> + 'a>;

/// What a policy may read besides its own text: variables, secret files, and the date.
///
/// ```
/// use tollway::policy::{Env, Policy};
///
/// let env = Env::new(|name| (name == "KEY").then(|| "sk-demo".to_owned()));
/// let text = "providers: { openai: { api_key: \"${KEY}\" } }";
/// let policy = Policy::parse("policy.yaml", text, &env)?;
/// assert_eq!(&*policy.providers[0].name, "openai");
/// # Ok::<(), tollway::policy::Diagnostics>(())
/// ```
pub struct Env<'a> {
    vars: Vars<'a>,
    files: Files<'a>,
    pub(super) today: Date,
    pub(super) folder: PathBuf,
}

impl Env<'static> {
    /// The process's own variables, files and date.
    pub fn process() -> Self {
        Self::new(|name| std::env::var(name).ok()).on(today(&SystemClock))
    }
}

impl<'a> Env<'a> {
    /// These variables, the process's files, and a date (2026-11-22) that [`Self::on`] changes.
    pub fn new(vars: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self {
            vars: Box::new(vars),
            files: Box::new(|path| std::fs::read_to_string(path)),
            today: Date::constant(2026, 11, 22),
            folder: PathBuf::new(),
        }
    }

    /// With another way to read files.
    pub fn with_files(mut self, files: impl Fn(&Path) -> io::Result<String> + 'a) -> Self {
        self.files = Box::new(files);
        self
    }

    /// On another day.
    pub fn on(mut self, today: Date) -> Self {
        self.today = today;
        self
    }

    /// With relative paths of the policy read from this folder.
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    pub(super) fn var(&self, name: &str) -> Option<String> {
        (self.vars)(name)
    }

    pub(super) fn file(&self, path: &str) -> io::Result<String> {
        (self.files)(&self.folder.join(path))
    }
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("today", &self.today).finish_non_exhaustive()
    }
}

/// The day in UTC.
pub(super) fn today(clock: &dyn WallClock) -> Date {
    jiff::Timestamp::try_from(clock.now())
        .map_or(Date::constant(2026, 11, 22), |now| now.to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// Replaces `${NAME}` and `${NAME:-default}`; `$${` is a plain `${`.
pub(super) fn expand(raw: &str, env: &Env<'_>) -> Result<String, Unexpanded> {
    let (mut text, mut rest) = (String::with_capacity(raw.len()), raw);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            text.push_str(escaped);
            text.push_str("${");
            rest = &from[2..];
            continue;
        }
        text.push_str(before);
        let end = from.find('}').ok_or(Unexpanded::Open)?;
        let (name, default) = match from[2..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&from[2..end], None),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(word)
        {
            return Err(Unexpanded::Name);
        }
        let value = env.var(name).filter(|value| default.is_none() || !value.is_empty());
        match (value, default) {
            (Some(value), _) => text.push_str(&value),
            (None, Some(default)) => text.push_str(default),
            (None, None) => return Err(Unexpanded::Unset(name.into())),
        }
        rest = &from[end + 1..];
    }
    text.push_str(rest);
    Ok(text)
}

/// Why `${...}` could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    Open,
    Name,
    Unset(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands() {
        let env = Env::new(|name| match name {
            "A" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        });
        for (raw, text) in [
            ("x${A}y${A}", "x1y1"),
            ("${B:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY}", ""),
            ("$${A} $5 $$ {A}", "${A} $5 $$ {A}"),
            ("${B:-}", ""),
        ] {
            assert_eq!(expand(raw, &env).as_deref(), Ok(text), "{raw}");
        }
        assert_eq!(expand("${B}", &env), Err(Unexpanded::Unset("B".into())));
        assert_eq!(expand("${A", &env), Err(Unexpanded::Open));
        assert_eq!(expand("${1A}", &env), Err(Unexpanded::Name));
    }
}
