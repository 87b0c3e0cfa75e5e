//! The queue in front of a ledger and the thread that writes it.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use jiff::tz::TimeZone;
use tokio::time::Instant;
use tollway_core::{Hook, SystemClock, WallClock};

use super::{Batch, Ledger, LimitDay, OTHER_KEYS, Old, Period, Refusal, Row, total};

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Rows, in days; `None`: as long as `most_rows` lets them.
    pub rows: Option<u32>,
    /// Rows at most. A flood pushes the oldest rows out; sums stay.
    pub most_rows: u64,
    /// Totals of days, refusals and days of limits, in days; `None`: for ever.
    pub days: Option<u32>,
    /// Totals of months, in days; `None`: for ever.
    pub months: Option<u32>,
}

impl Default for Keep {
    /// Rows for 90 days and ten million of them, days for two years, months for ever.
    fn default() -> Self {
        Self { rows: Some(90), most_rows: 10_000_000, days: Some(731), months: None }
    }
}

impl Keep {
    fn old(&self, now: u64, zone: &TimeZone) -> Old {
        const DAY: u64 = 86_400_000;
        let today = Period::day(now, zone);
        let before = |days: Option<u32>| today.days_before(days.unwrap_or(u32::MAX));
        Old {
            rows: self.rows.map_or(0, |days| now.saturating_sub(u64::from(days) * DAY)),
            most_rows: self.most_rows,
            days: before(self.days),
            months: before(self.months).whole_month(),
        }
    }
}

/// Settings of a [`Writer`].
pub struct WriterConfig {
    /// Rows that may wait. One more is dropped, counted and told. Default 65,536, some 20 MB at
    /// worst.
    pub queue: usize,
    /// Rows that are written at once, without waiting for `every`. Default 2,000.
    pub batch: usize,
    /// How long the first row of a batch waits for others. Default 200 ms.
    pub every: Duration,
    /// How often is looked for what is old. Default a minute.
    pub clean_every: Duration,
    /// How long things are kept.
    pub keep: Keep,
    /// Whose days count. Default UTC.
    pub zone: TimeZone,
    /// The date. Default the machine's.
    pub clock: Box<dyn WallClock>,
    /// Is told what goes wrong. Default nobody.
    pub hook: Box<dyn Hook<Event> + Send + Sync>,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            queue: 65_536,
            batch: 2_000,
            every: Duration::from_millis(200),
            clean_every: Duration::from_secs(60),
            keep: Keep::default(),
            zone: TimeZone::UTC,
            clock: Box::new(SystemClock),
            hook: Box::new(()),
        }
    }
}

impl fmt::Debug for WriterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterConfig").finish_non_exhaustive()
    }
}

/// What a [`Writer`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The ledger can't be written; it is tried again, and rows wait meanwhile. Told once, until it
    /// works again.
    Failing {
        /// Why.
        why: String,
    },
    /// It works again.
    Works,
    /// Rows were dropped, for the queue was full or the ledger would never take them.
    Dropped {
        /// How many.
        rows: u64,
    },
}

/// What a [`Writer`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows in the ledger.
    pub written: u64,
    /// Rows that are lost.
    pub dropped: u64,
    /// Rows that wait, those that are being written left out.
    pub waiting: usize,
    /// Why it can't be written at present.
    pub failing: Option<String>,
}

/// Writes rows behind the requests: a bounded queue and one thread.
///
/// Rows wait for each other for a fifth of a second at most, so that a process that is killed loses
/// less than a second. When it is dropped, what waits is written first.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: usize,
    batch: usize,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    flushed: Condvar,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<Row>,
    refusals: HashMap<(Arc<str>, Arc<str>), Refused>,
    limits: HashMap<Arc<str>, (u64, u64)>,
    /// Rows dropped and not told yet.
    lost: u64,
    failing: Option<String>,
    /// Flushes that were asked for, and those that are done.
    asked: u64,
    done: u64,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    count: u64,
    asked: u64,
    available: u64,
    last: u64,
}

/// Keys whose refusals wait apart, between two batches.
const MOST_WAITING: usize = 10_000;

impl Waiting {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refusals.is_empty() && self.limits.is_empty()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something into what waits, and wakes the thread if that is news to it.
    fn put(&self, put: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        let was_empty = waiting.is_empty();
        put(&mut waiting);
        let wake = was_empty || waiting.rows.len() == self.batch;
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(ledger: Arc<dyn Ledger>, config: WriterConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: config.queue.max(1),
            batch: config.batch.max(1),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            flushed: Condvar::new(),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let mut thread = Thread::new(ledger, config, shared.clone());
        let named = thread::Builder::new().name("tollway-ledger".into());
        let thread = named.spawn(move || thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a row; never waits.
    pub fn row(&self, row: Row) {
        let shared = &self.shared;
        shared.put(|waiting| {
            if waiting.rows.len() < shared.queue {
                waiting.rows.push(row);
            } else {
                waiting.lost += 1;
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Notes that `limit` refused a request of `key`, which asked for more than was available, at
    /// this moment in milliseconds since 1970.
    pub fn refused(&self, limit: &Arc<str>, key: &str, (asked, available): (u64, u64), at: u64) {
        self.shared.put(|waiting| {
            let key = if waiting.refusals.len() < MOST_WAITING { key } else { OTHER_KEYS };
            let one = waiting.refusals.entry((limit.clone(), key.into()));
            let one = one.or_insert(Refused { count: 0, asked, available, last: at });
            *one = Refused { count: one.count.saturating_add(1), asked, available, last: at };
            let (_, refused) = waiting.limits.entry(limit.clone()).or_default();
            *refused = refused.saturating_add(1);
        });
    }

    /// Notes that `limit` let this many requests in.
    pub fn allowed(&self, limit: &Arc<str>, requests: u64) {
        self.shared.put(|waiting| {
            let (allowed, _) = waiting.limits.entry(limit.clone()).or_default();
            *allowed = allowed.saturating_add(requests);
        });
    }

    /// Has all written that waits now, and waits for that, but not for longer than `most`. Whether
    /// it was written.
    pub fn flush(&self, most: Duration) -> bool {
        let mut waiting = self.shared.lock();
        waiting.asked += 1;
        let mine = waiting.asked;
        self.shared.wake.notify_one();
        let done = self.shared.flushed.wait_timeout_while(waiting, most, |now| now.done < mine);
        let (waiting, _) = done.unwrap_or_else(PoisonError::into_inner);
        waiting.done >= mine && waiting.failing.is_none()
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        let waiting = self.shared.lock();
        Stats {
            written: self.shared.written.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            waiting: waiting.rows.len(),
            failing: waiting.failing.clone(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    ledger: Arc<dyn Ledger>,
    config: WriterConfig,
    shared: Arc<Shared>,
    /// The rows' room, to be used again.
    room: Vec<Row>,
    next_id: u128,
    clean_at: Instant,
}

/// A batch that the ledger refuses as often as this, for another reason than that it is away, is
/// given up: it would hold up all others.
const MOST_REFUSED: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Thread {
    fn new(ledger: Arc<dyn Ledger>, config: WriterConfig, shared: Arc<Shared>) -> Self {
        let random = u128::from(RandomState::new().hash_one(())) << 64;
        Self { ledger, config, shared, room: Vec::new(), next_id: random, clean_at: Instant::now() }
    }

    fn run(&mut self) {
        loop {
            let (batch, flush, closed) = self.collect();
            if let Some(batch) = batch {
                self.write(batch);
            }
            self.flushed(flush);
            self.tell_lost();
            if closed && self.shared.lock().is_empty() {
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
        let urgent = |waiting: &Waiting| waiting.closed || waiting.asked > waiting.done;
        let shared = self.shared.clone();
        let idle = self.clean_at.saturating_duration_since(Instant::now());
        let waited = shared
            .wake
            .wait_timeout_while(shared.lock(), idle, |now| now.is_empty() && !urgent(now));
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let for_more = if waiting.is_empty() { Duration::ZERO } else { self.config.every };
        let waited = shared.wake.wait_timeout_while(waiting, for_more, |now| {
            now.rows.len() < shared.batch && !urgent(now)
        });
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (flush, closed) = (waiting.asked, waiting.closed);
        if waiting.is_empty() {
            return (None, flush, closed);
        }
        let rows = std::mem::replace(&mut waiting.rows, std::mem::take(&mut self.room));
        let refusals = std::mem::take(&mut waiting.refusals);
        let limits = std::mem::take(&mut waiting.limits);
        drop(waiting);
        (Some(self.batch(rows, refusals, limits)), flush, closed)
    }

    fn batch(
        &mut self,
        rows: Vec<Row>,
        refusals: HashMap<(Arc<str>, Arc<str>), Refused>,
        limits: HashMap<Arc<str>, (u64, u64)>,
    ) -> Batch {
        let zone = &self.config.zone;
        let today = Period::day(self.now(), zone);
        self.next_id = self.next_id.wrapping_add(1);
        let refusal = |((limit, key), of): ((Arc<str>, Arc<str>), Refused)| Refusal {
            day: Period::day(of.last, zone),
            limit,
            key,
            count: of.count,
            asked: of.asked,
            available: of.available,
            last: of.last,
        };
        let limit = |(limit, (allowed, refused))| LimitDay { day: today, limit, allowed, refused };
        Batch {
            id: self.next_id,
            totals: total::roll_up(&rows, zone),
            rows,
            refusals: refusals.into_iter().map(refusal).collect(),
            limits: limits.into_iter().map(limit).collect(),
        }
    }

    fn now(&self) -> u64 {
        let since = self.config.clock.now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
            if refused >= MOST_REFUSED || self.pause(pause) {
                self.shared.dropped.fetch_add(rows, Ordering::Relaxed);
                self.shared.lock().lost += rows;
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.tell_lost();
        }
        self.room = batch.rows;
        self.room.clear();
        // What one flood has needed is not kept for ever.
        self.room.shrink_to(self.shared.batch * 2);
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
        if self.shared.lock().failing.take().is_some() {
            self.config.hook.on(&Event::Works);
        }
    }

    fn fails(&self, why: String) {
        let before = self.shared.lock().failing.replace(why.clone());
        if before.is_none() {
            self.config.hook.on(&Event::Failing { why });
        }
    }

    fn tell_lost(&self) {
        let rows = std::mem::take(&mut self.shared.lock().lost);
        if rows > 0 {
            self.config.hook.on(&Event::Dropped { rows });
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
            Ok(more) => more,
            Err(error) => {
                self.fails(error.to_string());
                false
            }
        };
        self.clean_at = now + if more { self.config.every } else { self.config.clean_every };
    }
}
