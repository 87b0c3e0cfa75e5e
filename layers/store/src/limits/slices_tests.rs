use std::collections::{HashMap, HashSet};

use proptest::{collection::vec, prelude::*};

use super::{
    Had, Kind, Now, Period, Receipt, Settlement, Shape, State, Take, Want, Zone,
    slices::{Lend, Plan, Slices},
};

pub(super) const INSTANCES: usize = 3;
pub(super) const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Milliseconds.
    Pass(u64),
    Tick(usize),
    /// Instance and amount.
    Take(usize, u64),
    /// Which of those under way, and how much of a hundredth of it was used.
    Settle(usize, u64),
    Crash(usize),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let instance = 0..INSTANCES;
    prop_oneof![
        3 => (0..400u64).prop_map(Step::Pass),
        2 => instance.clone().prop_map(Step::Tick),
        20 => (instance.clone(), 1..8u64).prop_map(|(at, amount)| Step::Take(at, amount)),
        8 => (0..8usize, prop_oneof![Just(0), Just(100), 0..100u64])
            .prop_map(|(which, spent)| Step::Settle(which, spent)),
        1 => instance.prop_map(Step::Crash),
    ]
}

/// A request that was let in, and what it used in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) at: u64,
    pub(super) amount: u64,
}

/// In no time that `shape` speaks of more was used than it allows and `more`.
pub(super) fn holds(shape: &Shape, log: &[Used], more: u64) {
    for (first, from) in log.iter().enumerate() {
        let mut sum = 0;
        for used in &log[first..] {
            sum += used.amount;
            let time = used.at - from.at;
            let most = match shape.kind {
                Kind::Window { window } if time >= window => break,
                Kind::Bucket { rate, per } => shape.capacity + (time * rate).div_ceil(per),
                _ => shape.capacity,
            };
            assert!(sum <= most + more, "{sum} in {time} ns from {first} on, of {most} and {more}");
        }
    }
}

pub(super) fn any_shape() -> impl Strategy<Value = (Shape, u64)> {
    let kind = prop_oneof![
        Just(Kind::Bucket { rate: 40, per: SECOND }),
        Just(Kind::Window { window: SECOND }),
        Just(Kind::Calendar(Period::Month.of(Zone::UTC))),
    ];
    (kind, 20..300u64, 0..60u64)
        .prop_map(|(kind, capacity, borrow)| (Shape { kind, capacity, warn: None }, borrow))
}

/// The store, by the pure algorithm.
struct Store {
    shape: Shape,
    state: State,
    held: HashMap<u64, Receipt>,
    settled: HashSet<u64>,
    now: u64,
}

impl Store {
    fn now(&self) -> Now {
        Now { mono: self.now, wall: self.now }
    }

    fn take(&mut self, id: u64, amount: u64, spare: u64) -> Option<Had> {
        let (shape, now) = (self.shape, self.now());
        self.state.advance(&shape, now);
        let all = amount + spare;
        let fits = all <= shape.capacity && self.state.wait(&shape, 0, all, now) == Some(0);
        fits.then(|| {
            self.held.insert(id, self.state.take(&shape, amount, now));
            Had { used: self.state.used(&shape), taken: true, climbed: false }
        })
    }

    fn settle(&mut self, settlement: &Settlement, lives: bool) {
        let (shape, now) = (self.shape, self.now());
        self.state.advance(&shape, now);
        let Some(receipt) = self.held.remove(&settlement.id) else { return };
        self.state.settle(&shape, receipt, settlement.spent[0], now);
        if lives {
            let mut receipt = receipt;
            receipt.amount = settlement.spent[0];
            self.held.insert(settlement.id, receipt);
        } else {
            assert!(self.settled.insert(settlement.id), "settled once");
        }
    }
}

struct Request {
    instance: usize,
    take: Take,
    /// In the log.
    at: usize,
}

struct World {
    store: Store,
    instances: [Slices; INSTANCES],
    borrow: u64,
    next: u64,
    open: Vec<Request>,
    log: Vec<Used>,
    trips: u64,
}

impl World {
    fn new((shape, borrow): (Shape, u64)) -> Self {
        let (held, settled) = (HashMap::new(), HashSet::new());
        let store = Store { shape, state: State::new(&shape), held, settled, now: SECOND };
        let instances = std::array::from_fn(|_| Slices::default());
        Self { store, instances, borrow, next: 0, open: vec![], log: vec![], trips: 0 }
    }

    /// Whether it was let in.
    fn take(&mut self, instance: usize, amount: u64) -> bool {
        let want = Want { borrow: self.borrow, ..Want::new("key", self.store.shape, amount) };
        self.next += 1;
        let take = Take { id: self.next, wants: [want].into(), wall: self.store.now };
        let slices = &mut self.instances[instance];
        let next = &mut self.next;
        let plan = slices.plan(&take, || {
            *next += 1;
            *next
        });
        if let Plan::Ask(wants, lends) = plan {
            self.trips += 1;
            let fits = wants[0].force || self.store.take(take.id, wants[0].amount, 0).is_some();
            for Lend { id, at, wants } in lends {
                let spare = self.store.shape.capacity.div_ceil(10);
                let had = self.store.take(id, wants[0].amount, spare);
                slices.lent(Lend { id, at, wants }, take.wall, had);
            }
            if !fits {
                slices.cancel(take.id);
                return false;
            }
        }
        self.open.push(Request { instance, take, at: self.log.len() });
        self.log.push(Used { at: self.store.now, amount });
        true
    }

    fn settle(&mut self, which: usize, spent: u64) {
        let Request { instance, take, at } = self.open.swap_remove(which);
        self.log[at].amount = spent;
        let Take { id, wants, wall } = take;
        let settlement = Settlement { id, wants, spent: vec![spent], wall };
        if let Some(rest) = self.instances[instance].settle(settlement) {
            self.store.settle(&rest, false);
        }
    }

    fn give_back(&mut self, instance: usize) {
        let store = &mut self.store;
        self.instances[instance].due(|settlement, lives| {
            store.settle(&settlement, lives);
            true
        });
    }

    fn tick(&mut self, instance: usize) {
        self.instances[instance].tick();
        self.give_back(instance);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass(millis) => self.store.now += millis * 1_000_000,
            Step::Tick(instance) => self.tick(instance),
            Step::Take(instance, amount) => drop(self.take(instance, amount)),
            Step::Settle(which, share) => {
                if let Some(request) = self.open.get(which) {
                    // What goes back to a bucket is good for use at once: nothing does here.
                    let bucket = matches!(self.store.shape.kind, Kind::Bucket { .. });
                    let share = if bucket { 100 } else { share };
                    let amount = request.take.wants[0].amount;
                    self.settle(which, amount * share / 100);
                }
            }
            Step::Crash(instance) => {
                self.instances[instance].crash();
                self.open.retain(|request| request.instance != instance);
            }
        }
    }

    /// All that was used, if everything is settled now.
    fn end(&mut self) -> u64 {
        while let Some(request) = self.open.first() {
            let amount = request.take.wants[0].amount;
            self.settle(0, amount);
        }
        for instance in 0..INSTANCES {
            self.instances[instance].close();
            self.give_back(instance);
        }
        self.store.state.used(&self.store.shape)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_more_is_used_than_the_limit_and_slices(
        limit in any_shape(),
        steps in vec(step(), 1..250),
    ) {
        let mut world = World::new(limit);
        let (shape, borrow) = limit;
        let mut crashed = false;
        for step in &steps {
            world.step(step);
            crashed |= matches!(step, Step::Crash(_));
        }
        let used = world.end();
        // In a period of the calendar nothing can be late.
        let slices = if matches!(shape.kind, Kind::Calendar(_)) { 0 } else { borrow };
        holds(&shape, &world.log, slices * INSTANCES as u64);
        let spent: u64 = world.log.iter().map(|used| used.amount).sum();
        if let Kind::Calendar(_) = shape.kind {
            prop_assert!(used >= spent, "{used} are less than {spent}");
            prop_assert!(crashed || used == spent, "{used} are not {spent}");
            prop_assert!(crashed || world.store.held.is_empty());
        }
    }
}

fn month(capacity: u64) -> Shape {
    Shape { kind: Kind::Calendar(Period::Month.of(Zone::UTC)), capacity, warn: None }
}

/// A busy instance asks now and then; a quiet one each time.
#[test]
fn round_trips() {
    let trips = |borrow, a_second: u64| {
        let mut world = World::new((month(100_000), borrow));
        for request in 0..1_000 {
            let ticks = |request: u64| request * 4 / a_second;
            (ticks(request)..ticks(request + 1)).for_each(|_| world.tick(0));
            assert!(world.take(0, 1));
            world.settle(0, 1);
        }
        assert_eq!(world.end(), 1_000);
        world.trips
    };
    assert_eq!((trips(0, 1_000), trips(1_000, 2)), (1_000, 1_000), "not allowed to, or too few");
    let (busy, small, few) = (trips(1_000, 1_000), trips(100, 1_000), trips(1_000, 20));
    assert!(busy <= 15 && small <= 25 && few <= 120, "{busy}, {small}, {few}");
}

#[test]
fn nothing_is_lent_of_the_last_tenth() {
    let mut world = World::new((month(100), 50));
    let mut taken = 0;
    while world.take(0, 1) {
        taken += 1;
    }
    assert_eq!(taken, 100);
    assert!(!world.take(1, 1));
    assert_eq!(world.store.state.used(&world.store.shape), 100);
}

/// What is too much for a slice is asked for as far as it is missing.
#[test]
fn a_slice_is_spent_before_more_is_asked_for() {
    let mut world = World::new((month(100), 20));
    (0..5).for_each(|_| assert!(world.take(0, 4)));
    let used = world.store.state.used(&world.store.shape);
    assert!(used > 20, "a slice is out");
    assert!(world.take(0, 100 - 20));
    assert_eq!(world.store.state.used(&world.store.shape), 100, "with what it had it was enough");
    assert!(!world.take(1, 1));
    // Who is refused elsewhere leaves a slice as it was.
    world.settle(5, 70);
    assert!(!world.take(0, 11));
    assert!(world.take(0, 10), "what was given back is there");
    assert_eq!(world.end(), 100);
}

/// The reply used more than was reserved, and ends after its slice.
#[test]
fn what_slices_gave_is_settled_to_what_was_used() {
    let mut world = World::new((month(1_000), 100));
    (0..12).for_each(|_| assert!(world.take(0, 5)));
    let used = |world: &World| world.store.state.used(&world.store.shape);
    assert!(used(&world) > 60);
    (0..4).for_each(|_| world.tick(0));
    assert_eq!(used(&world), 60, "what was left went back");
    (0..12).for_each(|_| world.settle(0, 7));
    world.tick(0);
    assert_eq!(used(&world), 84);
    assert!(world.store.held.is_empty());
}

/// A custom quota, or another policy: the old slice is no share of the new limit.
#[test]
fn another_shape_has_slices_of_its_own() {
    let mut world = World::new((month(1_000), 100));
    (0..6).for_each(|_| assert!(world.take(0, 5)));
    let trips = world.trips;
    assert!(world.take(0, 1) && world.trips == trips, "a slice is out");
    world.store.shape.capacity = 500;
    assert!(world.take(0, 1) && world.trips == trips + 1);
    world.give_back(0);
    assert_eq!(world.store.state.used(&world.store.shape), 32);
}

/// What has no room in the queue is told later.
#[test]
fn what_is_not_taken_is_told_again() {
    let mut world = World::new((month(1_000), 100));
    (0..6).for_each(|_| assert!(world.take(0, 5)));
    world.instances[0].close();
    assert!(!world.instances[0].due(|_, _| false));
    assert_eq!(world.end(), 30);
}
