use std::{collections::VecDeque, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::reading::Told;

const SECOND: Nanos = 1_000_000_000;

/// Numbers as providers tell them, and as no one should.
fn number() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0..100_u64).prop_map(Some),
        any::<u64>().prop_map(Some),
        Just(Some(0)),
        Just(Some(u64::MAX)),
    ]
}

fn told() -> impl Strategy<Value = Option<Told>> {
    let reset = prop_oneof![
        Just(None),
        (0..100_000_u64).prop_map(|millis| Some(Duration::from_millis(millis))),
        any::<u64>().prop_map(|seconds| Some(Duration::from_secs(seconds))),
        Just(Some(Duration::MAX)),
    ];
    let told = (number(), number(), reset).prop_map(|(limit, remaining, reset)| Told {
        limit,
        remaining,
        reset,
    });
    proptest::option::of(told)
}

fn reading() -> impl Strategy<Value = Reading> {
    let block = proptest::option::of(any::<u64>().prop_map(Duration::from_secs));
    (told(), told(), told(), told(), block).prop_map(|(requests, tokens, input, output, block)| {
        Reading::default()
            .with(Unit::Requests, requests)
            .with(Unit::Tokens, tokens)
            .with(Unit::InputTokens, input)
            .with(Unit::OutputTokens, output)
            .with_block(block)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Send(u64, u64),
    Reply(usize, Reading),
    Fail(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u64>().prop_map(Step::Pass),
        (0..100 * SECOND).prop_map(Step::Pass),
        (any::<u64>(), any::<u64>()).prop_map(|(input, output)| Step::Send(input, output)),
        (0..100_u64, 0..100_u64).prop_map(|(input, output)| Step::Send(input, output)),
        (any::<usize>(), reading()).prop_map(|(which, reading)| Step::Reply(which, reading)),
        any::<usize>().prop_map(Step::Fail),
        any::<usize>().prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Nothing a provider tells breaks anything, or holds anybody back for longer than allowed.
    #[test]
    fn no_word_breaks_it_or_holds_for_ever(steps in vec(step(), 0..60)) {
        let config = Config::default();
        let (mut state, mut now) = (State::default(), 0_u64);
        let mut out: Vec<Pass> = Vec::new();
        let take = |out: &mut Vec<Pass>, which: usize| {
            (!out.is_empty()).then(|| out.swap_remove(which % out.len()))
        };
        for step in steps {
            match step {
                Step::Pass(time) => now = now.saturating_add(time),
                Step::Send(input, output) => {
                    let weights = Weights::tokens(input, output).bounded();
                    let hold = state.hold(&[0; UNITS], &weights, now, &config);
                    if let Some(hold) = hold {
                        prop_assert!(hold.until > now);
                        prop_assert!(hold.until - now <= nanos(config.max_wait));
                        let hold = state.hold(&[0; UNITS], &weights, hold.until, &config);
                        prop_assert!(hold.is_none(), "who comes when told is let through");
                        now += nanos(config.max_wait).min(u64::MAX - now);
                    }
                    out.push(state.take(weights, now));
                }
                Step::Reply(which, reading) => if let Some(pass) = take(&mut out, which) {
                    state.end(&pass);
                    state.learn(&pass, &reading, now, &config);
                }
                Step::Fail(which) => if let Some(pass) = take(&mut out, which) {
                    state.end(&pass);
                    state.give_back(&pass, now);
                }
                Step::Leave(which) => if let Some(pass) = take(&mut out, which) {
                    state.end(&pass);
                }
            }
            for gauge in state.gauges.iter().flatten() {
                prop_assert!((0.0..=gauge.limit as f64).contains(&gauge.level(now)));
            }
        }
        while let Some(pass) = take(&mut out, 0) {
            state.end(&pass);
        }
        prop_assert_eq!(state.under_way, [0; UNITS]);
    }
}

/// A provider's own bucket, which fills evenly.
struct Provider {
    limit: u64,
    window: f64,
    level: f64,
    at: Nanos,
}

impl Provider {
    fn advance(&mut self, now: Nanos) {
        let now = now.max(self.at);
        let filled = (now - self.at) as f64 / self.window * self.limit as f64;
        self.level = (self.level + filled).min(self.limit as f64);
        self.at = now;
    }

    fn ask(&mut self, weight: u64, now: Nanos) -> bool {
        self.advance(now);
        let fits = self.level + 1e-3 >= weight as f64;
        if fits {
            self.level -= weight as f64;
        }
        fits
    }

    fn tell(&mut self, now: Nanos) -> Reading {
        self.advance(now);
        let remaining = self.level.max(0.0).floor();
        let missing = self.limit as f64 - remaining;
        let reset = Duration::from_nanos((missing / self.limit as f64 * self.window) as u64);
        let told = Told::new(self.limit, remaining as u64, reset);
        Reading::default().with(Unit::Tokens, told)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A provider that fills evenly and counts as estimated refuses none of those that were let
    /// through once it had said a word: however many came before that, whenever each was answered,
    /// in whatever order, with numbers of whatever moment since it arrived.
    #[test]
    fn a_provider_as_it_should_be_refuses_nobody(
        limit in 1..200_u64,
        window in 1..100_u64,
        arrivals in vec((0..3 * SECOND, 1..20_u64, 0..20 * SECOND, 0.0..=1.0_f64), 1..120),
        burst in 0..30_usize,
    ) {
        let config = Config { max_wait: Duration::from_secs(100 * 86_400), ..Config::default() };
        let window = (window * SECOND) as f64;
        let mut provider = Provider { limit, window, level: limit as f64, at: 0 };
        let mut state = State::default();
        // Replies under way: when the provider looks at its bucket, when the head comes.
        let mut replies: Vec<(Nanos, Nanos, Pass, Option<Reading>)> = Vec::new();
        let mut now = 0;
        for (at, (gap, weight, latency, told_at)) in arrivals.into_iter().enumerate() {
            let next = if at < burst { now } else { now + gap };
            // All that happens until then, in its order.
            loop {
                let looks = replies.iter().enumerate().filter(|(_, r)| r.3.is_none());
                let looks = looks.map(|(i, r)| (r.0, 0, i));
                let heads = replies.iter().enumerate().map(|(i, r)| (r.1, 1, i));
                let event = looks.chain(heads).min().filter(|event| event.0 <= next);
                let Some((time, kind, which)) = event else { break };
                if kind == 0 {
                    replies[which].3 = Some(provider.tell(time));
                } else {
                    let (.., pass, reading) = replies.swap_remove(which);
                    state.end(&pass);
                    state.learn(&pass, &reading.unwrap(), time, &config);
                }
            }
            now = next;
            let weights = Weights([1, weight.min(limit), 0, 0]);
            if state.hold(&[0; UNITS], &weights, now, &config).is_some() {
                continue;
            }
            let known = state.gauges[Unit::Tokens as usize].is_some();
            let pass = state.take(weights, now);
            let fits = provider.ask(weight.min(limit), now);
            if known {
                prop_assert!(fits, "request {at} of {weight}: {} left", provider.level);
            }
            let look = now + (latency as f64 * told_at) as u64;
            replies.push((look, now + latency, pass, None));
        }
    }
}

/// As much goes through as the provider has, and nothing that it would refuse: whether its replies
/// are quick or slow, its bucket large or small, and the way to it long.
#[test]
fn a_saturated_provider_is_kept_busy() {
    const MILLI: Nanos = 1_000_000;
    let cases = [0, 100, 3000, 45_000].into_iter().flat_map(|latency| {
        [0, 30, 90].into_iter().flat_map(move |way| {
            [(1, 1), (20, 20), (2, 10)].map(|(limit, window)| (latency, way, limit, window))
        })
    });
    for (latency, way, limit, window) in cases {
        let case = format!("{latency} ms, {way} ms on its way, {limit} in {window} s");
        let config = Config::default();
        let mut provider =
            Provider { limit, window: (window * SECOND) as f64, level: limit as f64, at: 0 };
        let mut state = State::default();
        // Answers take their time; refusals come at once.
        let mut replies: [VecDeque<(Nanos, Pass, Reading)>; 2] = Default::default();
        let (mut served, mut refused) = (0, 0);
        let weights = Weights([1, 1, 0, 0]);
        // A hundred ask each second for five minutes.
        for now in (0..30_000).map(|n| n * 10 * MILLI) {
            for replies in &mut replies {
                while replies.front().is_some_and(|(at, ..)| *at <= now) {
                    let (_, pass, reading) = replies.pop_front().unwrap();
                    state.end(&pass);
                    state.learn(&pass, &reading, now, &config);
                }
            }
            if state.hold(&[0; UNITS], &weights, now, &config).is_none() {
                let pass = state.take(weights, now);
                // The way is long for every other one.
                let there = now + way * MILLI * ((served + refused) % 2);
                let fits = provider.ask(1, there);
                let reading = provider.tell(there);
                if fits {
                    served += 1;
                    replies[0].push_back((there + latency * MILLI, pass, reading));
                } else {
                    refused += 1;
                    replies[1].push_back((there + way * MILLI, pass, reading));
                }
            }
        }
        let all = limit + 300 * limit / window;
        // Where there is but one, each late word costs part of it.
        let share = if limit == 1 { 75 } else { 90 };
        assert!(served * 100 >= all * share, "{case}: {served} of {all} served");
        // Refused at most before the first word came.
        assert!(refused <= way.max(5) / 5, "{case}: {refused} refused");
    }
}
