use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, Read, Reader},
    section::section,
    values::*,
};

/// A word, or a section where more is to be said.
#[derive(Clone, Debug)]
pub(in crate::policy) enum WordOr<W, S> {
    Word(At<W>),
    Section(Box<S>),
}

impl<W: Read, S: Read> Read for WordOr<W, S> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value {
            Value::Map(_) => {
                S::read(node, path, reader).map(|section| Self::Section(section.into()))
            }
            _ => At::read(node, path, reader).map(Self::Word),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, section) = (W::schema(generator), S::schema(generator));
        json_schema!({ "anyOf": [word, section] })
    }
}

pub(in crate::policy) type StateWritten = WordOr<MemoryName, StateMapWritten>;
pub(in crate::policy) type RedisWritten = WordOr<Hidden, RedisMapWritten>;
pub(in crate::policy) type StoreWritten = WordOr<StoreName, StoreMapWritten>;
pub(in crate::policy) type LedgerWritten = WordOr<StoreName, LedgerMapWritten>;

section! {
    /// Where state lives, other than in memory.
    StateMapWritten {
        /// One file beside the process, which survives restarts. Relative to the policy's folder.
        may sqlite: Text,
        /// Redis or Valkey, for several instances.
        may redis: RedisWritten,
        /// One row a request, and their sums. Default: the store above.
        may ledger: LedgerWritten,
        /// What limits have counted, money aside. Default: the store above.
        may limits: StoreWritten,
        /// What limits in USD have counted. Default: the store above.
        may budgets: StoreWritten,
        /// What one instance found out about targets and keys, told to the others. Default: Redis
        /// if that is the store above, else memory.
        may breakers: StoreWritten,
    }
}

section! {
    /// A Redis or Valkey.
    RedisMapWritten {
        /// `redis://user:password@host:6379/0`; rediss for TLS.
        must url: Hidden,
        /// The longest that anything waits for it. Default 20ms.
        may timeout: Time,
        /// What its keys begin with. Default tollway.
        may prefix: Text,
        /// A PEM file with certificate authorities, besides the usual ones; relative to the policy's folder.
        may extra_ca: Text,
    }
}

section! {
    /// One of the stores, for this kind of state alone.
    StoreMapWritten {
        /// A file of its own.
        may sqlite: Text,
        /// A Redis of its own.
        may redis: RedisWritten,
    }
}

section! {
    /// Where the ledger is, and how long it keeps what.
    LedgerMapWritten {
        /// memory, sqlite or redis: where that is, is said above. Default: the store above.
        may store: StoreName,
        /// A file of its own.
        may sqlite: Text,
        /// A Redis of its own.
        may redis: RedisWritten,
        /// How long rows are kept: `90d`, or `forever`. Default 90d.
        may keep: KeepName,
        /// How many rows are kept at most. Default 10M; in Redis 100k, in memory 10k.
        may keep_rows: Count,
        /// How long totals by day and refusals are kept. Default 731d.
        may keep_days: KeepName,
        /// How long totals by month are kept. Default forever.
        may keep_months: KeepName,
    }
}
