//! Asks providers whether they answer, where the policy says so: their health then hangs on that as
//! well as on traffic.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tokio::{task::JoinSet, time::Instant};
use tollway_core::{Ask, BoxError, Dialect, Operation, Target};
use tollway_route::{
    Health,
    facts::{Probes as Schedule, Slot, Tracker},
};
use tower::ServiceExt;

use super::{Stack, StackError, keys, upstream};
use crate::{
    policy::{Endpoint, Probe, Provider},
    upstream::Upstream,
};

/// An answer's bytes that are read so that its connection can be used again; a longer one costs it.
const MOST: usize = 1 << 20;

/// The providers that are probed, each by each of its keys. Does nothing before it [runs](Self::run).
pub struct Probing {
    upstream: Upstream<Full<Bytes>>,
    tracker: Tracker,
    watched: HashMap<Target, Watched>,
    schedule: Schedule<Box<dyn FnMut() -> u64 + Send>>,
}

/// A provider by one of its keys.
struct Watched {
    /// Of the provider, whatever the model. Held, so that the tracker keeps it.
    slot: Arc<Slot>,
    question: Question,
    timeout: Duration,
    /// By the last probe.
    answers: bool,
}

/// What is asked.
#[derive(Clone)]
struct Question {
    target: Target,
    uri: Uri,
    dialect: Dialect,
    /// The key is the policy's: its refusal is as bad as silence.
    signed: bool,
}

impl Stack {
    /// The probes of this policy, `None` if it has none. They are no traffic: nothing is counted,
    /// limited or logged as a request, and no circuit opens by them.
    ///
    /// # Errors
    ///
    /// A probe can't be paced by its settings, or its path is none.
    pub fn probing(&self) -> Result<Option<Probing>, StackError> {
        self.probing_by(Box::new(random))
    }

    fn probing_by(
        &self,
        random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Option<Probing>, StackError> {
        let (mut schedule, mut watched) = (Schedule::new(random), HashMap::new());
        let now = Instant::now();
        for provider in &self.policy.providers {
            let Some(probe) = &provider.probe else { continue };
            let wrong = |error: BoxError| {
                StackError::new(format!("provider {}: probe", provider.name), error)
            };
            for (key, _) in keys::of(provider) {
                let target = Target::new(provider.name.clone(), key, None);
                schedule
                    .watch(target.clone(), probe.pacing, now)
                    .map_err(|error| wrong(error.into()))?;
                let question = Question::new(provider, probe, target.clone())
                    .map_err(|error| wrong(error.into()))?;
                let slot = self.facts().slot(&target);
                let timeout = probe.timeout;
                watched.insert(target, Watched { slot, question, timeout, answers: true });
            }
        }
        Ok((!watched.is_empty()).then(|| Probing {
            upstream: upstream::service(
                &self.policy,
                &self.simulators,
                &self.tls,
                &mut upstream::PoolsOf::default(),
            ),
            tracker: self.facts().clone(),
            watched,
            schedule,
        }))
    }
}

/// Without entropy all are probed at once, which is no reason not to.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

impl Question {
    fn new(provider: &Provider, probe: &Probe, target: Target) -> Result<Self, http::Error> {
        let (dialect, signed) = match &provider.endpoint {
            Endpoint::Http(http) => (http.dialect, !provider.keys.is_empty()),
            // It speaks all of them, each at its own path.
            Endpoint::Simulate(_) => (Dialect::OpenAi, true),
        };
        // The version is what the base URL brings; where it brings none, this is it.
        let version = if dialect == Dialect::Gemini { "/v1beta" } else { "/v1" };
        let uri = Uri::try_from([version, &probe.path].concat())?;
        Ok(Self { target, uri, dialect, signed })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.uri.clone();
        if self.dialect == Dialect::Anthropic {
            let version = HeaderName::from_static("anthropic-version");
            request.headers_mut().insert(version, HeaderValue::from_static("2023-06-01"));
        }
        let mut ask = Ask::new(Operation::Other);
        ask.dialect = self.dialect;
        request.extensions_mut().insert(ask);
        request.extensions_mut().insert(self.target.clone());
        request
    }

    /// Whether an answer says that requests would be served. Who refuses a stranger, says that there
    /// are too many requests or doesn't know the path is well all the same.
    fn is_good(&self, status: StatusCode) -> bool {
        let refused = self.signed && matches!(status.as_u16(), 401..=403);
        !(status.is_server_error() || refused)
    }

    async fn ask(&self, upstream: Upstream<Full<Bytes>>) -> Result<StatusCode, BoxError> {
        let reply = upstream.oneshot(self.request()).await?;
        let (status, mut body, mut left) = (reply.status(), reply.into_body(), MOST);
        while let Some(frame) = body.frame().await {
            left = left.saturating_sub(frame?.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
        Ok(status)
    }
}

impl Probing {
    /// Probes for ever; dropped, it lets go of the probes under way.
    pub async fn run(mut self) {
        let mut asked = JoinSet::new();
        loop {
            let Some(next) = self.schedule.next() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(next) => self.ask_who_is_due(&mut asked),
                Some(Ok((target, said))) = asked.join_next() => self.told(&target, said),
            }
        }
    }

    fn ask_who_is_due(&mut self, asked: &mut JoinSet<(Target, Result<(), String>)>) {
        for target in self.schedule.due(Instant::now()) {
            let Some(watched) = self.watched.get(&target) else { continue };
            let (question, upstream) = (watched.question.clone(), self.upstream.clone());
            let timeout = watched.timeout;
            asked.spawn(async move {
                let said = match tokio::time::timeout(timeout, question.ask(upstream)).await {
                    Ok(Ok(status)) if question.is_good(status) => Ok(()),
                    Ok(Ok(status)) => Err(format!("status {status}")),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(format!("no answer within {timeout:?}")),
                };
                (target, said)
            });
        }
    }

    fn told(&mut self, target: &Target, said: Result<(), String>) {
        let (now, ok) = (Instant::now(), said.is_ok());
        self.tracker.probed(target, ok, now);
        let Some(watched) = self.watched.get_mut(target) else { return };
        // Waits grow only once it is down: until then each failure is worth knowing soon.
        let down = watched.slot.figures(now).health == Health::Down;
        self.schedule.report(target, ok || !down, now);
        let (provider, key) = (&**target.provider(), &**target.key());
        match said {
            Err(error) if watched.answers => {
                tracing::warn!(provider, key, error, "a provider doesn't answer its probe");
            }
            Ok(()) if !watched.answers => {
                tracing::info!(provider, key, "a provider answers its probe again");
            }
            _ => {}
        }
        watched.answers = ok;
    }
}

impl fmt::Debug for Probing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probing").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
