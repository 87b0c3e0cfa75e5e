//! A process that writes is killed at random points: the file opens, its sums are those of its rows,
//! and what was committed is there.

#![cfg(all(feature = "sqlite", unix))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod common;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use common::{DAY, row};
use tollway_store::{
    ledger::{By, Ledger, RowsOf, TotalsOf, Writer, WriterConfig},
    sqlite::{Sqlite, SqliteLedger},
};

const FILE: &str = "TOLLWAY_TEST_KILLED_FILE";
const FROM: &str = "TOLLWAY_TEST_KILLED_FROM";
const TIMES: u64 = 100;

fn open(path: &Path) -> Arc<SqliteLedger> {
    Arc::new(SqliteLedger::new(Arc::new(Sqlite::open(path).unwrap())))
}

/// The other process: writes rows as fast as it can, and tells how many are in the file for sure.
#[test]
fn the_one_that_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let first: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let config = WriterConfig { batch: 20, ..WriterConfig::default() };
    let writer = Writer::start(open(Path::new(&path)), config).unwrap();
    let mut told = std::io::stderr().lock();
    let mut before = 0;
    for number in first.. {
        writer.row(row(number));
        while writer.stats().waiting > 40 {
            std::thread::yield_now();
        }
        let written = writer.stats().written;
        if written > before && writeln!(told, "written {}", first + written).is_err() {
            return;
        }
        before = written;
    }
}

/// Kills it once it has told a few times; the number of rows that it knew to be written.
fn run_and_kill(path: &Path, from: u64, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_one_that_is_killed", "--nocapture"])
        .env(FILE, path)
        .env(FROM, from.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stderr.take().unwrap());
    let told = told.lines().map_while(Result::ok);
    let mut told = told.filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
    let first = told.by_ref().take(lines as usize).last();
    // SIGKILL: nothing of it runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had told before it died.
    told.last().or(first).unwrap_or(from)
}

#[test]
fn killed_a_hundred_times_the_file_opens_and_its_sums_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    drop(open(&path));
    let (mut from, mut cut_short) = (0, 0);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..TIMES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let written = run_and_kill(&path, from, (random >> 33) % 6);
        let ledger = open(&path);
        let rows = ledger.rows(&RowsOf { most: usize::MAX >> 1, ..RowsOf::default() }).unwrap();
        let there = rows.len() as u64;
        assert!(there >= written, "{there} rows are there, {written} were committed");
        // Without a gap: what is lost is what came last.
        assert_eq!(
            rows.iter().map(|row| row.at).max(),
            there.checked_sub(1).map(|n| DAY + n * 1000)
        );
        cut_short += u64::from(there > from);
        from = there;

        let mut users: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for row in &rows {
            let user = row.caller.user.as_ref().unwrap().to_string();
            let sum = users.entry(user).or_default();
            *sum = (sum.0 + 1, sum.1 + row.cost.unwrap().nanos());
        }
        let mut summed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let (month_one, last) = ("1970-01".parse().unwrap(), "2999-01".parse().unwrap());
        let asked = TotalsOf { by: By::User, from: month_one, to: last, name: None };
        for sum in ledger.totals(&asked).unwrap() {
            let all = summed.entry(sum.name.to_string()).or_default();
            *all = (all.0 + sum.total.requests, all.1 + sum.total.cost.nanos());
        }
        assert_eq!(summed, users);
    }
    assert!(cut_short > TIMES / 2, "it hardly ever wrote anything before it was killed");
}
