use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::Decision;

/// The latest decisions. Clones share them.
#[derive(Clone, Debug)]
pub struct Decisions {
    latest: Arc<Mutex<VecDeque<Decision>>>,
    most: usize,
}

impl Decisions {
    /// Keeps so many.
    pub fn new(most: usize) -> Self {
        Self { latest: Arc::default(), most }
    }

    pub(crate) fn push(&self, decision: Decision) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // What has to go is dropped when others may push again.
        let _gone = if latest.len() >= self.most { latest.pop_front() } else { None };
        if latest.len() < self.most {
            latest.push_back(decision);
        }
        drop(latest);
    }

    /// The latest first, at most so many.
    pub fn latest(&self, most: usize) -> Vec<Decision> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.iter().rev().take(most).cloned().collect()
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
        let none = Decisions::new(0);
        none.push(Decision::new(Plan::new("d", "cost", [])));
        assert!(none.latest(9).is_empty());
    }
}
