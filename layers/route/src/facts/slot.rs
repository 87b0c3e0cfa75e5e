use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tollway_core::{ErrorClass, Target};

use super::{
    Config, Issue, Nanos, Outcome, Trip,
    book::{Book, Proof},
    health::Standing,
    lengths::Lengths,
    measures::{Sample, Success},
    nanos,
    published::{Latest, Published},
    snapshot::{Merged, TargetFacts},
};
use crate::{Figures, Health, Live};

/// A failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastError {
    /// What went wrong.
    pub class: ErrorClass,
    /// How long ago.
    pub age: Duration,
}

/// The live figures of one target.
///
/// Requests write at their ends, under a mutex held for some hundred nanoseconds. Reading takes no
/// lock but where time alone has changed the figures (a part of the window has run out, say) and
/// nobody has written since: then the reader does it, if the lock is free.
#[derive(Debug)]
pub struct Slot {
    target: Target,
    epoch: Instant,
    in_flight: AtomicU32,
    /// When a request last began; 0: never.
    touched: AtomicU64,
    published: Published,
    lengths: Arc<Lengths>,
    book: Mutex<Book>,
    /// Until when it is down by the word of others, and when it was last seen to be well here.
    advised: AtomicU64,
    well: AtomicU64,
}

impl Slot {
    pub(super) fn new(
        target: Target,
        config: Arc<Config>,
        epoch: Instant,
        lengths: Arc<Lengths>,
    ) -> Self {
        Self {
            target,
            epoch,
            in_flight: AtomicU32::new(0),
            touched: AtomicU64::new(0),
            published: Published::new(&config),
            lengths,
            book: Mutex::new(Book::new(config)),
            advised: AtomicU64::new(0),
            well: AtomicU64::new(0),
        }
    }

    /// Goes on by another config.
    pub(super) fn keep_by(&self, config: Arc<Config>, now: Instant) {
        let now = self.clock(now);
        let mut book = self.lock();
        self.published.read_by(&config);
        book.keep_by(config, now);
        self.publish(book, now);
    }

    /// Whose figures these are.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A request sets out.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Trip {
        let now = self.clock(now);
        let beside = self.in_flight.fetch_add(1, Relaxed);
        self.touched.store(now.max(1), Relaxed);
        Trip::new(self.clone(), now, beside)
    }

    /// The figures as they are at `now`: some atomic reads.
    pub fn figures(&self, now: Instant) -> Figures {
        let now = self.clock(now);
        if self.published.is_behind(now) {
            // Whoever holds the lock brings them up to date itself.
            match self.book.try_lock() {
                Ok(book) => self.publish(book, now),
                Err(TryLockError::Poisoned(book)) => self.publish(book.into_inner(), now),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let in_flight = self.in_flight.load(Relaxed);
        let figures = self.published.read(now, in_flight);
        if self.is_advised(now) { Figures { health: Health::Down, ..figures } } else { figures }
    }

    fn is_advised(&self, now: Nanos) -> bool {
        now < self.advised.load(Relaxed)
    }

    /// It is well: what others found before is over.
    fn seen_well(&self, now: Nanos) {
        self.well.store(now, Relaxed);
        // Most have none, and need not write where others read.
        if self.advised.load(Relaxed) > 0 {
            self.advised.store(0, Relaxed);
        }
    }

    /// Others found it down; whether that was after it was last seen to be well here.
    pub(super) fn advise_down(&self, found: Instant, until: Option<Instant>) -> bool {
        let until = until.map_or(0, |until| self.clock(until));
        let late = self.well.load(Relaxed) > self.clock(found);
        if !late {
            self.advised.store(until, Relaxed);
        }
        !late
    }

    /// A probe of the target, which is no request, has ended: counts for its health alone.
    pub fn probed(&self, ok: bool, now: Instant) {
        let now = self.clock(now);
        if ok {
            self.seen_well(now);
        }
        let mut book = self.lock();
        // What a provider answers by proves nothing of one model.
        if self.target.model().is_none() {
            book.proof.see(ok, None);
        }
        let Book { state, config, .. } = &mut *book;
        if state.probed(ok, now, &config.health) {
            book.success = Success::default();
        }
        self.publish(book, now);
    }

    /// Takes over what probes have shown of `whole`.
    pub(super) fn follow(&self, whole: &Self) {
        let (probed, at) = {
            let book = whole.lock();
            (book.state.of_probes(), book.at)
        };
        self.advised.store(whole.advised.load(Relaxed), Relaxed);
        let mut book = self.lock();
        book.state = probed;
        self.publish(book, at);
    }

    /// All there is to tell of it.
    pub fn facts(&self, now: Instant) -> TargetFacts {
        let (figures, now) = (self.figures(now), self.clock(now));
        let book = self.lock();
        let seen = book.seen();
        let mut issues = book.state.issues(&seen, book.usual_error(), now, &book.config.health);
        if self.is_advised(now) {
            let left = self.advised.load(Relaxed).saturating_sub(now);
            issues.push(Issue::FoundByOthers { left: Duration::from_nanos(left) });
        }
        let errors = book.errors.iter().flatten().map(|(class, at)| PastError {
            class: *class,
            age: Duration::from_nanos(now.saturating_sub(*at)),
        });
        TargetFacts { target: self.target.clone(), figures, issues, errors: errors.collect() }
    }

    pub(super) fn settle(&self, trip: &Trip, now: Instant, outcome: &Outcome) {
        let now = self.clock(now);
        if outcome.ok {
            self.seen_well(now);
        }
        let usual = trip.asker.and_then(|asker| self.lengths.usual(asker));
        let mut book = self.lock();
        book.age(now);
        let timeout = outcome.class == Some(ErrorClass::Timeout);
        if outcome.ok || timeout {
            let whole = trip.until(now);
            // What never came took at least as long as it was waited for.
            let first_token = trip.first_token.or(timeout.then_some(now));
            let sample = Sample {
                whole,
                first_token: first_token.map(|at| trip.until(at)),
                beside: trip.beside,
                usual,
                usage: outcome.usage,
                cost: outcome.cost,
            };
            book.sample(now, &sample);
        }
        let class = outcome.class.filter(|_| !outcome.ok);
        book.proof.see(outcome.ok, class);
        if let Some(class) = class.filter(|class| is_told(*class)) {
            book.error(class, now);
        }
        if outcome.ok || class.is_none_or(is_to_blame) {
            book.success.add(outcome.ok);
            let Book { state, config, .. } = &mut *book;
            if state.outcome(outcome.ok, trip.began, now, &config.health) {
                book.success = Success::default();
                book.success.add(true);
            }
        }
        self.publish(book, now);
        if let (Some(asker), Some(usage)) = (trip.asker, outcome.usage.filter(|_| outcome.ok)) {
            // As long as it would have been at a target that is no wordier than others.
            let wordiness = self.published.wordiness().unwrap_or(1.0);
            self.lengths.learn(asker, usage.output as f32 / wordiness);
        }
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// When a request last began; 0: never. `None`: one is under way.
    pub(super) fn idle_since(&self) -> Option<Nanos> {
        (self.in_flight.load(Relaxed) == 0).then(|| self.touched.load(Relaxed))
    }

    /// What its requests have proved, where none is under way.
    pub(super) fn proof(&self) -> Option<Proof> {
        (self.in_flight.load(Relaxed) == 0).then(|| self.lock().proof)
    }

    pub(super) fn add_to(&self, merged: &mut Merged, now: Instant) {
        let figures = self.figures(now);
        let mut book = self.lock();
        book.age(self.clock(now));
        merged.add(&figures, book.window.total(), book.success);
    }

    pub(super) fn clock(&self, now: Instant) -> Nanos {
        nanos(now.saturating_duration_since(self.epoch))
    }

    fn publish(&self, mut book: MutexGuard<'_, Book>, now: Nanos) {
        book.age(now);
        let (means, marks_at) = book.measure(now);
        let seen = book.seen();
        let Book { state, config, .. } = &mut *book;
        state.judge(&seen, now, &config.health);
        // A bad rate fades with time too, whether or not anybody writes.
        let fades_at = match book.state.standing() {
            Standing::Degraded => now.saturating_add(nanos(book.config.half_life)),
            _ => Nanos::MAX,
        };
        self.published.write(
            &means,
            &Latest {
                at: book.at,
                changes_at: book.window.forgets_at().min(fades_at).min(marks_at),
                marks: book.marks,
                success: book.success,
                standing: book.state.standing(),
                peak: book.peak,
                sampled_at: book.sampled_at,
            },
        );
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live for Slot {
    fn figures(&self, now: Instant) -> Figures {
        self.figures(now)
    }

    fn is_down(&self, now: Instant) -> bool {
        let (now, in_flight) = (self.clock(now), self.in_flight.load(Relaxed));
        self.is_advised(now) || self.published.health(now, in_flight) == Health::Down
    }
}

/// Whether a failure says that the target, or the way to it, can't do its work.
fn is_to_blame(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Overloaded
            | ErrorClass::Server
            | ErrorClass::Timeout
            | ErrorClass::Network
            | ErrorClass::Auth
            | ErrorClass::Quota
    )
}

/// Whether an operator would look for it among a target's errors.
pub(super) fn is_told(class: ErrorClass) -> bool {
    is_to_blame(class) || matches!(class, ErrorClass::RateLimit | ErrorClass::NotFound)
}
