use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use rusqlite::Connection;
use tollway_core::Ending;

use super::{MIGRATIONS, Sqlite, SqliteLedger, SqliteLimits};
use crate::ledger::{Batch, By, Id, Ledger, OTHER_KEYS, Period, Row, RowsOf, TotalsOf};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tollway.db")
    }

    fn open(&self) -> (Arc<Sqlite>, SqliteLedger) {
        let file = Arc::new(Sqlite::open(self.file()).unwrap());
        (file.clone(), SqliteLedger::new(file))
    }

    fn why_not(&self) -> String {
        let error = Sqlite::open(self.file()).unwrap_err();
        assert!(!error.is_away(), "{error}");
        error.to_string()
    }
}

fn batch(users: impl IntoIterator<Item = u32>) -> Batch {
    let row = |user: u32| {
        let mut row = Row::new(1_795_305_600_000, Id::default(), Ending::Complete);
        row.caller.user = Some(format!("user {user}").into());
        row
    };
    Batch::of_rows(1, users.into_iter().map(row).collect(), &TimeZone::UTC)
}

fn requests(ledger: &SqliteLedger, by: By) -> Vec<(String, u64)> {
    let day = Period::from_number(20_261_122).unwrap();
    let sums = ledger.totals(&TotalsOf { by, from: day, to: day, name: None }).unwrap();
    sums.iter().map(|sum| (sum.name.to_string(), sum.total.requests)).collect()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = Folder::new();
    folder.open().1.append(&batch([1, 2])).unwrap();
    let (_, ledger) = folder.open();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 2);
    ledger.append(&batch([2])).unwrap();
    assert_eq!(requests(&ledger, By::User), [("user 1".into(), 1), ("user 2".into(), 2)]);
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(folder.open());
    let newer = MIGRATIONS.len() + 1;
    let raw = || Connection::open(folder.file()).unwrap();
    raw().pragma_update(None, "user_version", newer as i64).unwrap();
    let why = folder.why_not();
    assert!(why.contains("newer Tollway") && why.contains(&format!("version {newer}")), "{why}");
    let version: i64 = raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, newer as i64);
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_alone() {
    let folder = Folder::new();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    drop(other);
    let before = std::fs::read(folder.file()).unwrap();
    assert!(folder.why_not().contains("another program"));
    std::fs::write(folder.file(), "a letter, not a database. ".repeat(100)).unwrap();
    assert!(folder.why_not().contains("no SQLite database"));
    std::fs::write(folder.file(), &before).unwrap();
    assert!(folder.why_not().contains("another program"));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
}

#[test]
fn a_damaged_file_is_told_and_can_be_replaced() {
    let folder = Folder::new();
    let (file, ledger) = folder.open();
    ledger.append(&batch(0..500)).unwrap();
    drop((file, ledger));
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes[200..].fill(0x55);
    std::fs::write(folder.file(), bytes).unwrap();
    let opened = Sqlite::open(folder.file());
    let damaged = opened.and_then(|file| {
        let ledger = SqliteLedger::new(Arc::new(file));
        ledger.append(&batch([1])).map(|()| ledger)
    });
    let why = damaged.unwrap_err().to_string();
    assert!(why.contains("is damaged"), "{why}");
    std::fs::remove_file(folder.file()).unwrap();
    folder.open().1.append(&batch([1])).unwrap();
}

#[test]
fn without_a_folder_there_is_no_file() {
    let folder = Folder::new();
    let error = Sqlite::open(folder.0.path().join("nowhere/tollway.db")).unwrap_err();
    assert!(error.to_string().contains("its folder must be there"), "{error}");
}

#[test]
fn a_full_disk_takes_nothing_by_half_and_is_used_again_when_there_is_room() {
    let folder = Folder::new();
    let (file, ledger) = folder.open();
    ledger.append(&batch([1])).unwrap();
    let pages = |most: i64| {
        file.change(|inside| {
            inside.query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0))
        })
        .map(|now: i64| now)
        .unwrap()
    };
    let now = pages(1);
    let error = ledger.append(&batch(0..5_000)).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("is full"), "{error}");
    assert_eq!(requests(&ledger, By::All), [(String::new(), 1)]);
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 1);
    pages(now + 10_000);
    ledger.append(&batch(0..5_000)).unwrap();
    let rows = ledger.rows(&RowsOf { most: 10_000, ..RowsOf::default() }).unwrap();
    assert!(rows.len() == 5_001 && rows.iter().all(|row| row.caller.user.is_some()));
    assert_eq!(requests(&ledger, By::All), [(String::new(), 5_001)]);
}

#[test]
fn a_file_that_is_read_only_is_told_and_opened_anew() {
    let folder = Folder::new();
    let (file, ledger) = folder.open();
    ledger.append(&batch([1])).unwrap();
    file.change(|inside| inside.pragma_update(None, "query_only", true)).unwrap();
    let error = ledger.append(&batch([2])).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("read-only"), "{error}");
    // Mended, as far as the next connection can tell.
    ledger.append(&batch([2])).unwrap();
    assert_eq!(requests(&ledger, By::All), [(String::new(), 2)]);
}

#[test]
fn names_beyond_the_bound_are_counted_together() {
    let folder = Folder::new();
    let file = Arc::new(Sqlite::open(folder.file()).unwrap());
    let ledger = SqliteLedger::with_most_names(file.clone(), 3);
    ledger.append(&batch([1, 2])).unwrap();
    ledger.append(&batch([3, 4, 5, 1])).unwrap();
    // Another process counts for itself.
    let ledger = SqliteLedger::with_most_names(file, 3);
    ledger.append(&batch([6, 1])).unwrap();
    let users = requests(&ledger, By::User);
    assert_eq!(users.len(), 4, "{users:?}");
    assert_eq!(users.iter().map(|(_, requests)| requests).sum::<u64>(), 8);
    assert_eq!(users[0], (OTHER_KEYS.into(), 3));
    assert_eq!(requests(&ledger, By::All), [(String::new(), 8)]);
}

#[test]
fn a_reader_blocks_no_writer_and_sees_one_moment() {
    let folder = Folder::new();
    let (file, ledger) = folder.open();
    ledger.append(&batch([1])).unwrap();
    let count = "SELECT count(*) FROM request";
    file.look(|reader| {
        let inside = reader.unchecked_transaction()?;
        let before: i64 = inside.query_row(count, [], |row| row.get(0))?;
        ledger.append(&batch([2])).unwrap();
        let after: i64 = inside.query_row(count, [], |row| row.get(0))?;
        assert_eq!((before, after), (1, 1));
        Ok(())
    })
    .unwrap();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 2);
}

#[test]
fn room_of_what_is_removed_goes_back_to_the_disk() {
    let folder = Folder::new();
    let (file, ledger) = folder.open();
    ledger.append(&batch((0..20_000).map(|n| n % 10))).unwrap();
    let pages =
        || file.look(|now| now.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)));
    let before = pages().unwrap();
    let (days, months) = (Period::from_number(20_261_122), Period::from_number(20_261_100));
    let old = crate::ledger::Old {
        rows: u64::MAX,
        most_rows: 10,
        days: days.unwrap(),
        months: months.unwrap(),
    };
    let mut steps = 1;
    while ledger.clean(&old).unwrap() {
        steps += 1;
    }
    assert!(steps >= 2, "not all at once");
    let after = pages().unwrap();
    assert!(after < before / 2, "{before} pages, then {after}");
}

#[cfg(unix)]
#[test]
fn a_reader_reads_the_file_that_is_there() {
    use crate::records::{Record, Records};
    let folder = Folder::new();
    let records = || super::SqliteRecords::new(folder.open().0);
    let one = records();
    one.put("key", &Record::new("a", "1"), 0).unwrap();
    let mark = one.mark().unwrap();
    assert!(mark.is_some());
    std::fs::rename(folder.file(), folder.0.path().join("aside")).unwrap();
    assert_eq!(one.mark().unwrap(), None, "gone with all that was in it");
    assert_eq!(one.snapshot(&["key"], 0).unwrap().kinds, [[]; 1]);
    std::fs::write(folder.file(), "").unwrap();
    assert_eq!(one.snapshot(&["key"], 0).unwrap().kinds, [[]; 1], "there, and bare");
    records().put("key", &Record::new("b", "1"), 0).unwrap();
    assert_eq!(one.list("key", 0).unwrap(), [Record::new("b", "1")], "another one of its name");
    assert!(!one.restore(None, mark.unwrap(), &[]).unwrap());
}

#[test]
fn limits_of_a_file_belong_to_one_at_a_time() {
    let folder = Folder::new();
    let limits = || SqliteLimits::new(folder.open().0);
    let (first, second) = (limits(), limits());
    first.claim(Duration::ZERO).unwrap();
    let error = second.claim(Duration::ZERO).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("another process"), "{error}");
    #[cfg(unix)]
    {
        let other = folder.0.path().join("other.db");
        std::os::unix::fs::symlink(folder.file(), &other).unwrap();
        let third = SqliteLimits::new(Arc::new(Sqlite::open(other).unwrap()));
        assert!(third.claim(Duration::ZERO).is_err(), "another name for it");
    }
    drop(first);
    second.claim(Duration::ZERO).unwrap();
}

#[cfg(unix)]
#[test]
fn a_lock_that_was_taken_away_lets_one_of_them_count() {
    use crate::limits::{LimitJournal, Saved};
    let folder = Folder::new();
    let limits = || SqliteLimits::new(folder.open().0);
    let saves = |limits: &SqliteLimits, count: u8| {
        let state = Some(vec![count]);
        limits.save(&[Saved { limit: "l".into(), key: "k".into(), state }])
    };
    let owner = folder.0.path().join("tollway.db-owner");
    let (first, second) = (limits(), limits());
    first.claim(Duration::ZERO).unwrap();
    std::fs::remove_file(&owner).unwrap();
    saves(&first, 1).unwrap();
    assert!(second.claim(Duration::ZERO).is_err(), "it was locked anew");
    std::fs::remove_file(&owner).unwrap();
    second.claim(Duration::ZERO).unwrap();
    saves(&second, 2).unwrap();
    let error = saves(&first, 3).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("another process"), "{error}");
    assert_eq!(second.load().unwrap()[0].state, Some(vec![2]));
    drop(second);
    saves(&first, 4).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_of_two_names_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    let other = folder.0.path().join("other.db");
    std::fs::hard_link(folder.file(), &other).unwrap();
    assert!(folder.why_not().contains("a hard link"));
    std::fs::remove_file(other).unwrap();
    drop(folder.open());
}

#[cfg(unix)]
#[test]
fn a_file_that_was_taken_away_is_told_and_made_anew() {
    let folder = Folder::new();
    let (_file, ledger) = folder.open();
    ledger.append(&batch([1])).unwrap();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 1);
    std::fs::remove_file(folder.file()).unwrap();
    let error = ledger.append(&batch([2])).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("moved or deleted"), "{error}");
    let next = Batch { id: 2, ..batch([2]) };
    ledger.append(&next).unwrap();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 1);
    assert_eq!(folder.open().1.rows(&RowsOf::default()).unwrap().len(), 1);
}

/// Who opens it reads at once, and does not wait for who writes.
#[test]
fn a_file_that_another_process_writes_is_opened_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("held.db");
    drop(Sqlite::open(&path).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let file = Sqlite::open(&path).unwrap();
    assert!(file.write.lock().unwrap().is_some(), "nothing had to be waited for");
    file.leave(Duration::ZERO);
    assert_eq!(file.patience(), Duration::ZERO);
    let error = file.change(|_| Ok(())).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("another process"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    file.change(|_| Ok(())).unwrap();
}
