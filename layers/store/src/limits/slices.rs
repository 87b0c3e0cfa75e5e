//! Slices of shared limits: what an instance takes beforehand of a key that it asks for all the
//! time, and spends without asking. Free of locks, clocks and stores.
//!
//! A slice is a reservation at the store like any other: it is counted there as used from the
//! moment on that it is taken, and settled to what was spent of it. What is left goes back when its
//! life ends; requests under way that were let in by it are settled into it, and what they change
//! is told by and by.

use std::{collections::HashMap, sync::Arc};

use super::{Had, Kind, Settlement, Shape, Take, Want};

/// A slice lives so many ticks, and use is remembered as long.
const LIFE: u64 = 4;
/// Takes within a life that make a key hot.
const HOT: u64 = 4;
/// Keys of which use is remembered; all others are asked for each time.
const KEYS: usize = 10_000;

/// What this instance has out of slices.
#[derive(Debug, Default)]
pub(super) struct Slices {
    keys: HashMap<Arc<str>, Heat>,
    /// By reservation.
    out: HashMap<u64, Slice>,
    /// By take: what requests under way have of slices.
    loans: HashMap<u64, Loan>,
    ticks: u64,
}

/// How much a key is asked for.
#[derive(Debug)]
struct Heat {
    shape: Shape,
    /// Takes and their amounts, in this life and the one before.
    now: (u64, u64),
    before: (u64, u64),
    slice: Option<u64>,
    /// A slice is on its way.
    asking: bool,
}

#[derive(Debug)]
struct Slice {
    wants: Arc<[Want]>,
    wall: u64,
    amount: u64,
    /// Settled, and held by requests under way.
    spent: u64,
    drawn: u64,
    /// What the store counts of it, and what it had told when it was taken.
    told: u64,
    used: u64,
    ends: u64,
    open: bool,
}

/// What a take has of slices: one part for each want.
#[derive(Debug)]
struct Loan {
    parts: Box<[Option<Part>]>,
    /// What it had to ask for all the same.
    asked: Option<Arc<[Want]>>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    slice: u64,
    amount: u64,
    used: u64,
}

/// How a take is decided.
#[derive(Debug)]
pub(super) enum Plan {
    /// It was, out of slices.
    Here(Vec<Had>),
    /// The store is asked for this, and for slices in the same breath.
    Ask(Arc<[Want]>, Vec<Lend>),
}

/// A slice to ask for.
#[derive(Clone, Debug)]
pub(super) struct Lend {
    pub(super) id: u64,
    /// Its place among the wants.
    pub(super) at: usize,
    pub(super) wants: Arc<[Want]>,
}

impl Slice {
    fn free(&self) -> u64 {
        if self.open { self.amount.saturating_sub(self.counted()) } else { 0 }
    }

    fn counted(&self) -> u64 {
        self.spent.saturating_add(self.drawn)
    }

    /// What the store should count.
    fn owed(&self) -> u64 {
        if self.open { self.counted().max(self.amount) } else { self.counted() }
    }
}

impl Slices {
    /// Takes out of slices what they have, and tells what is to be asked for.
    pub(super) fn plan(&mut self, take: &Take, mut id: impl FnMut() -> u64) -> Plan {
        if let Some(Loan { parts, asked }) = self.loans.get(&take.id) {
            return match asked {
                Some(asked) => Plan::Ask(asked.clone(), Vec::new()),
                None => Plan::Here(here(parts)),
            };
        }
        let parts: Box<[_]> = take.wants.iter().map(|want| self.draw(want)).collect();
        let served =
            |want: &Want, part: &Option<Part>| part.is_some_and(|p| p.amount == want.amount);
        if take.wants.iter().zip(&parts).all(|(want, part)| served(want, part)) {
            let had = here(&parts);
            self.loans.insert(take.id, Loan { parts, asked: None });
            return Plan::Here(had);
        }
        let mut slices = Vec::new();
        for (at, (want, part)) in take.wants.iter().zip(&parts).enumerate() {
            let Some(size) = (!served(want, part)).then(|| self.size(want)).flatten() else {
                continue;
            };
            let wants = [Want { amount: size, ..want.clone() }].into();
            slices.push(Lend { id: id(), at, wants });
        }
        if parts.iter().all(Option::is_none) {
            return Plan::Ask(take.wants.clone(), slices);
        }
        let asked: Arc<[Want]> = take.wants.iter().zip(&parts).map(rest).collect();
        self.loans.insert(take.id, Loan { parts, asked: Some(asked.clone()) });
        Plan::Ask(asked, slices)
    }

    /// Takes of a key's slice as much as there is, and remembers that it was asked for.
    fn draw(&mut self, want: &Want) -> Option<Part> {
        if !may_borrow(want) || !self.keys.contains_key(&want.key) && self.keys.len() >= KEYS {
            return None;
        }
        let heat = self.keys.entry(want.key.clone()).or_insert_with(|| Heat::new(want.shape));
        if heat.shape != want.shape {
            if let Some(slice) = heat.slice.and_then(|id| self.out.get_mut(&id)) {
                slice.open = false;
            }
            *heat = Heat { asking: heat.asking, ..Heat::new(want.shape) };
        }
        heat.now = (heat.now.0 + 1, heat.now.1.saturating_add(want.amount));
        let id = heat.slice?;
        let slice = self.out.get_mut(&id).filter(|slice| slice.open)?;
        let amount = want.amount.min(slice.free());
        // Of a limit that refuses nobody either all or nothing is taken.
        if amount < want.amount && (amount == 0 || !want.enforce) {
            return None;
        }
        slice.drawn = slice.drawn.saturating_add(amount);
        Some(Part { slice: id, amount, used: slice.used })
    }

    /// How large a slice is worth its while; from now on it is asked for.
    fn size(&mut self, want: &Want) -> Option<u64> {
        let heat = self.keys.get_mut(&want.key).filter(|_| may_borrow(want))?;
        let (now, before) = (heat.now, heat.before);
        let size = now.1.max(before.1).min(want.borrow);
        let hot = now.0.max(before.0) >= HOT && size >= want.amount.saturating_mul(2).max(2);
        let asks = hot && !heat.asking;
        heat.asking |= asks;
        asks.then_some(size)
    }

    /// The slice was taken, or there was no room for it.
    pub(super) fn lent(&mut self, Lend { id, wants, .. }: Lend, wall: u64, had: Option<Had>) {
        let Some(want) = wants.first() else { return };
        let heat = self.keys.get_mut(&want.key);
        let fits = heat.as_ref().is_some_and(|heat| heat.shape == want.shape);
        let old = heat.and_then(|heat| {
            heat.asking = false;
            let taken = had.is_some_and(|had| had.taken);
            if fits && taken { heat.slice.replace(id) } else { None }
        });
        if let Some(old) = old.and_then(|old| self.out.get_mut(&old)) {
            old.open = false;
        }
        let Some(had) = had.filter(|had| had.taken) else { return };
        let (amount, used, ends) = (want.amount, had.used, self.ticks + LIFE);
        let (spent, drawn, told, open) = (0, 0, amount, fits);
        self.out.insert(id, Slice { wants, wall, amount, spent, drawn, told, used, ends, open });
    }

    /// Settles what slices gave; what is left for the store to settle.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Option<Settlement> {
        let Some(Loan { parts, asked }) = self.loans.remove(&settlement.id) else {
            return Some(settlement);
        };
        let mut settlement = settlement;
        for (part, spent) in parts.iter().zip(&mut settlement.spent) {
            let Some(part) = part else { continue };
            // What goes beyond is owed where the rest was taken.
            let here = if asked.is_some() { part.amount.min(*spent) } else { *spent };
            *spent -= here;
            if let Some(slice) = self.out.get_mut(&part.slice) {
                slice.drawn = slice.drawn.saturating_sub(part.amount);
                slice.spent = slice.spent.saturating_add(here);
            }
        }
        asked.map(|wants| Settlement { wants, ..settlement })
    }

    /// What a take that found no room elsewhere has of slices goes back.
    pub(super) fn cancel(&mut self, id: u64) {
        let Some(loan) = self.loans.get(&id) else { return };
        let spent = vec![0; loan.parts.len()];
        let _ = self.settle(Settlement { id, wants: [].into(), spent, wall: 0 });
    }

    /// What a take has of a slice for one of its wants.
    pub(super) fn part(&self, id: u64, want: usize) -> u64 {
        let loan = self.loans.get(&id);
        loan.and_then(|loan| *loan.parts.get(want)?).map_or(0, |part| part.amount)
    }

    /// Time passes.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        let ticks = self.ticks;
        self.out.values_mut().for_each(|slice| slice.open &= slice.ends > ticks);
        if ticks % LIFE > 0 {
            return;
        }
        let out = &self.out;
        self.keys.retain(|_, heat| {
            heat.before = std::mem::take(&mut heat.now);
            let open = heat.slice.is_some_and(|id| out.get(&id).is_some_and(|slice| slice.open));
            heat.asking || open || heat.before.0 > 0
        });
    }

    /// Ends all slices.
    pub(super) fn close(&mut self) {
        self.out.values_mut().for_each(|slice| slice.open = false);
    }

    /// Tells what the store is to count from now on of slices that have changed; `true`: there is
    /// more to come. What isn't taken is told again. Whether all was.
    pub(super) fn due(&mut self, mut tell: impl FnMut(Settlement, bool) -> bool) -> bool {
        let mut all = true;
        self.out.retain(|id, slice| {
            let (owed, lives) = (slice.owed(), slice.open || slice.drawn > 0);
            if lives && owed == slice.told {
                return true;
            }
            let (wants, wall) = (slice.wants.clone(), slice.wall);
            if !tell(Settlement { id: *id, wants, spent: vec![owed], wall }, lives) {
                all = false;
                return true;
            }
            slice.told = owed;
            lives
        });
        all
    }

    /// All that was in memory is gone.
    #[cfg(test)]
    pub(super) fn crash(&mut self) {
        *self = Self::default();
    }
}

impl Heat {
    fn new(shape: Shape) -> Self {
        Self { shape, now: (0, 0), before: (0, 0), slice: None, asking: false }
    }
}

fn may_borrow(want: &Want) -> bool {
    want.borrow > 0
        && !want.force
        && want.amount <= want.shape.capacity
        && want.shape.kind != Kind::Concurrent
}

/// What a want lacks beyond its part; it stays in its place, where that is nothing.
fn rest((want, part): (&Want, &Option<Part>)) -> Want {
    let Some(part) = part else { return want.clone() };
    let amount = want.amount - part.amount;
    Want { amount, force: amount == 0, ..want.clone() }
}

fn here(parts: &[Option<Part>]) -> Vec<Had> {
    let had = |part: &Part| Had { used: part.used, taken: true, climbed: false };
    parts.iter().flatten().map(had).collect()
}
