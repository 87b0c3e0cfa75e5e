//! Rows as they lie in the file: names apart, in the order of time; and those of files from before.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use rusqlite::Connection;
use tollway_core::{Caller, Ending, Target, Usage, Usd};

use super::{APPLICATION, MIGRATIONS, Sqlite, SqliteLedger, SqliteLimits};
use crate::{
    ledger::{Batch, By, Decided, Id, Ledger, Old, Period, Row, RowsOf, TotalsOf},
    limits::{LimitJournal, Saved},
};

const DAY: u64 = 86_400_000;
const AT: u64 = 1_795_305_600_000;

fn open(path: &Path) -> (Arc<Sqlite>, SqliteLedger) {
    let file = Arc::new(Sqlite::open(path).unwrap());
    (file.clone(), SqliteLedger::new(file))
}

fn row(at: u64, user: &str) -> Row {
    let mut row = Row::new(at, Id([7; 12]), Ending::Complete);
    row.caller.user = Some(user.into());
    row
}

fn append(ledger: &SqliteLedger, rows: Vec<Row>) {
    ledger.append(&Batch::of_rows(1, rows, &TimeZone::UTC)).unwrap();
}

fn all(ledger: &SqliteLedger) -> Vec<Row> {
    ledger.rows(&RowsOf { most: 10_000, ..RowsOf::default() }).unwrap()
}

fn told(ledger: &SqliteLedger) -> Vec<(u64, String)> {
    let told = |row: Row| (row.at - AT, row.caller.user.unwrap().to_string());
    all(ledger).into_iter().map(told).collect()
}

fn count(file: &Sqlite, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    file.look(|file| file.query_row(&sql, [], |row| row.get(0))).unwrap()
}

/// Of rows, the ones before a moment, and the oldest beyond so many.
fn clean(ledger: &SqliteLedger, rows: u64, most_rows: u64) {
    let (days, months) = (Period::from_number(20_261_101), Period::from_number(20_261_100));
    let old = Old { rows, most_rows, days: days.unwrap(), months: months.unwrap() };
    while ledger.clean(&old).unwrap() {}
}

/// The rows that [`OLD`] writes, newest first.
fn old_rows() -> [Row; 3] {
    let mut caller = Caller::default();
    (caller.user, caller.key) = (Some("amira".into()), Some("laptop".into()));
    caller.ip = Some([192, 0, 2, 7].into());
    caller.tags = [("team", "search")].into_iter().collect();
    let mut usage = Usage::new(100, 20);
    (usage.cached, usage.cache_write, usage.cache_write_1h) = (4, 3, 2);
    (usage.input_audio, usage.reasoning, usage.output_audio) = (1, 7, 5);
    let full = Row {
        caller,
        operation: "chat".into(),
        asked_model: Some("gpt-4o".into()),
        target: Some(Target::new("openai", "main", Some("gpt-4o-2024-08-06".into()))),
        usage: Some(usage.estimated()),
        cost: Some(Usd::from_nanos(1_000)),
        status: Some(200),
        attempts: 2,
        whole: Duration::from_micros(30),
        first_token: Some(Duration::from_micros(20)),
        upstream: Duration::from_micros(10),
        decision: Some(Decided {
            route: "chat".into(),
            rule: Some("cheap".into()),
            strategy: "cost".into(),
            arm: Some("b".into()),
        }),
        ..Row::new(AT + DAY, Id([0xAB; 12]), Ending::Complete)
    };
    let bare = Row::new(AT, Id([1; 12]), Ending::Dropped);
    // Of the same millisecond, and later.
    let mut later = row(AT, "amira");
    later.caller.ip = Some("2001:db8::1".parse().unwrap());
    [full, later, bare]
}

const OLD: &str = "
INSERT INTO request (at, request, operation, attempts, whole_us, upstream_us, ending)
  VALUES (1795305600000, x'010101010101010101010101', 'other', 0, 0, 0, 'client_left');
INSERT INTO request (at, request, user, ip, operation, attempts, whole_us, upstream_us, ending)
  VALUES (1795305600000, x'070707070707070707070707', 'amira', '2001:db8::1', 'other', 0, 0, 0,
          'complete');
INSERT INTO request VALUES (77, 1795392000000, x'ABABABABABABABABABABABAB', 'amira', 'laptop',
  '192.0.2.7', '{\"team\":\"search\"}', 'chat', 'gpt-4o', 'openai', 'main', 'gpt-4o-2024-08-06',
  100, 4, 3, 2, 1, 20, 7, 5, 1, 1000, 200, 2, 30, 20, 10, 'complete', 'chat', 'cheap', 'cost', 'b');
INSERT INTO total VALUES ('all', 20261100, '', 3, 1, 0, 1000, 100, 4, 3, 2, 1, 20, 7, 5);
INSERT INTO record VALUES ('kind', 'name', x'00', NULL);
";

/// A file as an older version left it.
fn of_version(path: &Path, version: usize) {
    let raw = Connection::open(path).unwrap();
    MIGRATIONS[..version].iter().for_each(|sql| raw.execute_batch(sql).unwrap());
    raw.pragma_update(None, "application_id", APPLICATION).unwrap();
    raw.pragma_update(None, "user_version", version as i64).unwrap();
    raw.execute_batch(OLD).unwrap();
    if version > 1 {
        raw.execute_batch("INSERT INTO limit_state VALUES ('user', 'amira', x'00')").unwrap();
    }
}

#[test]
fn files_of_older_versions_keep_all_that_is_in_them() {
    for version in 1..MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollway.db");
        of_version(&path, version);
        let (file, ledger) = open(&path);
        assert_eq!(all(&ledger), old_rows(), "from version {version}");
        let month = Period::from_number(20_261_100).unwrap();
        let asked = TotalsOf { by: By::All, from: month, to: month, name: None };
        assert_eq!(ledger.totals(&asked).unwrap()[0].total.requests, 3);
        assert_eq!((count(&file, "record"), count(&file, "caller")), (1, 3));
        assert_eq!(count(&file, "limit_state"), i64::from(version > 1));

        append(&ledger, vec![row(AT, "berk")]);
        assert_eq!(ledger.totals(&asked).unwrap()[0].total.requests, 4);
        clean(&ledger, 0, 2);
        let [full, ..] = old_rows();
        assert_eq!(all(&ledger), [full, row(AT, "berk")]);
    }
}

/// Many rows apart, by a clock that stood still; or in the far future, which is one moment.
#[test]
fn rows_of_one_moment_in_an_older_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    of_version(&path, 2);
    let (other, late) = (1 + (1 << 20), i64::MAX);
    let more = format!(
        "CREATE TEMP TABLE more AS SELECT * FROM request WHERE id = 1;
         UPDATE more SET id = {other}; INSERT INTO request SELECT * FROM more;
         UPDATE more SET id = 80, at = {late}; INSERT INTO request SELECT * FROM more;
         UPDATE more SET id = 81, at = {late} - 1; INSERT INTO request SELECT * FROM more;"
    );
    Connection::open(&path).unwrap().execute_batch(&more).unwrap();
    let (_, ledger) = open(&path);
    let latest = (1 << 43) - 1;
    let at: Vec<_> = all(&ledger).iter().map(|row| row.at).collect();
    assert_eq!(at, [latest, latest, AT + DAY, AT, AT, AT]);
    append(&ledger, vec![row(AT, "a")]);
    assert_eq!(all(&ledger).len(), 7);
}

#[test]
fn rows_of_an_earlier_time_find_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ledger) = open(&folder.path().join("tollway.db"));
    append(&ledger, vec![row(AT + 9, "a"), row(AT + 5, "b"), row(AT + 9, "c")]);
    append(&ledger, vec![row(AT + 5, "d"), row(AT + 7, "e"), row(AT + 5, "f"), row(AT + 9, "g")]);
    append(&ledger, vec![row(AT + 10, "h")]);
    let expected =
        [(10, "h"), (9, "g"), (9, "c"), (9, "a"), (7, "e"), (5, "f"), (5, "d"), (5, "b")];
    assert_eq!(told(&ledger), expected.map(|(at, user)| (at, user.to_owned())));
    let some = RowsOf { from: AT + 6, to: AT + 9, ..RowsOf::default() };
    assert_eq!(ledger.rows(&some).unwrap(), [row(AT + 7, "e")]);
}

/// The end of time is one millisecond; nothing that a clock tells is lost for it.
#[test]
fn a_row_of_the_far_future_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ledger) = open(&folder.path().join("tollway.db"));
    append(&ledger, vec![row(u64::MAX, "a"), row(u64::MAX - 1, "b")]);
    append(&ledger, vec![row(u64::MAX, "c")]);
    assert_eq!(all(&ledger).len(), 3);
}

#[test]
fn names_are_written_once_a_day_and_go_with_its_last_row() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ledger) = open(&folder.path().join("tollway.db"));
    let of_day = |day: u64| {
        (0..100).map(move |n| row(AT + day * DAY + n, if n & 1 == 0 { "a" } else { "b" }))
    };
    for day in 0..3 {
        append(&ledger, of_day(day).collect());
        append(&ledger, of_day(day).collect());
    }
    let names = || (count(&file, "caller"), count(&file, "course"));
    assert_eq!(names(), (6, 3));
    clean(&ledger, AT + DAY, 1_000);
    assert_eq!((names(), count(&file, "request")), ((4, 2), 400));
    // One that comes late is whole, too.
    append(&ledger, vec![row(AT, "late")]);
    assert_eq!(told(&ledger).last().unwrap(), &(0, "late".to_owned()));
    clean(&ledger, AT + 3 * DAY, 1_000);
    assert_eq!((names(), count(&file, "request")), ((0, 0), 0));
    append(&ledger, of_day(2).collect());
    assert!(all(&ledger).iter().all(|row| row.caller.user.is_some()));
    assert_eq!(count(&file, "request"), 100);
}

/// What one process removes, another one had in mind.
#[test]
fn names_that_another_process_removed_are_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    let ((_a, a), (_b, b)) = (open(&path), open(&path));
    append(&b, vec![row(AT, "late")]);
    append(&a, (0..3).map(|n| row(AT + DAY + n, "a")).collect());
    clean(&a, 0, 3);
    append(&b, vec![row(AT, "late")]);
    assert_eq!(told(&a).last().unwrap(), &(0, "late".to_owned()));

    clean(&a, AT + 2 * DAY, 1_000);
    append(&a, vec![row(AT, "other")]);
    append(&b, vec![row(AT, "late")]);
    let users = [(0, "late"), (0, "other")];
    assert_eq!(told(&b), users.map(|(at, user)| (at, user.to_owned())));
}

#[test]
fn a_wrong_clock_keeps_no_names_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ledger) = open(&folder.path().join("tollway.db"));
    append(&ledger, vec![row(AT + 80_000 * DAY, "future")]);
    for day in 0..5 {
        append(&ledger, vec![row(AT + day * DAY, "a")]);
    }
    clean(&ledger, AT + 3 * DAY, 1_000);
    let names = (count(&file, "caller"), count(&file, "course"));
    assert_eq!((names, count(&file, "entry")), ((3, 3), 3));
}

#[test]
fn rows_without_names_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ledger) = open(&folder.path().join("tollway.db"));
    append(&ledger, vec![row(AT, "a")]);
    file.change(|file| file.execute_batch("DELETE FROM caller; DELETE FROM course")).unwrap();
    append(&ledger, vec![row(AT + 1, "a")]);
    let bare = Row { operation: "".into(), ..Row::new(AT, Id([7; 12]), Ending::Dropped) };
    assert_eq!(all(&ledger), [row(AT + 1, "a"), bare]);
}

#[test]
fn rows_that_are_removed_by_hand_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    let (file, ledger) = open(&path);
    append(&ledger, (0..10).map(|n| row(AT + n, if n < 6 { "a" } else { "b" })).collect());
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("DELETE FROM request WHERE user = 'b'").unwrap();
    clean(&ledger, 0, 6);
    assert_eq!(count(&file, "request"), 6);
    raw.execute_batch("DELETE FROM entry").unwrap();
    append(&ledger, vec![row(AT, "a"), row(AT, "b")]);
    clean(&ledger, 0, 2);
    assert_eq!(count(&file, "request"), 2);
}

#[cfg(unix)]
#[test]
fn what_is_known_of_a_file_is_not_believed_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    let (file, ledger) = open(&path);
    append(&ledger, vec![row(AT, "a"), row(AT, "b")]);
    std::fs::remove_file(&path).unwrap();
    // Another one that writes there finds out first, and makes it anew.
    let limits = SqliteLimits::new(file);
    let state = Saved { limit: "user".into(), key: "a".into(), state: Some(vec![0]) };
    assert!(limits.save(std::slice::from_ref(&state)).is_err());
    limits.save(&[state]).unwrap();
    append(&ledger, vec![row(AT, "b"), row(AT, "a")]);
    assert_eq!(all(&ledger), [row(AT, "a"), row(AT, "b")]);
}
