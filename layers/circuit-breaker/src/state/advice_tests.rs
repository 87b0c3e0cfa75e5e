use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::*;
use crate::{Advice, advice::Heard};

const FAILED: Outcome = Outcome::Failure(ErrorClass::Server);
const TRUSTED: Nanos = 400;

/// Opens for 100, 200, at most 350.
fn config() -> Config {
    Config {
        consecutive_failures: Some(2),
        failure_ratio: Some(600),
        window: Duration::from_nanos(300),
        min_calls: 6,
        open_for: Duration::from_nanos(100),
        max_open_for: Duration::from_nanos(350),
        trial_requests: 2,
        trial_successes: 2,
        bench_for: Duration::from_nanos(70),
        advice_for: Duration::from_nanos(TRUSTED),
        ..Config::default()
    }
}

/// Found so long ago, held for so long from now on.
#[derive(Clone)]
struct Said {
    from: Arc<str>,
    ago: Nanos,
    hold: Nanos,
    firm: bool,
}

fn said(from: usize, ago: Nanos, hold: Nanos, firm: bool) -> Said {
    Said { from: ["b", "c", "d"][from % 3].into(), ago, hold, firm }
}

fn hear(circuit: &mut Circuit, said: &Said, now: Nanos) -> Option<EventKind> {
    let epoch = Instant::now();
    let at = |at: Nanos| epoch + Duration::from_nanos(at);
    let advice = Advice {
        from: said.from.clone(),
        why: "down".into(),
        found: at(now.saturating_sub(said.ago)),
        until: at(now + said.hold),
        benched: None,
        firm: said.firm,
    };
    let heard = Heard::new(&advice, now, |at| nanos(at - epoch));
    circuit.advise(heard, now, &config())
}

fn call(circuit: &mut Circuit, outcome: Outcome, now: Nanos) -> Option<Option<EventKind>> {
    let pass = circuit.admit(now, &config()).0.ok()?;
    Some(circuit.settle(pass, outcome, false, now, &config()))
}

#[test]
fn it_holds_until_then_and_is_tried_as_if_it_were_its_own() {
    let mut circuit = Circuit::new();
    let told = hear(&mut circuit, &said(0, 10, 90, false), 10);
    assert_eq!(
        told,
        Some(EventKind::Advised { hold_for: Duration::from_nanos(90), benched: None })
    );
    let refusal = circuit.admit(60, &config()).0.unwrap_err();
    assert_eq!(refusal.retry_after, Some(Duration::from_nanos(40)));
    assert_eq!(
        (refusal.phase, refusal.reason),
        (Phase::Advised { until: 100 }, Reason::Advised(None))
    );
    let (one, told) = circuit.admit(100, &config());
    assert_eq!(told, Some(EventKind::HalfOpened));
    let two = circuit.admit(100, &config()).0.unwrap();
    assert!(one.unwrap().trial && two.trial);
    assert!(circuit.admit(100, &config()).0.is_err(), "two at once, as its own trials");
    let failed = circuit.settle(two, FAILED, false, 101, &config());
    let reason = Reason::TrialFailed(ErrorClass::Server);
    let open_for = Duration::from_nanos(100);
    assert_eq!(failed, Some(EventKind::Opened { reason, open_for }), "now it is its own finding");
    let found = Found { at: 101, until: Some(201), reason };
    assert_eq!(circuit.finding(150, &config()), Some(found));
}

#[test]
fn trials_that_succeed_outrank_what_was_said_before() {
    let mut circuit = Circuit::new();
    let advice = said(0, 0, 100, false);
    hear(&mut circuit, &advice, 0);
    assert_eq!(call(&mut circuit, Outcome::Success, 100), Some(None));
    assert_eq!(call(&mut circuit, Outcome::Success, 100), Some(Some(EventKind::Freed)));
    assert_eq!(circuit.phase(100, &config()), Phase::Closed);
    assert_eq!(hear(&mut circuit, &said(0, 110, 500, false), 110), None, "the same finding");
    assert_eq!(circuit.phase(110, &config()), Phase::Closed);
    hear(&mut circuit, &said(0, 5, 500, false), 110);
    assert!(matches!(circuit.phase(110, &config()), Phase::Advised { .. }), "a later one");
}

#[test]
fn a_success_after_the_finding_is_followed_by_trials_at_once() {
    let (mut before, mut after) = (Circuit::new(), Circuit::new());
    let late = after.admit(0, &config()).0.unwrap();
    call(&mut before, Outcome::Success, 50);
    assert_eq!(hear(&mut before, &said(0, 60, 900, false), 100), Some(EventKind::HalfOpened));
    hear(&mut after, &said(0, 60, 900, false), 100);
    assert!(!after.allows(101, &config()));
    after.settle(late, Outcome::Success, false, 101, &config());
    for mut circuit in [before, after] {
        assert!(matches!(circuit.phase(102, &config()), Phase::HalfOpen { .. }));
        assert!(circuit.allows(102, &config()));
        call(&mut circuit, Outcome::Success, 102).unwrap();
        call(&mut circuit, Outcome::Success, 102).unwrap();
        assert_eq!(circuit.phase(102, &config()), Phase::Closed);
    }
}

#[test]
fn an_operators_word_stands_above_successes_until_it_is_taken_back() {
    let mut circuit = Circuit::new();
    call(&mut circuit, Outcome::Success, 50);
    for now in (60..2000).step_by(20) {
        hear(&mut circuit, &said(0, now, 30, true), now);
        assert!(!circuit.allows(now + 19, &config()), "renewed for longer than any word is taken");
    }
    assert_eq!(circuit.withdraw("b"), Some(EventKind::Freed));
    assert_eq!(circuit.phase(2000, &config()), Phase::Closed);
}

#[test]
fn another_is_believed_for_so_long_and_not_again_for_saying_it_twice() {
    let mut circuit = Circuit::new();
    for now in (0..1000).step_by(10) {
        hear(&mut circuit, &said(0, now, 5000, false), now);
        assert_eq!(circuit.allows(now, &config()), now >= TRUSTED, "{now}");
    }
}

#[test]
fn a_reset_forgets_what_was_found_until_then() {
    let mut circuit = Circuit::new();
    hear(&mut circuit, &said(0, 0, 500, true), 10);
    circuit.reset(20);
    assert_eq!(hear(&mut circuit, &said(0, 20, 500, true), 30), None);
    assert!(circuit.allows(30, &config()));
    assert!(hear(&mut circuit, &said(0, 5, 500, false), 30).is_some());
}

#[test]
fn few_speak_of_one_circuit_at_a_time() {
    let mut circuit = Circuit::new();
    for one in 0..100_u64 {
        let advice = Said { from: one.to_string().into(), ..said(0, 0, 100 + one, false) };
        hear(&mut circuit, &advice, 0);
    }
    let heard: Vec<_> = circuit.heard(0).map(|heard| heard.until).collect();
    assert_eq!((heard.len(), heard.iter().max()), (8, Some(&199)));
}

#[derive(Clone, Debug)]
enum Step {
    Wait(Nanos),
    Ask,
    End(usize, Outcome),
    Cancel(usize),
    Hear { from: usize, ago: Nanos, hold: Nanos, firm: bool },
    Withdraw(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = |outcome| (0_usize..8).prop_map(move |i| Step::End(i, outcome));
    let hear = (0_usize..3, 0_u64..200, 0_u64..300, any::<bool>());
    let step = prop_oneof![
        5 => (0_u64..120).prop_map(Step::Wait),
        10 => Just(Step::Ask),
        5 => end(Outcome::Success),
        6 => end(FAILED),
        1 => end(Outcome::Bench(ErrorClass::Auth, None)),
        2 => (0_usize..8).prop_map(Step::Cancel),
        4 => hear.prop_map(|(from, ago, hold, firm)| Step::Hear { from, ago, hold, firm }),
        1 => (0_usize..3).prop_map(Step::Withdraw),
    ];
    vec(step, 1..250)
}

/// The same calls with advice and without.
struct Twins {
    advised: Circuit,
    plain: Circuit,
    now: Nanos,
    passes: Vec<(Pass, Pass)>,
    /// The latest moment that anybody ever spoke of.
    said_until: Nanos,
}

impl Twins {
    fn ask(&mut self) -> bool {
        let config = config();
        let (allowed, now) = (self.advised.allows(self.now, &config), self.now);
        let answer = self.advised.admit(now, &config).0;
        assert_eq!(answer.is_ok(), allowed);
        match answer {
            Ok(pass) => {
                let plain = self.plain.admit(now, &config).0;
                self.passes.push((pass, plain.expect("advice alone lets nothing through")));
            }
            Err(refusal) => {
                self.plain.tick(now, &config);
                if refusal.phase == self.plain.phase {
                    assert!(self.plain.admit(now, &config).0.is_err(), "as without advice");
                }
            }
        }
        allowed
    }

    fn end(&mut self, at: usize, outcome: Outcome) {
        let (pass, plain) = self.passes.swap_remove(at % self.passes.len());
        // A trial that fails is a finding of its own; without advice it would have been no trial.
        let outcome =
            if pass.round > 0 && outcome != Outcome::Success { Outcome::Nothing } else { outcome };
        self.advised.settle(pass, outcome, false, self.now, &config());
        self.plain.settle(plain, outcome, false, self.now, &config());
    }

    fn own(circuit: &Circuit) -> String {
        let of = circuit;
        let counts = (of.streak, of.streak_weight, of.opened, of.last_failure, &of.window);
        format!("{:?}", (of.phase, of.generation, counts, of.reason, of.found, of.last_success))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait(time) => self.now += time,
            Step::Ask => {
                self.ask();
            }
            Step::End(at, outcome) if !self.passes.is_empty() => self.end(at, outcome),
            Step::Cancel(at) if !self.passes.is_empty() => self.end(at, Outcome::Nothing),
            Step::Hear { from, ago, hold, firm } => {
                self.said_until = self.said_until.max(self.now + hold);
                hear(&mut self.advised, &said(from, ago, hold, firm), self.now);
                self.plain.tick(self.now, &config());
            }
            Step::Withdraw(from) => {
                self.advised.withdraw(&said(from, 0, 0, false).from);
            }
            Step::End(..) | Step::Cancel(_) => {}
        }
        // Ticks of time are looked at alike.
        self.advised.tick(self.now, &config());
        self.plain.tick(self.now, &config());
        assert_eq!(Self::own(&self.advised), Self::own(&self.plain), "what is its own is its own");
        assert_eq!(
            self.advised.finding(self.now, &config()),
            self.plain.finding(self.now, &config()),
            "nothing that was heard is told on"
        );
        if let Phase::Advised { until } = self.advised.phase(self.now, &config()) {
            assert!(self.now < until && until <= self.said_until, "past its expiry");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Advice never keeps a circuit closed, never keeps it open past its expiry, changes nothing of
    /// what the circuit knows by itself; and once it has expired and been tried, nothing of it is left.
    #[test]
    fn advice_leaves_nothing_but_calls_not_made(steps in steps()) {
        let (advised, plain) = (Circuit::new(), Circuit::new());
        let mut twins = Twins { advised, plain, now: 0, passes: Vec::new(), said_until: 0 };
        steps.into_iter().for_each(|step| twins.take(step));
        while !twins.passes.is_empty() {
            twins.end(0, Outcome::Nothing);
        }
        twins.now = twins.now.max(twins.said_until);
        for _ in 0..20 {
            if twins.ask() {
                twins.end(0, Outcome::Success);
            } else {
                twins.now += 100;
            }
        }
        prop_assert!(twins.advised.advised.is_none());
        prop_assert_eq!(twins.advised.phase(twins.now, &config()), Phase::Closed);
        prop_assert_eq!(Twins::own(&twins.advised), Twins::own(&twins.plain));
    }
}
