use std::sync::{Mutex, PoisonError};

use tollway_core::{Ask, Caller};

use super::names::{self, Table};

/// How long replies tend to be, learnt by user and model: what a reservation takes for a reply that
/// nobody has seen yet.
///
/// Keeps about the 90th percentile: a reply above it moves it up by 9 steps, one below it down by
/// one. Settlement makes every wrong guess good, so the guess only has to be near.
#[derive(Debug, Default)]
pub(super) struct Estimates {
    learnt: Mutex<Table<u64>>,
    /// The same of what is paid: of the price at the dearest target of a route, in millionths.
    shares: Mutex<Table<u64>>,
}

/// User and model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64);

/// Tokens a reply is taken to have before any was seen.
const UNKNOWN: u64 = 256;
/// Users and models remembered; others are guessed by [`UNKNOWN`].
const MAX_KEYS: usize = 20_000;

impl Estimates {
    /// Output tokens to expect of this ask, never above what the caller allows itself.
    pub(super) fn output(&self, caller: Option<&Caller>, ask: &Ask) -> u64 {
        if !ask.operation.has_output() {
            return 0;
        }
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nothing limits tokens nothing is ever learnt: names need not be hashed for it.
        let learns = !learnt.is_empty();
        let guess = learns.then(|| learnt.get(&key(caller, ask).0).copied()).flatten();
        drop(learnt);
        let guess = guess.unwrap_or(UNKNOWN).saturating_mul(ask.choices.max(1).into());
        // Some take a bound of 0 for none.
        guess.min(ask.max_output_tokens.filter(|bound| *bound > 0).unwrap_or(u64::MAX))
    }

    /// Of the price at the dearest target of its route, what such a request pays: in millionths.
    pub(super) fn share(&self, Key(key): Key) -> Option<u64> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// A reply had this many output tokens, or each of its choices.
    pub(super) fn learn(&self, key: Key, output: u64) {
        learn(&self.learnt, key, output);
    }

    /// Of the price at the dearest target of its route, this was paid: in millionths.
    pub(super) fn learn_share(&self, key: Key, share: u64) {
        learn(&self.shares, key, share);
    }
}

fn learn(table: &Mutex<Table<u64>>, Key(key): Key, seen: u64) {
    let mut learnt = table.lock().unwrap_or_else(PoisonError::into_inner);
    if learnt.len() >= MAX_KEYS && !learnt.contains_key(&key) {
        return;
    }
    let guess = learnt.entry(key).or_insert(seen);
    let step = (*guess / 128).max(1);
    *guess = if seen > *guess {
        guess.saturating_add(9 * step).min(seen.max(*guess))
    } else {
        seen.max(guess.saturating_sub(step))
    };
}

/// Whose replies are alike.
pub(super) fn key(caller: Option<&Caller>, ask: &Ask) -> Key {
    let user = caller.and_then(|caller| caller.user.as_deref());
    Key(names::hash((user.unwrap_or_default(), ask.model().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use tollway_core::Operation;

    use super::*;

    fn ask(most: Option<u64>) -> Ask {
        let mut ask = Ask::new(Operation::ChatCompletions).with_model("m");
        ask.max_output_tokens = most;
        ask
    }

    #[test]
    fn settles_near_the_ninetieth_percentile() {
        let estimates = Estimates::default();
        // Replies of 1 to 1000 tokens, each equally likely, from a fixed random sequence.
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            estimates.learn(key(None, &ask(None)), (random >> 33) % 1000 + 1);
        }
        let guess = estimates.output(None, &ask(None));
        assert!((820..=980).contains(&guess), "{guess}");
        assert_eq!(estimates.output(None, &ask(Some(50))), 50, "never above the caller's bound");
        assert_eq!(estimates.output(None, &ask(Some(0))), guess, "which 0 may not be");
    }

    #[test]
    fn what_has_no_output_reserves_none() {
        let output =
            |operation| Estimates::default().output(None, &Ask::new(operation).with_model("m"));
        for none in [Operation::Embeddings, Operation::CountTokens, Operation::Moderations] {
            assert_eq!(output(none), 0, "{none}");
        }
        for some in [
            Operation::ChatCompletions,
            Operation::Completions,
            Operation::Responses,
            Operation::Messages,
            Operation::GenerateContent,
        ] {
            assert_eq!(output(some), UNKNOWN, "{some}");
        }
    }
}
