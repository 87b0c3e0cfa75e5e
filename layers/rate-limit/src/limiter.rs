//! What all clones of a layer share: the limits behind one lock, the clocks, the hook.
//!
//! One lock for all limits is what makes a decision one step and deadlock impossible. It is held
//! for some hundred nanoseconds, never across an await, a hook or a caller's closure.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Waker},
    time::{Duration, UNIX_EPOCH},
};

use http::request::Parts;
use tokio::time::Instant;
use tollway_core::{Hook, WallClock};
use tollway_store::limits::{Kind, Now};

use crate::{
    Downgraded, Event, Key, LimitExceeded, Rule, Standing, WhenFull,
    decide::{Arrival, Claim, Core, Effects, Refusal, View},
    queue::Outcome,
    table::Table,
};

pub(crate) struct Limiter {
    pub(crate) rules: Vec<Rule>,
    core: Mutex<Core>,
    hook: Box<dyn Hook<Event> + Send + Sync>,
    wall: Arc<dyn WallClock>,
    /// Some limit goes by the calendar.
    dated: bool,
    epoch: Instant,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A request's place in line; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Place {
    limiter: Arc<Limiter>,
    seq: Option<u64>,
}

pub(crate) enum Entry {
    Admitted(Vec<Claim>),
    Refused(LimitExceeded),
    Waiting(Place),
}

impl Limiter {
    pub(crate) fn new(
        rules: Vec<Rule>,
        hook: Box<dyn Hook<Event> + Send + Sync>,
        wall: Arc<dyn WallClock>,
        max_keys: usize,
    ) -> Self {
        let table = |rule: &Rule| {
            let limit = &rule.limit;
            let max_wait = match limit.when_full() {
                WhenFull::Reject | WhenFull::Downgrade => None,
                WhenFull::Wait(time) => Some(nanos(time)),
            };
            let (name, shape) = (limit.name().clone(), limit.shape());
            let mut table =
                Table::new(name, rule.unit, shape, limit.enforced(), max_wait, max_keys);
            table.downgrades = limit.when_full() == WhenFull::Downgrade;
            table
        };
        let core = Mutex::new(Core::new(rules.iter().map(table).collect()));
        let dated = rules.iter().any(|rule| matches!(rule.limit.shape().kind, Kind::Calendar(_)));
        Self { rules, core, hook, wall, dated, epoch: Instant::now() }
    }

    fn now(&self) -> Now {
        let mono = nanos(Instant::now().saturating_duration_since(self.epoch));
        let wall = match self.dated {
            true => nanos(self.wall.now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            false => 0,
        };
        Now { mono, wall }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn finish(&self, effects: Effects) {
        effects.wakers.into_iter().for_each(Waker::wake);
        effects.events.iter().for_each(|event| self.hook.on(event));
    }

    fn claims(&self, request: &Parts) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            if let Some(key) = (rule.key)(request) {
                if claims.is_empty() {
                    claims.reserve_exact(self.rules.len() - at);
                }
                claims.push(Claim::new(at as u32, key, (rule.estimate)(request)));
            }
        }
        claims
    }

    /// Takes all that a request needs, or nothing.
    pub(crate) fn enter(self: &Arc<Self>, request: &Parts) -> Entry {
        let claims = self.claims(request);
        if claims.is_empty() {
            return Entry::Admitted(claims);
        }
        let (now, mut effects) = (self.now(), Effects::default());
        let arrival = self.lock().arrive(claims, now, &mut effects);
        self.finish(effects);
        match arrival {
            Arrival::Admitted(claims) => Entry::Admitted(claims),
            Arrival::Refused(refusal) => Entry::Refused(self.exceeded(refusal)),
            Arrival::Queued(seq) => Entry::Waiting(Place { limiter: self.clone(), seq: Some(seq) }),
        }
    }

    /// Settles what `spent` tells for each claim and its rule.
    pub(crate) fn settle(&self, claims: &mut [Claim], mut spent: impl FnMut(&Rule, u64) -> u64) {
        for claim in claims.iter_mut() {
            let rule = &self.rules[claim.rule as usize];
            claim.spent = match rule.limit.shape().kind {
                Kind::Concurrent => claim.amount,
                _ => spent(rule, claim.amount),
            };
        }
        let (now, mut effects) = (self.now(), Effects::default());
        self.lock().settle(claims, now, &mut effects);
        self.finish(effects);
    }

    /// Whether the request would be admitted at once; takes nothing.
    pub(crate) fn would_admit(&self, request: &Parts) -> bool {
        let claims = self.claims(request);
        let (now, core) = (self.now(), self.lock());
        claims.iter().all(|claim| {
            let table = &core.tables[claim.rule as usize];
            admits(table, &claim.key, claim.amount, now)
        })
    }

    pub(crate) fn would_admit_key(&self, rule: usize, key: &Key, amount: u64) -> bool {
        let (now, core) = (self.now(), self.lock());
        core.tables.get(rule).is_none_or(|table| admits(table, key, amount, now))
    }

    pub(crate) fn standing(&self, rule: usize, key: &Key) -> Option<Standing> {
        let (now, core) = (self.now(), self.lock());
        let table = core.tables.get(rule)?;
        let (state, slot) = table.peek(key, now);
        let (held, waiting) = slot.map_or((0, 0), |slot| (slot.held, slot.queue.len()));
        let view = View::new(&table.shape, &state, held, waiting, now);
        drop(core);
        Some(self.tell(rule, view))
    }

    pub(crate) fn keys(&self, rule: usize) -> Option<usize> {
        self.lock().tables.get(rule).map(Table::len)
    }

    fn tell(&self, rule: usize, view: View) -> Standing {
        let Rule { limit, unit, .. } = &self.rules[rule];
        Standing {
            limit: limit.name().clone(),
            unit: *unit,
            quota: limit.quota(),
            capacity: view.capacity,
            remaining: view.capacity.saturating_sub(view.used),
            held: view.held,
            waiting: view.waiting,
            reset: view.reset.map(Duration::from_nanos),
        }
    }

    /// The limits that the request is over, if it is downgraded.
    pub(crate) fn downgraded(&self, claims: &mut [Claim]) -> Option<Downgraded> {
        if claims.iter().all(|claim| claim.over.is_none()) {
            return None;
        }
        let over = claims.iter_mut().filter_map(|claim| claim.over.take());
        Some(Downgraded(over.map(|refusal| self.exceeded(*refusal)).collect()))
    }

    fn exceeded(&self, refusal: Refusal) -> LimitExceeded {
        let standing = self.tell(refusal.rule as usize, refusal.standing);
        let retry_after = refusal.retry_after.map(Duration::from_nanos);
        LimitExceeded::new(standing, retry_after, refusal.never_fits)
    }
}

impl Place {
    /// The outcome, or the latest moment at which to ask again.
    pub(crate) fn poll(
        &mut self,
        cx: &Context<'_>,
    ) -> Result<Result<Vec<Claim>, LimitExceeded>, Instant> {
        let Some(seq) = self.seq else { return Ok(Ok(Vec::new())) };
        let (now, mut effects) = (self.limiter.now(), Effects::default());
        let outcome = self.limiter.lock().poll_waiter(seq, cx.waker(), now, &mut effects);
        self.limiter.finish(effects);
        match outcome {
            Ok(outcome) => {
                self.seq = None;
                Ok(match outcome {
                    Outcome::Admitted(claims) => Ok(claims),
                    Outcome::Refused(refusal) => Err(self.limiter.exceeded(refusal)),
                })
            }
            Err(armed) => {
                // A century is for ever, and no overflow.
                let wait = Duration::from_nanos(armed.saturating_sub(now.mono));
                Err(Instant::now() + wait.min(Duration::from_secs(100 * 365 * 86_400)))
            }
        }
    }

    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seq) = self.seq.take() {
            let (now, mut effects) = (self.limiter.now(), Effects::default());
            self.limiter.lock().leave(seq, now, &mut effects);
            self.limiter.finish(effects);
        }
    }
}

fn admits(table: &Table, key: &Key, amount: u64, now: Now) -> bool {
    !table.enforce || table.downgrades || fits(table, key, amount, now)
}

fn fits(table: &Table, key: &Key, amount: u64, now: Now) -> bool {
    let (state, slot) = table.peek(key, now);
    amount <= table.shape.capacity
        && slot.is_none_or(|slot| slot.queue.is_empty())
        && state.wait(&table.shape, 0, amount, now) == Some(0)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
