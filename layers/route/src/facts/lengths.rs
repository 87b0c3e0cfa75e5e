use std::sync::{Mutex, MutexGuard, PoisonError};

use tollway_core::{Ask, Caller, NameMap};

use crate::chance::{hash, mix};

/// Whose replies are remembered at most; then all begins anew. Names are made up by clients.
const MAX_ASKERS: usize = 8_192;
/// Replies from which on they have a usual length.
const FEW: u32 = 8;
/// Replies that the usual length rests on; each further one takes the place of as much of the old.
const MANY: u32 = 200;

/// How long replies usually are, by who asks and for which model: what an application sends to be
/// sorted has short ones, wherever it goes.
#[derive(Debug, Default)]
pub(super) struct Lengths(Mutex<NameMap<Asker, Usual>>);

/// Whose replies are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker(u64);

impl Asker {
    pub(super) fn new(caller: Option<&Caller>, ask: &Ask) -> Self {
        let name = caller.and_then(|caller| caller.user.as_ref().or(caller.key.as_ref()));
        let name = name.map_or(0, |name| hash(name.as_bytes()));
        let model = ask.model().map_or(0, |model| hash(model.as_bytes()));
        Self(mix(name ^ mix(model ^ ask.operation as u64)))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    mean: f32,
    seen: u32,
}

impl Lengths {
    /// Tokens, as a target of usual wordiness writes them; `None`: too few replies were seen.
    pub(super) fn usual(&self, asker: Asker) -> Option<f32> {
        self.lock().get(&asker).filter(|usual| usual.seen >= FEW).map(|usual| usual.mean)
    }

    pub(super) fn learn(&self, asker: Asker, tokens: f32) {
        let mut table = self.lock();
        if table.len() >= MAX_ASKERS && !table.contains_key(&asker) {
            table.clear();
        }
        let usual = table.entry(asker).or_default();
        usual.seen = usual.seen.saturating_add(1).min(MANY);
        usual.mean += (tokens - usual.mean) / usual.seen as f32;
    }

    fn lock(&self) -> MutexGuard<'_, NameMap<Asker, Usual>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::Operation;

    use super::*;

    #[test]
    fn each_has_a_length_of_its_own_and_all_of_them_a_bound() {
        let lengths = Lengths::default();
        let asker = |user: &str| {
            let mut caller = Caller::default();
            caller.user = Some(user.into());
            Asker::new(Some(&caller), &Ask::new(Operation::ChatCompletions).with_model("m"))
        };
        let (short, long) = (asker("short"), asker("long"));
        for at in 0..FEW {
            assert_eq!(lengths.usual(short), None, "{at}");
            lengths.learn(short, 10.0);
            lengths.learn(long, 500.0 + at as f32);
        }
        assert_eq!(lengths.usual(short), Some(10.0));
        assert_eq!(lengths.usual(long), Some(503.5));
        // What was once usual is so no more after a while.
        (0..2_000).for_each(|_| lengths.learn(short, 90.0));
        assert!(lengths.usual(short).unwrap() > 89.0);
        (0..MAX_ASKERS).for_each(|at| lengths.learn(asker(&at.to_string()), 1.0));
        assert!(lengths.lock().len() <= MAX_ASKERS);
    }
}
