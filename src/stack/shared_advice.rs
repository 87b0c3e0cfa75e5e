//! What one instance found spares the others: findings are told over a board, and what is read there
//! is taken as advice.
//!
//! Once a second, and at once when a circuit opens or closes, an instance says all that it found by
//! itself and reads what all others did. Nothing that it read is among what it says, no request
//! waits for it, and a board that is away changes nothing: each goes on alone, and what was heard ends
//! when it said it would.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::Label;
use tokio::{sync::Notify, time::Instant};
use tollway_circuit_breaker::Advice;
use tollway_core::Target;
use tollway_store::board::{Board, Pinned};

use super::{
    Circuit, Stack,
    shared_findings::{self as findings, Finding, Subject, in_a_line},
};
use crate::telemetry::{Telemetry, names};

/// How often it is told and read; a finding of this instance is told at once.
const EVERY: Duration = Duration::from_secs(1);
/// However often circuits open and close.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Findings of others that are known at a time.
const MOST_HEARD: usize = 1_000;
/// Failures in a row before it is said that the board is away: a connection may be about to be made.
const PATIENCE: u32 = 2;

/// The board and this instance's name on it. Clones are one.
#[derive(Clone)]
pub struct Sharing {
    board: Arc<dyn Board>,
    me: Arc<str>,
    /// What findings are numbered by.
    epoch: Instant,
    wake: Wake,
    away: Arc<Mutex<Option<String>>>,
}

/// Wakes whoever tells: there is something to tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Wake(Arc<Notify>);

impl Wake {
    pub(super) fn up(&self) {
        self.0.notify_one();
    }
}

impl Sharing {
    #[cfg(any(feature = "redis", test))]
    pub(super) fn new(board: Arc<dyn Board>, me: impl Into<Arc<str>>) -> Self {
        let (me, epoch, wake) = (me.into(), Instant::now(), Wake::default());
        Self { board, me, epoch, wake, away: Arc::default() }
    }

    pub(super) fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// By which name others know what this instance found.
    pub fn instance(&self) -> &str {
        &self.me
    }

    /// Why nothing can be told and heard now; `None` if it can.
    pub fn away(&self) -> Option<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A name for this instance: its machine's, and one of chance, as several may run there.
#[cfg(feature = "redis")]
pub(super) fn instance() -> String {
    let mut chance = [0; 4];
    let _ = getrandom::fill(&mut chance);
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = if machine.trim().is_empty() { "tollway" } else { machine.trim() };
    format!("{}-{:08x}", in_a_line(machine), u32::from_ne_bytes(chance))
}

impl Stack {
    /// Whom this instance tells what it finds, if the policy's `state.breakers` says so.
    pub fn sharing(&self) -> Option<&Sharing> {
        self.stores.sharing.as_ref()
    }

    /// Tells others what the stack that holds at the time found, and hears of them. `None`: the
    /// policy shares nothing. Does nothing before it [runs](Exchanging::run).
    pub fn exchanging(
        &self,
        holds: impl Fn() -> Arc<Self> + Send + Sync + 'static,
    ) -> Option<Exchanging> {
        let sharing = self.stores.sharing.clone()?;
        self.telemetry.set(names::SHARING_FAILING, vec![], 0.0);
        Some(Exchanging {
            sharing,
            holds: Box::new(holds),
            told: HashSet::new(),
            heard: HashMap::new(),
            failures: 0,
        })
    }
}

/// What tells and hears; made by [`Stack::exchanging`].
pub struct Exchanging {
    sharing: Sharing,
    holds: Box<dyn Fn() -> Arc<Stack> + Send + Sync>,
    /// By their numbers.
    told: HashSet<(Subject, u64)>,
    heard: HashMap<(Arc<str>, Subject), Heard>,
    failures: u32,
}

/// A finding of another instance.
struct Heard {
    id: u64,
    found: Instant,
    /// From then on its note is gone if its instance is.
    stays: Instant,
    heeded: bool,
}

impl Exchanging {
    /// Tells and hears for ever.
    pub async fn run(mut self) {
        loop {
            self.exchange().await;
            tokio::time::sleep(AT_MOST_EVERY).await;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.sharing.wake.0.notified() => {}
            }
        }
    }

    /// Says what was found here, and hears what others say.
    async fn exchange(&mut self) {
        let stack = (self.holds)();
        let found = findings::found(&stack, self.sharing.epoch, Instant::now());
        let telling: HashSet<_> = found
            .iter()
            .filter_map(|found| Some((found.subject(stack.policy())?, found.id)))
            .collect();
        let (note, sharing) = (findings::note(found), self.sharing.clone());
        let exchanged =
            tokio::task::spawn_blocking(move || sharing.board.exchange(&sharing.me, note.as_ref()));
        match exchanged.await {
            Ok(Ok(pinned)) => {
                self.works(&stack.telemetry);
                for (subject, _) in telling.difference(&self.told) {
                    count(&stack.telemetry, "told", subject);
                }
                self.told = telling;
                // Another policy may hold by now.
                self.hear((self.holds)().as_ref(), &pinned, Instant::now());
            }
            Ok(Err(error)) => self.fails(&stack.telemetry, error.to_string()),
            // The process ends.
            Err(_) => {}
        }
    }

    fn hear(&mut self, stack: &Stack, pinned: &[Pinned], now: Instant) {
        let mut there = HashSet::new();
        for note in pinned {
            let all = findings::read(&note.text);
            let stays = now + findings::keep(&all).saturating_sub(note.age);
            for finding in all {
                let Some(subject) = finding.subject(stack.policy()) else { continue };
                let at = (in_a_line(&note.from), subject);
                if self.heard.len() < MOST_HEARD || self.heard.contains_key(&at) {
                    self.heed(stack, &at, &finding, (note.age, stays, now));
                    there.insert(at);
                }
            }
        }
        self.heard.retain(|at, heard| {
            // A note that is gone because its instance is takes nothing back.
            let gone = !there.contains(at);
            if gone && now < heard.stays {
                withdraw(stack, at, heard.heeded);
            }
            !gone
        });
    }

    fn heed(
        &mut self,
        stack: &Stack,
        at: &(Arc<str>, Subject),
        finding: &Finding,
        (age, stays, now): (Duration, Instant, Instant),
    ) {
        let found = finding.found(age, now).unwrap_or(self.sharing.epoch);
        let fresh = Heard { id: finding.id, found, stays, heeded: false };
        let heard = self.heard.entry(at.clone()).or_insert(fresh);
        if heard.id != finding.id {
            *heard = Heard { id: finding.id, found, stays, heeded: false };
        }
        heard.stays = stays;
        let left = finding.left(age);
        if left.is_zero() {
            return;
        }
        let advice = Advice {
            from: at.0.clone(),
            why: finding.why(),
            // Reckoned once: another time it would be some milliseconds off.
            found: heard.found,
            until: now + left,
            benched: finding.class(),
            firm: finding.is_firm(),
        };
        if advise(stack, &at.1, &advice) && !heard.heeded {
            heard.heeded = true;
            count(&stack.telemetry, "heard", &at.1);
            let (target, key) = told_as(&at.1);
            tracing::info!(%target, key = &*key, from = &*at.0, why = &*advice.why, seconds = left.as_secs(),
                "another instance's finding is heeded");
        }
    }

    fn works(&mut self, telemetry: &Telemetry) {
        let was_told = std::mem::take(&mut self.failures) >= PATIENCE;
        self.note(None);
        if was_told {
            tracing::info!("what breakers find is shared again");
            telemetry.set(names::SHARING_FAILING, vec![], 0.0);
        }
    }

    fn fails(&mut self, telemetry: &Telemetry, why: String) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == PATIENCE {
            tracing::warn!(why, "what breakers find can't be shared: each instance is on its own");
            telemetry.set(names::SHARING_FAILING, vec![], 1.0);
        }
        self.note(Some(why));
    }

    fn note(&self, away: Option<String>) {
        *self.sharing.away.lock().unwrap_or_else(PoisonError::into_inner) = away;
    }
}

fn advise(stack: &Stack, subject: &Subject, advice: &Advice) -> bool {
    match subject {
        Subject::Circuit(target) => stack.breakers.handle().advise(&Circuit::of(target), advice),
        Subject::Key(key) => stack.benches.handle().advise(key, advice),
        Subject::Health(target) => {
            // No longer than it would rest by its own probes.
            let rest = advice.found.checked_add(stack.facts().config().health.cooldown);
            let until = rest.map_or(advice.until, |rest| rest.min(advice.until));
            stack.facts().advise_down(target, advice.found, Some(until))
        }
    }
}

fn withdraw(stack: &Stack, (from, subject): &(Arc<str>, Subject), heeded: bool) {
    match subject {
        Subject::Circuit(target) => stack.breakers.handle().withdraw(&Circuit::of(target), from),
        Subject::Key(key) => stack.benches.handle().withdraw(key, from),
        Subject::Health(target) => {
            stack.facts().advise_down(target, Instant::now(), None);
        }
    }
    if heeded {
        count(&stack.telemetry, "taken_back", subject);
        let (target, key) = told_as(subject);
        tracing::info!(%target, key = &*key, from = &**from, "another instance takes its finding back");
    }
}

fn count(telemetry: &Telemetry, direction: &'static str, of: &Subject) {
    let labels = vec![Label::new("direction", direction), Label::new("of", of.as_str())];
    telemetry.count(names::BREAKER_ADVICE, labels);
}

fn told_as(subject: &Subject) -> (Target, Arc<str>) {
    let target = Target::from(subject);
    let key = target.key().clone();
    (target, key)
}

impl fmt::Debug for Exchanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanging").field("sharing", &self.sharing).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
