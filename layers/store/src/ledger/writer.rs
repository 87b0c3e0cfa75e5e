//! The queue in front of a ledger and the thread that writes it.

mod config;
mod thread;

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    ops::Deref,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

pub use config::{Event, Keep, Loss, Stats, WriterConfig};
use thread::Thread;

use super::{Ledger, OTHER_KEYS, Row};

/// Writes rows behind the requests: a bounded queue and one thread.
///
/// Rows wait for each other for a fifth of a second at most, so that a process that is killed loses
/// less than a second. When it is dropped, what waits is written first.
#[derive(Debug)]
pub struct Writer {
    pen: Pen,
    thread: Option<JoinHandle<()>>,
}

/// What puts rows into a [`Writer`]'s queue; cheap to clone. It doesn't keep the writer: what it
/// puts in after the writer's end is lost.
#[derive(Clone, Debug)]
pub struct Pen(Arc<Shared>);

/// Names of limits, and how many requests each has let in so far.
type Counts = Arc<dyn Fn() -> Vec<(Arc<str>, u64)> + Send + Sync>;

struct Shared {
    queue: usize,
    batch: usize,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    flushed: Condvar,
    written: AtomicU64,
    dropped: AtomicU64,
    counts: Mutex<Option<Counts>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("waiting", &self.lock().rows.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    rows: VecDeque<Row>,
    /// Rows that the thread has taken, and comes to when it has written those before them.
    taken: usize,
    refusals: HashMap<(Arc<str>, Arc<str>), Refused>,
    /// How often each limit refused.
    limits: HashMap<Arc<str>, u64>,
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

    /// Waits until there is a batch, or the oldest row has waited for `every`, or someone is in a
    /// hurry; and if nothing comes at all, no longer than `idle`.
    fn wait(&self, idle: Duration, every: Duration) -> MutexGuard<'_, Waiting> {
        let wait = |waiting, time, on: &dyn Fn(&Waiting) -> bool| {
            let on = |now: &mut Waiting| on(now) && !now.closed && now.asked <= now.done;
            self.wake
                .wait_timeout_while(waiting, time, on)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        };
        let waiting = wait(self.lock(), idle, &Waiting::is_empty);
        if waiting.is_empty() {
            return waiting;
        }
        wait(waiting, every, &|now| now.rows.len() < self.batch)
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
            counts: Mutex::default(),
        });
        let mut thread = Thread::new(ledger, config, shared.clone());
        let named = Builder::new().name("tollway-ledger".into());
        let thread = named.spawn(move || thread.run())?;
        Ok(Self { pen: Pen(shared), thread: Some(thread) })
    }

    /// What rows are put in with.
    pub fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Has all written that waits now, and waits for that, but not for longer than `most`. Whether
    /// it was written.
    pub fn flush(&self, most: Duration) -> bool {
        let shared = &self.pen.0;
        let mut waiting = shared.lock();
        waiting.asked += 1;
        let mine = waiting.asked;
        shared.wake.notify_one();
        let done = shared.flushed.wait_timeout_while(waiting, most, |now| now.done < mine);
        let (waiting, _) = done.unwrap_or_else(PoisonError::into_inner);
        waiting.done >= mine && waiting.failing.is_none()
    }
}

impl Pen {
    /// Queues a row; never waits.
    pub fn row(&self, row: Row) {
        let shared = &self.0;
        shared.put(|waiting| {
            if waiting.rows.len() + waiting.taken < shared.queue {
                waiting.rows.push_back(row);
            } else {
                waiting.lost += 1;
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Notes that `limit` refused a request of `key`, which asked for more than was available, at
    /// this moment in milliseconds since 1970.
    pub fn refused(&self, limit: &Arc<str>, key: &str, (asked, available): (u64, u64), at: u64) {
        self.0.put(|waiting| {
            let key = if waiting.refusals.len() < MOST_WAITING { key } else { OTHER_KEYS };
            let one = waiting.refusals.entry((limit.clone(), key.into()));
            let one = one.or_insert(Refused { count: 0, asked, available, last: at });
            *one = Refused { count: one.count.saturating_add(1), asked, available, last: at };
            let refused = waiting.limits.entry(limit.clone()).or_default();
            *refused = refused.saturating_add(1);
        });
    }

    /// Asks this, with each batch and before it is written, how many requests each limit has let in so
    /// far. Its answers only grow, or begin anew; what they hold at first counts, too.
    pub fn counting(&self, counts: impl Fn() -> Vec<(Arc<str>, u64)> + Send + Sync + 'static) {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(counts));
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        let waiting = self.0.lock();
        Stats {
            written: self.0.written.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
            waiting: waiting.rows.len() + waiting.taken,
            failing: waiting.failing.clone(),
        }
    }
}

impl Deref for Writer {
    type Target = Pen;

    fn deref(&self) -> &Pen {
        &self.pen
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let shared = &self.pen.0;
        shared.lock().closed = true;
        shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Who counts may hold a pen of its own.
        let counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(counts);
    }
}
