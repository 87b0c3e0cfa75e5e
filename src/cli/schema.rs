use std::{io::Write, process::ExitCode};

use crate::policy;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(policy::schema().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
