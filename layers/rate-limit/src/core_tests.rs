//! The decision and the queue as one machine: random requests, endings, waits and departures.

use std::{sync::Arc, task::Waker, time::Duration};

use proptest::{collection::vec, prelude::*};
use tollway_store::limits::Now;

use crate::{
    Key, Limit, Quota, Unit,
    decide::{Arrival, Claim, Core, Effects},
    queue::Outcome,
    table::Table,
};

const SECOND: u64 = 1_000_000_000;

fn table(quota: Quota, max_wait: Option<u64>, max_keys: usize) -> Table {
    let limit = Limit::new("limit", quota).unwrap();
    Table::new(limit.name().clone(), Unit::Tokens, limit.shape(), true, max_wait, max_keys)
}

fn bucket(amount: u64) -> Quota {
    Quota::TokenBucket { amount, per: Duration::from_secs(1), burst: amount }
}

fn key(name: u8) -> Key {
    Key::from(Arc::<str>::from(name.to_string()))
}

fn at(mono: u64) -> Now {
    Now { mono, wall: mono }
}

fn arrive(core: &mut Core, claims: &[(u32, Key, u64)], now: u64) -> Arrival {
    let claims =
        claims.iter().map(|(rule, key, n)| Claim::new(*rule, key.clone(), *n, None)).collect();
    core.arrive(claims, at(now), &mut Effects::default())
}

fn used(core: &Core, rule: usize, key: &Key, now: u64) -> u64 {
    let table = &core.tables[rule];
    table.peek(key, at(now)).0.used(&table.shape)
}

#[test]
fn a_flood_of_keys_wins_neither_memory_nor_quota() {
    let mut core = Core::new(vec![table(bucket(2), None, 10)]);
    let fits =
        |name: &u8| matches!(arrive(&mut core, &[(0, key(*name), 2)], 0), Arrival::Admitted(_));
    // Ten keys of their own, and one quota for all the others.
    assert_eq!((0..=255).filter(fits).count(), 11);
    assert_eq!(core.tables[0].len(), 10);
    assert_eq!(used(&core, 0, &key(200), 0), 2, "and a look sees the shared one");
}

#[test]
fn only_whole_and_unheld_keys_are_forgotten() {
    let mut core = Core::new(vec![table(bucket(2), None, 3)]);
    let Arrival::Admitted(held) = arrive(&mut core, &[(0, key(0), 1)], 0) else { panic!() };
    let Arrival::Admitted(done) = arrive(&mut core, &[(0, key(1), 2)], 0) else { panic!() };
    core.settle(&spend(done), at(0), &mut Effects::default());
    // Key 1 is not whole yet, key 0 is held: both stay.
    for name in 2..20 {
        arrive(&mut core, &[(0, key(name), 0)], SECOND / 2);
    }
    assert_eq!((used(&core, 0, &key(1), SECOND / 2), core.tables[0].len()), (1, 3));
    // Now key 1 is like new and makes room.
    for name in 20..40 {
        arrive(&mut core, &[(0, key(name), 0)], 2 * SECOND);
    }
    core.settle(&held, at(2 * SECOND), &mut Effects::default());
    assert!(core.tables[0].len() <= 3);
}

fn spend(mut claims: Vec<Claim>) -> Vec<Claim> {
    claims.iter_mut().for_each(|claim| claim.spent = claim.amount);
    claims
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { user: u8, tokens: u64 },
    Settle { which: usize, spent: u64 },
    Leave { which: usize },
    Pass { nanos: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, 0..12u64).prop_map(|(user, tokens)| Step::Arrive { user, tokens }),
        3 => (0..8usize, 0..15u64).prop_map(|(which, spent)| Step::Settle { which, spent }),
        1 => (0..8usize).prop_map(|which| Step::Leave { which }),
        3 => (0..SECOND).prop_map(|nanos| Step::Pass { nanos }),
    ]
}

/// All limits of every request: a bucket for each user that waits, a global bucket that waits, a
/// window that rejects, and places for concurrent requests that wait.
struct World {
    core: Core,
    now: u64,
    running: Vec<Vec<Claim>>,
    waiting: Vec<(u64, u8)>,
}

impl World {
    fn new() -> Self {
        let window = Quota::SlidingWindow { amount: 60, window: Duration::from_secs(3) };
        let core = Core::new(vec![
            table(bucket(10), Some(5 * SECOND), 100),
            table(bucket(20), Some(5 * SECOND), 100),
            table(window, None, 100),
            table(Quota::Concurrent { amount: 5 }, Some(5 * SECOND), 100),
        ]);
        let (running, waiting) = (Vec::new(), Vec::new());
        Self { core, now: 0, running, waiting }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive { user, tokens } => self.arrive(user, tokens),
            Step::Settle { which, spent } if which < self.running.len() => {
                let mut claims = self.running.swap_remove(which);
                let places = |claim: &Claim| claim.rule == 3;
                claims.iter_mut().for_each(|c| c.spent = if places(c) { 1 } else { spent });
                self.core.settle(&claims, at(self.now), &mut Effects::default());
            }
            Step::Leave { which } if which < self.waiting.len() => {
                let (seq, _) = self.waiting.remove(which);
                self.core.leave(seq, at(self.now), &mut Effects::default());
            }
            Step::Pass { nanos } => self.now += nanos,
            _ => {}
        }
        self.poll();
    }

    fn arrive(&mut self, user: u8, tokens: u64) {
        let wants = [(0, key(user), tokens), (1, Key::All, tokens), (2, Key::All, tokens)];
        let wants: Vec<_> = wants.into_iter().chain([(3, Key::All, 1)]).collect();
        let users: Vec<_> = (0..3).map(key).collect();
        let before: Vec<_> = users.iter().map(|key| used(&self.core, 0, key, self.now)).collect();
        match arrive(&mut self.core, &wants, self.now) {
            Arrival::Admitted(claims) => {
                let behind = self.waiting.iter().any(|(seq, of)| {
                    *of == user && self.core.waiters.get(seq).is_some_and(|w| !w.is_over())
                });
                assert!(!behind || !self.queues(user), "overtook one that waits at its key");
                self.running.push(claims);
            }
            Arrival::Queued(seq) => self.waiting.push((seq, user)),
            Arrival::Refused(refusal) => {
                let never = tokens > 10;
                assert_eq!(refusal.never_fits, never);
                // A pump may have let others go; nothing was taken for the refused one.
                if self.waiting.is_empty() {
                    let after = users.iter().map(|key| used(&self.core, 0, key, self.now));
                    assert!(after.eq(before), "a refused request costs nothing");
                }
            }
        }
    }

    fn queues(&self, user: u8) -> bool {
        self.core.tables[0].peek(&key(user), at(self.now)).1.is_some_and(|s| s.waiting() > 0)
    }

    /// Polls every waiter once, newest first, so that order can't come from the polling.
    fn poll(&mut self) {
        for at_ in (0..self.waiting.len()).rev() {
            let (seq, _) = self.waiting[at_];
            let (now, mut effects) = (at(self.now), Effects::default());
            match self.core.poll_waiter(seq, Waker::noop(), now, &mut effects) {
                Ok(Outcome::Admitted(claims)) => {
                    self.waiting.remove(at_);
                    self.running.push(claims);
                }
                Ok(Outcome::Refused(_)) => drop(self.waiting.remove(at_)),
                Err(armed) => assert!(armed > self.now, "a timer in the past would spin"),
            }
        }
    }

    fn check(&self) {
        for (rule, table) in self.core.tables.iter().enumerate() {
            for user in 0..3 {
                let key = if rule == 0 { key(user) } else { Key::All };
                let (_, slot) = table.peek(&key, at(self.now));
                let (held, holds) = slot.map_or((0, 0), |slot| (slot.held, slot.holds));
                let pending = self.core.waiters.values().flat_map(|w| w.granted());
                let claims = self.running.iter().flatten().chain(pending);
                let mine: Vec<u64> = claims
                    .filter(|c| c.rule as usize == rule && c.key == key)
                    .map(|c| c.amount)
                    .collect();
                assert_eq!((held, holds as usize), (mine.iter().sum(), mine.len()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_held_is_what_runs_and_nothing_is_left(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        while let Some((seq, _)) = world.waiting.pop() {
            world.core.leave(seq, at(world.now), &mut Effects::default());
        }
        let running = std::mem::take(&mut world.running);
        for claims in running {
            world.core.settle(&spend(claims), at(world.now), &mut Effects::default());
        }
        world.check();
        prop_assert!(world.core.waiters.is_empty());
        prop_assert_eq!(used(&world.core, 3, &Key::All, world.now), 0);
        for table in &world.core.tables {
            for key in [key(0), key(1), key(2), Key::All] {
                if let Some(slot) = table.peek(&key, at(world.now)).1 {
                    prop_assert!(slot.waiting() == 0 && slot.backlog() == 0);
                }
            }
        }
    }

    /// At one key, whoever came first goes first, whatever each wants and whoever leaves.
    #[test]
    fn first_come_first_served(
        wants in vec(1..=10u64, 2..20), leave in vec(any::<bool>(), 20), step in 1..SECOND,
    ) {
        let mut core = Core::new(vec![table(bucket(10), Some(1_000 * SECOND), 10)]);
        assert!(matches!(arrive(&mut core, &[(0, Key::All, 10)], 0), Arrival::Admitted(_)));
        let mut line: Vec<u64> = Vec::new();
        for want in &wants {
            let Arrival::Queued(seq) = arrive(&mut core, &[(0, Key::All, *want)], 0) else {
                panic!("nothing is there, so it waits")
            };
            line.push(seq);
        }
        for (seq, leaves) in line.clone().into_iter().zip(leave) {
            if leaves {
                core.leave(seq, at(0), &mut Effects::default());
                line.retain(|other| *other != seq);
            }
        }
        let (mut now, mut went) = (0, Vec::new());
        while went.len() < line.len() {
            now += step;
            prop_assert!(now < 1_000 * SECOND);
            // Asked in the order of arrival or against it: who goes is the same.
            for seq in line.iter().rev() {
                if went.contains(seq) {
                    continue;
                }
                let outcome = core.poll_waiter(*seq, Waker::noop(), at(now), &mut Effects::default());
                if matches!(outcome, Ok(Outcome::Admitted(_))) {
                    went.push(*seq);
                }
            }
            // Within one round they are asked newest first; who has gone is a head of the line.
            let mut gone = went.clone();
            gone.sort_unstable();
            prop_assert_eq!(&gone[..], &line[..gone.len()]);
        }
    }
}
