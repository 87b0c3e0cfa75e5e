use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Args;
use tokio::net::TcpListener;

use super::signals::Signals;
use crate::simulate::{self, SimulateConfig, Simulator};

/// Durations are milliseconds; rates are shares of requests, 0 to 1.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Time to a reply's head, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Share by which latency varies.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    jitter: f64,
    /// Time from the head to the first token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    time_to_first_token: u64,
    /// Speed of a stream; as fast as possible if left out.
    #[arg(long, value_name = "N")]
    tokens_per_second: Option<f64>,
    /// Length of a text reply.
    #[arg(long, value_name = "N", default_value_t = 16)]
    output_tokens: u32,
    /// RPM, enforced over any 60 seconds.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u64>,
    /// TPM, enforced over any 60 seconds.
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<u64>,
    /// Requests until `insufficient_quota`.
    #[arg(long, value_name = "N")]
    quota_requests: Option<u64>,
    /// Requests that fail.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    error_rate: f64,
    /// With which status.
    #[arg(long, value_name = "STATUS", default_value_t = 500,
          value_parser = clap::value_parser!(u16).range(400..600))]
    error_status: u16,
    /// Replies that fall silent.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    stall_rate: f64,
    /// Replies whose connection breaks.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    reset_rate: f64,
    /// Replies that end too early.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    truncate_rate: f64,
    /// Replies with an event that is no JSON.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    malformed_rate: f64,
    /// Replies with an error inside a 200.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    late_error_rate: f64,
    /// The same seed makes the same choices.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    (0.0..=1.0).contains(&share).then_some(share).ok_or_else(|| "expected 0 to 1".to_owned())
}

impl SimulateArgs {
    fn config(&self) -> SimulateConfig {
        SimulateConfig {
            latency: Duration::from_millis(self.latency),
            jitter: self.jitter,
            time_to_first_token: Duration::from_millis(self.time_to_first_token),
            tokens_per_second: self.tokens_per_second,
            output_tokens: self.output_tokens,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            quota_requests: self.quota_requests,
            error_rate: self.error_rate,
            error_status: self.error_status,
            stall_rate: self.stall_rate,
            reset_rate: self.reset_rate,
            truncate_rate: self.truncate_rate,
            malformed_rate: self.malformed_rate,
            late_error_rate: self.late_error_rate,
            seed: self.seed,
        }
    }
}

pub(super) fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            anyhow::anyhow!(
                "can't listen on {}: {error} (choose another with --listen)",
                args.listen
            )
        })?;
        let address = listener.local_addr()?;
        eprintln!(
            "simulated provider on http://{address}/v1 (OpenAI; Anthropic: /v1/messages; Gemini: /v1beta; \
             statistics: /__simulate/stats)"
        );
        let mut signals = Signals::new()?;
        let stop = async move {
            signals.recv().await;
        };
        simulate::serve(listener, Simulator::new(args.config()), stop).await;
        Ok(ExitCode::SUCCESS)
    })
}
