//! The script and `State` see the same times and must say the same. The clock is the test's: these
//! scripts have another first line, which no build but the tests' has.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use tollway_testkit::RedisServer;

use super::RedisLimits;
use crate::{
    limits::{
        Had, Kind, Now, Period, Receipt, Settlement, Shape, SharedLimits, State, Take, Verdict,
        Want, Zone,
    },
    redis::{Redis, RedisConfig},
};

const CLOCK: &str = "local function clock() return tonumber(redis.call('GET', 'now')) end\n";
const LEASE: Duration = Duration::from_secs(600);

fn berlin() -> Zone {
    Zone::new(jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
}

/// Times in microseconds, as Redis has them.
fn any_shape() -> impl Strategy<Value = Shape> {
    let (amount, time) = (1..200u64, 1..5_000u64);
    let kind = prop_oneof![
        (amount.clone(), time.clone())
            .prop_map(|(rate, per)| Kind::Bucket { rate, per: per * 700 }),
        time.prop_map(|time| Kind::Window { window: time * 1_000 }),
        (prop_oneof![Just(Period::Hour), Just(Period::Day), Just(Period::Month)], any::<bool>())
            .prop_map(|(period, utc)| Kind::Calendar(period.of(if utc {
                Zone::UTC
            } else {
                berlin()
            }))),
        Just(Kind::Concurrent),
    ];
    (kind, amount, proptest::option::of(1..100u64)).prop_map(|(kind, capacity, warn)| Shape {
        kind,
        capacity,
        warn,
    })
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    /// A jump of hours, for the calendar.
    Leap(u64),
    Take([u64; 2], bool),
    Settle(usize, u64),
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..400u64).prop_map(Step::Pass),
        1 => (0..200u64).prop_map(Step::Leap),
        6 => ([0..60u64, 0..60u64], any::<bool>()).prop_map(|(amounts, enforce)| Step::Take(amounts, enforce)),
        3 => (0..6usize, 0..80u64).prop_map(|(which, spent)| Step::Settle(which, spent)),
        1 => (0..6usize).prop_map(Step::Cancel),
    ]
}

struct Held {
    take: Take,
    receipts: Vec<Option<Receipt>>,
}

/// Two limits that every request takes from, in both worlds.
struct Worlds<'a> {
    limits: &'a RedisLimits,
    shapes: [Shape; 2],
    states: [State; 2],
    keys: [Arc<str>; 2],
    /// In microseconds.
    now: u64,
    held: Vec<Held>,
}

impl Worlds<'_> {
    fn now(&self) -> Now {
        Now { mono: self.now * 1_000, wall: self.now * 1_000 }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Pass(micros) => self.now += micros,
            // No lease lasts that long.
            Step::Leap(_) if self.shapes.iter().any(|s| s.kind == Kind::Concurrent) => {}
            Step::Leap(hours) => self.now += hours * 3_600_000_000,
            Step::Take(amounts, enforce) => self.take(amounts, enforce).await,
            Step::Settle(which, spent) => self.settle(which, spent).await,
            Step::Cancel(which) => self.settle(which, 0).await,
        }
        let set = ::redis::cmd("SET").arg("now").arg(self.now).clone();
        self.limits.redis.query::<()>(&set).await.unwrap();
        self.look().await;
    }

    async fn take(&mut self, amounts: [u64; 2], enforce: bool) {
        let now = self.now();
        let want = |at: usize| Want {
            key: self.keys[at].clone(),
            shape: self.shapes[at],
            amount: amounts[at],
            enforce: enforce || at == 0,
            force: false,
            borrow: 0,
            tell: None,
        };
        let take = Take { id: self.limits.id(), wants: [want(0), want(1)].into(), wall: now.wall };
        let verdict = self.limits.take(take.clone()).await.unwrap();
        assert_eq!(
            matches!(verdict, Verdict::Taken(_)),
            matches!(self.limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)),
            "said twice, the same"
        );
        let mut waits = Vec::new();
        for (state, want) in self.states.iter_mut().zip(take.wants.iter()) {
            state.advance(&want.shape, now);
            waits.push(state.wait(&want.shape, 0, want.amount, now));
        }
        let fits: Vec<_> = take
            .wants
            .iter()
            .zip(&waits)
            .map(|(want, wait)| *wait == Some(0) && want.amount <= want.shape.capacity)
            .collect();
        if take.wants.iter().zip(&fits).all(|(want, fits)| *fits || !want.enforce) {
            let mut receipts = Vec::new();
            let mut had = Vec::new();
            for ((state, want), fits) in self.states.iter_mut().zip(take.wants.iter()).zip(fits) {
                let warned = state.warns(&want.shape);
                let receipt = fits.then(|| state.take(&want.shape, want.amount, now));
                let climbed = fits && !warned && state.warns(&want.shape);
                had.push(Had { used: state.used(&want.shape), taken: fits, climbed });
                receipts.push(receipt);
            }
            assert_eq!(verdict, Verdict::Taken(had), "{take:?}");
            self.held.push(Held { take, receipts });
            return;
        }
        let Verdict::Refused(lacks) = verdict else { panic!("{verdict:?} {waits:?} {take:?}") };
        let lacking: Vec<_> = (0..2).filter(|at| !fits[*at] && take.wants[*at].enforce).collect();
        assert_eq!(lacks.iter().map(|lack| lack.want).collect::<Vec<_>>(), lacking);
        for lack in lacks {
            let (want, state) = (&take.wants[lack.want], &self.states[lack.want]);
            let up = |nanos: u64| nanos.div_ceil(1_000) * 1_000;
            let never_fits = want.amount > want.shape.capacity;
            assert_eq!(lack.never_fits, never_fits);
            if !never_fits {
                assert_eq!(lack.wait, waits[lack.want].map(up), "{take:?}");
            }
            assert_eq!(lack.used, state.used(&want.shape));
            assert_eq!(lack.reset, state.reset(&want.shape, now).map(up));
        }
    }

    /// Asked how both stand, the store says what the algorithm does.
    async fn look(&mut self) {
        let now = self.now();
        let wants = [0, 1].map(|at| Want::new(self.keys[at].clone(), self.shapes[at], 0));
        let seen = self.limits.look(&wants, now.wall).await.unwrap();
        for ((state, shape), seen) in self.states.iter_mut().zip(&self.shapes).zip(seen) {
            state.advance(shape, now);
            let up = |nanos: u64| nanos.div_ceil(1_000) * 1_000;
            assert_eq!(seen.used, state.used(shape));
            assert_eq!(seen.reset, state.reset(shape, now).map(up), "{shape:?}");
            assert!(seen.held.is_none_or(|held| held <= seen.used));
        }
    }

    async fn settle(&mut self, which: usize, spent: u64) {
        if which >= self.held.len() {
            return;
        }
        let Held { take, receipts } = self.held.swap_remove(which);
        let settlement = Settlement {
            id: take.id,
            wants: take.wants.clone(),
            spent: vec![spent; 2],
            wall: take.wall,
        };
        // Said twice, done once.
        self.limits.settle(settlement.clone());
        self.limits.settle(settlement);
        self.limits.written().await;
        let now = self.now();
        for ((state, want), receipt) in self.states.iter_mut().zip(take.wants.iter()).zip(receipts)
        {
            if let Some(receipt) = receipt {
                state.advance(&want.shape, now);
                state.settle(&want.shape, receipt, spent, now);
            }
        }
    }
}

#[test]
fn the_script_decides_as_the_algorithm_does() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = RedisConfig::parse(&server.url()).unwrap().timeout(Duration::from_secs(30));
    let redis = Redis::open(config).unwrap();
    runtime.block_on(async { while redis.connected().await.is_err() {} });
    // Far from 1970, as real servers are.
    let start = 1_700_000_000_000_123;
    server.command(&format!("SET now {start}"));
    let limits = RedisLimits::with_clock(redis, LEASE, CLOCK);
    let mut case = 0;
    let mut runner = TestRunner::new(ProptestConfig { cases: 256, ..ProptestConfig::default() });
    let case = std::cell::RefCell::new(&mut case);
    let worlds = (any_shape(), any_shape(), vec(step(), 1..60));
    runner
        .run(&worlds, |(one, two, steps)| {
            **case.borrow_mut() += 1;
            let key = |at: u64| Arc::from(format!("{at}:{}", case.borrow()));
            let mut worlds = Worlds {
                limits: &limits,
                shapes: [one, two],
                states: [State::new(&one), State::new(&two)],
                keys: [key(1), key(2)],
                now: start,
                held: Vec::new(),
            };
            runtime.block_on(async {
                worlds.step(Step::Pass(0)).await;
                for step in steps {
                    worlds.step(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}
