//! Rules that take the place of others while requests are under way.
//!
//! All generations of rules share one [`Core`]: a limit's table goes on under the new rule of its
//! name, requests of the old generation settle into it, and who waits there keeps the place in line.
//! A table that no new rule goes on with refuses nobody any more, and goes with the last generation
//! that knows it.

use tollway_store::limits::Now;

use crate::{
    decide::{Claim, Core, Effects, Stage},
    events::{Event, EventKind},
    key::Key,
    table::Table,
};

impl Core {
    /// From now on these limits hold, and no others: the place of each.
    pub(crate) fn adopt(
        &mut self,
        wanted: Vec<Table>,
        now: Now,
        effects: &mut Effects,
    ) -> Box<[u32]> {
        let now = self.clock(now);
        let mut places = Vec::with_capacity(wanted.len());
        for next in wanted {
            match self.tables.iter().position(|table| table.leads_to(&next)) {
                Some(at) => {
                    self.tables[at].reshape(&next, now);
                    self.tables[at].users += 1;
                    places.push(at as u32);
                }
                None => {
                    if self.tables.iter().any(|table| table.current && table.memory == next.memory)
                    {
                        let (limit, unit) = (next.name.clone(), next.unit);
                        let kind = EventKind::StartedAnew;
                        effects.events.push(Event { limit, unit, key: Key::All, kind });
                    }
                    places.push(self.settle_in(next));
                }
            }
        }
        for (at, table) in self.tables.iter_mut().enumerate() {
            table.current = places.contains(&(at as u32));
            table.enforce &= table.current;
            table.close_if_unused();
        }
        self.generation += 1;
        self.look_again(now, effects);
        places.into()
    }

    /// Puts a table where there is none any more, or at the end.
    fn settle_in(&mut self, mut table: Table) -> u32 {
        (table.current, table.users) = (false, 1);
        match self.tables.iter().position(|old| old.users == 0 && !old.current) {
            Some(at) => {
                self.tables[at] = table;
                at as u32
            }
            None => {
                self.tables.push(table);
                (self.tables.len() - 1) as u32
            }
        }
    }

    /// Asks everybody in line how things stand now.
    pub(crate) fn look_again(&mut self, now: Now, effects: &mut Effects) {
        let waiting: Vec<u64> = self.waiters.keys().copied().collect();
        for waiter in self.waiters.values_mut().filter(|waiter| waiter.outcome.is_none()) {
            for claim in &mut waiter.claims {
                let table = &mut self.tables[claim.rule as usize];
                // Who asked for all that there was asks for all that there is.
                let most = table.shape_for(&claim.key).capacity;
                if claim.amount > most {
                    if claim.stage == Stage::Queued {
                        let slot = table.slot_mut(claim.slot);
                        slot.want_less(claim.amount - most);
                    }
                    claim.amount = most;
                }
            }
        }
        self.tables.iter_mut().filter(|table| !table.enforce).for_each(Table::disperse);
        for seq in waiting {
            let Some(mut waiter) = self.waiters.remove(&seq) else { continue };
            let mut places = Vec::new();
            if waiter.outcome.is_none() {
                places = self.try_waiter(seq, &mut waiter, now, effects);
            }
            self.waiters.insert(seq, waiter);
            self.pump(places, now, effects);
        }
    }

    /// Cuts what an older generation estimates for limits that have shrunk since: what fits there
    /// by its own rules is not too large for ever.
    pub(crate) fn fit<'a>(&self, claims: impl Iterator<Item = (&'a mut Claim, u64)>) {
        for (claim, most) in claims {
            if claim.amount <= most {
                let table = &self.tables[claim.rule as usize];
                claim.amount = claim.amount.min(table.shape_for(&claim.key).capacity);
            }
        }
    }

    /// A generation is gone, with all its requests.
    pub(crate) fn forget(&mut self, places: &[u32]) {
        for at in places {
            let table = &mut self.tables[*at as usize];
            table.users = table.users.saturating_sub(1);
            table.close_if_unused();
        }
    }
}
