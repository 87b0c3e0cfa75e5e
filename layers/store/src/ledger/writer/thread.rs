//! The thread that writes.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{Batch, Ledger, LimitDay, Period, Refusal, Row, period::millis, total},
    Event, Loss, Refused, Shared, WriterConfig,
};

pub(super) struct Thread {
    ledger: Arc<dyn Ledger>,
    config: WriterConfig,
    shared: Arc<Shared>,
    /// Rows taken from the queue, to be written batch by batch; and the flushes that ends.
    taken: VecDeque<Row>,
    asked: u64,
    /// The rows' room, to be used again.
    room: Vec<Row>,
    next_id: u128,
    clean_at: Instant,
    /// When the end is given up, once it has been asked for.
    end: Option<Instant>,
    /// What limits had let in when they were last asked.
    counted: HashMap<Arc<str>, u64>,
}

/// A batch that the ledger refuses as often as this, for another reason than that it is away, is
/// given up: it would hold up all others.
const MOST_REFUSED: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Thread {
    pub(super) fn new(ledger: Arc<dyn Ledger>, config: WriterConfig, shared: Arc<Shared>) -> Self {
        let random = u128::from(RandomState::new().hash_one(())) << 64;
        let (room, taken, counted) = (Vec::new(), VecDeque::new(), HashMap::new());
        let clean_at = Instant::now() + config.clean_every;
        let (asked, next_id) = (0, random);
        Self { ledger, config, shared, taken, asked, room, next_id, clean_at, end: None, counted }
    }

    pub(super) fn run(&mut self) {
        loop {
            let (batch, flush, closed) = self.collect();
            if let Some(batch) = batch {
                self.write(batch);
            }
            self.flushed(flush);
            self.tell_lost();
            if closed && self.taken.is_empty() && self.shared.lock().is_empty() {
                return;
            }
            self.clean();
        }
    }

    fn flushed(&self, flush: u64) {
        let mut waiting = self.shared.lock();
        waiting.done = waiting.done.max(flush);
        self.shared.flushed.notify_all();
    }

    /// Waits for a batch, or until there may be something to clean.
    fn collect(&mut self) -> (Option<Batch>, u64, bool) {
        let shared = self.shared.clone();
        let mut waiting = if self.taken.is_empty() {
            let idle = self.clean_at.saturating_duration_since(Instant::now());
            let mut waiting = shared.wait(idle, self.config.every);
            std::mem::swap(&mut waiting.rows, &mut self.taken);
            // What one flood has needed is not kept for ever.
            waiting.rows.shrink_to(shared.batch * 2);
            self.asked = waiting.asked;
            waiting
        } else {
            shared.lock()
        };
        let (closed, done) = (waiting.closed, waiting.done);
        if closed {
            self.end.get_or_insert_with(|| Instant::now() + self.config.last);
        }
        let refusals = std::mem::take(&mut waiting.refusals);
        let limits = std::mem::take(&mut waiting.limits);
        let most = self.taken.len().min(shared.batch);
        waiting.taken = self.taken.len() - most;
        // Rows are moved when nobody waits for the lock.
        drop(waiting);
        let mut rows = std::mem::take(&mut self.room);
        rows.extend(self.taken.drain(..most));
        let flush = if self.taken.is_empty() { self.asked } else { done };
        if rows.is_empty() && refusals.is_empty() && limits.is_empty() {
            self.room = rows;
            return (None, flush, closed);
        }
        (Some(self.batch(rows, refusals, limits)), flush, closed)
    }

    fn batch(
        &mut self,
        rows: Vec<Row>,
        refusals: HashMap<(Arc<str>, Arc<str>), Refused>,
        limits: HashMap<Arc<str>, u64>,
    ) -> Batch {
        let allowed = self.allowed();
        let zone = &self.config.zone;
        let today = Period::day_in(self.now(), zone);
        self.next_id = self.next_id.wrapping_add(1);
        let refusal = |((limit, key), of): ((Arc<str>, Arc<str>), Refused)| Refusal {
            day: Period::day_in(of.last, zone),
            limit,
            key,
            count: of.count,
            asked: of.asked,
            available: of.available,
            last: of.last,
        };
        let mut limits: HashMap<_, _> =
            limits.into_iter().map(|(limit, refused)| (limit, (0, refused))).collect();
        for (limit, allowed) in allowed {
            limits.entry(limit).or_default().0 = allowed;
        }
        let limit = |(limit, (allowed, refused))| LimitDay { day: today, limit, allowed, refused };
        Batch {
            id: self.next_id,
            totals: total::roll_up(&rows, zone),
            rows,
            refusals: refusals.into_iter().map(refusal).collect(),
            limits: limits.into_iter().map(limit).collect(),
        }
    }

    /// How many requests limits have let in since this was last asked.
    fn allowed(&mut self) -> Vec<(Arc<str>, u64)> {
        // It may take its time.
        let counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = counts.map(|counts| counts()).unwrap_or_default();
        let since = |(limit, count): (Arc<str>, u64)| {
            let before = self.counted.insert(limit.clone(), count).unwrap_or(0);
            // A limit that began anew counts from zero.
            let more = count.checked_sub(before).unwrap_or(count);
            (more > 0).then_some((limit, more))
        };
        counts.into_iter().filter_map(since).collect()
    }

    fn now(&self) -> u64 {
        millis(self.config.clock.now())
    }

    /// Writes a batch, however often it takes; gives it up only if that is no use, or at the end.
    fn write(&mut self, batch: Batch) {
        let rows = batch.rows.len() as u64;
        let (mut pause, mut refused) = (FIRST_PAUSE, 0);
        loop {
            let error = match self.ledger.append(&batch) {
                Ok(()) => {
                    self.shared.written.fetch_add(rows, Ordering::Relaxed);
                    self.works();
                    break;
                }
                Err(error) => error,
            };
            refused += u32::from(!error.is_away());
            self.fails(error.to_string());
            if refused >= MOST_REFUSED {
                self.lose(rows, Loss::Refused);
                break;
            }
            if self.pause(pause) {
                let until = *self.end.get_or_insert_with(|| Instant::now() + self.config.last);
                // The end is not held up for long by what fails again and again.
                if Instant::now() >= until {
                    let others = std::mem::take(&mut self.shared.lock().rows);
                    self.lose(rows + (others.len() + self.taken.len()) as u64, Loss::Ended);
                    self.taken.clear();
                    break;
                }
                std::thread::park_timeout(FIRST_PAUSE);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.tell_lost();
        }
        self.room = batch.rows;
        self.room.clear();
    }

    fn lose(&self, rows: u64, why: Loss) {
        if rows == 0 {
            return;
        }
        self.shared.dropped.fetch_add(rows, Ordering::Relaxed);
        self.config.hook.on(&Event::Dropped { rows, why });
    }

    /// Waits before the next try; whether the writer is to end instead.
    fn pause(&self, time: Duration) -> bool {
        let mut waiting = self.shared.lock();
        // Who waits for a flush is told that it failed.
        waiting.done = waiting.asked;
        self.shared.flushed.notify_all();
        let waited = self
            .shared
            .wake
            .wait_timeout_while(waiting, time, |now| !now.closed && now.asked == now.done);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn works(&self) {
        // Told first: who asks how it stands, and is told, may look at what the hook has noted.
        if self.shared.lock().failing.is_some() {
            self.config.hook.on(&Event::Works);
            self.shared.lock().failing = None;
        }
    }

    fn fails(&self, why: String) {
        if self.shared.lock().failing.is_none() {
            self.config.hook.on(&Event::Failing { why: why.clone() });
        }
        self.shared.lock().failing = Some(why);
    }

    fn tell_lost(&self) {
        let rows = std::mem::take(&mut self.shared.lock().lost);
        if rows > 0 {
            self.config.hook.on(&Event::Dropped { rows, why: Loss::TooMany });
        }
    }

    /// One small step of cleaning, if it is time.
    fn clean(&mut self) {
        let now = Instant::now();
        if now < self.clean_at {
            return;
        }
        let old = self.config.keep.old(self.now(), &self.config.zone);
        let more = match self.ledger.clean(&old) {
            Ok(more) => {
                self.works();
                more
            }
            Err(error) => {
                self.fails(error.to_string());
                false
            }
        };
        self.clean_at = now + if more { self.config.every } else { self.config.clean_every };
    }
}
