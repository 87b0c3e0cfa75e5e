//! Lets somebody decide for every request of a scenario, and sees what comes of it.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::world::{Fate, PLACES, Request, Scenario, World};

/// Attempts that a request has.
const ATTEMPTS: usize = 3;

/// Whoever decides.
pub(crate) trait Chooser {
    /// Places in the order to try them.
    fn order(&mut self, world: &World, request: &Request) -> Vec<usize>;

    /// What is left to try after a failure.
    fn again(&mut self, _world: &World, _request: &Request, rest: &[usize]) -> Vec<usize> {
        rest.to_vec()
    }

    fn began(&mut self, _world: &World, _request: &Request, _place: usize) {}
    fn first_token(&mut self, _world: &World, _request: &Request) {}
    fn ended(&mut self, _world: &World, _request: &Request, _place: usize, _ending: Ending) {}
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Seconds, pico-USD, input tokens that were cached.
    Served {
        whole: f64,
        cost: u64,
        cached: u64,
    },
    Failed,
    Refused,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Seconds from arrival to the first token and to the end, of each that was served; sorted.
    pub(crate) first_tokens: Vec<f64>,
    pub(crate) wholes: Vec<f64>,
    cost: u128,
    pub(crate) failed: usize,
    pub(crate) attempts: usize,
    /// In the order of arrival.
    pub(crate) firsts: Vec<First>,
}

/// A request's first attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    /// Seconds from the start.
    pub(crate) at: f64,
    pub(crate) place: usize,
    /// Requests under way before it.
    pub(crate) in_flight: [u32; PLACES],
}

/// The time that this share of all did not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}

impl Outcome {
    pub(crate) fn p95(&self) -> f64 {
        quantile(&self.wholes, 0.95)
    }

    pub(crate) fn usd(&self) -> f64 {
        self.cost as f64 / 1e12
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    FirstToken,
    Ends { place: usize },
    Tries,
}

/// Microseconds, which request, what.
type Event = Reverse<(u64, usize, What)>;

struct Run<'a> {
    requests: &'a [Request],
    chooser: &'a mut dyn Chooser,
    world: World,
    events: BinaryHeap<Event>,
    /// What is left to try, of each request.
    rest: Vec<Vec<usize>>,
    tried: Vec<usize>,
    /// What the attempt under way will come to.
    endings: Vec<Ending>,
    outcome: Outcome,
}

/// Three attempts a request at most.
pub(crate) fn run(scenario: &Scenario, chooser: &mut dyn Chooser) -> Outcome {
    let requests = &scenario.requests();
    let end = requests.last().map_or(1.0, |last| last.at);
    let arrivals = requests.iter().map(|one| Reverse((micros(one.at), one.id, What::Tries)));
    let mut run = Run {
        requests,
        chooser,
        world: World::new(*scenario, end),
        events: arrivals.collect(),
        rest: vec![Vec::new(); requests.len()],
        tried: vec![0; requests.len()],
        endings: vec![Ending::Failed; requests.len()],
        outcome: Outcome::default(),
    };
    while let Some(Reverse((at, id, what))) = run.events.pop() {
        run.world.turn_to(at as f64 / 1e6);
        match what {
            What::Tries => run.tries(at, id),
            What::FirstToken => run.first_token(id),
            What::Ends { place } => run.ends(at, id, place),
        }
    }
    run.outcome.first_tokens.sort_by(f64::total_cmp);
    run.outcome.wholes.sort_by(f64::total_cmp);
    run.outcome
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

impl Run<'_> {
    fn tries(&mut self, at: u64, id: usize) {
        let request = &self.requests[id];
        if self.tried[id] == 0 {
            self.rest[id] = self.chooser.order(&self.world, request);
            let (at, in_flight) = (self.world.now, self.world.in_flight);
            self.outcome.firsts.push(First { at, place: self.rest[id][0], in_flight });
        } else {
            self.rest[id] = self.chooser.again(&self.world, request, &self.rest[id]);
        }
        if self.tried[id] == ATTEMPTS || self.rest[id].is_empty() {
            self.outcome.failed += 1;
            return;
        }
        let place = self.rest[id].remove(0);
        self.tried[id] += 1;
        self.outcome.attempts += 1;
        let fate = self.world.fate(request, place);
        let (cost, cached) =
            (self.world.cost(request, place, request.output), self.world.cached(request, place));
        self.world.enter(place);
        self.chooser.began(&self.world, request, place);
        let (after, ending) = match fate {
            Fate::Served { first, whole } => {
                self.events.push(Reverse((at + micros(first), id, What::FirstToken)));
                (whole, Ending::Served { whole, cost, cached })
            }
            Fate::Failed(after) => (after, Ending::Failed),
            Fate::Refused => (0.0, Ending::Refused),
        };
        self.endings[id] = ending;
        let what = What::Ends { place };
        self.events.push(Reverse((at + micros(after).max(1), id, what)));
    }

    fn first_token(&mut self, id: usize) {
        let request = &self.requests[id];
        self.outcome.first_tokens.push(self.world.now - request.at);
        self.chooser.first_token(&self.world, request);
    }

    fn ends(&mut self, at: u64, id: usize, place: usize) {
        let (request, ending) = (&self.requests[id], self.endings[id]);
        self.world.in_flight[place] -= 1;
        self.chooser.ended(&self.world, request, place, ending);
        match ending {
            Ending::Served { cost, .. } => {
                self.outcome.cost += u128::from(cost);
                self.outcome.wholes.push(self.world.now - request.at);
            }
            _ => self.events.push(Reverse((at, id, What::Tries))),
        }
    }
}
