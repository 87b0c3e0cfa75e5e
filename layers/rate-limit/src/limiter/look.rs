//! Looks at limits, which take nothing.

use std::sync::Arc;

use http::request::Parts;
use tollway_store::limits::Now;

use super::{Limiter, ask, tell};
use crate::{Downgraded, Key, LimitExceeded, Rule, Standing, decide::View, table::Table};

impl Limiter {
    /// Whether the request would be admitted at once; takes nothing.
    pub(crate) fn would_admit(&self, request: &Parts) -> bool {
        let mut claims = self.claims(request);
        let (now, core) = (self.now(), self.decide(&mut claims));
        claims.iter().all(|claim| {
            let table = &core.tables[claim.rule as usize];
            let most = self.most(table, self.rule(claim.rule), &claim.key);
            admits(table, &claim.key, claim.amount, most, now)
        })
    }

    /// The limits that would downgrade the request now; takes nothing.
    pub(crate) fn would_downgrade(&self, request: &Parts) -> Option<Downgraded> {
        let mut claims = self.claims(request);
        let (now, core) = (self.now(), self.decide(&mut claims));
        let over = claims.iter().filter_map(|claim| {
            let table = core.tables.get(claim.rule as usize)?;
            let (rule, key) = (self.rule(claim.rule), &claim.key);
            let most = self.most(table, rule, key);
            let over = table.enforce && table.downgrades;
            if !over || fits(table, key, claim.amount, most, now) {
                return None;
            }
            let standing = tell(rule, view(table, key, now));
            let retry_after = standing.reset;
            Some(LimitExceeded::new(standing, retry_after, claim.amount > most))
        });
        let over: Arc<[LimitExceeded]> = over.collect();
        (!over.is_empty()).then_some(Downgraded(over))
    }

    pub(crate) fn would_admit_key(&self, rule: usize, key: &Key, amount: u64) -> bool {
        let Some(at) = self.place(rule) else { return true };
        let (now, core) = (self.now(), self.lock());
        let table = &core.tables[at];
        admits(table, key, amount, self.most(table, &self.rules[rule], key), now)
    }

    /// What a request may want at the most: the limit's, where the table is but a share of it.
    fn most(&self, table: &Table, rule: &Rule, key: &Key) -> u64 {
        if rule.bounded {
            return u64::MAX;
        }
        if self.is_here(rule) {
            return table.shape_for(key).capacity;
        }
        table.whole_of(key).unwrap_or(rule.limit.shape()).capacity
    }

    pub(crate) fn standing(&self, rule: usize, key: &Key) -> Option<Standing> {
        let at = self.place(rule)?;
        let (now, core) = (self.now(), self.lock());
        let table = &core.tables[at];
        let mut view = view(table, key, now);
        if let Some(remote) = &self.remote {
            view.waiting += remote.lines.waiting(&ask::name(&self.rules[rule], key));
        }
        drop(core);
        Some(tell(&self.rules[rule], view))
    }

    pub(crate) fn admitted(&self) -> Vec<(Arc<str>, u64)> {
        let core = self.lock();
        core.tables
            .iter()
            .filter(|table| table.current)
            .map(|table| (table.name.clone(), table.admitted))
            .collect()
    }

    pub(crate) fn keys(&self, rule: usize) -> Option<usize> {
        let at = self.place(rule)?;
        Some(self.lock().tables[at].len())
    }
}

fn view(table: &Table, key: &Key, now: Now) -> View {
    let (state, slot) = table.peek(key, now);
    let (held, waiting) = slot.map_or((0, 0), |slot| (slot.held, slot.waiting()));
    let view = View::new(table.shape_for(key), &state, held, waiting, now);
    View { own: table.quota_of(key), ..view }
}

fn admits(table: &Table, key: &Key, amount: u64, most: u64, now: Now) -> bool {
    !table.enforce || table.downgrades || fits(table, key, amount, most, now)
}

fn fits(table: &Table, key: &Key, amount: u64, most: u64, now: Now) -> bool {
    let ((state, slot), shape) = (table.peek(key, now), table.shape_for(key));
    amount <= most
        && slot.is_none_or(|slot| slot.waiting() == 0)
        && state.wait(shape, 0, amount.min(shape.capacity), now) == Some(0)
}
