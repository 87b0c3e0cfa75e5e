//! Every transition, on a paused clock.

mod support;

use support::*;
use tollway_circuit_breaker::{Config, EventKind, Reason, SlowCalls, State, Weights};
use tollway_core::{ErrorClass, Failure, find_error};
use tollway_testkit::Step;

const SERVER: ErrorClass = ErrorClass::Server;

#[tokio::test(start_paused = true)]
async fn opens_at_the_fifth_failure_in_a_row_and_not_before() {
    let mut rig = rig(Config::default());
    rig.times(4, status(500)).await;
    rig.times(1, ok()).await;
    rig.times(4, status(500)).await;
    assert_eq!(rig.state(), State::Closed);
    rig.times(1, status(500)).await;
    let reason = Reason::Consecutive { failures: 5, last: SERVER };
    assert_eq!(rig.told(), [EventKind::Opened { reason, open_for: secs(300) }]);
    let refused = rig.refusal().await;
    assert_eq!((refused.retry_after(), refused.reason()), (Some(secs(300)), reason));
    assert_eq!(refused.to_string(), "the circuit is open: 5 failures in a row, the last: server");
    let failure = find_error::<Failure>(&refused).unwrap();
    assert_eq!((failure.class(), failure.retry_after()), (ErrorClass::Overloaded, Some(secs(300))));
    let told = rig.events.take();
    assert_eq!(told[0].kind, EventKind::Refused { reason, retry_after: Some(secs(300)) });
    assert_eq!(told[0].key, "a");
}

#[tokio::test(start_paused = true)]
async fn refuses_until_the_promised_moment_then_three_trials_close_it() {
    let mut rig = rig(Config::default());
    rig.times(5, status(500)).await;
    rig.told();
    pass(secs(300) - std::time::Duration::from_millis(1)).await;
    assert_eq!(rig.name(), "open");
    assert!(!rig.send(ok()).await);
    pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(rig.state(), State::HalfOpen);
    rig.times(2, ok()).await;
    assert_eq!(rig.state(), State::HalfOpen);
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
    use EventKind::{Closed, HalfOpened, Trial};
    assert_eq!(rig.told(), [HalfOpened, Trial, Trial, Trial, Closed]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_trial_opens_it_for_longer_up_to_the_cap() {
    let mut rig = rig(Config { max_open_for: secs(1000), ..Config::default() });
    rig.times(5, status(500)).await;
    for open_for in [300, 600, 1000, 1000] {
        let refused = rig.refusal().await;
        assert_eq!(refused.retry_after(), Some(secs(open_for)));
        pass(secs(open_for)).await;
        rig.times(1, ok()).await;
        rig.times(1, status(500)).await;
    }
    assert_eq!(rig.refusal().await.reason(), Reason::TrialFailed(SERVER));
    pass(secs(1000)).await;
    rig.times(3, ok()).await;
    rig.times(5, status(500)).await;
    assert_eq!(rig.refusal().await.retry_after(), Some(secs(300)), "closing forgets the growth");
}

#[tokio::test(start_paused = true)]
async fn no_more_trials_at_once_than_allowed() {
    let mut rig = rig(Config { consecutive_failures: Some(1), ..Config::default() });
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    let mut trials = Vec::new();
    for _ in 0..3 {
        trials.push(rig.head(ok()).await.unwrap());
    }
    assert!(!rig.handle.allows(&"a"));
    let refused = rig.refusal().await;
    assert_eq!((refused.state(), refused.retry_after()), (State::HalfOpen, None));
    drop(trials.pop());
    assert!(rig.handle.allows(&"a"), "a hang-up frees its place");
    assert_eq!(rig.state(), State::HalfOpen, "and decides nothing");
    rig.times(2, ok()).await;
    assert_eq!(rig.state(), State::HalfOpen);
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
    drop(trials);
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_cancelled_before_its_head_frees_its_place() {
    let mut rig = rig(Config {
        consecutive_failures: Some(1),
        trial_requests: 1,
        trial_successes: 1,
        ..Config::default()
    });
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    for _ in 0..3 {
        let slow = ok().after(secs(60));
        assert!(tokio::time::timeout(secs(1), rig.head(slow)).await.is_err());
        assert_eq!(rig.state(), State::HalfOpen);
        assert!(rig.handle.allows(&"a"));
    }
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_nobody_reads_gives_up_its_place() {
    let mut rig = rig(Config {
        consecutive_failures: Some(1),
        trial_requests: 1,
        trial_successes: 1,
        ..Config::default()
    });
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    let unread = rig.head(body([Step::Stall])).await.unwrap();
    pass(secs(599)).await;
    assert!(!rig.send(ok()).await);
    pass(secs(1)).await;
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_late_end_of_an_earlier_phase_decides_nothing() {
    let mut rig = rig(Config { consecutive_failures: Some(1), ..Config::default() });
    let broken = rig.head(body([Step::Sleep(secs(1000)), Step::Error("cut")])).await.unwrap();
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    rig.times(3, ok()).await;
    assert_eq!(rig.state(), State::Closed);
    let _ = http_body_util::BodyExt::collect(broken.into_body()).await;
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn opens_at_a_failure_ratio_once_there_are_enough_calls() {
    let mut rig = rig(Config {
        consecutive_failures: None,
        failure_ratio: Some(400),
        min_calls: 10,
        ..Config::default()
    });
    for _ in 0..4 {
        rig.times(1, status(500)).await;
        rig.times(1, ok()).await;
    }
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed, "4 of 9, too few calls");
    rig.times(1, ok()).await;
    let reason = Reason::FailureRatio { ratio: 400, calls: 10, last: SERVER };
    assert_eq!(rig.told(), [EventKind::Opened { reason, open_for: secs(300) }]);
    assert_eq!(reason.to_string(), "40.0 % of 10 calls failed, the last: server");
}

#[tokio::test(start_paused = true)]
async fn the_window_slides() {
    let config = Config {
        consecutive_failures: None,
        failure_ratio: Some(500),
        min_calls: 4,
        ..Config::default()
    };
    let mut rig = rig(config);
    rig.times(3, status(500)).await;
    pass(secs(61)).await;
    rig.times(3, ok()).await;
    rig.times(2, status(500)).await;
    assert_eq!(rig.state(), State::Closed, "2 of 5: the first three are forgotten");
    rig.times(1, status(500)).await;
    assert_eq!(rig.name(), "open", "3 of 6");
}

#[tokio::test(start_paused = true)]
async fn opens_when_too_many_calls_are_slow_to_their_head() {
    let mut rig = rig(Config {
        slow_calls: Some(SlowCalls { longer_than: secs(10), ratio: 500 }),
        min_calls: 4,
        window: secs(120),
        trial_requests: 1,
        ..Config::default()
    });
    rig.times(1, ok().after(secs(10))).await;
    rig.times(1, body([Step::Sleep(secs(40)), Step::data("late")])).await;
    rig.times(1, ok().after(secs(11))).await;
    assert_eq!(rig.state(), State::Closed);
    rig.times(1, ok().after(secs(11))).await;
    let reason = Reason::SlowCalls { ratio: 500, calls: 4 };
    assert_eq!(rig.told(), [EventKind::Opened { reason, open_for: secs(300) }]);
    pass(secs(300)).await;
    rig.times(1, ok().after(secs(11))).await;
    assert_eq!(rig.refusal().await.reason(), Reason::TrialSlow);
}

#[tokio::test(start_paused = true)]
async fn classes_count_by_their_weights() {
    let weights = Weights::default().with(ErrorClass::Timeout, 500).with(ErrorClass::Overloaded, 0);
    let mut rig = rig(Config { weights, ..Config::default() });
    rig.times(20, status(503)).await;
    rig.times(9, status(504)).await;
    assert_eq!(rig.state(), State::Closed);
    rig.times(1, status(504)).await;
    let reason = Reason::Consecutive { failures: 10, last: ErrorClass::Timeout };
    assert_eq!(rig.refusal().await.reason(), reason);
}

#[tokio::test(start_paused = true)]
async fn ramps_up_linearly_after_recovery() {
    let mut rig = rig(Config { ramp: secs(100), ..Config::default() });
    rig.times(5, status(500)).await;
    pass(secs(300)).await;
    rig.times(3, ok()).await;
    assert_eq!(rig.state(), State::Ramping { share: 0 });
    assert!(rig.told().contains(&EventKind::Ramping { over: secs(100) }));
    let mut admitted = Vec::new();
    for _ in 0..4 {
        let mut quarter = 0;
        for _ in 0..25 {
            quarter += usize::from(rig.send(ok()).await);
            pass(secs(1)).await;
        }
        admitted.push(quarter);
    }
    assert_eq!(admitted, [3, 9, 15, 22], "about 1/8, 3/8, 5/8, 7/8 of 25");
    rig.times(30, ok()).await;
    assert_eq!(rig.told(), [EventKind::Closed]);
}

#[tokio::test(start_paused = true)]
async fn failing_in_the_ramp_opens_it_for_longer() {
    let mut rig =
        rig(Config { ramp: secs(10), consecutive_failures: Some(1), ..Config::default() });
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    rig.times(3, ok()).await;
    pass(secs(5)).await;
    assert_eq!(rig.state(), State::Ramping { share: 500 });
    assert!(!rig.send(ok()).await);
    assert_eq!(rig.refusal_or_sent(status(500)).await, None);
    assert_eq!(rig.refusal().await.retry_after(), Some(secs(600)));
}

#[tokio::test(start_paused = true)]
async fn a_bench_ends_in_trials() {
    let mut rig = rig(Config { bench_for: secs(50), ..Config::default() });
    rig.times(1, status(401)).await;
    let benched = EventKind::Benched { class: ErrorClass::Auth, bench_for: secs(50) };
    assert_eq!(rig.told(), [benched]);
    let refused = rig.refusal().await;
    assert_eq!(refused.retry_after(), Some(secs(50)));
    assert_eq!(refused.to_string(), "the circuit is benched: the key is set aside: auth");
    pass(secs(50)).await;
    rig.told();
    rig.times(1, status(402)).await;
    assert_eq!(rig.name(), "benched");
    pass(secs(50)).await;
    rig.times(3, ok()).await;
    assert_eq!(rig.state(), State::Closed);
}
