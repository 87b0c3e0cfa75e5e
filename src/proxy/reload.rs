//! Another policy takes the place of the one that holds: checked whole, built whole, then every
//! worker changes over between two requests.

use std::{fmt, sync::Arc};

use http::StatusCode;
use metrics::Label;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Current;
use crate::{
    policy::{
        Diagnostics, Policy, PolicyFile,
        diff::{Change, diff},
    },
    server::Renewal,
    stack::{Probing, Stack, StackError},
    telemetry::names,
};

/// How it went: in metrics, and in what the admin listener answers.
const APPLIED: &str = "applied";
const UNCHANGED: &str = "unchanged";
const REFUSED: &str = "refused";

/// Why a policy was refused. The one before holds, and nothing of it has changed.
#[derive(Clone, Debug)]
pub enum ReloadError {
    /// The policy was not read from a file, so there is none to read again.
    NoFile,
    /// What is wrong with the file.
    Policy(Diagnostics),
    /// It can't be built into a stack.
    Stack(Arc<StackError>),
    /// It holds in part from the next start on, which would fail: this folder of a store is missing.
    Folder(std::path::PathBuf),
    /// The proxy is stopping.
    Stopped,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("the policy was given without a file: none to read again"),
            Self::Policy(errors) => errors.fmt(f),
            Self::Stack(error) => error.fmt(f),
            Self::Folder(folder) => write!(
                f,
                "state: there is no folder {}: a restart, which the change needs, would fail",
                folder.display()
            ),
            Self::Stopped => f.write_str("the proxy is stopping"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What has changed; nothing: the policy is the same.
type Outcome = Result<Vec<Change>, ReloadError>;

enum Policies {
    Given(Box<Policy>),
    File,
}

struct Asked {
    of: Policies,
    answer: oneshot::Sender<Outcome>,
}

/// Puts another policy in the place of the one that holds, one at a time. Clones ask the same proxy.
///
/// Open connections go by the new policy from their next request on, requests under way end by the
/// old one. What limits, circuits, figures and totals know goes on ([`Stack::next`]). Settings that
/// need a restart keep their value, and are told as such.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway::{Proxy, policy::{Env, Policy}};
///
/// let policy = |rate: u32| {
///     let limit = format!("{{ name: user, per: user, requests: {rate}/min }}");
///     let text = format!("providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {limit}\n");
///     let mut policy = Policy::parse("policy.yaml", &text, &Env::new(|_| None))?;
///     policy.listen.set_port(0);
///     policy.admin.listen.set_port(0);
///     Ok::<_, Box<dyn std::error::Error>>(policy)
/// };
/// let proxy = Proxy::start(policy(60)?)?;
/// let changes = proxy.reloader().apply(policy(120)?).await?;
/// assert_eq!(changes[0].path, "limits.user");
/// # std::thread::spawn(|| proxy.stop());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reloader(mpsc::UnboundedSender<Asked>);

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// This policy holds from now on; what is different.
    ///
    /// # Errors
    ///
    /// It can't be built into a stack, or the proxy is stopping.
    pub async fn apply(&self, policy: Policy) -> Result<Vec<Change>, ReloadError> {
        self.ask(Policies::Given(Box::new(policy))).await
    }

    /// Reads the policy's file again, with the environment and the files of secrets; what is different.
    ///
    /// # Errors
    ///
    /// There is no file, something is wrong with it, it can't be built, or the proxy is stopping.
    pub async fn read_again(&self) -> Result<Vec<Change>, ReloadError> {
        self.ask(Policies::File).await
    }

    async fn ask(&self, of: Policies) -> Outcome {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { of, answer }).map_err(|_| ReloadError::Stopped)?;
        answered.await.unwrap_or(Err(ReloadError::Stopped))
    }
}

/// Does what reloaders ask, on the thread that accepts.
pub(super) struct Reloading {
    current: Arc<Current>,
    file: Option<Arc<PolicyFile>>,
    renewal: Renewal,
    asked: mpsc::UnboundedReceiver<Asked>,
    stop: CancellationToken,
    /// Of the policy that holds, and what ends them.
    probing: Option<Probing>,
    probes: CancellationToken,
}

impl Reloading {
    pub(super) fn new(
        current: Arc<Current>,
        file: Option<Arc<PolicyFile>>,
        renewal: Renewal,
        stop: CancellationToken,
    ) -> (Reloader, Self) {
        for result in [APPLIED, UNCHANGED, REFUSED] {
            current.stack().telemetry().begin(names::RELOADS, vec![Label::new("result", result)]);
        }
        let (ask, asked) = mpsc::unbounded_channel();
        let probes = stop.child_token();
        (Reloader(ask), Self { current, file, renewal, asked, stop, probing: None, probes })
    }

    /// With the probes of the first policy; inside a runtime.
    pub(super) fn probing(mut self) -> Result<Self, StackError> {
        self.probing = self.current.stack().probing()?;
        Ok(self)
    }

    pub(super) async fn run(mut self) {
        self.start_probes();
        while let Some(Asked { of, answer }) = self.asked.recv().await {
            let outcome = self.reload(of).await;
            self.tell(&outcome);
            let _ = answer.send(outcome);
        }
    }

    fn start_probes(&mut self) {
        if let Some(probing) = self.probing.take() {
            tokio::spawn(self.probes.clone().run_until_cancelled_owned(probing.run()));
        }
    }

    async fn reload(&mut self, of: Policies) -> Outcome {
        let (old, file) = (self.current.stack(), self.file.clone());
        // Reading, checking and building take milliseconds, which nobody who connects should wait for.
        let built = tokio::task::spawn_blocking(move || build(&old, of, file.as_deref()));
        let (stack, changes) = built.await.map_err(|_| ReloadError::Stopped)??;
        let (server, probing) = (stack.policy().server.clone(), stack.probing());
        self.current.set(Arc::new(stack));
        self.renewal.renew(server).await;
        self.probes.cancel();
        self.probes = self.stop.child_token();
        self.probing = probing.unwrap_or_else(|error| {
            tracing::error!(%error, "providers are not probed");
            None
        });
        self.start_probes();
        Ok(changes)
    }

    /// Log, metric, and what the readiness check says besides.
    fn tell(&self, outcome: &Outcome) {
        let stack = self.current.stack();
        let result = match outcome {
            Ok(changes) => {
                for change in changes {
                    tracing::info!(
                        at = change.path,
                        restart = change.needs_restart,
                        "{}",
                        change.words
                    );
                }
                for warning in &stack.policy().warnings {
                    tracing::warn!("{}: {}: {}", warning.place, warning.path, warning.message);
                }
                tracing::info!(changes = changes.len(), "the policy was read again and holds");
                if changes.is_empty() { UNCHANGED } else { APPLIED }
            }
            Err(ReloadError::NoFile) => {
                tracing::warn!("the policy was given without a file: there is none to read again");
                REFUSED
            }
            Err(error) => {
                tracing::error!("the policy was refused, the one before holds:\n{error}");
                REFUSED
            }
        };
        match outcome {
            Ok(_) => self.current.note(None),
            Err(ReloadError::NoFile | ReloadError::Stopped) => {}
            Err(error) => self.current.note(Some(error.to_string())),
        }
        stack.telemetry().count(names::RELOADS, vec![Label::new("result", result)]);
    }
}

fn build(
    old: &Stack,
    of: Policies,
    file: Option<&PolicyFile>,
) -> Result<(Stack, Vec<Change>), ReloadError> {
    let mut policy = match of {
        Policies::Given(policy) => *policy,
        Policies::File => file.ok_or(ReloadError::NoFile)?.load().map_err(ReloadError::Policy)?,
    };
    let before = old.policy();
    let changes = diff(before, &policy);
    if policy.state != before.state {
        let state = &policy.state;
        let stores = [&state.ledger.store, &state.limits, &state.budgets, &state.documents];
        if let Some(folder) = stores.into_iter().find_map(|store| store.missing()) {
            return Err(ReloadError::Folder(folder.to_owned()));
        }
    }
    // What needs a restart stays as it is, so that it is told again until there was one.
    policy.listen = before.listen;
    policy.admin.listen = before.admin.listen;
    policy.server.workers = before.server.workers;
    policy.log = before.log.clone();
    policy.state = before.state.clone();
    policy.time_zone = before.time_zone.clone();
    let stack = old.next(&policy).map_err(|error| ReloadError::Stack(Arc::new(error)))?;
    Ok((stack, changes))
}

/// What the admin listener answers: status and JSON.
pub(super) fn answer(outcome: &Outcome) -> (StatusCode, String) {
    let refused = |errors| json!({ "result": REFUSED, "errors": errors }).to_string();
    let message = |message: &dyn fmt::Display| refused(json!([{ "message": message.to_string() }]));
    match outcome {
        Ok(changes) => {
            let result = if changes.is_empty() { UNCHANGED } else { APPLIED };
            let changes: Vec<_> = changes.iter().map(Change::json).collect();
            (StatusCode::OK, json!({ "result": result, "changes": changes }).to_string())
        }
        Err(ReloadError::Policy(errors)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, refused(errors.json()))
        }
        Err(error @ (ReloadError::Stack(_) | ReloadError::Folder(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, message(error))
        }
        Err(error @ ReloadError::NoFile) => (StatusCode::CONFLICT, message(error)),
        Err(error @ ReloadError::Stopped) => (StatusCode::SERVICE_UNAVAILABLE, message(error)),
    }
}
