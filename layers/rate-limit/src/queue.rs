//! Waiting in line: first come first served at each key, woken when it is one's turn.
//!
//! A request stands in the queue of each limit that holds it up, ordered by when it came. It goes
//! when it is first in all of them and everything fits; whoever makes that true (a reply that ends,
//! a waiter that leaves, a timer) takes for it and wakes it. The oldest waiter is first everywhere,
//! so they can't hold each other up for ever.

use std::task::Waker;

use tollway_store::limits::Now;

use crate::{
    decide::{Arrival, Claim, Core, Effects, Refusal, Stage, Verdict, worse},
    events::EventKind,
};

/// A request in line.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) claims: Vec<Claim>,
    arrived: u64,
    /// Refused if it could not go by then.
    deadline: u64,
    /// When its timer goes off.
    armed: u64,
    waker: Option<Waker>,
    pub(crate) outcome: Option<Outcome>,
}

#[cfg(test)]
impl Waiter {
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    pub(crate) fn granted(&self) -> &[Claim] {
        match &self.outcome {
            Some(Outcome::Admitted(claims)) => claims,
            _ => &[],
        }
    }
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Admitted(Vec<Claim>),
    Refused(Refusal),
}

impl Core {
    /// Puts a request in line, or refuses it where its time can't do.
    pub(crate) fn enqueue(
        &mut self,
        claims: Vec<Claim>,
        now: Now,
        effects: &mut Effects,
    ) -> Arrival {
        let seq = self.next;
        let mut waiter = Waiter {
            claims,
            arrived: now.mono,
            deadline: u64::MAX,
            armed: now.mono,
            waker: None,
            outcome: None,
        };
        let late = self.join(seq, &mut waiter, now);
        if let Some(refusal) = late {
            self.unqueue(seq, &mut waiter);
            self.tell_refusal(&waiter.claims, &refusal, effects);
            return Arrival::Refused(refusal);
        }
        self.next += 1;
        self.waiters.insert(seq, waiter);
        Arrival::Queued(seq)
    }

    /// Joins the queues of all limits that hold the request up and sets its timer; the refusal of
    /// one that can't let it go in time.
    fn join(&mut self, seq: u64, waiter: &mut Waiter, now: Now) -> Option<Refusal> {
        let mut refusal = None;
        let mut ready = now.mono;
        for claim in &mut waiter.claims {
            let table = &mut self.tables[claim.rule as usize];
            let max_wait = match table.max_wait.filter(|_| table.enforce) {
                Some(max_wait) => max_wait,
                // The limit lets nobody wait any more; who waits already does.
                None if claim.stage == Stage::Queued => 0,
                None => continue,
            };
            let slot = table.slot(claim.slot);
            let place = slot.place(seq);
            // What those in front want is known without a walk only at the two ends. In between
            // the timer is left alone: whoever lets it come to the front sets it.
            let ahead = match claim.stage {
                _ if place == 0 => Some(0),
                Stage::Queued => None,
                _ => (place == slot.waiting()).then(|| slot.backlog()),
            };
            let wait = ahead.and_then(|ahead| table.wait(claim.slot, ahead, claim.amount, now));
            if claim.stage != Stage::Queued {
                if wait == Some(0) && place == 0 {
                    continue;
                }
                claim.stage = Stage::Queued;
                table.slot_mut(claim.slot).join(seq, claim.amount);
                let deadline = waiter.arrived.saturating_add(max_wait);
                waiter.deadline = waiter.deadline.min(deadline);
            }
            let at = wait.map_or(u64::MAX, |wait| now.mono.saturating_add(wait));
            ready = ready.max(at);
            if let (Some(ahead), Some(_)) = (ahead, wait) {
                if at > waiter.deadline {
                    let found = self.refusal(claim, ahead, now);
                    refusal = Some(refusal.map_or(found.clone(), |worst| worse(worst, found)));
                }
            }
        }
        waiter.armed = ready.min(waiter.deadline);
        refusal
    }

    fn unqueue(&mut self, seq: u64, waiter: &mut Waiter) -> Vec<(u32, u32)> {
        let mut places = Vec::new();
        for claim in &mut waiter.claims {
            if claim.stage == Stage::Queued {
                claim.stage = Stage::Open;
                let slot = self.tables[claim.rule as usize].slot_mut(claim.slot);
                slot.leave(seq, claim.amount);
                places.push((claim.rule, claim.slot));
            }
        }
        places
    }

    /// Lets go whoever is first at these keys and can go, and then whoever is first behind them.
    pub(crate) fn pump(&mut self, mut places: Vec<(u32, u32)>, now: Now, effects: &mut Effects) {
        while let Some((rule, slot)) = places.pop() {
            let front = self.tables[rule as usize].slot(slot).front();
            let Some((seq, mut waiter)) = front.and_then(|seq| self.waiters.remove_entry(&seq))
            else {
                continue;
            };
            places.extend(self.try_waiter(seq, &mut waiter, now, effects));
            self.waiters.insert(seq, waiter);
        }
    }

    /// One more look at a waiter; the keys it leaves, where others may go now.
    pub(crate) fn try_waiter(
        &mut self,
        seq: u64,
        waiter: &mut Waiter,
        now: Now,
        effects: &mut Effects,
    ) -> Vec<(u32, u32)> {
        let outcome = match self.judge(&mut waiter.claims, Some(seq), now) {
            Verdict::Fits => None,
            Verdict::Refuse(refusal) => Some(refusal),
            Verdict::Wait => {
                let armed = waiter.armed;
                let late = self.join(seq, waiter, now);
                let over = now.mono >= waiter.deadline;
                let held_up = || if over { self.hold_up(seq, waiter, now) } else { None };
                let Some(refusal) = late.or_else(held_up) else {
                    // Only an earlier timer needs a wake: a later one is set when the old goes off.
                    if waiter.armed < armed {
                        effects.wakers.extend(waiter.waker.take());
                    }
                    return Vec::new();
                };
                Some(refusal)
            }
        };
        let queued: Vec<u32> =
            waiter.claims.iter().filter(|c| c.stage == Stage::Queued).map(|c| c.rule).collect();
        let places = self.unqueue(seq, waiter);
        let mut claims = std::mem::take(&mut waiter.claims);
        waiter.outcome = Some(match outcome {
            Some(refusal) => {
                self.tell_refusal(&claims, &refusal, effects);
                Outcome::Refused(refusal)
            }
            None => {
                self.take(&mut claims, now, effects);
                let waited = now.mono.saturating_sub(waiter.arrived);
                for claim in claims.iter().filter(|claim| queued.contains(&claim.rule)) {
                    let kind = EventKind::Waited(std::time::Duration::from_nanos(waited));
                    let table = &self.tables[claim.rule as usize];
                    effects.events.push(table.event_of(claim, kind));
                }
                Outcome::Admitted(claims)
            }
        });
        effects.wakers.extend(waiter.waker.take());
        places
    }

    /// The limit that holds a waiter up longest.
    fn hold_up(&self, seq: u64, waiter: &Waiter, now: Now) -> Option<Refusal> {
        let queued = waiter.claims.iter().filter(|claim| claim.stage == Stage::Queued);
        let refusals = queued.map(|claim| {
            let ahead = self.tables[claim.rule as usize].slot(claim.slot).before(seq);
            let ahead = ahead.filter_map(|other| self.waiters.get(other)).flat_map(|w| &w.claims);
            let ahead = ahead.filter(|c| c.rule == claim.rule && c.slot == claim.slot);
            self.refusal(claim, ahead.map(|c| u128::from(c.amount)).sum(), now)
        });
        refusals.reduce(worse)
    }

    /// A waiter asks how it stands: its outcome, or when to ask again at the latest.
    pub(crate) fn poll_waiter(
        &mut self,
        seq: u64,
        waker: &Waker,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Outcome, u64> {
        let now = self.clock(now);
        if let Some(waiter) = self.waiters.get(&seq).filter(|waiter| waiter.armed <= now.mono) {
            // Those in front first, whose tasks may be slow to come.
            let queued = waiter.claims.iter().filter(|claim| claim.stage == Stage::Queued);
            let places = queued.map(|claim| (claim.rule, claim.slot)).collect();
            self.pump(places, now, effects);
        }
        let Some(mut waiter) = self.waiters.remove(&seq) else { return Err(u64::MAX) };
        if waiter.outcome.is_none() && now.mono >= waiter.armed {
            let places = self.try_waiter(seq, &mut waiter, now, effects);
            self.pump(places, now, effects);
        }
        match waiter.outcome.take() {
            Some(outcome) => Ok(outcome),
            None => {
                waiter.waker = Some(waker.clone());
                let armed = waiter.armed;
                self.waiters.insert(seq, waiter);
                Err(armed)
            }
        }
    }

    /// A waiter goes away: it gives back its place, or what it had been given meanwhile.
    pub(crate) fn leave(&mut self, seq: u64, now: Now, effects: &mut Effects) {
        let now = self.clock(now);
        let Some(mut waiter) = self.waiters.remove(&seq) else { return };
        match waiter.outcome.take() {
            Some(Outcome::Admitted(claims)) => self.settle(&claims, now, effects),
            Some(Outcome::Refused(_)) => {}
            None => {
                let places = self.unqueue(seq, &mut waiter);
                self.pump(places, now, effects);
            }
        }
    }
}
