use std::process::ExitCode;

use super::{ServeArgs, USAGE, signals::Signals};
use crate::{Proxy, StartError, policy::Policy, telemetry};

pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let loaded = match &args.policy {
        None => Policy::embedded(),
        Some(path) => Policy::load(path),
    };
    let mut policy = match loaded {
        Ok(policy) => policy,
        Err(errors) => {
            eprint!("{errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    policy.listen = args.listen.unwrap_or(policy.listen);
    policy.admin.listen = args.admin_listen.unwrap_or(policy.admin.listen);
    telemetry::init_log(&policy.log)?;
    for warning in &policy.warnings {
        tracing::warn!("{}: {}: {}", warning.place, warning.path, warning.message);
    }
    let demo = args.policy.is_none();
    let proxy = Proxy::start(policy).map_err(|error| match error {
        StartError::Stack(error) => anyhow::Error::new(error).context("the policy can't be run"),
        other => other.into(),
    })?;
    greet(&proxy, demo);
    stop_on_signal(&proxy)?;
    let cut_off = proxy.join();
    if cut_off > 0 {
        tracing::warn!(cut_off, "stopped; connections still open at the deadline were cut off");
    } else {
        tracing::info!("stopped; every request was finished");
    }
    Ok(ExitCode::SUCCESS)
}

fn greet(proxy: &Proxy, demo: bool) {
    let (address, admin) = (proxy.address(), proxy.admin_address());
    eprintln!("tollway listens on http://{address}/v1, health and metrics on http://{admin}");
    if demo {
        eprintln!(
            "No policy given: simulated providers answer, no key and no network needed. Try\n\n  \
             curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n    \
             -d '{{\"model\":\"gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n"
        );
    }
}

/// The first SIGTERM or SIGINT drains, a second one ends at once.
fn stop_on_signal(proxy: &Proxy) -> anyhow::Result<()> {
    let stop = proxy.stop_token();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    std::thread::Builder::new().name("tollway-signals".into()).spawn(move || {
        runtime.block_on(async move {
            let mut signals = signals;
            signals.recv().await;
            tracing::info!("draining: no new connections, open requests may finish");
            stop.cancel();
            signals.recv().await;
            tracing::warn!("told to stop again: stopping at once");
            std::process::exit(1);
        });
    })?;
    Ok(())
}
