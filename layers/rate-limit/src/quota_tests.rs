//! Quotas of single keys that come and go under traffic, against a count of what may be.

use std::{collections::HashMap, time::Duration};

use proptest::{collection::vec, prelude::*};
use tollway_store::limits::{Kind, Now};

use crate::{
    Key, KeyQuota, Limit, Period, Quota, Unit,
    decide::{Arrival, Claim, Core, Effects},
    table::Table,
};

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
enum Kinds {
    Bucket,
    Window,
    Calendar,
    Places,
}

impl Kinds {
    fn quota(self, amount: u64) -> Quota {
        match self {
            Self::Bucket => {
                let per = Duration::from_secs(10 + amount % 7);
                Quota::TokenBucket { amount: 1 + amount % 5, per, burst: amount }
            }
            Self::Window => Quota::SlidingWindow { amount, window: Duration::from_secs(1 << 20) },
            Self::Calendar => Quota::Calendar { amount, period: Period::Month },
            Self::Places => Quota::Concurrent { amount },
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { key: u8, tokens: u64 },
    Settle { which: usize, spent: u64 },
    Pass { nanos: u64 },
    Set { key: u8, amount: u64 },
    Remove { key: u8 },
    Reload { amount: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (key, amount) = (0..2u8, 1..80u64);
    prop_oneof![
        6 => (key.clone(), 0..40u64).prop_map(|(key, tokens)| Step::Arrive { key, tokens }),
        4 => (0..8usize, 0..50u64).prop_map(|(which, spent)| Step::Settle { which, spent }),
        2 => (0..20 * SECOND).prop_map(|nanos| Step::Pass { nanos }),
        2 => (key.clone(), amount.clone()).prop_map(|(key, amount)| Step::Set { key, amount }),
        1 => key.prop_map(|key| Step::Remove { key }),
        1 => amount.prop_map(|amount| Step::Reload { amount }),
    ]
}

fn key(name: u8) -> Key {
    Key::from(&*name.to_string())
}

fn table(quota: Quota) -> Table {
    let limit = Limit::new("limit", quota).unwrap();
    Table::new(limit.name().clone(), Unit::Tokens, limit.shape(), true, None, 100)
}

/// What one key has used and holds, by a sum.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    used: f64,
    held: u64,
    quota: Option<u64>,
}

struct World {
    core: Core,
    kinds: Kinds,
    amount: u64,
    now: u64,
    counts: HashMap<u8, Count>,
    running: Vec<(u8, Vec<Claim>)>,
}

impl World {
    fn new(kinds: Kinds, amount: u64) -> Self {
        let mut core = Core::new(Vec::new());
        let now = Now { mono: 0, wall: SECOND };
        core.adopt(vec![table(kinds.quota(amount))], now, &mut Effects::default());
        let counts = (0..2).map(|key| (key, Count::default())).collect();
        Self { core, kinds, amount, now: 0, counts, running: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: self.now + SECOND }
    }

    fn in_force(&self, key: u8) -> u64 {
        self.counts[&key].quota.unwrap_or(self.amount)
    }

    /// Changes a quota: a bucket's fill as a share, but for what is held or owed.
    fn change(&mut self, key: u8, quota: Option<u64>, amount: u64) {
        let old = self.in_force(key) as f64;
        let count = self.counts.get_mut(&key).unwrap();
        count.quota = quota;
        let new = quota.unwrap_or(amount) as f64;
        if matches!(self.kinds, Kinds::Bucket) {
            let held = (count.held as f64).min(count.used);
            let filled = (count.used - held).min(old);
            count.used += filled * new / old - filled;
        }
    }

    fn step(&mut self, step: Step) {
        let (now, mut effects) = (self.now(), Effects::default());
        match step {
            Step::Arrive { key: name, tokens } => {
                let claims = vec![Claim::new(0, key(name), tokens, None)];
                let admitted = self.core.arrive(claims, now, &mut effects);
                let most = self.in_force(name) as f64;
                let count = self.counts.get_mut(&name).unwrap();
                let wanted = count.used + tokens as f64;
                match admitted {
                    Arrival::Admitted(claims) => {
                        assert!(wanted <= most + 1e-6, "{wanted} of {most}");
                        (count.used, count.held) = (wanted, count.held + tokens);
                        self.running.push((name, claims));
                    }
                    // Rounded up, by a hair.
                    Arrival::Refused(_) => assert!(wanted > most - 1e-3, "{wanted} of {most}"),
                    Arrival::Queued(_) => panic!("nobody waits here"),
                }
            }
            Step::Settle { which, spent } if which < self.running.len() => {
                let (name, mut claims) = self.running.swap_remove(which);
                let amount = claims[0].amount;
                let places = matches!(self.kinds, Kinds::Places);
                claims[0].spent = if places { amount } else { spent };
                self.core.settle(&claims, now, &mut effects);
                let count = self.counts.get_mut(&name).unwrap();
                let spent = if places { 0 } else { spent };
                count.used = (count.used + spent as f64 - amount as f64).max(0.0);
                count.held -= amount;
            }
            Step::Pass { nanos } => {
                self.now += nanos;
                for name in 0..2 {
                    let of = table(self.kinds.quota(self.in_force(name)));
                    if let Kind::Bucket { rate, per } = of.shape.kind {
                        let back = rate as f64 * nanos as f64 / per as f64;
                        let count = self.counts.get_mut(&name).unwrap();
                        count.used = (count.used - back).max(0.0);
                    }
                }
            }
            Step::Set { key: name, amount } => {
                let quota = KeyQuota { quota: self.kinds.quota(amount), until: None };
                self.core.set_quota(0, &key(name), Some(quota), now, &mut effects).unwrap();
                self.change(name, Some(amount), self.amount);
            }
            Step::Remove { key: name } => {
                let had = self.core.set_quota(0, &key(name), None, now, &mut effects).unwrap();
                assert_eq!(had, self.counts[&name].quota.is_some());
                self.change(name, None, self.amount);
            }
            Step::Reload { amount } => {
                let next = vec![table(self.kinds.quota(amount))];
                assert_eq!(self.core.adopt(next, now, &mut effects)[..], [0]);
                for name in 0..2 {
                    self.change(name, self.counts[&name].quota, amount);
                }
                self.amount = amount;
            }
            Step::Settle { .. } => {}
        }
    }

    fn check(&self) {
        for name in 0..2 {
            let (state, slot) = self.core.tables[0].peek(&key(name), self.now());
            let shape = self.core.tables[0].shape_for(&key(name));
            let (used, count) = (state.used(shape) as f64, self.counts[&name]);
            assert!((used - count.used).abs() < 1.001, "{used} is not {count:?}");
            assert_eq!(shape.capacity, self.in_force(name));
            assert_eq!(slot.map_or(0, |slot| slot.held), count.held);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_more_than_the_quota_in_force(
        kinds in prop_oneof![
            Just(Kinds::Bucket), Just(Kinds::Window), Just(Kinds::Calendar), Just(Kinds::Places)
        ],
        amount in 1..80u64,
        steps in vec(step(), 1..80),
    ) {
        let mut world = World::new(kinds, amount);
        for step in steps {
            world.step(step);
            world.check();
        }
        while !world.running.is_empty() {
            world.step(Step::Settle { which: 0, spent: 3 });
            world.check();
        }
    }
}
