//! What every board must do, run against each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

use std::{sync::Arc, time::Duration};

use tollway_store::board::{Board, MemoryBoard, Note};

/// A board, and what must outlive it.
struct Made(Arc<dyn Board>, #[allow(dead_code, reason = "held")] Option<Box<dyn std::any::Any>>);

fn memory() -> Made {
    Made(Arc::new(MemoryBoard::default()), None)
}

#[cfg(feature = "redis")]
fn redis() -> Made {
    let server = tollway_testkit::RedisServer::start();
    Made(Arc::new(at(&server)), Some(Box::new(server)))
}

#[cfg(feature = "redis")]
fn at(server: &tollway_testkit::RedisServer) -> tollway_store::redis::RedisBoard {
    use tollway_store::redis::{Redis, RedisBoard, RedisConfig};
    let redis = Redis::open(RedisConfig::parse(&server.url()).unwrap()).unwrap();
    while redis.away().is_some() {
        std::thread::yield_now();
    }
    RedisBoard::new(redis, "test")
}

/// Each test for each board.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $test() { super::$test(super::memory()); })* }
        #[cfg(feature = "redis")]
        mod in_redis { $(#[test] fn $test() { super::$test(super::redis()); })* }
    };
}

conformance! {
    a_note_is_read_by_all_others_until_it_is_taken_down,
    what_nobody_renews_is_gone,
    only_so_many_are_read,
}

fn note(text: &[u8], millis: u64) -> Note {
    Note { text: text.to_vec(), keep: Duration::from_millis(millis) }
}

fn read(board: &dyn Board, me: &str) -> Vec<(String, Vec<u8>)> {
    let all = board.exchange(me, None).unwrap();
    assert!(all.iter().all(|note| note.age < Duration::from_secs(60)));
    let mut all: Vec<_> = all.into_iter().map(|note| (note.from.to_string(), note.text)).collect();
    all.sort();
    all
}

fn a_note_is_read_by_all_others_until_it_is_taken_down(Made(board, _held): Made) {
    let text = b"12 13 any bytes \x00\xff\n\r\n";
    assert!(board.exchange("a", Some(&note(text, 60_000))).unwrap().is_empty(), "not its own");
    let of_a = ("a".to_owned(), text.to_vec());
    assert_eq!(read(&*board, "c"), std::slice::from_ref(&of_a));
    let seen = board.exchange("b", Some(&note(b"", 60_000))).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(read(&*board, "c"), [of_a, ("b".to_owned(), Vec::new())]);
    board.exchange("a", Some(&note(b"else", 60_000))).unwrap();
    assert_eq!(read(&*board, "b"), [("a".to_owned(), b"else".to_vec())], "and its own is down");
    board.exchange("a", None).unwrap();
    assert!(read(&*board, "c").is_empty());
}

fn what_nobody_renews_is_gone(Made(board, _held): Made) {
    board.exchange("a", Some(&note(b"soon", 50))).unwrap();
    board.exchange("b", Some(&note(b"late", u64::MAX))).unwrap();
    while read(&*board, "c").len() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(read(&*board, "c"), [("b".to_owned(), b"late".to_vec())]);
}

fn only_so_many_are_read(Made(board, _held): Made) {
    for n in 0..150 {
        board.exchange(&n.to_string(), Some(&note(b"x", 60_000))).unwrap();
    }
    assert_eq!(read(&*board, "me").len(), 100);
}

#[cfg(feature = "redis")]
#[test]
fn a_board_in_redis_leaves_nothing_behind() {
    let server = tollway_testkit::RedisServer::start();
    let board = at(&server);
    board.exchange("a", Some(&note(b"soon", 100))).unwrap();
    assert_eq!(server.command("EXISTS {tollway:board}:test"), ":1");
    while server.command("EXISTS {tollway:board}:test") != ":0" {
        std::thread::yield_now();
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_board_that_is_away_fails_and_is_there_again() {
    let mut server = tollway_testkit::RedisServer::start();
    let board = at(&server);
    server.kill();
    assert!(board.exchange("a", None).is_err());
    server.restart();
    while board.exchange("a", None).is_err() {
        std::thread::yield_now();
    }
}
