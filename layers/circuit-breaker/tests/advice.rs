//! What others found, at the layer itself.

mod support;

use support::*;
use tokio::time::Instant;
use tollway_circuit_breaker::{Advice, Config, EventKind, Reason, State};
use tollway_core::ErrorClass;

fn says(from: &str, secs_left: u64) -> Advice {
    Advice {
        from: from.into(),
        why: "5 failures in a row".into(),
        found: Instant::now(),
        until: Instant::now() + secs(secs_left),
        benched: None,
        firm: false,
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_goes_where_others_found_it_ill_until_a_trial_succeeds() {
    let mut rig = rig(Config { trial_successes: 1, ..Config::default() });
    assert!(rig.handle.advise(&"a", &says("b", 60)));
    let refused = rig.refusal().await;
    assert_eq!(refused.state(), State::Advised { until: Instant::now() + secs(60) });
    assert_eq!((refused.retry_after(), refused.reason()), (Some(secs(60)), Reason::Advised(None)));
    assert_eq!(refused.to_string(), "the circuit is advised: found by others");
    let status = rig.handle.status(&"a").unwrap();
    assert_eq!((status.advice.len(), &*status.advice[0].from), (1, "b"));
    pass(secs(60)).await;
    assert_eq!(rig.name(), "half_open");
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
    let advised = EventKind::Advised { hold_for: secs(60), benched: None };
    assert_eq!(rig.told(), [advised, EventKind::HalfOpened, EventKind::Trial, EventKind::Freed]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_fails_makes_it_a_finding_of_its_own() {
    let mut rig = rig(Config::default());
    rig.handle.advise(&"a", &says("b", 60));
    assert!(rig.handle.findings().is_empty());
    pass(secs(60)).await;
    rig.times(1, status(500)).await;
    let found = rig.handle.findings();
    assert_eq!(found[0].reason, Reason::TrialFailed(ErrorClass::Server));
    assert_eq!(
        (found[0].found, found[0].until),
        (Instant::now(), Some(Instant::now() + secs(300)))
    );
}

/// Each tells the other what it found itself, and nothing else.
#[tokio::test(start_paused = true)]
async fn two_that_advise_each_other_keep_nothing_open() {
    let (mut a, b) = (rig(Config::default()), rig(Config::default()));
    a.times(5, status(500)).await;
    for _ in 0..100 {
        for (from, to, name) in [(&a, &b, "a"), (&b, &a, "b")] {
            for found in from.handle.findings() {
                let until = found.until.unwrap();
                to.handle.advise(&"a", &Advice { found: found.found, until, ..says(name, 0) });
            }
        }
        pass(secs(3)).await;
    }
    assert_eq!((a.name(), b.name()), ("half_open", "half_open"));
}

#[tokio::test(start_paused = true)]
async fn who_takes_it_back_frees_at_once_where_nobody_else_says_so() {
    let mut rig = rig(Config::default());
    rig.handle.advise(&"a", &says("b", 60));
    rig.handle.advise(&"a", &says("c", 30));
    rig.handle.withdraw(&"a", "b");
    assert_eq!(rig.refusal().await.retry_after(), Some(secs(30)));
    rig.handle.withdraw(&"a", "nobody");
    rig.handle.withdraw(&"a", "c");
    rig.times(10, ok()).await;
    assert_eq!(
        rig.told(),
        [EventKind::Advised { hold_for: secs(60), benched: None }, EventKind::Freed]
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_set_aside_elsewhere_tells_why() {
    let rig = rig(Config::default());
    rig.handle.advise(&"a", &Advice { benched: Some(ErrorClass::Quota), ..says("b", 60) });
    let reason = rig.handle.status(&"a").unwrap().reason.unwrap();
    assert_eq!(reason, Reason::Advised(Some(ErrorClass::Quota)));
    assert_eq!(reason.to_string(), "the key is set aside, found by others: quota");
}

#[tokio::test(start_paused = true)]
async fn late_or_too_many_advice_is_not_heard() {
    let mut rig = rig(Config { max_keys: 1, ..Config::default() });
    let late = says("b", 1);
    pass(secs(1)).await;
    assert!(!rig.handle.advise(&"a", &late));
    assert!(rig.handle.list().is_empty());
    rig.times(1, status(500)).await;
    assert!(!rig.handle.advise(&"no room", &says("b", 60)));
}
