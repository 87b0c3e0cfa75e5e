//! Names that come in by a request: which can be, and which there are.

use super::ApiError;
use crate::{policy::nearest, stack::Stack};

/// The longest name of a user, a key, a tag or a pattern, in bytes: as long as callers' may be.
pub(super) const LONGEST: usize = 256;
/// Names told of those that there are.
const MANY: usize = 20;

/// A name as logs and tables can show it.
pub(super) fn name<'a>(field: &str, text: &'a str) -> Result<&'a str, ApiError> {
    let fits = (1..=LONGEST).contains(&text.len())
        && text.trim() == text
        && !text.chars().any(char::is_control);
    let wrong = || {
        let expected = format!("1 to {LONGEST} bytes without line breaks and blanks around them");
        ApiError::bad(field, format!("{field}: expected {expected}"))
    };
    fits.then_some(text).ok_or_else(wrong)
}

/// There is no `field` of this name, but others.
pub(super) fn no_such<'a>(
    field: &str,
    name: &str,
    others: impl Iterator<Item = &'a str>,
) -> ApiError {
    let others: Vec<&str> = others.collect();
    let name: String = name.chars().take(80).collect();
    let more = others.len().saturating_sub(MANY);
    let some = || others.iter().take(MANY).copied().collect::<Vec<_>>().join(", ");
    let help = match (nearest(&name, others.iter().copied()), others.is_empty(), more) {
        (Some(near), ..) => format!("did you mean `{near}`?"),
        (None, true, _) => "there are none".to_owned(),
        (None, false, 0) => format!("there are {}", some()),
        (None, false, more) => format!("there are {}, and {more} more", some()),
    };
    ApiError::not_found(format!("there is no {field} `{name}`; {help}")).of(field)
}

/// One of the policy's providers.
pub(super) fn provider<'a>(stack: &Stack, name: &'a str) -> Result<&'a str, ApiError> {
    let names = || stack.policy().providers.iter().map(|provider| &*provider.name);
    if names().any(|other| other == name) {
        return Ok(name);
    }
    Err(no_such("provider", name, names()))
}

/// One of the policy's limits, by its name with or without a unit's.
pub(super) fn limit<'a>(stack: &Stack, name: &'a str) -> Result<&'a str, ApiError> {
    if stack.limits_in_force().any(|limit| limit.is_called(name)) {
        return Ok(name);
    }
    let mut names: Vec<_> = Vec::new();
    for name in stack.limits_in_force().flat_map(|one| [one.limit.name.clone(), one.name]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Err(no_such("limit", name, names.iter().map(|name| &**name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_shown_in_a_line() {
        for good in ["ann", "ann b", "ü", "a/b&c", &"x".repeat(LONGEST)] {
            assert_eq!(name("user", good).unwrap(), good);
        }
        for bad in ["", " ", "ann ", "\tann", "a\nb", "a\0b", "a\u{85}b", &"x".repeat(LONGEST + 1)]
        {
            assert!(name("user", bad).unwrap_err().message().starts_with("user: expected"));
        }
    }

    #[test]
    fn what_there_is_is_told() {
        let told = |name: &str, others: &[&str]| {
            no_such("limit", name, others.iter().copied()).message().to_owned()
        };
        assert_eq!(told("usr", &["user"]), "there is no limit `usr`; did you mean `user`?");
        assert_eq!(told("zz", &["user", "spend"]), "there is no limit `zz`; there are user, spend");
        assert_eq!(told("zz", &[]), "there is no limit `zz`; there are none");
        assert!(told("zz", &["user"; 23]).ends_with("user, and 3 more"));
    }
}
