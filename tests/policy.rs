//! The policy: every file in config/, the schema, and what broken policies are told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "policy/broken.rs"]
mod broken;
#[path = "policy/checked.rs"]
mod checked;
#[path = "policy/diff.rs"]
mod diff;
#[path = "policy/files.rs"]
mod files;
#[path = "policy/routing.rs"]
mod routing;
#[path = "policy/secrets.rs"]
mod secrets;

use tollway::policy::{Env, Policy};

/// An environment that knows the variables of the files in config/.
fn env() -> Env<'static> {
    Env::new(|name| {
        let known = name.ends_with("_KEY") || name.ends_with("_TOKEN");
        known.then(|| format!("secret-of-{}", name.to_lowercase()))
    })
}

fn parse(text: &str) -> Policy {
    Policy::parse("policy.yaml", text, &env()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// What a broken policy is told.
fn told(text: &str) -> String {
    match Policy::parse("policy.yaml", text, &env()) {
        Ok(_) => "nothing".into(),
        Err(wrong) => wrong.to_string(),
    }
}
