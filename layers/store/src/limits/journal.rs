use std::{fmt, sync::Arc};

use super::{Kind, Now, Period, Shape, State, state::Use, window::Slice};
use crate::StoreError;

/// What one key of a limit has used, as it outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Whose quota.
    pub key: Arc<str>,
    /// From [`State::pack`]; `None`: the key is like new, and needs no memory.
    pub state: Option<Vec<u8>>,
}

/// Where limits that one process decides outlive it. Calls block: they are made while the process
/// starts, and by a thread of their own.
pub trait LimitJournal: fmt::Debug + Send + Sync {
    /// Everything that was saved, each key once.
    ///
    /// # Errors
    /// When the store is away or can't be used.
    fn load(&self) -> Result<Vec<Saved>, StoreError>;

    /// Puts these in the place of what was saved of their keys: all of them or none.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    fn save(&self, keys: &[Saved]) -> Result<(), StoreError>;

    /// Which memory it is, where that can be told. Another one than before has lost what was saved: then
    /// all that is known is saved anew.
    fn place(&self) -> Option<(u64, u64)>;

    /// The limits end, and what so many keys have used since they were last saved could not be.
    fn lost(&self, keys: usize) {
        let _ = keys;
    }
}

/// The format's version.
const FIRST: u8 = 1;

impl State {
    /// All of it and of its shape, for [`unpack`](Self::unpack). Of a calendar the present period is
    /// kept, and no time zone: unpacked it is of UTC, until it is [reshaped](Self::reshape). Places for concurrent requests are
    /// `None`, as is what can't be told from a new state: neither is worth a memory.
    ///
    /// What is reserved counts as used: a process that was killed errs to the safe side.
    ///
    /// ```
    /// use tollway_store::limits::{Kind, Now, Period, Shape, State};
    ///
    /// let shape = Shape { kind: Kind::Calendar(Period::Month.into()), capacity: 100, warn: None };
    /// let (mut state, now) = (State::new(&shape), Now { mono: 7, wall: 7 });
    /// state.advance(&shape, now);
    /// assert!(state.pack(&shape).is_none());
    /// state.take(&shape, 60, now);
    /// let (old, again) = State::unpack(&state.pack(&shape).unwrap(), now).unwrap();
    /// assert_eq!((old, again.used(&shape)), (shape, 60));
    /// ```
    pub fn pack(&self, shape: &Shape) -> Option<Vec<u8>> {
        if self.is_fresh() {
            return None;
        }
        let mut out = vec![FIRST];
        let mut put = |numbers: &[u64]| {
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        };
        match (&self.0, shape.kind) {
            (Use::Bucket { used, at }, Kind::Bucket { rate, per }) => {
                let used = used.get();
                let [low, high] = [used as u64, (used >> 64) as u64];
                put(&[0, shape.capacity, rate, per, low, high, *at]);
            }
            (Use::Window(slices), Kind::Window { window }) => {
                put(&[1, shape.capacity, window]);
                for slice in slices.iter() {
                    put(&[slice.start, slice.last, slice.amount]);
                }
            }
            (Use::Calendar { start, end, used }, Kind::Calendar(calendar)) => {
                put(&[2, shape.capacity, calendar.period as u64, *start, *end, *used]);
            }
            _ => return None,
        }
        Some(out)
    }

    /// What was packed, and its shape. Both clocks must go on from where they were; what they say
    /// was later than `now` counts as now. `None`: nothing of this version's.
    pub fn unpack(bytes: &[u8], now: Now) -> Option<(Shape, Self)> {
        let (version, rest) = bytes.split_first()?;
        let chunks = rest.chunks_exact(8);
        if *version != FIRST || !chunks.remainder().is_empty() {
            return None;
        }
        let numbers: Vec<u64> =
            chunks.map(|n| n.try_into().map(u64::from_le_bytes)).collect::<Result<_, _>>().ok()?;
        let (kind, capacity, state) = match *numbers.as_slice() {
            [0, capacity, rate, per, low, high, at] => {
                let used = u128::from(low) | u128::from(high) << 64;
                let state = Use::Bucket { used: used.into(), at: at.min(now.mono) };
                (Kind::Bucket { rate: rate.max(1), per: per.max(1) }, capacity, state)
            }
            [1, capacity, window, ref slices @ ..] => {
                let slices = slices.chunks_exact(3).filter_map(|slice| match *slice {
                    [start, last, amount] => {
                        let (start, last) = (start.min(now.mono), last.min(now.mono));
                        Some(Slice { start, last, amount })
                    }
                    _ => None,
                });
                let state = Use::Window(slices.collect());
                (Kind::Window { window: window.max(1) }, capacity, state)
            }
            [2, capacity, period, start, end, used] => {
                let periods = [Period::Hour, Period::Day, Period::Month];
                let period = periods.into_iter().find(|known| *known as u64 == period)?;
                (Kind::Calendar(period.into()), capacity, Use::Calendar { start, end, used })
            }
            _ => return None,
        };
        Some((Shape { kind, capacity: capacity.max(1), warn: None }, Self(state)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            (1..100u64, 1..1_000u64).prop_map(|(rate, per)| Kind::Bucket { rate, per }),
            (1..2_000u64).prop_map(|window| Kind::Window { window }),
            prop_oneof![Just(Period::Hour), Just(Period::Day), Just(Period::Month)]
                .prop_map(|period: Period| Kind::Calendar(period.into())),
        ]
    }

    proptest! {
        /// A state that was packed in between goes on as one that was not.
        #[test]
        fn nothing_is_lost_in_between(
            kind in kind(), capacity in 1..1_000u64,
            steps in vec((0..300u64, 0..60u64, any::<bool>()), 1..60),
        ) {
            let shape = Shape { kind, capacity, warn: None };
            let (mut state, mut now) = (State::new(&shape), Now { mono: 5, wall: 5 });
            let mut again = state.clone();
            for (gap, amount, packed) in steps {
                (now.mono, now.wall) = (now.mono + gap, now.wall + gap);
                if packed {
                    if let Some(bytes) = again.pack(&shape) {
                        let (old, state) = State::unpack(&bytes, now).unwrap();
                        prop_assert_eq!(old, shape);
                        again = state;
                    }
                }
                for state in [&mut state, &mut again] {
                    state.advance(&shape, now);
                    state.take(&shape, amount, now);
                }
                prop_assert_eq!(state.used(&shape), again.used(&shape));
                prop_assert_eq!(state.wait(&shape, 0, 1, now), again.wait(&shape, 0, 1, now));
            }
        }

        #[test]
        fn no_bytes_are_a_panic(
            head in 0..4u64, numbers in vec(any::<u64>(), 0..12), cut in 0..3usize, now in any::<u64>(),
        ) {
            let mut bytes = vec![FIRST];
            bytes.extend(std::iter::once(head).chain(numbers).flat_map(u64::to_le_bytes));
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            let now = Now { mono: now, wall: now };
            if let Some((shape, mut state)) = State::unpack(&bytes, now) {
                state.advance(&shape, now);
                let receipt = state.take(&shape, u64::MAX, now);
                state.wait(&shape, 0, 1, now);
                state.reset(&shape, now);
                state.settle(&shape, receipt, 0, now);
            }
        }
    }
}
