use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tollway_identify::Key;

use super::remote::{Asked, Remote, cell, encoded, printable, rows, table};

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key: it goes to standard output, once. With NAME for a policy's file, which gets its
    /// hash, and no proxy is asked; else in a running proxy, where it works at once.
    New(NewArgs),
    /// The keys of a running proxy: those of its policy, and those made at run time.
    List,
    /// Refuse a key that was made at run time, from now on.
    Revoke {
        /// The key's name, or its id as `list` has it.
        name: String,
    },
}

#[derive(Debug, Args)]
struct NewArgs {
    /// For a policy's file: the key's name in logs, limits and costs.
    #[arg(value_name = "NAME", conflicts_with_all = ["name", "user", "tags", "models", "expires", "scopes"])]
    in_policy: Option<String>,
    /// In a running proxy: the key's name [default: made up].
    #[arg(long)]
    name: Option<String>,
    /// Whose it is; keys of one user share the user's limits [default: the key's name].
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// A label for limits and routes: `team=search`. May be repeated.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Models it may use: `gpt-*,claude-*` [default: all].
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    models: Vec<String>,
    /// From when on it is refused: 30d, 2026-12-31 or 2026-12-31T18:00 (by the policy's time zone), or
    /// 2026-12-31T18:00:00Z [default: never].
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// What it is good for: api, admin:read, admin [default: api].
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scopes: Vec<String>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl NewArgs {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let texts = [("name", &self.name), ("user", &self.user), ("expires", &self.expires)];
        for (name, text) in texts {
            body.extend(text.as_ref().map(|text| (name.to_owned(), text.as_str().into())));
        }
        for (name, list) in [("models", &self.models), ("scopes", &self.scopes)] {
            if !list.is_empty() {
                body.insert(name.into(), list.as_slice().into());
            }
        }
        let tags = self.tags.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        body.insert("tags".into(), Value::Object(tags.collect()));
        Value::Object(body)
    }
}

pub(super) fn run(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    let remote = &args.remote;
    match &args.command {
        KeysCommand::New(NewArgs { in_policy: Some(name), .. }) => for_policy(name, remote.json),
        KeysCommand::New(new) => remote.post("/keys", &new.body(), made),
        KeysCommand::List => remote.get("/keys", &Asked::default(), list),
        KeysCommand::Revoke { name } => {
            remote.delete(&format!("/keys/{}", encoded(name)), &Asked::default(), |answer| {
                let id = &answer["id"];
                let id = if id.is_null() { String::new() } else { format!(" ({})", cell(id)) };
                format!("{}{id} is refused from now on\n", cell(&answer["revoked"]))
            })
        }
    }
}

/// The key itself is all that goes to standard output.
fn made(answer: &Value) -> String {
    let expires = match &answer["expires"] {
        Value::Null => String::new(),
        at => format!(", until {}", cell(at)),
    };
    eprintln!(
        "This key is shown only now. It is `{}` of user `{}`, and works at once{expires}.",
        cell(&answer["name"]),
        cell(&answer["user"])
    );
    for warning in rows(answer, "warnings") {
        eprintln!("warning: {}", cell(warning));
    }
    format!("{}\n", cell(&answer["key"]))
}

fn list(answer: &Value) -> String {
    for key in rows(answer, "unreadable") {
        let (name, why) = (cell(&key["name"]), cell(&key["why"]));
        eprintln!("`{name}` lets nobody in: {why}");
    }
    if answer["require_key"] == false {
        eprintln!("the policy asks for no Tollway keys: whoever calls gets in without one");
    }
    let row = |key: &Value| {
        let tags = key["tags"].as_object().into_iter().flatten();
        let tags: Vec<_> = tags.map(|(name, value)| format!("{name}={}", cell(value))).collect();
        let tags = if tags.is_empty() { "-".into() } else { printable(&tags.join(", ")) };
        let models = if key["models"].is_null() { "all".into() } else { cell(&key["models"]) };
        let from = if key["from"] == "policy" { "policy" } else { "run time" };
        let [name, user, scopes, expires, id, note] =
            ["name", "user", "scopes", "expires", "id", "no_use"].map(|name| cell(&key[name]));
        [name, user, scopes, models, tags, from.into(), expires, id, note]
    };
    let head = ["name", "user", "scopes", "models", "tags", "from", "expires", "id", "note"];
    table(head, &rows(answer, "keys").iter().map(row).collect::<Vec<_>>())
}

/// A key for a policy's file: nobody else knows of it.
fn for_policy(name: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    let key = Key::generate(random);
    if as_json {
        let hash = key.digest().to_string();
        let shown = json!({ "name": name, "sha256": hash, "key": key.secret() });
        writeln!(std::io::stdout(), "{shown:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(std::io::stdout(), "{}", key.secret())?;
    eprintln!(
        "This key is shown only now. Give it to its owner and put its hash into the policy:\n\n\
         callers:\n  keys:\n    - {{ name: {}, sha256: {} }}\n",
        yaml_text(name),
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
