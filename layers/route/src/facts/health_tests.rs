use super::*;

const SECOND: Nanos = 1_000_000_000;

struct Rig {
    state: State,
    seen: Seen,
    limits: Thresholds,
}

fn rig() -> Rig {
    Rig { state: State::default(), seen: Seen::default(), limits: Thresholds::default() }
}

impl Rig {
    fn outcome(&mut self, ok: bool, began: Nanos, now: Nanos) -> bool {
        self.seen.success.add(ok);
        let recovered = self.state.outcome(ok, began, now, &self.limits);
        if recovered {
            self.seen.success = Success::default();
        }
        self.state.judge(&self.seen, now, &self.limits);
        recovered
    }

    fn times(&mut self, times: u32, ok: bool, now: Nanos) {
        for _ in 0..times {
            self.outcome(ok, now, now);
        }
    }

    fn probe(&mut self, ok: bool, now: Nanos) -> bool {
        let recovered = self.state.probed(ok, now, &self.limits);
        self.state.judge(&self.seen, now, &self.limits);
        recovered
    }

    fn health(&self, now: Nanos) -> Health {
        self.state.standing().health(now, 0, self.limits.trickle)
    }

    fn issues(&self, now: Nanos) -> Vec<String> {
        let issues = self.state.issues(&self.seen, Some(ErrorClass::Server), now, &self.limits);
        issues.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn failures_in_a_row_bring_it_down_and_a_success_between_them_does_not() {
    let mut rig = rig();
    rig.times(4, false, 0);
    rig.times(1, true, 0);
    rig.times(4, false, 0);
    assert_eq!(rig.health(0), Health::Healthy, "fewer outcomes than a rate needs");
    assert_eq!(rig.issues(0), Vec::<String>::new());
    rig.times(1, false, 0);
    assert_eq!(rig.health(0), Health::Down);
}

#[test]
fn a_bad_rate_degrades_and_a_worse_one_brings_it_down() {
    let mut rig = rig();
    rig.times(18, true, 0);
    rig.times(1, false, 0);
    assert_eq!(rig.health(0), Health::Healthy, "exactly 950 per mille");
    rig.times(1, false, 0);
    assert_eq!(rig.health(0), Health::Degraded);
    assert_eq!(rig.issues(0), ["2 of the last 20 requests failed: server"]);
    for _ in 0..20 {
        rig.times(3, false, 0);
        rig.times(1, true, 0);
    }
    assert_eq!(rig.health(0), Health::Down);
    let issues = rig.issues(0);
    assert_eq!(issues[0], "down, tried again in 30 s");
    assert_eq!(issues[1], "15 of the last 20 requests failed: server");
}

#[test]
fn it_is_healthy_again_only_when_well_above_where_it_fell() {
    let mut rig = rig();
    rig.times(10, true, 0);
    rig.times(1, false, 0);
    assert_eq!(rig.health(0), Health::Degraded);
    rig.times(10, true, 0);
    assert!(rig.seen.success.share() > 0.95);
    assert_eq!(rig.health(0), Health::Degraded);
    rig.times(20, true, 0);
    assert_eq!(rig.health(0), Health::Healthy);
}

#[test]
fn slow_replies_degrade() {
    let mut rig = rig();
    rig.limits.slow_first_token = Some(Duration::from_secs(2));
    let p95 = Duration::from_millis(2_345);
    rig.seen.first_token = Some(Quantiles { p95, ..Quantiles::default() });
    rig.times(1, true, 0);
    assert_eq!(rig.health(0), Health::Degraded);
    assert_eq!(rig.issues(0), ["95 % of first tokens come within 2.3s, wanted are 2s"]);
    rig.seen.first_token = None;
    rig.times(1, true, 0);
    assert_eq!(rig.health(0), Health::Healthy);
}

#[test]
fn it_rests_then_a_trickle_tries_it() {
    let mut rig = rig();
    rig.times(5, false, 0);
    let (limits, standing) = (rig.limits.clone(), rig.state.standing());
    assert_eq!(standing.health(30 * SECOND - 1, 0, limits.trickle), Health::Down);
    assert_eq!(standing.health(30 * SECOND, 0, limits.trickle), Health::Degraded);
    assert_eq!(standing.health(30 * SECOND, 1, limits.trickle), Health::Down, "one is trying");
    assert_eq!(Standing::from_bits(standing.to_bits()), standing);

    assert!(!rig.outcome(true, 30 * SECOND, 31 * SECOND));
    assert!(!rig.outcome(true, 31 * SECOND, 32 * SECOND));
    assert_eq!(rig.issues(32 * SECOND)[0], "tried after an outage, 2 of 3 successes so far");
    assert!(rig.outcome(true, 32 * SECOND, 33 * SECOND));
    assert_eq!(rig.health(33 * SECOND), Health::Healthy);
    assert_eq!(rig.issues(33 * SECOND), Vec::<String>::new());
}

#[test]
fn a_trial_that_fails_begins_the_rest_anew() {
    let mut rig = rig();
    rig.times(5, false, 0);
    rig.outcome(true, 30 * SECOND, 31 * SECOND);
    rig.outcome(false, 31 * SECOND, 40 * SECOND);
    assert_eq!(rig.health(70 * SECOND - 1), Health::Down);
    assert_eq!(rig.health(70 * SECOND), Health::Degraded);
    // The one success before counts no more.
    assert!(!rig.outcome(true, 70 * SECOND, 71 * SECOND));
    assert!(!rig.outcome(true, 71 * SECOND, 72 * SECOND));
    assert!(rig.outcome(true, 72 * SECOND, 73 * SECOND));
}

#[test]
fn requests_from_before_the_trial_decide_nothing() {
    let mut rig = rig();
    rig.times(5, false, 0);
    for _ in 0..5 {
        assert!(!rig.outcome(true, 29 * SECOND, 35 * SECOND));
    }
    rig.outcome(false, 29 * SECOND, 35 * SECOND);
    assert_eq!(rig.health(35 * SECOND), Health::Degraded, "its rest is not longer for it");
}

#[test]
fn probes_bring_it_down_and_back() {
    let mut rig = rig();
    for _ in 0..4 {
        rig.probe(false, 0);
    }
    rig.probe(true, 0);
    for _ in 0..4 {
        rig.probe(false, 0);
    }
    assert_eq!(rig.health(0), Health::Healthy);
    rig.probe(false, 0);
    assert_eq!(rig.health(0), Health::Down);
    assert_eq!(rig.issues(SECOND)[1], "the last 5 probes failed");
    assert!(!rig.probe(true, 29 * SECOND), "it rests");
    assert!(!rig.probe(true, 30 * SECOND));
    assert!(!rig.probe(true, 31 * SECOND));
    assert!(rig.probe(true, 32 * SECOND));
    assert_eq!(rig.health(32 * SECOND), Health::Healthy);
}

#[test]
fn a_probe_that_succeeds_does_not_outweigh_requests_that_fail() {
    let mut rig = rig();
    for _ in 0..5 {
        rig.times(1, false, 0);
        rig.probe(true, 0);
    }
    assert_eq!(rig.health(0), Health::Down);
}
