//! What every store of documents must do, run against each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

use std::sync::Arc;

use tollway_store::records::{Mark, MemoryRecords, Record, Records, Snapshot};

/// One that is empty.
type Make = fn() -> Made;

/// A store, and what must outlive it.
struct Made(Arc<dyn Records>, #[allow(dead_code, reason = "held")] Option<Box<dyn std::any::Any>>);

fn memory() -> Made {
    Made(Arc::new(MemoryRecords::default()), None)
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Made {
    use tollway_store::sqlite::{Sqlite, SqliteRecords};
    let folder = tempfile::tempdir().unwrap();
    let file = Sqlite::open(folder.path().join("tollway.db")).unwrap();
    Made(Arc::new(SqliteRecords::new(Arc::new(file))), Some(Box::new(folder)))
}

#[cfg(feature = "redis")]
fn redis() -> Made {
    use tollway_store::redis::{Redis, RedisConfig, RedisRecords};
    let server = tollway_testkit::RedisServer::start();
    let config = RedisConfig::parse(&server.url()).unwrap();
    let redis = Redis::open(config).unwrap();
    while redis.away().is_some() {
        std::thread::yield_now();
    }
    Made(Arc::new(RedisRecords::new(redis)), Some(Box::new(server)))
}

/// Each test for each store.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $test() { super::$test(super::memory); })* }
        #[cfg(feature = "sqlite")]
        mod in_sqlite { $(#[test] fn $test() { super::$test(super::sqlite); })* }
        #[cfg(feature = "redis")]
        mod in_redis { $(#[test] fn $test() { super::$test(super::redis); })* }
    };
}

conformance! {
    what_was_put_is_there_whatever_it_is,
    kinds_are_apart,
    what_has_expired_is_not_there,
    removed_once,
    added_where_there_is_none,
    a_mark_is_another_after_each_change,
    what_was_lost_is_written_anew_once,
}

const NOW: u64 = 1_795_305_600_000;

fn names(records: &dyn Records, kind: &str, now: u64) -> Vec<String> {
    let all = records.list(kind, now).unwrap();
    all.into_iter().map(|record| record.name.to_string()).collect()
}

fn what_was_put_is_there_whatever_it_is(make: Make) {
    let Made(records, _held) = make();
    let all = [
        Record::new("", ""),
        Record::new("amira", "200/min"),
        Record::new("b'; DROP TABLE record; --\u{0}\u{1F600}", vec![0, 255, 10])
            .expiring(u64::MAX >> 1),
        Record::new("c", vec![7; 100_000]).expiring(NOW + 1),
    ];
    for record in &all {
        records.put("quota", record, NOW).unwrap();
    }
    for record in &all {
        assert_eq!(records.get("quota", &record.name, NOW).unwrap().as_ref(), Some(record));
    }
    assert_eq!(records.list("quota", NOW).unwrap(), all);
    // Over what was there, its expiry too.
    let anew = Record::new("c", "new");
    records.put("quota", &anew, NOW).unwrap();
    assert_eq!(records.get("quota", "c", NOW + 1).unwrap(), Some(anew));
    assert_eq!(records.get("quota", "nobody", NOW).unwrap(), None);
}

fn kinds_are_apart(make: Make) {
    let Made(records, _held) = make();
    records.put("quota", &Record::new("amira", "1"), NOW).unwrap();
    records.put("key", &Record::new("amira", "2"), NOW).unwrap();
    assert_eq!(records.get("key", "amira", NOW).unwrap().unwrap().value, b"2");
    assert!(records.remove("key", "amira", NOW).unwrap());
    assert_eq!(names(&*records, "key", NOW), [""; 0]);
    assert_eq!(names(&*records, "quota", NOW), ["amira"]);
    assert_eq!(names(&*records, "nothing", NOW), [""; 0]);
}

fn what_has_expired_is_not_there(make: Make) {
    let Made(records, _held) = make();
    for (name, expires) in [("a", NOW), ("b", NOW + 1), ("c", NOW - 1)] {
        records.put("quota", &Record::new(name, "1").expiring(expires), NOW).unwrap();
    }
    records.put("key", &Record::new("d", "1").expiring(NOW), NOW).unwrap();
    records.put("key", &Record::new("e", "1"), NOW).unwrap();
    assert_eq!(names(&*records, "quota", NOW), ["b"]);
    assert_eq!(records.get("quota", "a", NOW).unwrap(), None);
    assert!(!records.remove("quota", "c", NOW).unwrap(), "gone already");
    assert_eq!(records.clean(NOW).unwrap(), 2);
    assert_eq!(records.clean(NOW).unwrap(), 0);
    // What was cleaned is gone for an earlier look, too.
    assert_eq!(names(&*records, "quota", 0), ["b"]);
    assert_eq!(names(&*records, "key", 0), ["e"]);
}

fn removed_once(make: Make) {
    let Made(records, _held) = make();
    records.put("key", &Record::new("a", "1"), NOW).unwrap();
    assert!(records.remove("key", "a", NOW).unwrap());
    assert!(!records.remove("key", "a", NOW).unwrap());
    assert_eq!(records.get("key", "a", NOW).unwrap(), None);
}

fn added_where_there_is_none(make: Make) {
    let Made(records, _held) = make();
    let (one, other) = (Record::new("a", "1").expiring(NOW + 5), Record::new("a", "2"));
    assert!(records.add("key", &one, NOW).unwrap());
    assert!(!records.add("key", &other, NOW).unwrap());
    assert!(records.add("quota", &other, NOW).unwrap(), "of another kind");
    assert_eq!(records.get("key", "a", NOW).unwrap(), Some(one));
    assert!(records.add("key", &other, NOW + 5).unwrap(), "expired");
    assert!(!records.add("key", &other, u64::MAX >> 1).unwrap(), "never expires");
    assert_eq!(records.list("key", NOW).unwrap(), [other]);
    // It is among what is cleaned, too.
    records.add("new", &Record::new("b", "1").expiring(NOW), NOW).unwrap();
    assert_eq!(records.clean(NOW).unwrap(), 1);
    // Of many that try at once, one does.
    let tries = std::thread::scope(|scope| {
        let one = |at: u8| {
            let records = &records;
            scope.spawn(move || records.add("race", &Record::new("a", vec![at]), NOW).unwrap())
        };
        let all: Vec<_> = (0..8).map(one).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|added| *added).count()
    });
    assert_eq!(tries, 1);
}

fn a_mark_is_another_after_each_change(make: Make) {
    let Made(records, _held) = make();
    let mark = || records.mark().unwrap();
    assert!(!records.remove("key", "a", NOW).unwrap());
    assert_eq!(mark(), None, "nothing was ever there");
    records.put("key", &Record::new("a", "1"), NOW).unwrap();
    let first = mark().unwrap();
    assert_eq!(first.begun(), NOW);
    let mut all = vec![first.last];
    let mut is_another = |what: &str| {
        let Mark { era, last } = mark().unwrap();
        assert_eq!(era, first.era, "{what}");
        assert!(!all.contains(&last), "{what}");
        all.push(last);
    };
    records.put("key", &Record::new("a", "1").expiring(NOW), NOW + 9).unwrap();
    is_another("put");
    assert!(records.add("key", &Record::new("b", "1"), NOW + 9).unwrap());
    is_another("added");
    let before = mark();
    assert!(!records.add("key", &Record::new("b", "2"), NOW).unwrap());
    assert!(!records.remove("key", "c", NOW).unwrap());
    records.clean(NOW).unwrap();
    assert_eq!(mark(), before, "what had expired was there for nobody");
    assert!(records.remove("key", "b", NOW + 9).unwrap());
    is_another("removed");
    records.put("quota", &Record::new("c", "1").expiring(NOW), NOW).unwrap();
    records.put("quota", &Record::new("d", "1"), NOW).unwrap();
    let seen = records.snapshot(&["quota", "none"], NOW).unwrap();
    let kinds = vec![vec![Record::new("d", "1")], vec![]];
    assert_eq!(seen, Snapshot { mark: mark(), kinds });
}

fn what_was_lost_is_written_anew_once(make: Make) {
    let Made(records, _held) = make();
    let mark = Mark { era: u64::MAX, last: 7 };
    let keys = [Record::new("a", vec![0, 255]), Record::new("b", "").expiring(NOW + 1)];
    let all: [(&str, &[Record]); 2] = [("key", &keys), ("quota", &[])];
    // Of many that find it empty, one writes.
    let wrote = std::thread::scope(|scope| {
        let one = |_| scope.spawn(|| records.restore(None, mark, &all).unwrap());
        let each: Vec<_> = (0..8).map(one).collect();
        each.into_iter().map(|one| one.join().unwrap()).filter(|wrote| *wrote).count()
    });
    assert_eq!(wrote, 1);
    assert_eq!(records.mark().unwrap(), Some(mark));
    assert_eq!(records.list("key", NOW).unwrap(), keys);
    records.put("key", &Record::new("c", "1"), NOW).unwrap();
    records.put("other", &Record::new("d", "1"), NOW).unwrap();
    let now = records.mark().unwrap();
    assert!(!records.restore(Some(mark), mark.next(), &all).unwrap(), "not as it was");
    assert_eq!(records.mark().unwrap(), now);
    assert!(records.restore(now, mark.next(), &all).unwrap());
    assert_eq!(names(&*records, "key", NOW), ["a", "b"], "whole, in the place of what was there");
    assert_eq!(names(&*records, "other", NOW), ["d"], "of these kinds alone");
    assert_eq!(records.clean(NOW + 1).unwrap(), 1);
}
