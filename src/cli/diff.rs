use std::{path::Path, process::ExitCode};

use serde_json::json;

use super::{DiffArgs, USAGE};
use crate::policy::{
    Policy,
    diff::{Change, diff},
};

/// Differences were found: as `diff` says it.
const DIFFERENT: u8 = 1;

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let read = |path: &Path| Policy::load(path).map_err(|errors| eprint!("{errors}"));
    let (old, new) = (read(&args.old), read(&args.new));
    let (Ok(old), Ok(new)) = (old, new) else { return Ok(ExitCode::from(USAGE)) };
    let changes = diff(&old, &new);
    if args.json {
        let all: Vec<_> = changes.iter().map(Change::json).collect();
        println!("{}", json!({ "changes": all }));
    } else {
        changes.iter().for_each(|change| println!("{change}"));
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
