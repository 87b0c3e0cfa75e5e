//! Tells when what limits have counted can't be saved, and when it can be again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tollway_store::{
    StoreError,
    limits::{LimitJournal, Saved},
};

use crate::telemetry::{Telemetry, names};

/// A journal whose failures are told once, by log and metric. Limits go on without it.
#[derive(Debug)]
struct Told {
    journal: Arc<dyn LimitJournal>,
    telemetry: Telemetry,
    failing: AtomicBool,
}

pub(super) fn told(
    journal: impl LimitJournal + 'static,
    telemetry: &Telemetry,
) -> Arc<dyn LimitJournal> {
    let (journal, telemetry) = (Arc::new(journal), telemetry.clone());
    Arc::new(Told { journal, telemetry, failing: AtomicBool::new(false) })
}

impl LimitJournal for Told {
    fn load(&self) -> Result<Vec<Saved>, StoreError> {
        self.journal.load()
    }

    fn save(&self, keys: &[Saved]) -> Result<(), StoreError> {
        let saved = self.journal.save(keys);
        let fails = saved.is_err();
        if self.failing.swap(fails, Ordering::Relaxed) != fails {
            self.telemetry.set(names::LIMITS_UNSAVED, vec![], f64::from(u8::from(fails)));
            match &saved {
                Err(why) => {
                    tracing::warn!(%why, "what limits have counted can't be saved; it is tried again");
                }
                Ok(()) => tracing::info!("what limits have counted is saved again"),
            }
        }
        saved
    }

    fn place(&self) -> Option<(u64, u64)> {
        self.journal.place()
    }

    fn lost(&self, keys: usize) {
        tracing::warn!(
            keys,
            "what limits have last counted is lost: the process ends, and it can't be saved"
        );
    }
}
