use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::remote::{Asked, Remote, cell, printable_lines, rows};

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// The policy that holds, without comments and secrets.
    Show,
    /// Read the policy again: says what has changed, or what is wrong with it.
    Reload,
}

pub(super) fn run(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        PolicyCommand::Show => args.remote.get("/policy", &Asked::default(), |answer| {
            let [file, since, hash] = ["file", "since", "sha256"].map(|name| cell(&answer[name]));
            if !answer["refused"].is_null() {
                eprintln!("a later one was refused; this is the one before:");
            }
            let text = printable_lines(answer["text"].as_str().unwrap_or_default());
            format!("# {file}, since {since}\n# sha256 {hash}\n{text}")
        }),
        PolicyCommand::Reload => args.remote.post("/reload", &json!({}), |answer| {
            let change = |change: &Value| {
                let restart = change["needs_restart"] == true;
                let restart = if restart { " (needs a restart)" } else { "" };
                format!("{}: {}{restart}\n", cell(&change["path"]), cell(&change["change"]))
            };
            let changes: String = rows(answer, "changes").iter().map(change).collect();
            format!("{}\n{changes}", cell(&answer["result"]))
        }),
    }
}
