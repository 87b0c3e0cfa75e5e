//! One step for all limits of a request: take everything or nothing. Free of locks and clocks.

use std::{collections::BTreeMap, task::Waker};

use tollway_store::limits::{Now, Receipt, Shape, State};

use crate::{
    events::{Event, EventKind},
    key::Key,
    queue::Waiter,
    quota::KeyQuota,
    table::Table,
};

/// What a request wants, and later has, of one limit.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The limit's table.
    pub(crate) rule: u32,
    pub(crate) amount: u64,
    pub(crate) key: Key,
    /// The key's.
    pub(crate) hash: u32,
    pub(crate) slot: u32,
    pub(crate) receipt: Receipt,
    /// What was used, set before it is settled.
    pub(crate) spent: u64,
    pub(crate) stage: Stage,
    /// Why the request is downgraded, where its limit does that.
    pub(crate) over: Option<Box<Refusal>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was taken. The slot may be gone by the next look.
    Open,
    /// Stands in the slot's queue.
    Queued,
    /// Taken, to be settled.
    Taken,
    /// A shadow limit without room: nothing was taken.
    Passed,
}

impl Claim {
    /// `last` is one of the same request, since most of its limits go by the same key.
    pub(crate) fn new(rule: u32, key: Key, amount: u64, last: Option<&Self>) -> Self {
        let hash = match last {
            Some(last) if last.key.is_same(&key) => last.hash,
            _ => key.hash(),
        };
        let (receipt, stage) = (Receipt::default(), Stage::Open);
        Self { rule, amount, key, hash, slot: 0, receipt, spent: 0, stage, over: None }
    }
}

/// The limit that refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) rule: u32,
    pub(crate) never_fits: bool,
    /// Nanoseconds until the request would be admitted, if that is known.
    pub(crate) retry_after: Option<u64>,
    pub(crate) standing: View,
}

/// Numbers of one limit and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) held: u64,
    pub(crate) waiting: usize,
    pub(crate) reset: Option<u64>,
    /// The key's own quota, if it has one.
    pub(crate) own: Option<KeyQuota>,
}

impl View {
    pub(crate) fn new(shape: &Shape, state: &State, held: u64, waiting: usize, now: Now) -> Self {
        let (used, reset) = (state.used(shape), state.reset(shape, now));
        Self { capacity: shape.capacity, used, held, waiting, reset, own: None }
    }
}

/// What is left to do when the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug)]
pub(crate) enum Arrival {
    Admitted(Vec<Claim>),
    Refused(Refusal),
    /// Stands in line under this number.
    Queued(u64),
}

/// How a request stands with its limits at one moment.
pub(crate) enum Verdict {
    Fits,
    Refuse(Refusal),
    /// Some limit that allows waiting is full, or others wait there.
    Wait,
}

/// All limits of a layer with everything that is taken, held and waited for.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) tables: Vec<Table>,
    pub(crate) waiters: BTreeMap<u64, Waiter>,
    pub(crate) next: u64,
    /// How many sets of rules there were.
    pub(crate) generation: u64,
    latest: Now,
}

impl Core {
    pub(crate) fn new(tables: Vec<Table>) -> Self {
        let (waiters, latest) = (BTreeMap::new(), Now::default());
        Self { tables, waiters, next: 0, generation: 0, latest }
    }

    /// Threads read the clock before they take the lock; here time doesn't run backwards. Rules
    /// without a calendar read no date: the last one that was read is theirs.
    pub(crate) fn clock(&mut self, now: Now) -> Now {
        let wall = if now.wall == 0 { self.latest.wall } else { now.wall };
        self.latest = Now { mono: self.latest.mono.max(now.mono), wall };
        self.latest
    }

    /// A request comes.
    pub(crate) fn arrive(
        &mut self,
        mut claims: Vec<Claim>,
        now: Now,
        effects: &mut Effects,
    ) -> Arrival {
        let now = self.clock(now);
        if !self.waiters.is_empty() {
            // Whoever can go by now goes before the newcomer.
            let place = |claim: &Claim| {
                let slot = self.tables[claim.rule as usize].find(&claim.key, claim.hash)?;
                Some((claim.rule, slot))
            };
            let places = claims.iter().filter_map(place).collect();
            self.pump(places, now, effects);
        }
        match self.judge(&mut claims, None, now) {
            Verdict::Fits => {
                self.take(&mut claims, now, effects);
                Arrival::Admitted(claims)
            }
            Verdict::Wait => self.enqueue(claims, now, effects),
            Verdict::Refuse(refusal) => {
                self.tell_refusal(&claims, &refusal, effects);
                Arrival::Refused(refusal)
            }
        }
    }

    /// How the request stands now; `seq` is its place in line if it waits already.
    pub(crate) fn judge(&mut self, claims: &mut [Claim], seq: Option<u64>, now: Now) -> Verdict {
        let (mut refusal, mut wait) = (None::<Refusal>, false);
        for claim in claims {
            let table = &mut self.tables[claim.rule as usize];
            let bounded = table.bounded && claim.stage != Stage::Queued;
            if claim.stage != Stage::Queued {
                claim.slot = table.resolve(&claim.key, claim.hash, now);
            }
            let (slot, shape) = table.advance(claim.slot, now);
            if bounded {
                claim.amount = claim.amount.min(shape.capacity);
            }
            let (capacity, front) = (shape.capacity, slot.front());
            let fits =
                claim.amount <= capacity && slot.state.wait(shape, 0, claim.amount, now) == Some(0);
            claim.over = None;
            if !table.enforce {
                claim.stage = if fits { Stage::Open } else { Stage::Passed };
                continue;
            }
            if table.downgrades {
                claim.over = (!fits).then(|| Box::new(self.refusal(claim, 0, now)));
                continue;
            }
            let overtakes = front.is_some_and(|front| seq.is_none_or(|seq| front < seq));
            if fits && !overtakes {
                continue;
            }
            let may_wait = table.max_wait.is_some() || claim.stage == Stage::Queued;
            if may_wait && claim.amount <= capacity {
                wait = true;
            } else {
                let found = self.refusal(claim, 0, now);
                refusal = Some(refusal.map_or(found.clone(), |worst| worse(worst, found)));
            }
        }
        match refusal {
            Some(refusal) => Verdict::Refuse(refusal),
            None if wait => Verdict::Wait,
            None => Verdict::Fits,
        }
    }

    /// Takes every claim that was judged to fit.
    pub(crate) fn take(&mut self, claims: &mut [Claim], now: Now, effects: &mut Effects) {
        for claim in claims {
            let table = &mut self.tables[claim.rule as usize];
            if claim.stage == Stage::Passed {
                if table.current {
                    effects.events.push(table.event_of(claim, EventKind::WouldHaveRefused));
                }
                continue;
            }
            if claim.over.is_some() {
                claim.amount = 0;
                effects.events.push(table.event_of(claim, EventKind::Downgraded));
            }
            claim.receipt = table.take(claim.slot, claim.amount, now);
            claim.stage = Stage::Taken;
            table.watch(claim.slot, &mut effects.events);
        }
    }

    /// Puts what was used in the place of what was taken.
    pub(crate) fn settle(&mut self, claims: &[Claim], now: Now, effects: &mut Effects) {
        let now = self.clock(now);
        let mut places = Vec::new();
        for claim in claims {
            if claim.stage != Stage::Taken {
                continue;
            }
            let table = &mut self.tables[claim.rule as usize];
            if table.settle(claim, now) {
                places.push((claim.rule, claim.slot));
            }
            if claim.spent > claim.amount {
                let kind = EventKind::Debt { reserved: claim.amount, spent: claim.spent };
                effects.events.push(table.event_of(claim, kind));
            }
            table.watch(claim.slot, &mut effects.events);
        }
        if !places.is_empty() {
            self.pump(places, now, effects);
        }
    }

    /// The refusal of `claim` by its limit, behind `ahead` that wait there.
    pub(crate) fn refusal(&self, claim: &Claim, ahead: u128, now: Now) -> Refusal {
        let table = &self.tables[claim.rule as usize];
        let (slot, shape) = table.at(claim.slot);
        let never_fits = claim.amount > shape.capacity;
        let wait = table.wait(claim.slot, ahead, claim.amount, now);
        let others = slot.waiting() - usize::from(claim.stage == Stage::Queued);
        let own = table.quota_at(claim.slot);
        let standing = View { own, ..View::new(shape, &slot.state, slot.held, others, now) };
        let retry_after = wait.filter(|_| !never_fits);
        Refusal { rule: claim.rule, never_fits, retry_after, standing }
    }

    pub(crate) fn tell_refusal(&self, claims: &[Claim], refusal: &Refusal, effects: &mut Effects) {
        if let Some(claim) = claims.iter().find(|claim| claim.rule == refusal.rule) {
            let standing = &refusal.standing;
            let kind = EventKind::Refused {
                never_fits: refusal.never_fits,
                asked: claim.amount,
                available: standing.capacity.saturating_sub(standing.used),
                retry_after: refusal.retry_after.map(std::time::Duration::from_nanos),
            };
            let table = &self.tables[claim.rule as usize];
            let (limit, unit) = (table.name.clone(), table.unit);
            effects.events.push(Event { limit, unit, key: claim.key.clone(), kind });
        }
    }
}

/// Of two refusals the one that lasts longer: never, then nobody knows, then the later.
pub(crate) fn worse(a: Refusal, b: Refusal) -> Refusal {
    let rank = |refusal: &Refusal| (refusal.never_fits, refusal.retry_after.unwrap_or(u64::MAX));
    if rank(&b) > rank(&a) { b } else { a }
}
