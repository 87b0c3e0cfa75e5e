//! The queue in front of a ledger: what it promises while the ledger works, and while it doesn't.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use common::{DAY, batch, name, row};
use tollway_store::{
    StoreError,
    ledger::{
        Batch, By, Event, Keep, Ledger, LimitDay, MemoryLedger, OTHER_KEYS, Old, Period, Refusal,
        RefusalsOf, Rollup, Row, RowsOf, Stats, TotalsOf, Writer, WriterConfig,
    },
};

/// Long enough for any machine; nothing waits for it to pass.
const ENOUGH: Duration = Duration::from_secs(60);

/// A ledger that works as long as it is told to.
#[derive(Default)]
struct Fickle {
    inner: MemoryLedger,
    /// 0: works, 1: is away, 2: refuses.
    mood: AtomicU8,
    tries: Mutex<Vec<usize>>,
    /// Says when an append has begun, and holds it until told to go on.
    gate: Option<(mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>)>,
}

impl Fickle {
    fn answer(&self) -> Result<(), StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(StoreError::away("the disk is full", "no space")),
            _ => Err(StoreError::wrong("it is damaged")),
        }
    }
}

impl Ledger for Fickle {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        self.tries.lock().unwrap().push(batch.rows.len());
        if let Some((begun, go_on)) = &self.gate {
            begun.send(()).unwrap();
            go_on.lock().unwrap().recv().unwrap();
        }
        self.answer()?;
        self.inner.append(batch)
    }

    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError> {
        self.inner.rows(asked)
    }

    fn totals(&self, asked: &TotalsOf) -> Result<Vec<Rollup>, StoreError> {
        self.inner.totals(asked)
    }

    fn refusals(&self, asked: &RefusalsOf) -> Result<Vec<Refusal>, StoreError> {
        self.inner.refusals(asked)
    }

    fn limits(&self, from: Period, to: Period) -> Result<Vec<LimitDay>, StoreError> {
        self.inner.limits(from, to)
    }

    fn clean(&self, old: &Old) -> Result<bool, StoreError> {
        self.inner.clean(old)
    }
}

/// A writer that waits for a flush and not for time to pass, and what it told.
fn patient(ledger: &Arc<Fickle>, queue: usize) -> (Writer, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(vec![]));
    let hook = told.clone();
    let config = WriterConfig {
        queue,
        every: ENOUGH,
        clock: Box::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(DAY)),
        hook: Box::new(move |event: &Event| hook.lock().unwrap().push(event.clone())),
        ..WriterConfig::default()
    };
    (Writer::start(ledger.clone(), config).unwrap(), told)
}

fn until(what: impl Fn() -> bool) {
    let began = tokio::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < ENOUGH, "it never came");
        std::thread::yield_now();
    }
}

fn there(ledger: &Fickle) -> usize {
    ledger.rows(&RowsOf::default()).unwrap().len()
}

#[test]
fn a_flush_writes_all_that_waits_in_one_step() {
    let ledger = Arc::new(Fickle::default());
    let (writer, told) = patient(&ledger, 100);
    (0..50).for_each(|number| writer.row(row(number)));
    assert!(writer.flush(ENOUGH));
    assert_eq!(there(&ledger), 50);
    assert_eq!(*ledger.tries.lock().unwrap(), [50]);
    assert_eq!(writer.stats(), Stats { written: 50, ..Stats::default() });
    // With nothing to write it is done at once.
    assert!(writer.flush(ENOUGH));
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn rows_are_written_by_themselves_when_time_or_number_is_reached() {
    let ledger = Arc::new(Fickle::default());
    let soon = WriterConfig { every: Duration::from_millis(1), ..WriterConfig::default() };
    let writer = Writer::start(ledger.clone(), soon).unwrap();
    writer.row(row(1));
    until(|| there(&ledger) == 1);

    let ledger = Arc::new(Fickle::default());
    let many = WriterConfig { every: ENOUGH, batch: 10, ..WriterConfig::default() };
    let writer = Writer::start(ledger.clone(), many).unwrap();
    (0..10).for_each(|number| writer.row(row(number)));
    until(|| there(&ledger) == 10);
    assert_eq!(writer.stats().dropped, 0);
}

#[test]
fn what_waits_is_written_before_the_end() {
    let ledger = Arc::new(Fickle::default());
    let (writer, _) = patient(&ledger, 100);
    (0..7).for_each(|number| writer.row(row(number)));
    drop(writer);
    assert_eq!(there(&ledger), 7);
}

#[test]
fn a_row_too_many_is_dropped_counted_and_told() {
    let (begun, has_begun) = mpsc::sync_channel(0);
    let (go_on, told_to) = mpsc::sync_channel(1);
    let gate = Some((begun, Mutex::new(told_to)));
    let ledger = Arc::new(Fickle { gate, ..Fickle::default() });
    let (writer, told) = patient(&ledger, 3);
    std::thread::scope(|scope| {
        writer.row(row(0));
        let flush = scope.spawn(|| writer.flush(ENOUGH));
        has_begun.recv().unwrap();
        // The ledger is at work, so these wait, as far as there is room; nobody waits for it.
        (1..6).for_each(|number| writer.row(row(number)));
        assert_eq!(writer.stats(), Stats { dropped: 2, waiting: 3, ..Stats::default() });
        go_on.send(()).unwrap();
        assert!(flush.join().unwrap());
        let flush = scope.spawn(|| writer.flush(ENOUGH));
        has_begun.recv().unwrap();
        go_on.send(()).unwrap();
        assert!(flush.join().unwrap());
    });
    assert_eq!(there(&ledger), 4);
    assert_eq!(*told.lock().unwrap(), [Event::Dropped { rows: 2 }]);
    assert_eq!(writer.stats().written, 4);
}

#[test]
fn a_ledger_that_is_away_is_waited_for_and_nothing_is_lost() {
    let ledger = Arc::new(Fickle::default());
    let (writer, told) = patient(&ledger, 100);
    ledger.mood.store(1, Ordering::SeqCst);
    writer.row(row(1));
    assert!(!writer.flush(ENOUGH), "it failed");
    let why = writer.stats().failing.unwrap();
    assert!(why.starts_with("the disk is full"), "{why}");
    writer.row(row(2));
    for _ in 0..10 {
        assert!(!writer.flush(ENOUGH));
    }
    ledger.mood.store(0, Ordering::SeqCst);
    until(|| writer.flush(ENOUGH));
    assert!(writer.flush(ENOUGH));
    assert_eq!(there(&ledger), 2);
    assert_eq!(writer.stats(), Stats { written: 2, ..Stats::default() });
    // Told once, however often it was tried.
    assert_eq!(*told.lock().unwrap(), [Event::Failing { why }, Event::Works]);
}

#[test]
fn a_batch_that_is_refused_again_and_again_is_given_up() {
    let ledger = Arc::new(Fickle::default());
    let (writer, told) = patient(&ledger, 100);
    ledger.mood.store(2, Ordering::SeqCst);
    writer.row(row(1));
    until(|| {
        writer.flush(ENOUGH);
        writer.stats().dropped == 1
    });
    ledger.mood.store(0, Ordering::SeqCst);
    writer.row(row(2));
    assert!(writer.flush(ENOUGH));
    assert_eq!(there(&ledger), 1);
    let why = "it is damaged".to_owned();
    let expected = [Event::Failing { why }, Event::Dropped { rows: 1 }, Event::Works];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn an_end_is_not_held_up_by_a_ledger_that_is_away() {
    let ledger = Arc::new(Fickle::default());
    let (writer, told) = patient(&ledger, 10_000);
    ledger.mood.store(1, Ordering::SeqCst);
    // More than one batch.
    (0..5_000).for_each(|number| writer.row(row(number)));
    drop(writer);
    let tries = ledger.tries.lock().unwrap();
    assert!((1..=2).contains(&tries.len()), "{tries:?}");
    let told = told.lock().unwrap();
    let dropped = told.iter().filter_map(|event| match event {
        Event::Dropped { rows } => Some(rows),
        _ => None,
    });
    assert_eq!(dropped.sum::<u64>(), 5_000, "{told:?}");
}

#[test]
fn a_flood_of_refusals_is_one_line_a_key() {
    let ledger = Arc::new(Fickle::default());
    let (writer, _) = patient(&ledger, 100);
    let limit = name("user");
    for number in 0..100_000 {
        writer.refused(&limit, "mallory", (number, 7), DAY + number);
    }
    (0..20_000).for_each(|number| writer.refused(&limit, &format!("bot {number}"), (1, 0), DAY));
    let counted = Arc::new(AtomicU8::new(5));
    let (counter, counts) = (limit.clone(), counted.clone());
    let counts = move || vec![(counter.clone(), counts.load(Ordering::SeqCst).into())];
    writer.counting(counts);
    assert!(writer.flush(ENOUGH));
    let today = Period::from_number(20_261_122).unwrap();
    let told = ledger.refusals(&RefusalsOf { from: today, key: None, most: 100_000 }).unwrap();
    assert_eq!(told.len(), 10_001);
    let mallory = &told[0];
    assert_eq!((&*mallory.key, mallory.count, mallory.asked), ("mallory", 100_000, 99_999));
    let others = told.iter().find(|one| &*one.key == OTHER_KEYS).unwrap();
    assert_eq!(others.count, 20_000 - 9_999);
    let day = LimitDay { day: today, limit, allowed: 5, refused: 120_000 };
    assert_eq!(ledger.limits(today, today).unwrap(), std::slice::from_ref(&day));
    // Only what is more than before.
    counted.store(7, Ordering::SeqCst);
    writer.row(row(1));
    assert!(writer.flush(ENOUGH));
    assert_eq!(ledger.limits(today, today).unwrap(), [LimitDay { allowed: 7, ..day.clone() }]);
    // A limit of another kind took its name, and counts from zero.
    counted.store(3, Ordering::SeqCst);
    writer.row(row(2));
    assert!(writer.flush(ENOUGH));
    assert_eq!(ledger.limits(today, today).unwrap(), [LimitDay { allowed: 10, ..day }]);
}

#[test]
fn old_rows_go_by_themselves() {
    let ledger = Arc::new(Fickle::default());
    ledger.append(&batch(1, vec![row(1), row(2)])).unwrap();
    let next_year = DAY + 400 * 86_400_000;
    let ran = Arc::new(AtomicBool::new(false));
    let clock = {
        let ran = ran.clone();
        move || {
            ran.store(true, Ordering::SeqCst);
            SystemTime::UNIX_EPOCH + Duration::from_millis(next_year)
        }
    };
    let keep = Keep { rows: Some(90), days: Some(365), ..Keep::default() };
    let clean_every = Duration::from_millis(1);
    let clock = Box::new(clock);
    let config = WriterConfig { keep, clean_every, clock, ..WriterConfig::default() };
    let _writer = Writer::start(ledger.clone(), config).unwrap();
    until(|| there(&ledger) == 0);
    let sums = |to: &str| {
        let (from, to) = ("1970-01-01".parse().unwrap(), to.parse().unwrap());
        let asked = TotalsOf { by: By::All, from, to, name: None };
        ledger.totals(&asked).unwrap().len()
    };
    assert!(ran.load(Ordering::SeqCst));
    until(|| sums("2030-01-01") == 0);
    assert_eq!(sums("2030-01"), 1, "months are kept");
}
