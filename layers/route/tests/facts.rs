//! What is known of a target after what passed, by moments that the tests choose.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{ErrorClass, Target, Usage, Usd};
use tollway_route::{
    Figures, Health,
    facts::{Config, Outcome, Slot, Thresholds, Tracker},
};

fn target(text: &str) -> Target {
    let (provider, model) = text.split_once('/').unwrap();
    Target::new(provider, "main", Some(model.into()))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Rig {
    tracker: Tracker,
    slot: Arc<Slot>,
    now: Instant,
}

fn rig(config: Config) -> Rig {
    let tracker = Tracker::new(config).unwrap();
    Rig { slot: tracker.slot(&target("groq/llama")), tracker, now: Instant::now() }
}

impl Rig {
    /// A request that takes `time`; the clock stands at its end.
    fn run(&mut self, time: Duration, outcome: Outcome) {
        let trip = self.slot.begin(self.now);
        self.now += time;
        trip.end(self.now, outcome);
    }

    fn times(&mut self, times: usize, time: Duration, outcome: Outcome) {
        (0..times).for_each(|_| self.run(time, outcome));
    }

    fn figures(&self) -> Figures {
        self.slot.figures(self.now)
    }

    fn failures_told(&self) -> Vec<ErrorClass> {
        self.slot.facts(self.now).errors.iter().map(|error| error.class).collect()
    }
}

fn ok() -> Outcome {
    Outcome::success()
}

fn failed(class: ErrorClass) -> Outcome {
    Outcome::failure(class)
}

#[track_caller]
fn near(told: Duration, exact: Duration) {
    assert!(told.abs_diff(exact) <= exact / 20, "{told:?} is not within 5 % of {exact:?}");
}

#[track_caller]
fn close(told: f32, exact: f32) {
    assert!((told - exact).abs() <= exact.abs() / 100.0, "{told} is not {exact}");
}

#[test]
fn of_an_unknown_target_nothing_is_told() {
    assert_eq!(rig(Config::default()).figures(), Figures::default());
}

#[test]
fn quantiles_need_the_minimum_of_samples() {
    let mut rig = rig(Config::default());
    rig.times(9, ms(500), ok());
    assert_eq!((rig.figures().samples, rig.figures().whole), (9, None));
    rig.run(ms(500), ok());
    near(rig.figures().whole.unwrap().p50, ms(500));
    assert_eq!(rig.figures().first_token, None, "none was seen");
}

#[test]
fn means_are_those_of_the_replies_in_the_window() {
    let mut rig = rig(Config::default());
    let reply = |input, cached, output, nanos| {
        let mut usage = Usage::new(input, output);
        usage.cached = cached;
        Outcome { usage: Some(usage), cost: Some(Usd::from_nanos(nanos)), ..ok() }
    };
    for outcome in [reply(1_000, 0, 101, 300), reply(3_000, 1_000, 301, 500)] {
        let mut trip = rig.slot.begin(rig.now);
        trip.first_token(rig.now + ms(250));
        trip.first_token(rig.now + ms(900));
        rig.now += ms(2_250);
        trip.end(rig.now, outcome);
    }
    // A reply of which nothing is known moves no mean.
    rig.run(ms(10), ok());
    let figures = rig.figures();
    assert_eq!(figures.cost, Some(Usd::from_nanos(400)));
    close(figures.output_tokens.unwrap(), 201.0);
    close(figures.tokens_per_second.unwrap(), 100.0);
    close(figures.cached_share, 0.25);
}

#[test]
fn a_reply_that_came_all_at_once_tells_no_speed() {
    let rig = rig(Config::default());
    let mut trip = rig.slot.begin(rig.now);
    trip.first_token(rig.now + secs(2));
    trip.end(rig.now + secs(2), Outcome { usage: Some(Usage::new(10, 500)), ..ok() });
    assert_eq!(rig.figures().tokens_per_second, None);
    close(rig.figures().output_tokens.unwrap(), 500.0);
    // Nor does it quicken the speed of another.
    let mut trip = rig.slot.begin(rig.now);
    trip.first_token(rig.now);
    trip.end(rig.now + secs(1), Outcome { usage: Some(Usage::new(10, 101)), ..ok() });
    close(rig.figures().tokens_per_second.unwrap(), 100.0);
}

#[test]
fn a_failure_is_no_sample_but_a_timeout_took_that_long() {
    let config = Config { min_samples: 1, ..Config::default() };
    let mut rig = rig(config);
    rig.run(ms(1), failed(ErrorClass::Server));
    assert_eq!((rig.figures().samples, rig.figures().whole), (0, None));
    rig.run(secs(20), failed(ErrorClass::Timeout));
    let figures = rig.figures();
    assert_eq!(figures.samples, 1);
    near(figures.whole.unwrap().p50, secs(20));
    near(figures.first_token.unwrap().p50, secs(20));
    near(Duration::from_secs_f32(figures.peak_ewma), secs(20));
}

#[test]
fn a_trip_that_is_dropped_counts_for_nothing() {
    let rig = rig(Config { min_samples: 1, ..Config::default() });
    let trip = rig.slot.begin(rig.now);
    assert_eq!(rig.figures().in_flight, 1);
    drop(trip);
    assert_eq!(rig.figures(), Figures::default());
}

#[test]
fn who_else_was_under_way_is_the_usual() {
    let rig = rig(Config::default());
    let trips: Vec<_> = (0..5).map(|_| rig.slot.begin(rig.now)).collect();
    assert_eq!(rig.figures().in_flight, 5);
    trips.into_iter().for_each(|trip| trip.end(rig.now + ms(100), ok()));
    close(rig.figures().usual_in_flight, 2.0);
    assert_eq!(rig.figures().in_flight, 0);
}

#[test]
fn what_has_left_the_window_counts_no_more_though_nobody_writes() {
    let mut rig = rig(Config::default());
    rig.times(50, ms(100), Outcome { cost: Some(Usd::from_nanos(7)), ..ok() });
    rig.now += secs(200);
    rig.times(20, secs(1), ok());
    near(rig.figures().whole.unwrap().p50, ms(100));
    // Ninety seconds on, the first fifty are too old.
    rig.now += secs(90);
    assert_eq!((rig.figures().samples, rig.figures().cost), (20, None));
    near(rig.figures().whole.unwrap().p50, secs(1));
    rig.now += secs(301);
    let figures = rig.figures();
    assert_eq!((figures.samples, figures.whole), (0, None));
    assert!(figures.peak_ewma < 1e-6, "{}", figures.peak_ewma);
}

#[test]
fn success_halves_its_memory_and_gives_the_benefit_of_the_doubt_back() {
    let mut rig = rig(Config::default());
    rig.times(30, Duration::ZERO, ok());
    rig.times(3, Duration::ZERO, failed(ErrorClass::Overloaded));
    rig.times(1, Duration::ZERO, failed(ErrorClass::Server));
    close(rig.figures().success, 31.0 / 35.0);
    rig.now += secs(30);
    close(rig.figures().success, 16.0 / 18.0);
    // A success now weighs twice one of half a minute ago.
    rig.run(Duration::ZERO, ok());
    close(rig.figures().success, 17.0 / 19.0);
    rig.now += secs(3_600);
    close(rig.figures().success, 1.0);
}

#[test]
fn the_peak_rises_at_once_and_falls_to_the_median() {
    let mut rig = rig(Config::default());
    rig.times(20, ms(100), ok());
    let median = rig.figures().whole.unwrap().p50.as_secs_f32();
    close(rig.figures().peak_ewma, median.max(0.1));
    rig.run(secs(8), ok());
    close(rig.figures().peak_ewma, 8.0);
    rig.now += secs(10);
    close(rig.figures().peak_ewma, 4.0);
    rig.run(ms(100), ok());
    assert!(rig.figures().peak_ewma > 3.9, "one quick reply doesn't undo it");
    rig.now += secs(100);
    close(rig.figures().peak_ewma, median);
}

#[test]
fn what_the_target_cannot_help_counts_for_nothing() {
    let mut rig = rig(Config::default());
    for class in [
        ErrorClass::RateLimit,
        ErrorClass::NotFound,
        ErrorClass::Invalid,
        ErrorClass::ContextLength,
        ErrorClass::ContentFilter,
        ErrorClass::Cancelled,
    ] {
        rig.times(10, ms(5), failed(class));
    }
    assert_eq!(rig.figures(), Figures::default());
    rig.run(ms(5), Outcome { ok: false, ..Outcome::default() });
    close(rig.figures().success, 0.5);
}

#[test]
fn the_last_eight_errors_are_told_with_their_age() {
    let mut rig = rig(Config::default());
    rig.run(secs(1), failed(ErrorClass::Network));
    rig.run(secs(1), failed(ErrorClass::RateLimit));
    rig.run(secs(1), failed(ErrorClass::Invalid));
    rig.run(secs(1), ok());
    let errors = rig.slot.facts(rig.now).errors;
    let told: Vec<_> = errors.iter().map(|error| (error.class, error.age)).collect();
    assert_eq!(told, [(ErrorClass::RateLimit, secs(2)), (ErrorClass::Network, secs(3))]);
    rig.times(8, secs(1), failed(ErrorClass::Server));
    assert_eq!(rig.failures_told(), [ErrorClass::Server; 8]);
}

#[test]
fn it_goes_down_rests_and_recovers_with_a_clean_record() {
    let mut rig = rig(Config::default());
    rig.times(20, ms(10), ok());
    rig.times(5, ms(10), failed(ErrorClass::Network));
    assert_eq!(rig.figures().health, Health::Down);
    let issues: Vec<_> = rig.slot.facts(rig.now).issues.iter().map(ToString::to_string).collect();
    assert_eq!(issues, ["down, tried again in 30 s", "5 of the last 20 requests failed: network"]);

    rig.now += secs(30);
    assert_eq!(rig.figures().health, Health::Degraded);
    let trial = rig.slot.begin(rig.now);
    assert_eq!(rig.figures().health, Health::Down, "one trial at a time");
    trial.end(rig.now, ok());
    rig.slot.probed(true, rig.now);
    assert_eq!(rig.figures().health, Health::Degraded);
    rig.run(ms(10), ok());
    assert_eq!(rig.figures().health, Health::Healthy);
    close(rig.figures().success, 1.0);
    assert!(rig.slot.facts(rig.now).issues.is_empty());
}

#[test]
fn what_it_fails_with_most_is_named() {
    let mut rig = rig(Config::default());
    rig.run(ms(1), failed(ErrorClass::Timeout));
    rig.times(3, ms(1), failed(ErrorClass::Overloaded));
    rig.run(ms(1), failed(ErrorClass::Timeout));
    let issues = rig.slot.facts(rig.now).issues;
    assert_eq!(issues[1].to_string(), "5 of the last 5 requests failed: overloaded");
}

#[test]
fn a_bad_rate_fades_though_nobody_writes() {
    let mut rig = rig(Config::default());
    rig.times(12, ms(1), ok());
    rig.times(2, ms(1), failed(ErrorClass::Server));
    assert_eq!(rig.figures().health, Health::Degraded);
    rig.now += secs(120);
    assert_eq!(rig.figures().health, Health::Healthy);
}

#[test]
fn slow_is_degraded_until_the_slow_replies_are_too_old() {
    let health = Thresholds { slow_whole: Some(secs(1)), ..Thresholds::default() };
    let mut rig = rig(Config { health, ..Config::default() });
    rig.times(10, secs(2), ok());
    assert_eq!(rig.figures().health, Health::Degraded);
    rig.now += secs(301);
    assert_eq!(rig.figures().health, Health::Healthy);
}

#[test]
fn clones_share_their_slots() {
    let rig = rig(Config::default());
    let other = rig.tracker.clone().slot(&target("groq/llama"));
    assert!(Arc::ptr_eq(&rig.slot, &other));
    assert!(!Arc::ptr_eq(&rig.slot, &rig.tracker.slot(&target("groq/qwen"))));
}

#[test]
fn quantiles_of_many_samples_are_late_by_a_tenth_of_a_second_and_no_more() {
    let mut rig = rig(Config::default());
    rig.times(200, ms(1), ok());
    let trips: Vec<_> = (0..300).map(|_| rig.slot.begin(rig.now)).collect();
    rig.now += secs(2);
    rig.run(Duration::ZERO, ok());
    rig.now += ms(1);
    trips.into_iter().for_each(|trip| trip.end(rig.now, ok()));
    near(rig.figures().whole.unwrap().p50, ms(1));
    assert_eq!(rig.figures().samples, 501);
    // Though nobody writes.
    rig.now += ms(99);
    near(rig.figures().whole.unwrap().p50, secs(2));
}

#[test]
fn many_threads_lose_nothing() {
    let tracker = Tracker::new(Config::default()).unwrap();
    let now = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for at in 0..500 {
                    let slot = tracker.slot(&target("groq/llama"));
                    let trip = slot.begin(now);
                    assert!(slot.figures(now).in_flight >= 1);
                    match at % 5 {
                        0 => drop(trip),
                        _ => trip.end(now + ms(at), ok()),
                    }
                }
            });
        }
    });
    let figures = tracker.slot(&target("groq/llama")).figures(now + ms(500));
    assert_eq!((figures.in_flight, figures.samples), (0, 1_600));
}

#[test]
fn a_full_table_lets_go_of_who_was_idle_longest_and_of_nobody_who_is_held() {
    let tracker = Tracker::new(Config { max_targets: 3, ..Config::default() }).unwrap();
    let start = Instant::now();
    let [old, under_way, held] = ["a/1", "a/2", "a/3"].map(|text| tracker.slot(&target(text)));
    old.begin(start).end(start, ok());
    let trip = under_way.begin(start);
    // Held by somebody or not, all three are known.
    assert!(tracker.tracked(&target("b/1")).is_none());
    let apart = tracker.slot(&target("b/1"));
    apart.begin(start).end(start, ok());
    assert_eq!(tracker.slot(&target("b/1")).figures(start).samples, 0, "not remembered");

    drop((old, under_way));
    let later = start + secs(1);
    held.begin(later).end(later, ok());
    let newcomer = tracker.tracked(&target("b/1")).expect("the first is out");
    newcomer.begin(later).end(later, ok());
    drop(newcomer);
    assert!(tracker.tracked(&target("b/2")).is_some(), "and now the newcomer");
    assert_eq!(trip.slot().figures(later).in_flight, 1);
    assert!(Arc::ptr_eq(trip.slot(), &tracker.slot(&target("a/2"))));
    assert!(Arc::ptr_eq(&held, &tracker.slot(&target("a/3"))));
}

#[test]
fn a_full_table_keeps_those_that_served_before_those_that_never_did() {
    let tracker = Tracker::new(Config { max_targets: 4, ..Config::default() }).unwrap();
    let now = Instant::now();
    let ask = |text: &str, outcome| tracker.slot(&target(text)).begin(now).end(now, outcome);
    ask("a/good", ok());
    ask("a/gone", ok());
    ask("a/gone", failed(ErrorClass::NotFound));
    ask("a/ill", failed(ErrorClass::Server));
    ask("a/ill", failed(ErrorClass::Invalid));
    ask("a/made-up", failed(ErrorClass::NotFound));
    let names = || -> Vec<String> {
        let all = tracker.snapshot(now, |_| false).targets;
        all.iter().map(|facts| facts.target.to_string()).collect()
    };
    assert_eq!(names(), ["a/gone", "a/good", "a/ill"], "nobody knows the fourth");
    ask("b/1", failed(ErrorClass::Timeout));
    assert_eq!(names(), ["a/gone", "a/good", "a/ill", "b/1"], "there was room");
    ask("b/2", ok());
    assert_eq!(names(), ["a/gone", "a/good", "b/2"], "what never served goes next");
    ask("b/3", ok());
    ask("b/4", ok());
    assert_eq!(names().len(), 4, "all have served just now: one of them had to go");
    assert!(names().contains(&"b/4".to_owned()));
}

#[test]
fn names_that_a_provider_makes_no_difference_of_fill_no_page() {
    let tracker = Tracker::new(Config { max_targets: 128, ..Config::default() }).unwrap();
    let start = Instant::now();
    for at in 0..300 {
        let now = start + ms(at);
        tracker.slot(&target(&format!("a/{at}"))).begin(now).end(now, ok());
        assert!(tracker.snapshot(now, |_| true).targets.len() <= 128);
    }
    let now = start + secs(1);
    let shown = tracker.snapshot(now, |one| one.model().is_some_and(|name| &**name == "190"));
    assert_eq!(shown.targets.len(), 65, "the named one, and the latest of the others");
    let has = |name: &str| shown.targets.iter().any(|one| one.target == target(name));
    assert!(has("a/190") && has("a/299") && has("a/236") && !has("a/235"));
}

#[test]
fn a_search_in_vain_is_not_repeated_for_each_newcomer() {
    let tracker = Tracker::new(Config { max_targets: 16, ..Config::default() }).unwrap();
    let held: Vec<_> = (0..16).map(|at| tracker.slot(&target(&format!("a/{at}")))).collect();
    assert!(tracker.tracked(&target("b/1")).is_none());
    drop(held);
    let turned_away = (0..10).take_while(|_| tracker.tracked(&target("b/1")).is_none()).count();
    assert_eq!(turned_away, 2);
}

#[test]
fn a_snapshot_is_sorted_and_merges_by_provider_and_by_model() {
    let tracker = Tracker::new(Config { min_samples: 1, ..Config::default() }).unwrap();
    let now = Instant::now();
    let run = |target: &Target, times: usize, time: Duration, outcome: Outcome| {
        let slot = tracker.slot(target);
        (0..times).for_each(|_| slot.begin(now).end(now + time, outcome));
    };
    let cost = |nanos| Outcome { cost: Some(Usd::from_nanos(nanos)), ..ok() };
    run(&target("groq/llama"), 90, ms(100), cost(10));
    run(&target("azure/llama"), 10, secs(3), cost(110));
    run(&target("azure/gpt"), 5, ms(1), failed(ErrorClass::Server));
    run(&Target::new("azure", "spare", None), 1, secs(9), ok());
    let trip = tracker.slot(&target("groq/llama")).begin(now);

    let snapshot = tracker.snapshot(now + secs(10), |_| false);
    let names: Vec<_> = snapshot.targets.iter().map(|facts| facts.target.to_string()).collect();
    assert_eq!(names, ["azure", "azure/gpt", "azure/llama", "groq/llama"]);
    assert_eq!(snapshot.targets[1].issues.len(), 2);

    let models: Vec<_> = snapshot.models.iter().map(|facts| &*facts.name).collect();
    assert_eq!(models, ["gpt", "llama"]);
    assert_eq!(snapshot.models[0].figures.health, Health::Down);
    let llama = &snapshot.models[1];
    assert_eq!((llama.targets, llama.figures.samples, llama.figures.in_flight), (2, 100, 1));
    near(llama.figures.whole.unwrap().p50, ms(100));
    near(llama.figures.whole.unwrap().p95, secs(3));
    assert_eq!(llama.figures.cost, Some(Usd::from_nanos(20)));

    let azure = &snapshot.providers[0];
    assert_eq!((&*azure.name, azure.targets, azure.figures.samples), ("azure", 3, 11));
    assert_eq!(azure.figures.health, Health::Degraded, "one of three is down");
    assert_eq!(snapshot.providers[1].figures.health, Health::Healthy);
    drop(trip);
}

/// Quantiles rest on the newest 200 samples or so, but on more where more are asked for.
#[test]
fn as_many_samples_as_are_asked_for_can_be_had() {
    let tracker = Tracker::new(Config { min_samples: 1_000, ..Config::default() }).unwrap();
    let (slot, start) = (tracker.slot(&target("groq/llama")), Instant::now());
    let figures = (0..1_100).map(|at| {
        let now = start + ms(200 * at);
        slot.begin(now).end(now + ms(100), ok());
        slot.figures(now + ms(100))
    });
    let figures: Vec<_> = figures.collect();
    assert_eq!(figures[998].whole, None);
    near(figures[1_099].whole.unwrap().p95, ms(100));
}
