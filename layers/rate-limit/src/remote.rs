//! What limits that instances share need beside the store: lines, shares, and what is owed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::OwnedMutexGuard,
    time::{Instant, sleep, timeout_at},
};
use tollway_store::limits::{Kind, Now, Shape, SharedLimits, State, Take, Want};

use crate::decide::{Claim, Core, Effects};

/// Keys of which is remembered what they owe.
const DEBTORS: usize = 100_000;
/// Charged together.
const BILL: usize = 64;
/// How often a store that is away is looked for, where no request does.
const LOOK: Duration = Duration::from_secs(1);

/// A store that other instances have too.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) store: Arc<dyn SharedLimits>,
    pub(crate) lines: Lines,
    /// Instances that the local tables are a share of.
    pub(crate) instances: AtomicU32,
    owed: Mutex<HashMap<Arc<str>, Owed>>,
    owes: AtomicBool,
    /// Somebody waits for the store to be there, to repay.
    waits: AtomicBool,
}

/// What one key used while the store was away. It comes back as fast as this instance's share
/// does, so that a long outage is no long debt.
#[derive(Debug)]
struct Owed {
    want: Want,
    share: Shape,
    state: State,
}

impl Remote {
    pub(crate) fn new(store: Arc<dyn SharedLimits>) -> Self {
        let instances = AtomicU32::new(store.instances());
        let (lines, owed) = (Lines::default(), Mutex::default());
        let (owes, waits) = Default::default();
        Self { store, lines, instances, owed, owes, waits }
    }

    fn owed(&self) -> MutexGuard<'_, HashMap<Arc<str>, Owed>> {
        self.owed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Keys that owe something.
    pub(crate) fn debtors(&self) -> usize {
        self.owed().len()
    }

    /// A request that the store knows nothing of has used this.
    pub(crate) fn owe(&self, want: Want, share: Shape, spent: u64, now: Now) {
        if want.shape.kind == Kind::Concurrent || spent == 0 {
            return;
        }
        let mut all = self.owed();
        if all.len() >= DEBTORS && !all.contains_key(&want.key) {
            return;
        }
        let fresh = || Owed { state: State::new(&share), share, want: want.clone() };
        let Owed { share, state, .. } = all.entry(want.key.clone()).or_insert_with(fresh);
        state.advance(share, now);
        state.take(share, spent, now);
        self.owes.store(true, Ordering::Relaxed);
    }

    /// Repays once the store is there, though no request should come until then; without a runtime the
    /// next request does.
    pub(crate) fn repay_later(self: &Arc<Self>, now: Now) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.waits.swap(true, Ordering::Relaxed) {
            return;
        }
        let (remote, began) = (Arc::downgrade(self), Instant::now());
        runtime.spawn(async move {
            loop {
                sleep(LOOK).await;
                let Some(remote) = remote.upgrade() else { return };
                if !remote.store.is_away() {
                    remote.waits.store(false, Ordering::Relaxed);
                    let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    let later = |time: u64| if time > 0 { time.saturating_add(passed) } else { 0 };
                    let mono = now.mono.saturating_add(passed);
                    return remote.repay(Now { mono, wall: later(now.wall) });
                }
            }
        });
    }

    /// The store is there: it is told what was used while it wasn't, once.
    pub(crate) fn repay(&self, now: Now) {
        if !self.owes.load(Ordering::Relaxed) || !self.owes.swap(false, Ordering::Relaxed) {
            return;
        }
        let owed = std::mem::take(&mut *self.owed());
        let mut wants = owed.into_values().filter_map(|mut owed| {
            owed.state.advance(&owed.share, now);
            let amount = owed.state.used(&owed.share);
            (amount > 0).then_some(Want { amount, ..owed.want })
        });
        loop {
            let wants: Arc<[Want]> = wants.by_ref().take(BILL).collect();
            if wants.is_empty() {
                return;
            }
            self.store.charge(Take { id: self.store.id(), wants, wall: now.wall });
        }
    }
}

/// What one of `instances` may give by itself.
pub(crate) fn share(shape: Shape, instances: u32) -> Shape {
    let instances = u64::from(instances.max(1));
    let kind = match shape.kind {
        Kind::Bucket { rate, per } => Kind::Bucket { rate, per: per.saturating_mul(instances) },
        kind => kind,
    };
    let of = |amount: u64| (amount / instances).max(1);
    // Who warns is the store, of the whole, and once.
    Shape { kind, capacity: of(shape.capacity), warn: None }
}

impl Core {
    /// Takes what was granted elsewhere, whether there is room here or not.
    pub(crate) fn mirror(&mut self, claims: &mut [Claim], now: Now, effects: &mut Effects) {
        let now = self.clock(now);
        for claim in claims.iter_mut() {
            let table = &mut self.tables[claim.rule as usize];
            claim.slot = table.resolve(&claim.key, claim.hash, now);
            table.advance(claim.slot, now);
        }
        self.take(claims, now, effects);
    }
}

type Line = Arc<tokio::sync::Mutex<()>>;

/// Who waits for the store to have room: first come first served at each key of this instance.
/// Only the first of a line asks.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<Arc<str>, Line>>);

/// The first place in a line.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    lines: &'a Lines,
    pub(crate) key: Arc<str>,
    /// Given up before the line is looked at.
    guard: Option<OwnedMutexGuard<()>>,
}

impl Lines {
    fn all(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether anybody waits there.
    pub(crate) fn is_busy(&self, key: &str) -> bool {
        self.all().contains_key(key)
    }

    /// Requests that wait there.
    pub(crate) fn waiting(&self, key: &str) -> usize {
        // Each of them has the line, and so has the table.
        self.all().get(key).map_or(0, |line| Arc::strong_count(line) - 1)
    }

    /// The turn, if it comes by then, and whether it had to be waited for.
    pub(crate) async fn join(&self, key: &Arc<str>, until: Instant) -> (Option<Turn<'_>>, bool) {
        let line = self.all().entry(key.clone()).or_default().clone();
        let turn = |guard| Turn { lines: self, key: key.clone(), guard: Some(guard) };
        if let Ok(guard) = line.clone().try_lock_owned() {
            return (Some(turn(guard)), false);
        }
        // If it is left early, whoever has the turn tidies up.
        (timeout_at(until, line.lock_owned()).await.ok().map(turn), true)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.lines.all();
        self.guard = None;
        // Whoever waits has the line too.
        if all.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            all.remove(&self.key);
        }
    }
}
