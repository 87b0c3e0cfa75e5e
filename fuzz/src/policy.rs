//! Reading a policy: whatever the text, an answer; errors that stand in the text, and that show
//! nothing of the environment or of a secret file.

use std::{io, path::Path};

use tollway::policy::{Diagnostics, Env, Policy};

/// Never written in a policy, so it must not be read in an error either.
const SECRET: &str = "Qz7-environment-Qz7";

/// The text of a policy.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = parse(text);
    match &read {
        Ok(policy) => {
            assert!(!policy.providers.is_empty(), "a policy that goes nowhere");
            for provider in &policy.providers {
                assert!(policy.provider(&provider.name).is_some());
            }
            for warning in &policy.warnings {
                assert!(!warning.message.is_empty());
                assert!(!format!("{warning:?}").contains(SECRET), "{warning:?}");
            }
        }
        Err(wrong) => told(wrong, text),
    }
    let again = match text.starts_with('\u{feff}') {
        true => parse(text),
        false => parse(&format!("\u{feff}{text}")),
    };
    assert_eq!(outcome(&again), outcome(&read), "again, with a byte order mark");
}

fn parse(text: &str) -> Result<Policy, Diagnostics> {
    let env = Env::new(|name| match name {
        "EMPTY" => Some(String::new()),
        "UNSET" => None,
        _ => Some(SECRET.to_owned()),
    });
    let env = env.with_files(|path: &Path| match path.ends_with("missing") {
        true => Err(io::Error::from(io::ErrorKind::NotFound)),
        false => Ok(SECRET.to_owned()),
    });
    Policy::parse("policy.yaml", text, &env)
}

fn told(wrong: &Diagnostics, text: &str) {
    assert!(wrong.iter().count() > 0, "wrong, but nothing is");
    // YAML ends lines at a lone CR too.
    let lines = || text.split(['\r', '\n']);
    let longest = lines().map(|line| line.chars().count()).max().unwrap_or(0);
    for one in wrong.iter() {
        assert!(!one.message.is_empty() && one.line <= lines().count(), "{one:?}");
        assert!(one.line == 0 || (1..=longest + 1).contains(&one.column), "{one:?}");
    }
    let places: Vec<_> = wrong.iter().map(|one| (one.line, one.column)).collect();
    assert!(places.is_sorted(), "{places:?}");
    if !text.contains(SECRET) {
        assert!(!format!("{wrong} {wrong:?}").contains("Qz7-environment"), "{wrong}");
    }
}

fn outcome(read: &Result<Policy, Diagnostics>) -> Result<usize, &Diagnostics> {
    read.as_ref().map(|policy| policy.providers.len())
}
