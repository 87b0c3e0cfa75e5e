use std::{io::Write, process::ExitCode};

use clap::Subcommand;
use tollway_identify::Key;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key: the key itself goes to standard output, once; the policy gets its hash.
    New {
        /// The key's name in logs, limits and costs.
        name: String,
    },
}

pub(super) fn run(command: KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::New { name } = command;
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    let key = Key::generate(random);
    writeln!(std::io::stdout(), "{}", key.secret())?;
    eprintln!(
        "This key is shown only now. Give it to its owner and put its hash into the policy:\n\n\
         callers:\n  keys:\n    - {{ name: {}, sha256: {} }}\n",
        yaml_text(&name),
        key.digest()
    );
    Ok(ExitCode::SUCCESS)
}

/// JSON's quoting is YAML's too.
fn yaml_text(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && !text.starts_with('-');
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
