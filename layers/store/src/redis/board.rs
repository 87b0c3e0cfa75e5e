use std::time::Duration;

use super::Redis;
use crate::{
    StoreError,
    board::{Board, MOST, Note, Pinned},
};

/// A board in Redis: one hash, `{PREFIX:board}:NAME`, which is gone with its last note.
#[derive(Clone, Debug)]
pub struct RedisBoard {
    redis: Redis,
    place: String,
}

/// No request waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

impl RedisBoard {
    /// The board of this name there.
    pub fn new(redis: Redis, name: &str) -> Self {
        let place = format!("{{{}:board}}:{name}", redis.config().key_prefix());
        Self { redis, place }
    }
}

impl Board for RedisBoard {
    fn exchange(&self, me: &str, note: Option<&Note>) -> Result<Vec<Pinned>, StoreError> {
        let mut script = ::redis::cmd("EVAL");
        script.arg(include_str!("board.lua")).arg(1).arg(&self.place).arg(me);
        let keep = note.map_or(0, |note| u64::try_from(note.keep.as_millis()).unwrap_or(u64::MAX));
        // A year is more than anybody means, and whole in a script's numbers.
        script.arg(note.map_or(&[][..], |note| &note.text)).arg(keep.min(31_536_000_000)).arg(MOST);
        let read: Vec<(Vec<u8>, u64, Vec<u8>)> =
            self.redis.wait(PATIENCE, async move |mut link| script.query_async(&mut link).await)?;
        let read = read.into_iter().map(|(from, age, text)| Pinned {
            from: String::from_utf8_lossy(&from).into(),
            text,
            age: Duration::from_millis(age),
        });
        Ok(read.collect())
    }
}
