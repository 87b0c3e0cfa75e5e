use std::{fmt, str::FromStr, sync::Arc};

use crate::ConfigError;

/// A pattern in which `*` stands for any run of characters, `/` and nothing included; all else
/// stands for itself. Without a `*` it is an exact name.
///
/// ```
/// use tollway_route::Glob;
///
/// let glob: Glob = "gpt-*".parse().unwrap();
/// assert!(glob.matches("gpt-4o") && !glob.matches("chatgpt-4o"));
/// assert!("".parse::<Glob>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Arc<str>);

impl Glob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one name and no pattern.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: impl AsRef<[u8]>) -> bool {
        matches(self.0.as_bytes(), text.as_ref())
    }

    /// Whether all that fits `other` surely fits this.
    ///
    /// A `*` in `other` is an ordinary character here, and only a `*` takes it in; so it may say
    /// no where the truth is yes, never the other way.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.matches(&*other.0)
    }
}

/// Takes the shortest run for each `*`, and goes back to the latest one when the rest does not fit.
fn matches(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                star = Some((rest, text));
                pattern = rest;
            }
            (None, None) => return true,
            (Some((p, rest)), Some((t, text_rest))) if p == t => {
                (pattern, text) = (rest, text_rest)
            }
            _ => {
                let Some((after, from)) = star else { return false };
                let Some((_, shorter)) = from.split_first() else { return false };
                star = Some((after, shorter));
                (pattern, text) = (after, shorter);
            }
        }
    }
}

impl FromStr for Glob {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.is_empty() {
            return Err(ConfigError::new("an empty pattern matches nothing; `*` matches all"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
