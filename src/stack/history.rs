//! What is known of the documents of a kind: those that are there, and those that were removed.
//!
//! Each has the moment of its last change with it, which is later than that of the change before. So
//! histories that parted when a store lost its last changes can be united: of each name the latest
//! change holds, be it a removal.

use std::{collections::BTreeMap, str};

use tollway_store::records::Record;

/// How long a removal is known, in milliseconds: 30 days.
const REMEMBERED: u64 = 30 * 86_400_000;

/// As a store keeps them, by name: the moment of the change stands before the value, and what was
/// removed under a kind of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) there: Vec<Record>,
    pub(super) gone: Vec<Record>,
}

/// The kind of those that were removed.
pub(super) fn of_gone(kind: &str) -> String {
    format!("gone:{kind}")
}

/// When a document was changed, in milliseconds since 1970, and what it says. What no Tollway wrote is
/// older than all.
fn parts(kept: &Record) -> (u64, &[u8]) {
    let parts = || {
        let space = kept.value.iter().position(|byte| *byte == b' ')?;
        let (at, said) = kept.value.split_at_checked(space)?;
        Some((str::from_utf8(at).ok()?.parse().ok()?, said.get(1..)?))
    };
    parts().unwrap_or((0, &kept.value))
}

fn kept(at: u64, record: &Record) -> Record {
    let value = [format!("{at} ").as_bytes(), &record.value].concat();
    Record { value, ..record.clone() }
}

/// What is to be told of one that is kept.
pub(super) fn told(kept: &Record) -> Record {
    Record { value: parts(kept).1.to_vec(), ..kept.clone() }
}

/// `record`, changed now and after all that is known of it.
pub(super) fn changed(record: &Record, before: [Option<&Record>; 2], now: u64) -> Record {
    let after = |before: &Record| parts(before).0.saturating_add(1);
    let at = before.into_iter().flatten().map(after).fold(now, u64::max);
    kept(at, record)
}

/// That this one was removed.
pub(super) fn removed(was: &Record, now: u64) -> Record {
    let until = now.saturating_add(REMEMBERED);
    let until = was.expires.map_or(until, |expires| expires.min(until));
    changed(&Record::new(was.name.clone(), "").expiring(until), [Some(was), None], now)
}

impl History {
    /// The later of what both say of each name.
    pub(super) fn united(&self, other: &Self) -> Self {
        let mut latest = BTreeMap::new();
        for History { there, gone } in [self, other] {
            let all = there.iter().map(|it| (it, false)).chain(gone.iter().map(|it| (it, true)));
            for (record, is_gone) in all {
                let (at, said) = parts(record);
                let order = (at, is_gone, said, record.expires);
                let known = latest.entry(&record.name).or_insert((order, record));
                if known.0 < order {
                    *known = (order, record);
                }
            }
        }
        let mut united = Self::default();
        for ((_, is_gone, ..), record) in latest.into_values() {
            let side = if is_gone { &mut united.gone } else { &mut united.there };
            side.push(record.clone());
        }
        united
    }

    /// How much of this `other` is without.
    pub(super) fn missing_in(&self, other: &Self) -> usize {
        let missing = |mine: &[Record], theirs: &[Record]| {
            let find = |name: &str| theirs.binary_search_by(|it| (*it.name).cmp(name)).ok();
            let same = |it: &&Record| find(&it.name).and_then(|at| theirs.get(at)) == Some(*it);
            mine.iter().filter(|it| !same(it)).count()
        };
        missing(&self.there, &other.there).saturating_add(missing(&self.gone, &other.gone))
    }

    /// Lets go of what has expired.
    pub(super) fn expire(&mut self, now: u64) {
        self.there.retain(|record| record.is_there(now));
        self.gone.retain(|record| record.is_there(now));
    }

    /// All that are there.
    pub(super) fn told(&self) -> Vec<Record> {
        self.there.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history() -> impl Strategy<Value = History> {
        let one = ("[a-c]", 0_u64..4, any::<bool>(), "[xy]?", prop::option::of(0_u64..3));
        prop::collection::vec(one, 0..9).prop_map(|all| {
            let mut history = History::default();
            for (name, at, is_gone, value, expires) in all {
                let side = if is_gone { &mut history.gone } else { &mut history.there };
                side.push(kept(at, &Record { expires, ..Record::new(name, value) }));
            }
            history.united(&History::default())
        })
    }

    proptest! {
        /// Whoever unites what with whom, and how often: all end with the same.
        #[test]
        fn it_is_the_same_in_whatever_order(a in history(), b in history(), c in history()) {
            prop_assert_eq!(a.united(&b), b.united(&a));
            prop_assert_eq!(a.united(&b).united(&c), a.united(&b.united(&c)));
            let both = a.united(&b);
            prop_assert_eq!(both.united(&a), both.clone());
            prop_assert_eq!(both.missing_in(&a) == 0 && a.missing_in(&both) == 0, both == a);
        }

        #[test]
        fn what_changes_last_holds(history in history(), now in 0_u64..9, value in ".{0,3}") {
            let find = |all: &[Record]| all.iter().find(|it| &*it.name == "a").cloned();
            let (there, gone) = (find(&history.there), find(&history.gone));
            let record = Record::new("a", value);
            let put = changed(&record, [there.as_ref(), gone.as_ref()], now);
            let with = history.united(&History { there: vec![put.clone()], gone: vec![] });
            prop_assert!(with.told().contains(&record));
            let gone = removed(&put, now);
            let without = History { there: vec![], gone: vec![gone] }.united(&with);
            prop_assert_eq!(find(&without.there), None);
            prop_assert_eq!(find(&without.united(&history).there), None);
        }
    }

    #[test]
    fn what_is_of_no_tollway_is_told_as_it_is() {
        for value in ["", "x", " x", "{\"a\": 1}", "1", "99999999999999999999 x", "\u{e9} x"] {
            assert_eq!(told(&Record::new("a", value)), Record::new("a", value), "{value:?}");
        }
        assert_eq!(told(&Record::new("a", "7  x")).value, b" x");
    }
}
