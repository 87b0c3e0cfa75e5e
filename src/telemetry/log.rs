use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::policy::{Log, LogFormat};

/// Sends log lines to standard error, in the policy's format. `TOLLWAY_LOG` overrides its level.
pub fn init(config: &Log) -> anyhow::Result<()> {
    let level = std::env::var("TOLLWAY_LOG").unwrap_or_else(|_| config.level.clone());
    let filter = EnvFilter::try_new(&level)
        .map_err(|error| anyhow::anyhow!("log level {level:?}: {error}"))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Pretty => {
            use std::io::IsTerminal;
            lines.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
    };
    // A second call (a program that embeds two proxies) keeps the first one's choice.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}
