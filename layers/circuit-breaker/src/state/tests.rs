use proptest::{collection::vec, prelude::*};

use super::*;

const FAILED: Outcome = Outcome::Failure(ErrorClass::Server);

/// Small numbers, so that random walks reach every phase. Opens for 100, 200, at most 350.
fn config() -> Config {
    Config {
        consecutive_failures: Some(2),
        open_for: Duration::from_nanos(100),
        max_open_for: Duration::from_nanos(350),
        trial_requests: 2,
        trial_successes: 2,
        bench_for: Duration::from_nanos(70),
        ..Config::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(Nanos),
    Ask,
    End(usize, Outcome),
    Cancel(usize),
    Force,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = |outcome| (0_usize..8).prop_map(move |i| Step::End(i, outcome));
    let step = prop_oneof![
        5 => (0_u64..150).prop_map(Step::Wait),
        10 => Just(Step::Ask),
        6 => end(Outcome::Success),
        6 => end(FAILED),
        1 => end(Outcome::Nothing),
        1 => end(Outcome::Bench(ErrorClass::Auth, None)),
        3 => (0_usize..8).prop_map(Step::Cancel),
        1 => prop_oneof![Just(Step::Force), Just(Step::Reset), Just(Step::Reset)],
    ];
    vec(step, 1..250)
}

/// The rules again, as plainly as can be: what happened since the last change of phase, in lists.
#[derive(Default)]
struct Model {
    /// `None`: closed. Otherwise refuse until then, then trials; the maximum: until reset.
    until: Option<Nanos>,
    times_opened: u32,
    ends: Vec<bool>,
    /// Requests under way that still decide something, by the number of their asking.
    live: Vec<usize>,
}

impl Model {
    fn turn(&mut self, until: Option<Nanos>) {
        *self = Self { until, times_opened: self.times_opened, ..Self::default() };
    }

    fn asked(&mut self, number: usize, now: Nanos) -> bool {
        let admitted = match self.until {
            None => true,
            Some(until) => now >= until && self.live.len() < 2,
        };
        if admitted {
            self.live.push(number);
        }
        admitted
    }

    fn ended(&mut self, number: usize, outcome: Outcome, now: Nanos) {
        let before = self.live.len();
        self.live.retain(|live| *live != number);
        if self.live.len() == before {
            return;
        }
        match outcome {
            Outcome::Nothing => return,
            Outcome::Bench(..) => return self.turn(Some(now + 70)),
            outcome => self.ends.push(outcome == Outcome::Success),
        }
        let fails = if self.until.is_some() { 1 } else { 2 };
        if self.ends.len() >= fails && self.ends[self.ends.len() - fails..].iter().all(|ok| !ok) {
            let open_for = [100, 200, 350][self.times_opened.min(2) as usize];
            self.times_opened += 1;
            self.turn(Some(now + open_for));
        } else if self.until.is_some() && self.ends.len() == 2 {
            self.times_opened = 0;
            self.turn(None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Admits and refuses exactly as the model does, whatever the order of things; so never more
    /// trials than allowed, none after a success too many, none before its time.
    #[test]
    fn does_as_the_model(steps in steps()) {
        let (config, mut circuit, mut model) = (config(), Circuit::new(), Model::default());
        let (mut now, mut passes) = (0, Vec::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Wait(time) => now += time,
                Step::Ask => {
                    let allowed = circuit.allows(now, &config);
                    let answer = circuit.admit(now, &config).0;
                    prop_assert_eq!(answer.is_ok(), model.asked(number, now));
                    prop_assert_eq!(answer.is_ok(), allowed);
                    passes.extend(answer.ok().map(|pass| (number, pass)));
                }
                Step::End(i, outcome) if !passes.is_empty() => {
                    let (number, pass) = passes.swap_remove(i % passes.len());
                    circuit.settle(pass, outcome, false, now, &config);
                    model.ended(number, outcome, now);
                }
                Step::Cancel(i) if !passes.is_empty() => {
                    let (number, pass) = passes.swap_remove(i % passes.len());
                    circuit.release(pass);
                    model.ended(number, Outcome::Nothing, now);
                }
                Step::Force => {
                    circuit.force_open(now);
                    model.turn(Some(Nanos::MAX));
                }
                Step::Reset => {
                    circuit.reset(now);
                    model = Model::default();
                }
                Step::End(..) | Step::Cancel(_) => {}
            }
        }
    }

    /// Refuses until the very moment it promised, then admits.
    #[test]
    fn keeps_its_promise(steps in steps()) {
        walk(steps, |circuit, _, now, config| {
            let Err(Refusal { retry_after: Some(wait), .. }) = circuit.clone().admit(now, config).0
            else {
                return;
            };
            let then = now + nanos(wait);
            assert!(circuit.clone().admit(then - 1, config).0.is_err());
            assert!(circuit.clone().admit(then, config).0.is_ok());
        });
    }

    /// Wherever it stands: once every request under way is cancelled and the time is up, every
    /// place for a trial is free, and successes close it.
    #[test]
    fn cancelled_trials_leak_nothing(steps in steps()) {
        walk(steps, |circuit, passes, now, config| {
            let mut circuit = circuit.clone();
            for pass in passes {
                circuit.release(*pass);
            }
            if matches!(circuit.phase, Phase::Forced) {
                return;
            }
            let later = now + 350;
            let both = [0, 1].map(|_| circuit.admit(later, config).0.expect("a free place"));
            for pass in both {
                circuit.settle(pass, Outcome::Success, false, later, config);
            }
            assert_eq!(circuit.phase, Phase::Closed);
        });
    }

    /// Over a ramp, evenly spread requests are let through in the share that the time says.
    #[test]
    fn ramps_linearly(gap in 1_u64..50) {
        let config = Config { ramp: Duration::from_nanos(10_000), ..config() };
        let mut circuit = Circuit::new();
        circuit.go(Phase::Ramping { since: 0, credit: 0 });
        let (mut admitted, mut due) = (0_u64, 0_u64);
        for now in (0..10_000).step_by(gap as usize) {
            due += now * 100;
            admitted += u64::from(circuit.admit(now, &config).0.is_ok());
            prop_assert_eq!(admitted, due / WHOLE);
        }
        prop_assert!(circuit.admit(10_000, &config).0.is_ok());
        prop_assert_eq!(circuit.phase, Phase::Closed);
    }
}

/// Walks the steps and looks at the circuit and its passes under way after each.
fn walk(steps: Vec<Step>, look: impl Fn(&Circuit, &[Pass], Nanos, &Config)) {
    let (config, mut circuit) = (config(), Circuit::new());
    let (mut now, mut passes) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Wait(time) => now += time,
            Step::Ask => passes.extend(circuit.admit(now, &config).0.ok()),
            Step::End(i, outcome) if !passes.is_empty() => {
                circuit.settle(passes.swap_remove(i % passes.len()), outcome, false, now, &config);
            }
            Step::Cancel(i) if !passes.is_empty() => {
                circuit.release(passes.swap_remove(i % passes.len()));
            }
            Step::Force => circuit.force_open(now),
            Step::Reset => circuit.reset(now),
            Step::End(..) | Step::Cancel(_) => {}
        }
        look(&circuit, &passes, now, &config);
    }
}

/// A router asks before it sends: the share must be the same as without asking.
#[test]
fn asking_first_neither_starves_nor_floods_a_ramp() {
    let config = Config { ramp: Duration::from_nanos(10_000), ..config() };
    let mut circuit = Circuit::new();
    circuit.go(Phase::Ramping { since: 0, credit: 0 });
    let mut admitted = 0;
    for now in (0..10_000).step_by(10) {
        if circuit.allows(now, &config) {
            assert!(circuit.admit(now, &config).0.is_ok(), "allowed, so admitted");
            admitted += 1;
        }
    }
    assert_eq!(admitted, 499);
}

#[test]
fn trials_that_never_end_give_up_their_places() {
    let config = config();
    let lease = nanos(config.trial_timeout);
    let mut circuit = Circuit::new();
    circuit.go(Phase::Open { until: 0 });
    let stuck = [0, 1].map(|_| circuit.admit(0, &config).0.unwrap());
    assert!(!circuit.allows(lease - 1, &config));
    assert!(circuit.admit(lease - 1, &config).0.is_err());
    assert!(circuit.allows(lease, &config));
    let fresh = circuit.admit(lease, &config).0.unwrap();
    for pass in stuck {
        assert_eq!(circuit.settle(pass, FAILED, false, lease, &config), None, "it's too late");
    }
    assert!(circuit.settle(fresh, FAILED, false, lease, &config).is_some());
}

#[test]
fn growth_stops_at_the_cap_however_often_it_opens() {
    let config = Config { max_open_for: Duration::from_secs(3600), ..config() };
    let (mut circuit, mut now) = (Circuit::new(), 0);
    circuit.opened = u32::MAX;
    let EventKind::Opened { open_for, .. } = circuit.open(Reason::Forced, now, &config) else {
        unreachable!()
    };
    assert_eq!(open_for, Duration::from_secs(3600));
    now += nanos(open_for);
    assert!(circuit.admit(now, &config).0.is_ok());
}
