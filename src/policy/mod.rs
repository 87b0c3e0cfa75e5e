//! The policy file: YAML as written, checked into types that cannot hold a wrong policy.

mod check;
mod checked;
mod custom;
mod diag;
pub mod diff;
mod env;
mod file;
mod node;
mod read;
pub mod registry;
mod section;
mod values;
mod written;

pub use checked::*;
pub use custom::WrongQuota;
pub(crate) use diag::nearest;
pub use diag::{Diagnostic, Diagnostics};
pub use env::Env;
pub use file::PolicyFile;
pub use registry::Registry;

pub use tollway_route::{
    Between, By, Days, Glob, Match, Of, Size, SizeClass, Strategy, TimeRange, When,
    auto::{Complexity, Feature, Weights},
    facts::{Pacing as ProbePacing, Thresholds},
};

use std::{io, path::Path, time::Duration};

use sha2::{Digest, Sha256};

use node::{Span, Value};
use read::{Read, Reader};
use written::{PolicyWritten, RegistryWritten};

/// The registry inside the program.
const MODELS: &str = include_str!("../../config/models.yaml");

/// The policy that runs when none is named: simulated providers, no key, no network.
pub const DEFAULT: &str = include_str!("../../config/default.yaml");

/// Reads a time as a policy has it, `30d` or `1h30m`, and however long.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    values::Time::of_any_length(text).map(|time| time.0)
}

/// Something allowed but probably not meant: an old model, a limit that can never bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `policy.yaml:12:15`.
    pub place: String,
    /// Path inside the policy: `routes[0].targets[1]`.
    pub path: String,
    /// What is odd, and what would be better.
    pub message: String,
}

impl Policy {
    /// Reads and checks a file, with the process's environment and date. Relative paths in it
    /// start at its folder.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, or that it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        let path = path.as_ref();
        let folder = path.parent().unwrap_or(Path::new(""));
        let bytes = std::fs::read(path);
        Self::read(path, bytes, &Env::process().in_folder(folder))
    }

    /// Checks what was read from `path`.
    fn read(path: &Path, bytes: io::Result<Vec<u8>>, env: &Env<'_>) -> Result<Self, Diagnostics> {
        let name = path.display().to_string();
        let text = bytes.map_err(|error| format!("cannot be read: {error}"));
        let text = text.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "is not UTF-8, so it is no YAML".to_owned())
        });
        match text {
            Ok(text) => Self::parse(&name, &text, env),
            Err(why) => {
                let env = Env::new(|_| None);
                let mut reader = Reader::new(&name, "", &env);
                let message = format!("the policy {why}");
                reader.error(Span::default(), "", message).help("give the path of a policy file");
                Err(reader.finish().unwrap_or(Diagnostics::new(vec![])))
            }
        }
    }

    /// Reads and checks a policy; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(name: &str, text: &str, env: &Env<'_>) -> Result<Self, Diagnostics> {
        let mut policy = read_file(name, text, env, |written: PolicyWritten, reader| {
            let policy = check::policy(written, reader);
            let text = reader.shown().into();
            Policy { origin: Origin { text, ..Origin::default() }, ..policy }
        })?;
        policy.origin.name = name.to_owned();
        policy.origin.sha256 = hex(&Sha256::digest(text));
        Ok(policy)
    }

    /// The policy that runs when none is named ([`DEFAULT`]).
    ///
    /// # Errors
    ///
    /// None, unless the program was built with a broken `config/default.yaml`.
    pub fn embedded() -> Result<Self, Diagnostics> {
        Self::parse("default.yaml", DEFAULT, &Env::process())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads one file whole; what was read counts only if nothing was wrong.
fn read_file<W: Read, T>(
    name: &str,
    text: &str,
    env: &Env<'_>,
    check: impl FnOnce(W, &mut Reader<'_>) -> T,
) -> Result<T, Diagnostics> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(name, text, env);
    let value = match node::parse(text) {
        Ok(node) if matches!(node.value, Value::Null) => {
            reader
                .error(Span::default(), "", "the file is empty")
                .expected("a policy with `providers:`");
            None
        }
        Ok(node) => {
            reader.close(&node);
            W::read(&node, "", &mut reader).map(|written| check(written, &mut reader))
        }
        Err((why, span)) => {
            reader.syntax(span, &why);
            None
        }
    };
    match (value, reader.finish()) {
        (Some(value), None) => Ok(value),
        (_, wrong) => Err(wrong.unwrap_or(Diagnostics::new(vec![]))),
    }
}

/// The JSON Schema of a policy, for editors: what `tollway schema` prints.
pub fn schema() -> String {
    schema_of::<PolicyWritten>("Tollway policy")
}

/// The JSON Schema of `config/models.yaml`.
pub fn models_schema() -> String {
    schema_of::<RegistryWritten>("Tollway model registry")
}

fn schema_of<T: schemars::JsonSchema>(title: &str) -> String {
    let mut schema =
        schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
