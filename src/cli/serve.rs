use std::process::ExitCode;

use tokio::runtime::Runtime;

use super::{
    ServeArgs, USAGE,
    signals::{Signals, Told},
};
use crate::{
    Proxy, StartError,
    policy::{Policy, PolicyFile},
    telemetry,
};

pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let file = args.policy.map(PolicyFile::file);
    let file = file.map(|file| file.listening(args.listen, args.admin_listen));
    let loaded = match &file {
        None => Policy::embedded().map(|mut policy| {
            policy.listen = args.listen.unwrap_or(policy.listen);
            policy.admin.listen = args.admin_listen.unwrap_or(policy.admin.listen);
            policy
        }),
        Some(file) => file.load(),
    };
    let policy = match loaded {
        Ok(policy) => policy,
        Err(errors) => {
            eprint!("{errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    telemetry::init_log(&policy.log)?;
    for warning in &policy.warnings {
        tracing::warn!("{}: {}: {}", warning.place, warning.path, warning.message);
    }
    let demo = file.is_none();
    // Caught before anybody can connect: from then on a SIGHUP is no reason to die.
    let (runtime, signals) = signals()?;
    let started = match file {
        Some(file) => Proxy::start_from(policy, file),
        None => Proxy::start(policy),
    };
    let proxy = started.map_err(|error| match error {
        StartError::Stack(error) => anyhow::Error::new(error).context("the policy can't be run"),
        other => other.into(),
    })?;
    greet(&proxy, demo);
    obey(&proxy, !demo, runtime, signals)?;
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

fn signals() -> anyhow::Result<(Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    Ok((runtime, signals))
}

/// SIGHUP reads the policy again, where there is a file of it. The first SIGTERM or SIGINT drains, a
/// second one ends at once.
fn obey(
    proxy: &Proxy,
    has_file: bool,
    runtime: Runtime,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let (stop, reloader) = (proxy.stop_token(), proxy.reloader());
    std::thread::Builder::new().name("tollway-signals".into()).spawn(move || {
        runtime.block_on(async move {
            loop {
                match signals.recv().await {
                    Told::ReadAgain if has_file => {
                        let reloader = reloader.clone();
                        // How it went is told by who does it.
                        tokio::spawn(async move { reloader.read_again().await });
                    }
                    _ if stop.is_cancelled() => {
                        tracing::warn!("told to stop again: stopping at once");
                        std::process::exit(1);
                    }
                    _ => {
                        tracing::info!("draining: no new connections, open requests may finish");
                        stop.cancel();
                    }
                }
            }
        });
    })?;
    Ok(())
}
