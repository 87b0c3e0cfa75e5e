//! Rules that follow each other over one core: random limits, requests, endings and waits.

use std::{collections::HashSet, task::Waker, time::Duration};

use proptest::{collection::vec, prelude::*};
use tollway_store::limits::{Kind, Now, Shape};

use crate::{
    EventKind, Key, Limit, Period, Quota, Unit,
    decide::{Arrival, Claim, Core, Effects, Stage},
    queue::Outcome,
    table::Table,
};

const SECOND: u64 = 1_000_000_000;

fn at(mono: u64) -> Now {
    Now { mono, wall: mono + SECOND }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn table(name: &str, quota: Quota, max_wait: Option<u64>, enforce: bool) -> Table {
    let limit = Limit::new(name, quota).unwrap();
    Table::new(limit.name().clone(), Unit::Tokens, limit.shape(), enforce, max_wait, 100)
}

fn bucket(amount: u64) -> Quota {
    Quota::TokenBucket { amount, per: seconds(1), burst: amount }
}

fn adopt(core: &mut Core, tables: Vec<Table>) -> Box<[u32]> {
    core.adopt(tables, at(0), &mut Effects::default())
}

fn arrive(core: &mut Core, table: u32, amount: u64) -> Arrival {
    core.arrive(vec![Claim::new(table, Key::All, amount, None)], at(0), &mut Effects::default())
}

fn ask(core: &mut Core, seq: u64, now: u64) -> Option<Outcome> {
    core.poll_waiter(seq, Waker::noop(), at(now), &mut Effects::default()).ok()
}

fn used(core: &Core, table: u32, now: u64) -> u64 {
    let table = &core.tables[table as usize];
    table.peek(&Key::All, at(now)).0.used(&table.shape)
}

#[test]
fn who_waits_goes_by_the_new_rules() {
    let mut core = Core::new(Vec::new());
    let line = |amount| vec![table("a", bucket(amount), Some(600 * SECOND), true)];
    let [a] = adopt(&mut core, line(10))[..] else { panic!() };
    let Arrival::Admitted(mut held) = arrive(&mut core, a, 10) else { panic!() };
    held[0].spent = 10;
    core.settle(&held, at(0), &mut Effects::default());
    let Arrival::Queued(first) = arrive(&mut core, a, 10) else { panic!() };
    let Arrival::Queued(second) = arrive(&mut core, a, 4) else { panic!() };
    // A tenth of it: the first takes all there is, after ten times as long.
    assert_eq!(adopt(&mut core, line(1))[..], [a]);
    assert!(ask(&mut core, first, SECOND * 99 / 100).is_none());
    assert_eq!(core.tables[a as usize].peek(&Key::All, at(0)).1.unwrap().backlog(), 2, "one each");
    assert!(matches!(ask(&mut core, first, SECOND), Some(Outcome::Admitted(_))));
    // It waits no more for anybody, but who waits already still does.
    adopt(&mut core, vec![table("a", bucket(1), None, true)]);
    assert!(ask(&mut core, second, SECOND).is_none());
    assert!(matches!(arrive(&mut core, a, 1), Arrival::Refused(_)));
    assert!(matches!(ask(&mut core, second, 2 * SECOND), Some(Outcome::Admitted(_))));
}

#[test]
fn a_limit_that_is_gone_holds_nobody_up() {
    for gone in [vec![], vec![table("a", bucket(1), None, false)]] {
        let mut core = Core::new(Vec::new());
        let old = vec![table("a", bucket(1), Some(600 * SECOND), true)];
        let [a] = adopt(&mut core, old)[..] else { panic!() };
        assert!(matches!(arrive(&mut core, a, 1), Arrival::Admitted(_)));
        let Arrival::Queued(seq) = arrive(&mut core, a, 1) else { panic!() };
        adopt(&mut core, gone);
        assert!(matches!(ask(&mut core, seq, 0), Some(Outcome::Admitted(_))));
        assert!(matches!(arrive(&mut core, a, 1), Arrival::Admitted(_)), "by the old rules too");
    }
}

#[test]
fn what_is_another_limit_begins_anew_and_says_so() {
    let day = Quota::Calendar { amount: 10, period: Period::Day };
    let hour = Quota::Calendar { amount: 10, period: Period::Hour };
    let scoped = |scope: &str| {
        let mut table = table("a", bucket(10), None, true);
        table.scope = Some(scope.into());
        table
    };
    for (old, new, anew) in [
        (table("a", bucket(10), None, true), table("a", bucket(10), None, true), false),
        (table("a", bucket(10), None, true), table("a", day, None, true), true),
        (table("a", hour, None, true), table("a", day, None, true), false),
        (table("a", day, None, true), table("a", hour, None, true), true),
        (scoped("user"), scoped("key"), true),
        (scoped("user"), scoped("user"), false),
    ] {
        let mut core = Core::new(Vec::new());
        let [a] = adopt(&mut core, vec![old])[..] else { panic!() };
        assert!(matches!(arrive(&mut core, a, 4), Arrival::Admitted(_)));
        let mut effects = Effects::default();
        let [b] = core.adopt(vec![new], at(0), &mut effects)[..] else { panic!() };
        assert_eq!((a != b, used(&core, b, 0)), (anew, if anew { 0 } else { 4 }));
        let told = effects.events.iter().any(|event| event.kind == EventKind::StartedAnew);
        assert_eq!(told, anew);
    }
}

/// A request that came by the rules of one generation, and what it holds.
struct Running {
    generation: usize,
    claims: Vec<Claim>,
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { back: usize, tokens: u64 },
    Settle { which: usize, spent: u64 },
    Leave { which: usize },
    Pass { nanos: u64 },
    Reshape(Vec<(&'static str, Quota, Option<u64>, bool)>),
}

fn quota() -> impl Strategy<Value = Quota> {
    let (amount, time) = (1..40u64, 1..5u64);
    prop_oneof![
        8 => (amount.clone(), time.clone(), 1..40u64).prop_map(|(amount, per, burst)| {
            Quota::TokenBucket { amount, per: seconds(per), burst }
        }),
        2 => (amount.clone(), time)
            .prop_map(|(amount, s)| Quota::SlidingWindow { amount, window: seconds(s) }),
        2 => (amount.clone(), any::<bool>()).prop_map(|(amount, day)| {
            let period = if day { Period::Day } else { Period::Hour };
            Quota::Calendar { amount, period }
        }),
        2 => amount.prop_map(|amount| Quota::Concurrent { amount }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![1 => Just(None), 3 => (1..20u64).prop_map(|s| Some(s * SECOND))];
    let enforce = prop_oneof![1 => Just(false), 5 => Just(true)];
    let limit = (prop_oneof![Just("a"), Just("b")], quota(), wait, enforce);
    prop_oneof![
        6 => (0..3usize, 0..30u64).prop_map(|(back, tokens)| Step::Arrive { back, tokens }),
        3 => (0..8usize, 0..40u64).prop_map(|(which, spent)| Step::Settle { which, spent }),
        1 => (0..8usize).prop_map(|which| Step::Leave { which }),
        2 => (0..2 * SECOND).prop_map(|nanos| Step::Pass { nanos }),
        3 => vec(limit, 0..3).prop_map(|mut limits| {
            let mut names = HashSet::new();
            limits.retain(|(name, ..)| names.insert(*name));
            Step::Reshape(limits)
        }),
    ]
}

struct World {
    core: Core,
    now: u64,
    generations: Vec<Box<[u32]>>,
    running: Vec<Running>,
    waiting: Vec<(u64, usize)>,
}

impl World {
    fn new() -> Self {
        let (core, generations) = (Core::new(Vec::new()), vec![Box::default()]);
        Self { core, now: 0, generations, running: Vec::new(), waiting: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive { back, tokens } => self.arrive(back, tokens),
            Step::Settle { which, spent } if which < self.running.len() => {
                let running = self.running.swap_remove(which);
                self.settle(running.claims, spent);
            }
            Step::Leave { which } if which < self.waiting.len() => {
                let (seq, _) = self.waiting.remove(which);
                self.core.leave(seq, at(self.now), &mut Effects::default());
            }
            Step::Pass { nanos } => self.now += nanos,
            Step::Reshape(limits) => self.reshape(limits),
            _ => {}
        }
        self.poll();
    }

    fn settle(&mut self, mut claims: Vec<Claim>, spent: u64) {
        for claim in &mut claims {
            let kind = self.core.tables[claim.rule as usize].shape.kind;
            claim.spent = if kind == Kind::Concurrent { claim.amount } else { spent };
        }
        self.core.settle(&claims, at(self.now), &mut Effects::default());
    }

    /// By the rules of now, or of a generation some steps back.
    fn arrive(&mut self, back: usize, tokens: u64) {
        let generation = self.generations.len().saturating_sub(1 + back);
        let claim = |table: &u32| {
            let most = self.core.tables[*table as usize].shape.capacity;
            Claim::new(*table, Key::All, tokens.min(most), None)
        };
        let claims = self.generations[generation].iter().map(claim).collect();
        match self.core.arrive(claims, at(self.now), &mut Effects::default()) {
            Arrival::Admitted(claims) => self.running.push(Running { generation, claims }),
            Arrival::Queued(seq) => self.waiting.push((seq, generation)),
            Arrival::Refused(refusal) => assert!(!refusal.never_fits),
        }
    }

    fn reshape(&mut self, limits: Vec<(&'static str, Quota, Option<u64>, bool)>) {
        let of = |(name, quota, wait, enforce)| table(name, quota, wait, enforce);
        let tables: Vec<_> = limits.into_iter().map(of).collect();
        let before: Vec<(Option<Shape>, u64)> = tables
            .iter()
            .map(|next| {
                let old = self.core.tables.iter().position(|old| old.leads_to(next));
                let old = old.map(|at| (self.core.tables[at].shape, at as u32));
                (
                    old.map(|(shape, _)| shape),
                    old.map_or(0, |(_, at)| used(&self.core, at, self.now)),
                )
            })
            .collect();
        let mut effects = Effects::default();
        let places = self.core.adopt(tables, at(self.now), &mut effects);
        for (place, (old, before)) in places.iter().zip(before) {
            let (now, shape) =
                (used(&self.core, *place, self.now), self.core.tables[*place as usize].shape);
            match (old.map(|old| old.kind), shape.kind) {
                (None, _) => {}
                (Some(Kind::Bucket { .. }), _) => assert!(now > 0 || before == 0, "a reset"),
                (Some(Kind::Window { window: old }), Kind::Window { window }) if window < old => {
                    assert!(now <= before || !effects.wakers.is_empty());
                }
                // Those in line may have gone on meanwhile.
                _ => assert!(now >= before, "a reset"),
            }
        }
        self.generations.push(places);
    }

    fn poll(&mut self) {
        for which in (0..self.waiting.len()).rev() {
            let (seq, generation) = self.waiting[which];
            let (now, mut effects) = (at(self.now), Effects::default());
            match self.core.poll_waiter(seq, Waker::noop(), now, &mut effects) {
                Ok(Outcome::Admitted(claims)) => {
                    self.waiting.remove(which);
                    self.running.push(Running { generation, claims });
                }
                Ok(Outcome::Refused(_)) => drop(self.waiting.remove(which)),
                Err(armed) => assert!(armed > self.now, "a timer in the past would spin"),
            }
        }
    }

    /// What is held is what runs; generations that nobody is of any more are let go.
    fn check(&mut self) {
        let latest = self.generations.len() - 1;
        for generation in 0..latest {
            let idle = self.running.iter().all(|running| running.generation != generation)
                && self.waiting.iter().all(|(_, of)| *of != generation);
            // Requests come by the last three.
            if idle && generation + 3 <= latest {
                let places = std::mem::take(&mut self.generations[generation]);
                self.core.forget(&places);
            }
        }
        for (index, table) in self.core.tables.iter().enumerate() {
            let granted = self.core.waiters.values().flat_map(|waiter| waiter.granted());
            let claims = self.running.iter().flat_map(|running| &running.claims).chain(granted);
            let mine = claims.filter(|c| c.rule as usize == index && c.stage == Stage::Taken);
            let mine: Vec<u64> = mine.map(|claim| claim.amount).collect();
            let slot = table.peek(&Key::All, at(self.now)).1.unwrap();
            assert_eq!((slot.held, slot.holds as usize), (mine.iter().sum(), mine.len()));
            let queued: Vec<_> =
                self.core.waiters.values().flat_map(|waiter| &waiter.claims).collect();
            let queued =
                queued.iter().filter(|c| c.rule as usize == index && c.stage == Stage::Queued);
            let queued: Vec<u128> = queued.map(|claim| claim.amount.into()).collect();
            assert_eq!((slot.backlog(), slot.waiting()), (queued.iter().sum(), queued.len()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_reset_nothing_is_left_and_nobody_panics(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        while let Some((seq, _)) = world.waiting.pop() {
            world.core.leave(seq, at(world.now), &mut Effects::default());
        }
        while let Some(running) = world.running.pop() {
            world.settle(running.claims, 7);
        }
        prop_assert!(world.core.waiters.is_empty());
        let latest = world.generations.pop().unwrap();
        world.generations.iter().for_each(|places| world.core.forget(places));
        for (index, table) in world.core.tables.iter().enumerate() {
            let slot = table.peek(&Key::All, at(world.now)).1.unwrap();
            prop_assert_eq!((slot.held, slot.holds, slot.backlog(), slot.waiting()), (0, 0, 0, 0));
            let current = latest.contains(&(index as u32));
            prop_assert_eq!((table.current, table.users), (current, u32::from(current)));
            if table.shape.kind == Kind::Concurrent {
                prop_assert_eq!(used(&world.core, index as u32, world.now), 0);
            }
        }
    }
}
