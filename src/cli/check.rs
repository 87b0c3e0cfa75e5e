use std::process::ExitCode;

use super::{CheckArgs, USAGE};
use crate::{policy::Policy, stack::Stack};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let policy = match Policy::load(&args.policy) {
        Ok(policy) => policy,
        Err(errors) => {
            eprint!("{errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    for warning in &policy.warnings {
        eprintln!("warning: {}: {}: {}", warning.place, warning.path, warning.message);
    }
    // What only building it can tell: certificate files, keys that no header may hold.
    if let Err(error) = Stack::new(&policy) {
        eprintln!("{}: {error}", args.policy.display());
        return Ok(ExitCode::from(USAGE));
    }
    println!(
        "{}: ok ({} providers, {} limits, {} routes, {} warnings)",
        args.policy.display(),
        policy.providers.len(),
        policy.limits.len(),
        policy.routes.len(),
        policy.warnings.len()
    );
    Ok(ExitCode::SUCCESS)
}
