//! The command line: one file a subcommand. Data goes to standard output, talk to standard error.

mod breakers;
mod check;
mod costs;
mod diff;
mod explain;
mod keys;
mod limits;
mod policy;
mod remote;
mod schema;
mod serve;
mod signals;
mod simulate;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  tollway                                  the demo: simulated providers, no key, no network
  tollway policy.yaml                      serve a policy
  tollway check policy.yaml                say what is wrong with it, all at once
  tollway diff old.yaml new.yaml           say what another policy would change
  tollway explain policy.yaml request.json where a request would go, and why
  tollway schema > policy.schema.json      for completion in an editor
  tollway keys new alice                   a key for a caller, printed once; its hash is for the policy
  tollway simulate --listen 127.0.0.1:9000 a provider to test against

Of a running proxy, by its admin listener (--admin, --token, --json):
  tollway limits status --user alice       how limits stand for somebody
  tollway limits reset --user alice        their whole quota again
  tollway costs --by model                 what was spent, and what the month comes to
  tollway keys new --name ci --expires 30d a key that works at once, and for so long
  tollway keys revoke ci                   refuse it from now on
  tollway breakers status                  which targets are left alone, and why
  tollway policy reload                    read the policy again

Exit codes: 0 all well, 1 it failed while running (diff: the policies differ), 2 wrong usage or a policy with errors,
3 nothing of that is there, 4 the admin token was refused.
SIGHUP reads the policy again, as a change of its file does; SIGTERM and SIGINT drain.
TOLLWAY_LOG sets the log filter (info, debug, tollway=trace ...) over the policy's.";

/// A reverse proxy for LLM APIs: rate limits, circuit breaker, retry, cost and routing by one YAML policy.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default).
    Serve(ServeArgs),
    /// Check a policy: prints every error with its place, exits with 2 if there is one.
    Check(CheckArgs),
    /// Say in words what one policy changes in another: exits with 0 if nothing, with 1 otherwise.
    Diff(DiffArgs),
    /// Say where a request would go, and why, without sending it.
    Explain(explain::ExplainArgs),
    /// Limits of a running proxy: how they stand, and who begins anew.
    Limits(limits::LimitsArgs),
    /// What was spent through a running proxy, and what the month comes to.
    Costs(costs::CostsArgs),
    /// Circuit breakers of a running proxy.
    Breakers(breakers::BreakersArgs),
    /// The policy of a running proxy.
    Policy(policy::PolicyArgs),
    /// Print the policy's JSON Schema.
    Schema,
    /// Run the simulated provider by itself: OpenAI's, Anthropic's and Gemini's dialects on their paths.
    Simulate(simulate::SimulateArgs),
    /// Tollway keys for callers.
    Keys(keys::KeysArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The policy file; without one, an embedded demo policy with simulated providers.
    policy: Option<PathBuf>,
    /// Where clients connect; over the policy's `listen` [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Health, readiness and metrics; over the policy's `admin.listen` [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The policy file.
    policy: PathBuf,
}

#[derive(Debug, Args)]
struct DiffArgs {
    /// The policy that holds.
    old: PathBuf,
    /// The one that is to take its place.
    new: PathBuf,
    /// As JSON: a list of `path`, `change` and `needs_restart`.
    #[arg(long)]
    json: bool,
}

/// Wrong usage, or a policy with errors.
const USAGE: u8 = 2;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => serve::run(cli.serve),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Limits(args)) => limits::run(&args),
        Some(Command::Costs(args)) => costs::run(&args),
        Some(Command::Breakers(args)) => breakers::run(&args),
        Some(Command::Policy(args)) => policy::run(&args),
        Some(Command::Schema) => schema::run(),
        Some(Command::Simulate(args)) => simulate::run(args),
        Some(Command::Keys(args)) => keys::run(&args),
    };
    done.unwrap_or_else(|error| {
        // A reader that closed the pipe (`| head`) has what it wanted.
        let broken_pipe = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe);
        if broken_pipe {
            return ExitCode::SUCCESS;
        }
        eprintln!("tollway: {error:#}");
        ExitCode::FAILURE
    })
}
