//! What all clones of a layer share: the rules, the hook, the date; and what it shares with those that
//! it took over from: the limits behind one lock.
//!
//! One lock for all limits is what makes a decision one step and deadlock impossible. It is held
//! for some hundred nanoseconds, never across an await, a hook or a caller's closure.

mod ask;
mod look;
mod manage;
mod place;
mod quotas;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::Waker,
    time::{Duration, UNIX_EPOCH},
};

use http::request::Parts;
use tokio::time::Instant;
use tollway_core::{Hook, WallClock};
use tollway_store::{
    StoreError,
    limits::{Kind, LimitJournal, Now, Saved},
};

use quotas::Hints;

pub(crate) use ask::{Asking, Granted, Loan};
pub(crate) use place::Place;

use crate::{
    Downgraded, Event, LimitExceeded, Rule, Standing, WhenFull,
    decide::{Arrival, Claim, Core, Effects, Refusal, View},
    journal::Journal,
    patience::Patience,
    remote::Remote,
    table::Table,
};

pub(crate) struct Limiter {
    pub(crate) rules: Vec<Rule>,
    shared: Arc<Shared>,
    /// Set once its limits hold.
    places: OnceLock<Places>,
    hook: Arc<dyn Hook<Event> + Send + Sync>,
    wall: Arc<dyn WallClock>,
    /// Some limit goes by the calendar.
    dated: bool,
    max_keys: usize,
    /// Decides in the place of the local limits, which then only mirror it.
    remote: Option<Arc<Remote>>,
}

/// What goes from one set of rules to the next.
pub(crate) struct Shared {
    core: Mutex<Core>,
    epoch: Instant,
    /// What the clock says at the epoch: the date, where states outlive the process.
    start: u64,
    journal: OnceLock<Journal>,
    hints: Hints,
}

/// Where the limits are.
struct Places {
    /// The table of each rule.
    tables: Box<[u32]>,
    generation: u64,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rules", &self.rules).finish_non_exhaustive()
    }
}

pub(crate) enum Entry {
    Admitted(Vec<Claim>),
    Refused(LimitExceeded),
    Waiting(Place),
    Asking(Asking),
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::starting(0))
    }

    fn starting(start: u64) -> Self {
        let (core, journal) = (Mutex::new(Core::new(Vec::new())), OnceLock::new());
        Self { core, epoch: Instant::now(), start, journal, hints: Hints::new() }
    }

    /// Limits that go on where `store` says that they were, and are saved there.
    pub(crate) fn durable(
        store: Arc<dyn LimitJournal>,
        wall: &dyn WallClock,
    ) -> Result<(Arc<Self>, Vec<Saved>), StoreError> {
        let shared = Arc::new(Self::starting(since_1970(wall)));
        let (journal, saved) = Journal::start(store, Arc::downgrade(&shared))?;
        let _ = shared.journal.set(journal);
        Ok((shared, saved))
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Limiter {
    pub(crate) fn new(
        rules: Vec<Rule>,
        shared: Arc<Shared>,
        hook: Box<dyn Hook<Event> + Send + Sync>,
        wall: Arc<dyn WallClock>,
        max_keys: usize,
        remote: Option<Arc<Remote>>,
    ) -> Self {
        let dated = rules.iter().any(|rule| matches!(rule.limit.shape().kind, Kind::Calendar(_)));
        let hook = hook.into();
        Self { rules, shared, places: OnceLock::new(), hook, wall, dated, max_keys, remote }
    }

    /// Its limits hold from the first time on that anybody asks.
    fn places(&self) -> &Places {
        if let Some(places) = self.places.get() {
            return places;
        }
        let mut effects = Effects::default();
        let places = self.places.get_or_init(|| {
            let (wanted, now) = (self.rules.iter().map(|rule| self.table(rule)), self.now());
            let wanted = wanted.collect();
            let mut core = self.lock();
            let tables = core.adopt(wanted, now, &mut effects);
            self.note_quotas(&core, now);
            Places { tables, generation: core.generation }
        });
        self.finish(effects);
        places
    }

    fn table(&self, rule: &Rule) -> Table {
        let limit = &rule.limit;
        let max_wait = match limit.when_full() {
            WhenFull::Reject | WhenFull::Downgrade => None,
            WhenFull::Wait(time) => Some(nanos(time)),
        };
        let (name, shape) = (limit.name().clone(), self.local(rule, limit.shape()));
        let mut table =
            Table::new(name, rule.unit, shape, limit.enforced(), max_wait, self.max_keys);
        (table.terms, table.parts) = (limit.terms(), self.parts(rule));
        (table.scope, table.bounded) = (rule.scope.clone(), rule.bounded);
        table.memory = rule.memory().clone();
        table.downgrades = limit.when_full() == WhenFull::Downgrade;
        // What a store decides is its own to remember.
        if self.shared.journal().is_some() && self.is_here(rule) {
            table.remember();
        }
        table
    }

    pub(crate) fn take_over(&self) {
        self.places();
    }

    /// Goes on with what was saved; what is to be forgotten.
    pub(crate) fn restore(&self, saved: Vec<Saved>) -> Vec<Saved> {
        self.take_over();
        let now = self.now();
        self.lock().restore(saved, now)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The table of a rule; `None` if there is no such rule.
    fn place(&self, rule: usize) -> Option<usize> {
        self.places().tables.get(rule).map(|table| *table as usize)
    }

    /// The rule whose table it is.
    fn rule(&self, table: u32) -> &Rule {
        let at = self.places().tables.iter().position(|place| *place == table);
        &self.rules[at.unwrap_or_default()]
    }

    fn now(&self) -> Now {
        let mono = nanos(Instant::now().saturating_duration_since(self.shared.epoch));
        let mono = self.shared.start.saturating_add(mono);
        let wall = match self.dated {
            true => since_1970(&*self.wall),
            false => 0,
        };
        let now = Now { mono, wall };
        if self.shared.hints.are_due(mono) {
            self.end_quotas(now);
        }
        now
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.shared.lock()
    }

    fn finish(&self, effects: Effects) {
        effects.wakers.into_iter().for_each(Waker::wake);
        effects.events.iter().for_each(|event| self.hook.on(event));
    }

    fn claims(&self, request: &Parts) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (at, (rule, table)) in self.rules.iter().zip(&self.places().tables).enumerate() {
            if let Some(key) = (rule.key)(request) {
                if claims.is_empty() {
                    claims.reserve_exact(self.rules.len() - at);
                }
                let amount = (rule.estimate)(request);
                claims.push(Claim::new(*table, key, amount, claims.last()));
            }
        }
        claims
    }

    /// The limits, for a decision on these claims.
    fn decide(&self, claims: &mut [Claim]) -> MutexGuard<'_, Core> {
        let core = self.lock();
        if core.generation != self.places().generation {
            core.fit(claims.iter_mut().map(|claim| {
                let most = self.rule(claim.rule).limit.capacity();
                (claim, most)
            }));
        }
        core
    }

    /// Whatever layers and attempts ask a store for this request, it waits for it but once.
    pub(crate) fn greet(&self, request: &mut Parts) {
        if let Some(remote) = &self.remote {
            Patience::of(&mut request.extensions, remote.store.timeout());
        }
    }

    /// Takes all that a request needs, or nothing.
    pub(crate) fn enter(self: &Arc<Self>, request: &Parts) -> Entry {
        let claims = self.claims(request);
        match &self.remote {
            Some(remote) if claims.iter().any(|claim| !self.rule(claim.rule).here) => {
                let patience = request.extensions.get::<Patience>().cloned();
                let patience = patience.unwrap_or_else(|| Patience::new(remote.store.timeout()));
                Entry::Asking(Box::pin(self.clone().ask(remote.clone(), claims, patience)))
            }
            _ => self.enter_here(claims),
        }
    }

    /// The same by the local limits.
    fn enter_here(self: &Arc<Self>, mut claims: Vec<Claim>) -> Entry {
        if claims.is_empty() {
            return Entry::Admitted(claims);
        }
        let (now, mut effects) = (self.now(), Effects::default());
        let arrival = {
            let mut core = self.decide(&mut claims);
            core.arrive(claims, now, &mut effects)
        };
        self.finish(effects);
        match arrival {
            Arrival::Admitted(claims) => Entry::Admitted(claims),
            Arrival::Refused(refusal) => Entry::Refused(self.exceeded(refusal)),
            Arrival::Queued(seq) => Entry::Waiting(Place::new(self.clone(), seq)),
        }
    }

    /// Settles what `spent` tells for each claim and its rule.
    pub(crate) fn settle(&self, claims: &mut [Claim], mut spent: impl FnMut(&Rule, u64) -> u64) {
        for claim in claims.iter_mut() {
            let rule = self.rule(claim.rule);
            claim.spent = match rule.limit.shape().kind {
                Kind::Concurrent => claim.amount,
                _ => spent(rule, claim.amount),
            };
        }
        let (now, mut effects) = (self.now(), Effects::default());
        self.lock().settle(claims, now, &mut effects);
        self.finish(effects);
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
        let standing = tell(self.rule(refusal.rule), refusal.standing);
        let retry_after = refusal.retry_after.map(Duration::from_nanos);
        LimitExceeded::new(standing, retry_after, refusal.never_fits)
    }
}

impl Drop for Limiter {
    /// Nobody of its requests is left.
    fn drop(&mut self) {
        if let Some(places) = self.places.get() {
            self.shared.lock().forget(&places.tables);
        }
        if let Some(remote) = &self.remote {
            remote.repay(self.now());
        }
    }
}

fn tell(rule: &Rule, view: View) -> Standing {
    let Rule { limit, unit, .. } = rule;
    Standing {
        limit: limit.name().clone(),
        unit: *unit,
        quota: view.own.map_or(limit.quota(), |own| own.quota),
        own: view.own,
        capacity: view.capacity,
        used: view.used,
        remaining: view.capacity.saturating_sub(view.used),
        held: view.held,
        waiting: view.waiting,
        reset: view.reset.map(Duration::from_nanos),
    }
}

fn since_1970(wall: &dyn WallClock) -> u64 {
    nanos(wall.now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
