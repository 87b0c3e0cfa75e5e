use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use http::{HeaderName, HeaderValue, Request, Uri, header::CONTENT_TYPE};
use serde_json::Value;
use tollway_core::Caller;

use super::USAGE;
use crate::{
    policy::Policy,
    stack::{Facts, Stack},
};

mod guess;
mod table;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The policy file.
    policy: PathBuf,
    /// The request's JSON body, in any of the forms that clients speak.
    request: PathBuf,
    /// Figures to decide by, as the admin listener's `/targets` gives them; without them nothing is
    /// known of any target.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// JSON in place of a table, as for a request with `x-tollway-dry-run`.
    #[arg(long)]
    json: bool,
    /// A header of the request; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Who asks: the name or owner of a key of the policy's, or any user. Left out, it is whoever the
    /// headers name, as the proxy would know its caller.
    #[arg(long, value_name = "USER")]
    caller: Option<String>,
    /// The request's path; guessed from the body if left out.
    #[arg(long, value_name = "PATH")]
    path: Option<Uri>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no header's name"))?;
    let value = value.trim().parse().map_err(|_| "the value holds what no header may hold")?;
    Ok((name, value))
}

pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let policy = match Policy::load(&args.policy) {
        Ok(policy) => policy,
        Err(errors) => {
            eprint!("{errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let asked = facts(args).and_then(|facts| Ok((facts, request(args, &policy)?)));
    let (facts, request) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error:#}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    if let Some(path) = &args.facts {
        for odd in odd(&facts, &policy) {
            eprintln!("warning: {}: {odd}", path.display());
        }
    }
    let stack = match Stack::knowing(&policy, Some(facts)) {
        Ok(stack) => stack,
        Err(error) => {
            eprintln!("{}: {error}", args.policy.display());
            return Ok(ExitCode::from(USAGE));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let decision = runtime
        .block_on(stack.explain(request))
        .map_err(|error| anyhow::anyhow!("the request would be refused: {error}"))?;
    let shown = match args.json {
        true => format!("{:#}\n", decision.json()),
        false => table::Table(&decision).to_string(),
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))
}

fn facts(args: &ExplainArgs) -> anyhow::Result<Facts> {
    let Some(path) = &args.facts else { return Ok(Facts::default()) };
    let said = || format!("{}: not what `/targets` gives", path.display());
    Facts::parse(&read(path)?).with_context(said)
}

/// What of the facts says nothing of this policy, though it can be read.
fn odd(facts: &Facts, policy: &Policy) -> Vec<String> {
    let mut strangers: Vec<&str> = facts
        .targets()
        .map(|target| &**target.provider())
        .filter(|name| policy.providers.iter().all(|known| *known.name != **name))
        .collect();
    strangers.sort_unstable();
    strangers.dedup();
    let mut odd: Vec<String> = strangers
        .into_iter()
        .map(|name| {
            format!("the policy has no provider {name:?}, so its figures count for nothing")
        })
        .collect();
    if facts.targets().next().is_none() {
        odd.push("there are no figures in it, so nothing is known of any target".into());
    }
    odd
}

/// The request as a client would send it, and as the proxy would know its caller.
fn request(
    args: &ExplainArgs,
    policy: &Policy,
) -> anyhow::Result<Request<http_body_util::Full<bytes::Bytes>>> {
    let text = read(&args.request)?;
    let name = args.request.display();
    let path = match &args.path {
        Some(path) => path.clone(),
        None => {
            let body: Value = serde_json::from_str(&text).with_context(|| name.to_string())?;
            guess::path(&body).map_err(|wrong| anyhow::anyhow!("{name}: {wrong}"))?
        }
    };
    let mut request = Request::post(path).body(text.into())?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &args.header {
        request.headers_mut().append(name, value.clone());
    }
    if let Some(name) = &args.caller {
        request.extensions_mut().insert(caller(name, policy));
    }
    Ok(request)
}

fn caller(name: &str, policy: &Policy) -> Caller {
    let mut caller = Caller::default();
    let keys = || policy.callers.keys.iter();
    let key = keys().find(|key| *key.name == *name).or(keys().find(|key| *key.user == *name));
    caller.user = Some(key.map_or_else(|| name.into(), |key| key.user.clone()));
    if let Some(key) = key {
        caller.key = Some(key.name.clone());
        caller.tags = key.tags.iter().cloned().collect();
        caller.authenticated = true;
    }
    caller
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_or_refused() {
        let (name, value) = header("X-Region:  eu ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-region", "eu"));
        for wrong in ["x-region", "x region: eu", ": eu", "x-region: e\nu"] {
            assert!(header(wrong).is_err(), "{wrong:?}");
        }
    }
}
