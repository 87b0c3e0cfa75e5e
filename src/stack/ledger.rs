//! The ledger of the policy: where it is, what it tells, and what it knew before.

use std::{sync::Arc, time::Duration};

use tollway_core::{SystemClock, WallClock};
use tollway_cost::{Dimension, Totals};
use tollway_rate_limit as rate_limit;
use tollway_store::{
    StoreError,
    ledger::{
        By, Event, Keep, Ledger, MemoryLedger, Period, TotalsOf, Writer, WriterConfig, millis,
    },
};

use super::{
    Stack, StackError,
    stores::{Books, Place, Places},
};
use crate::{
    policy::{Policy, Store},
    telemetry::{Telemetry, names},
};

/// How long it is tried at the end to write what still waits. A file waits for its locks itself.
const LAST: Duration = Duration::from_secs(3);
const LAST_FILE: Duration = Duration::from_secs(1);

/// A Redis is held up by a batch, so they are smaller.
const BATCH_SHARED: usize = 200;

/// Opens the ledger and starts what writes it.
pub(super) fn open(
    policy: &Policy,
    places: &mut Places,
    telemetry: &Telemetry,
) -> Result<Books, StackError> {
    let wrong = |error: StoreError| StackError::new("state.ledger", error);
    let config = &policy.state.ledger;
    let ledger = keeper(places.open(&config.store).map_err(wrong)?, &config.keep);
    let telemetry = telemetry.clone();
    telemetry.set(names::LEDGER_FAILING, vec![], 0.0);
    telemetry.count_many(names::LEDGER_DROPPED, 0);
    let mut written = WriterConfig {
        keep: config.keep,
        zone: policy.time_zone.clone(),
        last: if let Store::Sqlite(_) = config.store { LAST_FILE } else { LAST },
        hook: Box::new(move |event: &Event| tell(&telemetry, event)),
        ..WriterConfig::default()
    };
    if let Store::Redis(_) = config.store {
        written.batch = BATCH_SHARED;
    }
    let writer = Writer::start(ledger.clone(), written);
    let writer = writer.map_err(|error| StackError::new("state.ledger", error))?;
    Ok(Books { ledger, writer: Arc::new(writer) })
}

fn keeper(place: Place, keep: &Keep) -> Arc<dyn Ledger> {
    match place {
        Place::Memory => {
            let rows = usize::try_from(keep.most_rows).unwrap_or(usize::MAX);
            Arc::new(MemoryLedger::new(rows))
        }
        #[cfg(feature = "sqlite")]
        Place::File(file) => Arc::new(tollway_store::sqlite::SqliteLedger::new(file)),
        #[cfg(feature = "redis")]
        Place::Shared(redis) => Arc::new(tollway_store::redis::RedisLedger::new(redis)),
    }
}

fn tell(telemetry: &Telemetry, event: &Event) {
    match event {
        Event::Failing { why } => {
            tracing::warn!(why, "the ledger can't be written; rows wait, and it is tried again");
            telemetry.set(names::LEDGER_FAILING, vec![], 1.0);
        }
        Event::Works => {
            tracing::info!("the ledger is written again");
            telemetry.set(names::LEDGER_FAILING, vec![], 0.0);
        }
        Event::Dropped { rows, why } => {
            tracing::warn!(rows, "rows of the ledger are lost: {why}");
            telemetry.count_many(names::LEDGER_DROPPED, *rows);
        }
        _ => {}
    }
}

/// Puts into the totals what this process, or the one before it, had counted this month. What
/// several instances count together is none of this one's.
pub(super) fn restore(books: &Books, policy: &Policy, totals: &Totals) {
    if !matches!(policy.state.ledger.store, Store::Sqlite(_)) {
        return;
    }
    let today = Period::day_in(millis(SystemClock.now()), &policy.time_zone);
    for (from, to) in
        [(today.days_before(60), today), (today.days_before(335), today.whole_month())]
    {
        for (by, dimension) in [
            (By::User, Dimension::User),
            (By::Key, Dimension::Key),
            (By::Provider, Dimension::Provider),
            (By::Model, Dimension::Model),
        ] {
            let sums = books.ledger.totals(&TotalsOf { by, from, to, name: None });
            match sums {
                Ok(sums) => {
                    for sum in sums {
                        totals.restore(dimension, sum.period, &sum.name, &sum.total);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "what was spent before can't be read; totals begin at zero");
                    return;
                }
            }
        }
    }
}

/// Has the ledger count what these limits let in.
pub(super) fn count(books: &Books, limits: [rate_limit::Handle; 2]) {
    books.writer.counting(move || {
        for limits in &limits {
            // What is billed counts first: of a process that is killed, budgets know of every row. Why
            // it can't be saved is told by the journal.
            let _ = limits.save();
        }
        limits.iter().flat_map(rate_limit::Handle::admitted).collect()
    });
}

impl Stack {
    /// Tells stores what this one still has to tell; for the end of a process. From here on nothing
    /// waits for long for a store that can't be written.
    pub async fn finish(&self) {
        self.stores.leave();
        let handles = [self.request_limits(), self.attempt_limits()];
        self.stores.limits.repay(&handles).await;
        self.stores.limits.finish().await;
        let limits = [self.request_limits.clone(), self.attempt_limits.clone()];
        let saved = tokio::task::spawn_blocking(move || {
            limits.iter().for_each(rate_limit::RateLimitLayer::finish);
        });
        let _ = saved.await;
    }

    /// The ledger to read; `None`: this stack only shows what it would do. Reading blocks.
    pub fn ledger(&self) -> Option<&Arc<dyn Ledger>> {
        self.stores.ledger.as_ref().map(|books| &books.ledger)
    }

    /// What writes the ledger: how many rows wait, and how to have them written.
    pub fn ledger_writer(&self) -> Option<&Writer> {
        self.stores.ledger.as_ref().map(|books| &*books.writer)
    }
}
