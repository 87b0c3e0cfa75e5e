//! What is left of a plan is put in another order while the walk is on.
#![allow(clippy::unwrap_used, reason = "tests: a panic is how they fail")]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use http::Request;
use tollway_core::{Candidate, Plan, Target};
use tollway_retry::*;

/// Answers each question with the next of these orders, and keeps what it was asked.
#[derive(Clone)]
struct Orders {
    answers: Arc<Mutex<Vec<Option<Vec<&'static str>>>>>,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Orders {
    fn new<const N: usize>(answers: [Option<&[&'static str]>; N]) -> Self {
        let answers = answers.into_iter().rev().map(|one| one.map(<[_]>::to_vec)).collect();
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|tried| tried.join(" ")).collect()
    }
}

impl Policy<Body, Body> for Orders {
    fn clone_request(&self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }

    fn rescore(&self, kept: &Request<Body>, plan: &Plan, tried: &[Target]) -> Option<Plan> {
        assert_eq!(kept.extensions().get(), Some(plan));
        let names = tried.iter().map(|target| target.provider().to_string()).collect();
        self.asked.lock().unwrap().push(names);
        let order = self.answers.lock().unwrap().pop()??;
        let candidates = order.iter().map(|name| Candidate::new(target(name), "anew"));
        Some(Plan::new("r", "anew", candidates))
    }
}

fn world(script: &[(&'static str, u16)]) -> World {
    World::with(
        script.iter().map(|(name, code)| (*name, vec![status(*code); 9])),
        Settings { attempts: 9, attempts_per_target: Some(1), ..settings() },
    )
}

const DEAD: [(&str, u16); 4] = [("a", 503), ("b", 503), ("c", 503), ("d", 503)];

#[tokio::test(start_paused = true)]
async fn the_walk_goes_on_along_the_new_order() {
    let orders = Orders::new([Some(&["c", "b"]), Some(&["b"])]);
    let world = world(&[("a", 503), ("c", 503)]);
    let reply = world.run_with(plan(["a", "b", "c"]), orders.clone()).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(orders.asked(), ["a", "a c"], "asked with all that was tried");
    let seen = world.seen();
    let plans = seen.iter().map(|request| request.extensions().get::<Plan>().unwrap());
    let plans: Vec<_> = plans.map(|plan| (plan.strategy, plan.candidates.len())).collect();
    assert_eq!(
        plans,
        [("failover", 3), ("anew", 2), ("anew", 1)],
        "who comes later sees the new plan"
    );
    let attempts = reply.extensions().get::<Attempts>().unwrap();
    assert_eq!(attempts.to_string(), "a/m;503, c/m;503, b/m;200", "the whole path is told");
}

#[tokio::test(start_paused = true)]
async fn no_answer_leads_back_to_what_is_used_up() {
    let orders = Orders::new([Some(&["a", "b"]), Some(&["b", "a"]), Some(&["a", "b"])]);
    let world = world(&DEAD);
    let reply = world.run_with(plan(["a", "b"]), orders).await.unwrap();
    assert_eq!(reply.status(), 503);
    assert_eq!(world.calls(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_not_in_the_plan_may_join_and_who_is_out_may_leave() {
    let orders = Orders::new([Some(&["d"]), None]);
    let world = world(&DEAD);
    world.run_with(plan(["a", "b", "c"]), orders).await.unwrap();
    assert_eq!(world.calls(), ["a", "d"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_plan_holds() {
    let world = world(&DEAD);
    world.run_with(plan(["a", "b", "c"]), Orders::new([None, None, None])).await.unwrap();
    assert_eq!(world.calls(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_tried_again_is_not_forgotten() {
    let orders = Orders::new([Some(&["b"]), None, None]);
    let once = |name: &'static str| (name, vec![status(503)]);
    let world = World::with([once("a"), once("b")], settings());
    let reply = world.run_with(plan(["a", "b"]), orders).await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), world.calls()),
        (200, vec!["a".into(), "b".into(), "a".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_no_attempt_may_follow() {
    let orders = Orders::new([]);
    let world = world(&[("a", 503), ("b", 503)]).only(1);
    world.run_with(plan(["a", "b"]), orders.clone()).await.unwrap();
    world.run_with(plan(["b"]), orders.clone()).await.unwrap();
    assert_eq!(orders.asked(), [""; 0]);
    let fine = World::new([("a", vec![status(400)])]);
    fine.run_with(plan(["a", "b"]), orders.clone()).await.unwrap();
    assert_eq!(orders.asked(), [""; 0], "nor after what no target helps");
}
