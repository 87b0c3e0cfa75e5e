use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Decision;

/// The latest decisions. Clones share them.
#[derive(Clone, Debug)]
pub struct Decisions(Arc<Mutex<Latest>>);

#[derive(Debug)]
struct Latest {
    decisions: VecDeque<Decision>,
    most: usize,
}

impl Decisions {
    /// Keeps so many.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Latest { decisions: VecDeque::new(), most })))
    }

    /// Keeps so many from now on.
    pub(super) fn keep(&self, most: usize) {
        let mut latest = self.lock();
        latest.most = most;
        let gone = latest.decisions.len().saturating_sub(most);
        latest.decisions.drain(..gone);
    }

    pub(crate) fn push(&self, decision: Decision) {
        let mut latest = self.lock();
        let most = latest.most;
        // What has to go is dropped when others may push again.
        let full = latest.decisions.len() >= most;
        let _gone = if full { latest.decisions.pop_front() } else { None };
        if latest.decisions.len() < most {
            latest.decisions.push_back(decision);
        }
        drop(latest);
    }

    /// The latest first, at most so many.
    pub fn latest(&self, most: usize) -> Vec<Decision> {
        self.lock().decisions.iter().rev().take(most).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::Plan;

    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let decisions = Decisions::new(2);
        for name in ["a", "b", "c"] {
            decisions.push(Decision::new(Plan::new(name, "cost", [])));
        }
        let routes = |most| -> Vec<String> {
            decisions.latest(most).iter().map(|one| one.plan.route.to_string()).collect()
        };
        assert_eq!((routes(9), routes(1)), (vec!["c".into(), "b".into()], vec!["c".into()]));
        decisions.keep(1);
        assert_eq!(routes(9), ["c"]);
        decisions.keep(3);
        decisions.push(Decision::new(Plan::new("d", "cost", [])));
        assert_eq!(routes(9), ["d", "c"]);
        let none = Decisions::new(0);
        none.push(Decision::new(Plan::new("d", "cost", [])));
        assert!(none.latest(9).is_empty());
    }
}
