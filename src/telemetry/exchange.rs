use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::RequestId;
use tokio::time::Instant;
use tollway_core::{Ask, AtWork, Caller, Failure, Plan};

/// What becomes known of one request on its way, for the line that is written at its end.
///
/// Travels as `Arc<Exchange>` in the request's extensions.
#[derive(Debug)]
pub struct Exchange {
    id: RequestId,
    started: Instant,
    caller: OnceLock<Caller>,
    ask: OnceLock<Ask>,
    plan: OnceLock<Plan>,
    rescored: Mutex<Option<Plan>>,
    upstream_wait: AtomicU64,
    paused: AtomicBool,
    at_work: AtWork,
    body_failure: OnceLock<Failure>,
}

impl Exchange {
    pub(crate) fn new(id: RequestId, started: Instant, at_work: AtWork) -> Self {
        Self {
            id,
            started,
            caller: OnceLock::new(),
            ask: OnceLock::new(),
            plan: OnceLock::new(),
            rescored: Mutex::new(None),
            upstream_wait: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            at_work,
            body_failure: OnceLock::new(),
        }
    }

    /// The request's id: told to the client as `x-tollway-request-id`.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// When the request's head had been read.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Who asks, once identified.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// What is asked, once read.
    pub fn ask(&self) -> Option<&Ask> {
        self.ask.get()
    }

    pub(crate) fn note_caller(&self, caller: &Caller) {
        let _ = self.caller.set(caller.clone());
    }

    pub(crate) fn note_ask(&self, ask: &Ask) {
        let _ = self.ask.set(ask.clone());
    }

    /// Where it may go, if that may be asked.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.get()
    }

    /// What was left of the plan after the last failure.
    pub fn rescored(&self) -> Option<Plan> {
        self.rescored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The plan is asked for at the end; the first that is noted stays.
    pub(crate) fn note_plan(&self, plan: &Plan) {
        let _ = self.plan.set(plan.clone());
    }

    /// What is left of the plan after a failure.
    pub(crate) fn note_rescored(&self, rest: &Plan) {
        let mut rescored = self.rescored.lock().unwrap_or_else(PoisonError::into_inner);
        *rescored = Some(rest.clone());
    }

    /// Adds time spent waiting for a provider.
    pub(crate) fn waited_upstream(&self, time: Duration) {
        self.upstream_wait.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Notes that the request waited for something other than a provider: a limit.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Notes that the request's body failed while it was sent on.
    pub(crate) fn note_body_failure(&self, failure: Failure) {
        let _ = self.body_failure.set(failure);
    }

    pub(crate) fn body_failure(&self) -> Option<&Failure> {
        self.body_failure.get()
    }

    /// Who is at work on it.
    pub fn at_work(&self) -> &AtWork {
        &self.at_work
    }

    /// Time spent waiting for a provider so far.
    pub fn upstream_wait(&self) -> Duration {
        Duration::from_nanos(self.upstream_wait.load(Ordering::Relaxed))
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
