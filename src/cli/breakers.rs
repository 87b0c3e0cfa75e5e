use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::remote::{Asked, Remote, cell, rows, table, time};

#[derive(Debug, Args)]
pub(super) struct BreakersArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: BreakersCommand,
}

#[derive(Debug, Subcommand)]
enum BreakersCommand {
    /// How circuits stand, and which keys of providers are set aside.
    Status {
        /// Of this provider only.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Close circuits and forget their past; without a model, its keys are tried again, too.
    Reset(CircuitArgs),
    /// Let no request go there until it is reset.
    Open(CircuitArgs),
}

#[derive(Debug, Args)]
struct CircuitArgs {
    /// The provider's name.
    provider: String,
    /// One of its models; all of them if left out.
    model: Option<String>,
}

impl CircuitArgs {
    fn body(&self) -> Value {
        match &self.model {
            Some(model) => json!({ "provider": self.provider, "model": model }),
            None => json!({ "provider": self.provider }),
        }
    }
}

pub(super) fn run(args: &BreakersArgs) -> anyhow::Result<ExitCode> {
    let remote = &args.remote;
    match &args.command {
        BreakersCommand::Status { provider } => {
            let query = Asked::default().with("provider", provider.as_deref());
            remote.get("/breakers", &query, status)
        }
        BreakersCommand::Reset(circuit) => {
            remote.post("/breakers/reset", &circuit.body(), |answer| {
                format!("{} reset\n", cell(&answer["reset"]))
            })
        }
        BreakersCommand::Open(circuit) => {
            remote.post("/breakers/open", &circuit.body(), |answer| {
                let all: Vec<_> = rows(answer, "opened").iter().map(|it| [cell(it)]).collect();
                table(["opened"], &all)
            })
        }
    }
}

fn status(answer: &Value) -> String {
    let row = |one: &Value| {
        let failure = match &one["last_failure"] {
            Value::Null => "-".into(),
            known => format!("{}, {} ago", cell(&known["class"]), time(&known["seconds_ago"])),
        };
        let [provider, model, key, state, reason] =
            ["provider", "model", "key", "state", "reason"].map(|name| cell(&one[name]));
        let said = rows(one, "advice").iter();
        let said = said.map(|it| format!("{} (by {})", cell(&it["reason"]), cell(&it["from"])));
        let said: Vec<_> = said.collect();
        let reason = if state == "advised" { said.join("; ") } else { reason };
        [provider, model, key, state, time(&one["seconds_left"]), failure, reason]
    };
    let circuits = rows(answer, "breakers").iter();
    let aside = rows(answer, "keys").iter().filter(|one| one["state"] != "closed");
    let head = ["provider", "model", "key", "state", "for another", "last failure", "reason"];
    table(head, &circuits.chain(aside).map(row).collect::<Vec<_>>())
}
