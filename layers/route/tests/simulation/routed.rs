//! The router itself, with figures that it learns as it would from traffic.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;
use tollway_core::{Ask, Caller, ErrorClass, Operation, Plan, Prompt, Target, Usage, Usd};
use tollway_route::{
    Availability, Group, Match, PriceTier, Query, Route, Router, Strategy, Traits,
    facts::{Config, Outcome, Slot, Tracker, Trip},
};

use crate::{
    run::{Chooser, Ending},
    world::{CALLERS, Request, Scenario, World},
};

/// Decides by `strategy`.
pub(crate) struct Routed {
    router: Router,
    targets: Vec<Target>,
    slots: Vec<Arc<Slot>>,
    start: Instant,
    headers: HeaderMap,
    model: Arc<str>,
    callers: Vec<Caller>,
    under_way: HashMap<usize, UnderWay>,
}

struct UnderWay {
    plan: Plan,
    tried: Vec<Target>,
    trip: Option<Trip>,
}

impl Routed {
    /// Every place weighs the same. The clock must stand still, or nothing would come out twice.
    pub(crate) fn new(scenario: &Scenario, strategy: Strategy) -> Self {
        let start = Instant::now();
        let tracker = Tracker::new(Config::default()).unwrap();
        let target = |name: &&str| Target::new(*name, "default", Some((*name).into()));
        let targets: Vec<Target> = scenario.names.iter().map(target).collect();
        let slots = targets.iter().map(|target| tracker.slot(target)).collect();
        let group = Group::new(strategy, targets.iter().cloned().map(Into::into));
        let (named, place) = (targets.clone(), scenario.place);
        let router = Router::builder([Route::new("all", Match::default(), group)])
            .catalog(move |target: &Target| {
                let place = place(index(&named, target), 0.0);
                let (input, output) = (place.input_price, place.output_price);
                let tier = PriceTier { from: 0, input, cached: input / 10, output };
                Traits { prices: [tier].into(), ..Traits::default() }
            })
            .figures(tracker)
            .seed(scenario.seed)
            .build()
            .unwrap();
        Self {
            router,
            targets,
            slots,
            start,
            headers: HeaderMap::new(),
            model: "any".into(),
            callers: (0..CALLERS).map(caller).collect(),
            under_way: HashMap::new(),
        }
    }

    fn now(&self, world: &World) -> Instant {
        self.start + Duration::from_secs_f64(world.now)
    }

    fn ask(&self, request: &Request) -> Ask {
        Ask::new(Operation::ChatCompletions)
            .with_model(self.model.clone())
            .with_prompt(Prompt::new(request.input))
    }

    fn query<'a>(&'a self, world: &World, request: &Request, ask: &'a Ask) -> Query<'a> {
        let query = Query::new("/", &self.headers, self.now(world)).with_ask(ask);
        query.with_caller(&self.callers[request.caller])
    }

    /// What has no room is out, as pacing tells it.
    fn state(&self, world: &World) -> impl Fn(&Target) -> Availability {
        |target: &Target| match world.has_room(index(&self.targets, target)) {
            true => Availability::Ready,
            false => Availability::LimitFull,
        }
    }

    fn places(&self, plan: &Plan) -> Vec<usize> {
        plan.candidates.iter().map(|one| index(&self.targets, &one.target)).collect()
    }
}

fn caller(at: usize) -> Caller {
    let mut caller = Caller::default();
    caller.user = Some(at.to_string().into());
    caller
}

fn index(targets: &[Target], target: &Target) -> usize {
    targets.iter().position(|one| one == target).unwrap()
}

impl Chooser for Routed {
    fn order(&mut self, world: &World, request: &Request) -> Vec<usize> {
        let ask = self.ask(request);
        let query = self.query(world, request, &ask);
        let plan = self.router.decide(&query, &self.state(world)).unwrap();
        let order = self.places(&plan);
        self.under_way.insert(request.id, UnderWay { plan, tried: Vec::new(), trip: None });
        order
    }

    fn again(&mut self, world: &World, request: &Request, _: &[usize]) -> Vec<usize> {
        let ask = self.ask(request);
        let query = self.query(world, request, &ask);
        let one = &self.under_way[&request.id];
        let rest = self.router.rescore(&one.plan, &one.tried, &query, &self.state(world));
        rest.map_or_else(Vec::new, |rest| self.places(&rest))
    }

    fn began(&mut self, world: &World, request: &Request, place: usize) {
        let mut trip = self.slots[place].begin(self.now(world));
        trip.asked_by(Some(&self.callers[request.caller]), &self.ask(request));
        let one = self.under_way.get_mut(&request.id).unwrap();
        one.tried.push(self.targets[place].clone());
        one.trip = Some(trip);
    }

    fn first_token(&mut self, world: &World, request: &Request) {
        let now = self.now(world);
        let one = self.under_way.get_mut(&request.id).unwrap();
        one.trip.as_mut().unwrap().first_token(now);
    }

    fn ended(&mut self, world: &World, request: &Request, _: usize, ending: Ending) {
        let now = self.now(world);
        let trip = self.under_way.get_mut(&request.id).unwrap().trip.take().unwrap();
        let outcome = match ending {
            Ending::Served { cost, cached, .. } => {
                self.under_way.remove(&request.id);
                let mut usage = Usage::new(request.input, request.output);
                usage.cached = cached;
                let cost = Some(Usd::from_nanos(cost / 1000));
                Outcome { usage: Some(usage), cost, ..Outcome::success() }
            }
            Ending::Failed => Outcome::failure(ErrorClass::Server),
            Ending::Refused => Outcome::failure(ErrorClass::RateLimit),
        };
        trip.end(now, outcome);
    }
}
