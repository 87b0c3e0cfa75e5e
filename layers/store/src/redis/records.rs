use std::{collections::BTreeMap, time::Duration};

use ::redis::{FromRedisValue, Pipeline};

use super::Redis;
use crate::{
    StoreError,
    records::{Record, Records},
};

/// Documents that several instances share: a hash for each kind, under `PREFIX:records:KIND`.
#[derive(Clone, Debug)]
pub struct RedisRecords(Redis);

/// Who asks for a document waits for it, and no request does.
const PATIENCE: Duration = Duration::from_secs(2);

impl RedisRecords {
    /// Documents there.
    pub fn new(redis: Redis) -> Self {
        Self(redis)
    }

    /// The hash of a kind; that of the kinds themselves is the one of no name.
    fn place(&self, kind: &str) -> String {
        format!("{{{}:records}}:{kind}", self.0.config().key_prefix())
    }

    fn pipe<T: FromRedisValue + Send + 'static>(
        &self,
        commands: Pipeline,
    ) -> Result<T, StoreError> {
        self.0.wait(PATIENCE, move |mut link| async move { commands.query_async(&mut link).await })
    }

    fn all(&self, kind: &str) -> Result<Vec<Record>, StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.cmd("HGETALL").arg(self.place(kind));
        let (all,): (BTreeMap<String, Vec<u8>>,) = self.pipe(pipe)?;
        all.iter().map(|(name, stored)| decode(name, stored)).collect()
    }
}

/// The expiry in eight bytes, none of them set for never; then the value.
fn encode(record: &Record) -> Vec<u8> {
    // What expired in the first millisecond of 1970 is gone all the same in the second.
    let expires = record.expires.map_or(0, |expires| expires.max(1));
    [&expires.to_be_bytes()[..], &record.value].concat()
}

fn decode(name: &str, stored: &[u8]) -> Result<Record, StoreError> {
    let (expires, value) = stored
        .split_first_chunk::<8>()
        .ok_or_else(|| StoreError::wrong(format!("the record {name:?} in Redis is damaged")))?;
    let expires = Some(u64::from_be_bytes(*expires)).filter(|expires| *expires > 0);
    Ok(Record { expires, ..Record::new(name, value) })
}

impl Records for RedisRecords {
    fn put(&self, kind: &str, record: &Record) -> Result<(), StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.atomic();
        pipe.cmd("SADD").arg(self.place("")).arg(kind).ignore();
        pipe.cmd("HSET").arg(self.place(kind)).arg(&*record.name).arg(encode(record)).ignore();
        self.pipe(pipe)
    }

    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError> {
        let there = self.stored(kind, &record.name)?;
        if let Some(there) = &there
            && decode(&record.name, there)?.is_there(now)
        {
            return Ok(false);
        }
        self.replace(kind, (&record.name, there.as_deref()), &encode(record))
    }

    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError> {
        let record = self.stored(kind, name)?.map(|stored| decode(name, &stored)).transpose()?;
        Ok(record.filter(|record| record.is_there(now)))
    }

    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError> {
        let mut all = self.all(kind)?;
        all.retain(|record| record.is_there(now));
        Ok(all)
    }

    fn remove(&self, kind: &str, name: &str, now: u64) -> Result<bool, StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.atomic();
        pipe.cmd("HGET").arg(self.place(kind)).arg(name);
        pipe.cmd("HDEL").arg(self.place(kind)).arg(name).ignore();
        let (stored,): (Option<Vec<u8>>,) = self.pipe(pipe)?;
        let record = stored.map(|stored| decode(name, &stored)).transpose()?;
        Ok(record.is_some_and(|record| record.is_there(now)))
    }

    fn clean(&self, now: u64) -> Result<u64, StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.cmd("SMEMBERS").arg(self.place(""));
        let (kinds,): (Vec<String>,) = self.pipe(pipe)?;
        let mut removed = 0;
        for kind in kinds {
            let expired = self.all(&kind)?.into_iter().filter(|record| !record.is_there(now));
            for record in expired {
                removed += self.remove_same(&kind, &record)?;
            }
        }
        Ok(removed)
    }
}

impl RedisRecords {
    fn stored(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.cmd("HGET").arg(self.place(kind)).arg(name);
        self.pipe(pipe).map(|(stored,)| stored)
    }

    /// Writes a document unless it is another meanwhile than it was, if it was; whether it did.
    fn replace(
        &self,
        kind: &str,
        (name, was): (&str, Option<&[u8]>),
        value: &[u8],
    ) -> Result<bool, StoreError> {
        const SAME: &str = "local is = redis.call('HGET', KEYS[1], ARGV[1])
                            if (is or '') ~= ARGV[2] then return 0 end
                            redis.call('SADD', KEYS[2], ARGV[4])
                            redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return 1";
        let mut pipe = ::redis::pipe();
        let script = pipe.cmd("EVAL").arg(SAME).arg(2).arg(self.place(kind)).arg(self.place(""));
        // What is stored has eight bytes at least, so that none is none.
        script.arg(name).arg(was.unwrap_or_default()).arg(value).arg(kind);
        self.pipe(pipe).map(|(written,): (u64,)| written > 0)
    }

    /// Removes a document unless it was written anew meanwhile.
    fn remove_same(&self, kind: &str, record: &Record) -> Result<u64, StoreError> {
        const SAME: &str = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
                            return redis.call('HDEL', KEYS[1], ARGV[1]) end return 0";
        let mut pipe = ::redis::pipe();
        let script = pipe.cmd("EVAL").arg(SAME).arg(1).arg(self.place(kind));
        script.arg(&*record.name).arg(encode(record));
        self.pipe(pipe).map(|(removed,)| removed)
    }
}
