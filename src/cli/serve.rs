use std::process::ExitCode;

use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    ServeArgs, USAGE,
    signals::{Signals, Told},
};
use crate::{
    Proxy, Reloader, StartError,
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
    if policy.admin.token.is_none() && !policy.admin.listen.ip().is_loopback() {
        eprintln!(
            "--admin-listen {}: everybody who can reach this address could open circuits, reset limits and \
             read what was spent; set `admin.token` in the policy, or listen on 127.0.0.1",
            policy.admin.listen
        );
        return Ok(ExitCode::from(USAGE));
    }
    telemetry::init_log(&policy.log)?;
    for warning in &policy.warnings {
        tracing::warn!("{}: {}: {}", warning.place, warning.path, warning.message);
    }
    let demo = file.is_none();
    // Obeyed before anybody can connect: a start may have to wait for others, and from here on a
    // SIGHUP is no reason to die.
    let (runtime, signals) = signals()?;
    let running = obey(!demo, runtime, signals)?;
    let started = match file {
        Some(file) => Proxy::start_from(policy, file),
        None => Proxy::start(policy),
    };
    let proxy = started.map_err(|error| match error {
        StartError::Stack(error) => anyhow::Error::new(error).context("the policy can't be run"),
        other => other.into(),
    })?;
    let _ = running.send(Running { stop: proxy.stop_token(), reloader: proxy.reloader() });
    greet(&proxy, demo);
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

/// What signals are for, once it runs.
struct Running {
    stop: CancellationToken,
    reloader: Reloader,
}

/// SIGHUP reads the policy again, where there is a file of it. The first SIGTERM or SIGINT drains, a
/// second one ends at once. Before there is a proxy to drain, the first one does that.
fn obey(
    has_file: bool,
    runtime: Runtime,
    signals: Signals,
) -> anyhow::Result<oneshot::Sender<Running>> {
    let (send, started) = oneshot::channel();
    std::thread::Builder::new().name("tollway-signals".into()).spawn(move || {
        runtime.block_on(async move {
            let mut signals = signals;
            // Without a proxy there is nothing left to obey for: it could not start.
            let Some((running, again)) = start(has_file, &mut signals, started).await else {
                return;
            };
            if again {
                read_again(&running);
            }
            run_on(has_file, &mut signals, &running).await;
        });
    })?;
    Ok(send)
}

/// Waits until it runs; whether it was told meanwhile to read its policy again.
async fn start(
    has_file: bool,
    signals: &mut Signals,
    mut started: oneshot::Receiver<Running>,
) -> Option<(Running, bool)> {
    let mut again = false;
    loop {
        tokio::select! {
            biased;
            running = &mut started => return Some((running.ok()?, again)),
            told = signals.recv() => match told {
                Told::ReadAgain if has_file => again = true,
                _ => {
                    tracing::info!("told to stop while starting: stopped; nobody was served yet");
                    std::process::exit(0);
                }
            },
        }
    }
}

async fn run_on(has_file: bool, signals: &mut Signals, running: &Running) {
    loop {
        match signals.recv().await {
            Told::ReadAgain if has_file => read_again(running),
            _ if running.stop.is_cancelled() => {
                tracing::warn!("told to stop again: stopping at once");
                std::process::exit(1);
            }
            _ => {
                tracing::info!("draining: no new connections, open requests may finish");
                running.stop.cancel();
            }
        }
    }
}

fn read_again(running: &Running) {
    let reloader = running.reloader.clone();
    // How it went is told by who does it.
    tokio::spawn(async move { reloader.read_again().await });
}
