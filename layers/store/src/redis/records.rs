use std::{collections::BTreeMap, time::Duration};

use ::redis::{FromRedisValue, Pipeline};

use super::Redis;
use crate::{
    StoreError,
    records::{Mark, Record, Records, Snapshot},
};

/// Documents that several instances share: a hash for each kind, `{PREFIX:records}:KIND`, and one that
/// is their mark, `{PREFIX:records}`.
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
        self.pipe(pipe).and_then(|(all,)| decode_all(&all))
    }

    /// Where the mark is.
    fn mark_place(&self) -> String {
        format!("{{{}:records}}", self.0.config().key_prefix())
    }

    /// Runs a script over the mark, the kinds and the hashes of some of them.
    fn script<T: FromRedisValue + Send + 'static>(
        &self,
        text: &str,
        kinds: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let mut pipe = ::redis::pipe();
        let script = pipe.cmd("EVAL").arg(text).arg(2 + kinds.len());
        script.arg(self.mark_place()).arg(self.place(""));
        for kind in kinds {
            script.arg(self.place(kind));
        }
        script.arg(arguments);
        self.pipe(pipe).map(|(answer,)| answer)
    }
}

type Stored = BTreeMap<String, Vec<u8>>;

fn decode_all(all: &Stored) -> Result<Vec<Record>, StoreError> {
    all.iter().map(|(name, stored)| decode(name, stored)).collect()
}

/// As the mark's hash has them.
type Marked = (Option<u64>, Option<u64>);

fn mark((era, last): Marked) -> Option<Mark> {
    Some(Mark { era: era?, last: last? })
}

fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
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
    fn put(&self, kind: &str, record: &Record, now: u64) -> Result<(), StoreError> {
        let mark = Mark::begin(now);
        let mut pipe = ::redis::pipe();
        pipe.atomic();
        pipe.cmd("HSETNX").arg(self.mark_place()).arg("era").arg(mark.era).ignore();
        pipe.cmd("HSET").arg(self.mark_place()).arg("last").arg(mark.last).ignore();
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
        self.replace(kind, (&record.name, there.as_deref()), &encode(record), now)
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
        const REMOVE: &str = "local is = redis.call('HGET', KEYS[3], ARGV[1])
                              if not is then return false end
                              redis.call('HDEL', KEYS[3], ARGV[1])
                              redis.call('HSETNX', KEYS[1], 'era', ARGV[2])
                              redis.call('HSET', KEYS[1], 'last', ARGV[3]) return is";
        let Mark { era, last } = Mark::begin(now);
        let arguments = [name.as_bytes(), &digits(era), &digits(last)];
        let stored: Option<Vec<u8>> = self.script(REMOVE, &[kind], &arguments)?;
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

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let mut pipe = ::redis::pipe();
        pipe.cmd("HMGET").arg(self.mark_place()).arg("era").arg("last");
        self.pipe(pipe).map(|(marked,)| mark(marked))
    }

    fn snapshot(&self, kinds: &[&str], now: u64) -> Result<Snapshot, StoreError> {
        // One script, as it is one moment.
        const ALL: &str = "local all = {redis.call('HMGET', KEYS[1], 'era', 'last'), {}}
                           for at = 3, #KEYS do all[2][at - 2] = redis.call('HGETALL', KEYS[at]) end
                           return all";
        let (marked, all): (Marked, Vec<Stored>) = self.script(ALL, kinds, &[])?;
        let mut kinds = all.iter().map(decode_all).collect::<Result<Vec<_>, _>>()?;
        kinds.iter_mut().for_each(|all| all.retain(|record| record.is_there(now)));
        Ok(Snapshot { mark: mark(marked), kinds })
    }

    fn restore(
        &self,
        was: Option<Mark>,
        mark: Mark,
        kinds: &[(&str, &[Record])],
    ) -> Result<bool, StoreError> {
        const RESTORE: &str = "local is = redis.call('HMGET', KEYS[1], 'era', 'last')
            if (is[1] or '') ~= ARGV[1] or (is[2] or '') ~= ARGV[2] then return 0 end
            redis.call('HSET', KEYS[1], 'era', ARGV[3], 'last', ARGV[4])
            local next = 5
            for at = 3, #KEYS do
              redis.call('DEL', KEYS[at])
              redis.call('SADD', KEYS[2], ARGV[next])
              local last = next + 1 + 2 * tonumber(ARGV[next + 1])
              for each = next + 2, last, 2 do
                redis.call('HSET', KEYS[at], ARGV[each], ARGV[each + 1])
              end
              next = last + 1
            end
            return 1";
        let (era, last) = was.map(|was| (digits(was.era), digits(was.last))).unwrap_or_default();
        let mut arguments = vec![era, last, digits(mark.era), digits(mark.last)];
        for (kind, records) in kinds {
            arguments.extend([kind.as_bytes().to_vec(), digits(records.len() as u64)]);
            for record in *records {
                arguments.extend([record.name.as_bytes().to_vec(), encode(record)]);
            }
        }
        let arguments: Vec<_> = arguments.iter().map(Vec::as_slice).collect();
        let kinds: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        self.script(RESTORE, &kinds, &arguments).map(|written: u64| written > 0)
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
        now: u64,
    ) -> Result<bool, StoreError> {
        const SAME: &str = "local is = redis.call('HGET', KEYS[3], ARGV[1])
                            if (is or '') ~= ARGV[2] then return 0 end
                            redis.call('HSETNX', KEYS[1], 'era', ARGV[5])
                            redis.call('HSET', KEYS[1], 'last', ARGV[6])
                            redis.call('SADD', KEYS[2], ARGV[4])
                            redis.call('HSET', KEYS[3], ARGV[1], ARGV[3]) return 1";
        // What is stored has eight bytes at least, so that none is none.
        let was = was.unwrap_or_default();
        let Mark { era, last } = Mark::begin(now);
        let (era, last) = (digits(era), digits(last));
        let arguments = [name.as_bytes(), was, value, kind.as_bytes(), &era, &last];
        self.script(SAME, &[kind], &arguments).map(|written: u64| written > 0)
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
