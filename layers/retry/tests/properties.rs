//! What holds for every script of failures and every setting.

#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::HashMap, time::Duration};

use common::*;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tokio::time::Instant;
use tollway_core::ErrorClass;
use tollway_retry::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => select(vec![500, 503, 429, 502, 529, 408]).prop_map(status),
        2 => (select(vec![429, 503]), 0..100_u64).prop_map(|(code, secs)| hint(code, &secs.to_string())),
        1 => select(vec![401, 402, 403, 404]).prop_map(status),
        1 => select(vec![400, 413, 200]).prop_map(status),
        1 => Just(header(503, "x-should-retry", "false")),
        2 => select(vec![ErrorClass::Network, ErrorClass::Timeout, ErrorClass::RateLimit]).prop_map(error),
        1 => (1..20_u64).prop_map(|secs| slow(Duration::from_secs(secs), 503)),
    ]
}

prop_compose! {
    fn any_settings()(
        attempts in 1..8_u32,
        attempts_per_target in option::of(1..4_u32),
        same_first: bool,
        jitter in select(vec![Jitter::None, Jitter::Proportional(25), Jitter::Full, Jitter::Decorrelated]),
    ) -> Settings {
        let prefer = if same_first { Prefer::SameTarget } else { Prefer::OtherTarget };
        let backoff = Backoff::new(secs(1), 2.0, secs(30), jitter).unwrap();
        Settings { attempts, attempts_per_target, prefer, backoff, ..Settings::default() }
    }
}

/// What was done, in order: place of the target, the moment, and how it answered; then the deadline,
/// the end and the answer.
type Walked = (Vec<(usize, Instant, Act)>, Option<Instant>, Instant, Answer);

fn walk(settings: Settings, scripts: &[Vec<Act>], deadline: Option<u64>) -> Walked {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let names = &NAMES[..scripts.len()];
        let world = World::with(names.iter().copied().zip(scripts.iter().cloned()), settings);
        let mut request = plan_of(names.iter().map(|name| target(name)));
        let deadline = deadline.map(|after| Instant::now() + secs(after));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        let answer = world.run(request).await;
        let mut played: HashMap<usize, usize> = HashMap::new();
        let log = world.calls().into_iter().zip(world.times()).map(|(name, at)| {
            let place = NAMES.iter().position(|known| *known == name).unwrap();
            let n = played.entry(place).or_default();
            let act = scripts[place].get(*n).cloned().unwrap_or(status(200));
            *n += 1;
            (place, at, act)
        });
        (log.collect(), deadline, Instant::now(), answer)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_walk_keeps_its_bounds(
        settings in any_settings(),
        scripts in vec(vec(acts(), 0..6), 1..=4),
        deadline in option::of(0..60_u64),
    ) {
        let (log, deadline, end, answer) = walk(settings.clone(), &scripts, deadline);
        prop_assert!(!log.is_empty() && log.len() <= settings.attempts as usize);
        let tries = |place| log.iter().filter(|(at, ..)| *at == place).count();
        for place in 0..scripts.len() {
            prop_assert!(settings.attempts_per_target.is_none_or(|most| tries(place) <= most as usize));
        }
        for (n, (place, at, act)) in log.iter().enumerate() {
            let later = &log[n + 1..];
            // Only a failure is followed by another attempt, and a final one by none.
            if matches!(act.code, 200 | 400 | 413) {
                prop_assert!(later.is_empty(), "after {}", act.code);
            }
            // Never again to a benched key, a missing model, or where a retry is forbidden.
            let never = matches!(act.code, 401..=404) || act.headers.contains_key("x-should-retry");
            if never {
                prop_assert!(later.iter().all(|(next, ..)| next != place));
            }
            // A hint is never shortened, and one of more than a minute is not waited for.
            if let Some(hint) = act.headers.get("retry-after") {
                let hint = secs(hint.to_str().unwrap().parse().unwrap());
                let again = later.iter().find(|(next, ..)| next == place);
                prop_assert!(again.is_none_or(|(_, then, _)| *then - *at >= hint && hint <= secs(60)));
            }
            // No attempt but the first starts at the deadline or after it.
            if let (true, Some(deadline)) = (n > 0, deadline) {
                prop_assert!(*at < deadline);
            }
        }
        // After the last attempt nothing is waited for.
        let last = &log[log.len() - 1];
        prop_assert_eq!(end, last.1 + last.2.after);
        // Targets are tried for the first time in the plan's order.
        let mut firsts: Vec<_> = log.iter().map(|(place, ..)| *place).collect();
        let mut seen = Vec::new();
        firsts.retain(|place| !seen.contains(place) && { seen.push(*place); true });
        prop_assert!(firsts.is_sorted());
        // A success is handed on; else one of the failures that were seen, and its history.
        if let Ok(response) = &answer {
            let codes: Vec<_> = log.iter().map(|(.., act)| act.code).collect();
            prop_assert!(codes.contains(&response.status().as_u16()));
            prop_assert_eq!(response.status() == 200, last.2.code == 200);
        }
        let attempts = match &answer {
            Ok(response) => response.extensions().get::<Attempts>(),
            Err(error) => tollway_core::find_error::<RetryError>(&**error).map(RetryError::attempts),
        };
        prop_assert_eq!(attempts.map_or(1, |attempts| attempts.len()), log.len());
    }

    #[test]
    fn the_same_dice_give_the_same_walk(settings in any_settings(), script in vec(acts(), 0..6)) {
        let times = |log: Vec<(usize, Instant, Act)>| -> Vec<_> {
            log.iter().map(|(place, at, _)| (*place, *at - log[0].1)).collect()
        };
        let [one, two] = [(); 2].map(|()| times(walk(settings.clone(), std::slice::from_ref(&script), None).0));
        prop_assert_eq!(one, two);
    }

    #[test]
    fn waits_stay_in_their_bounds(
        first in 1..100_000_000_000_u64,
        more in 0..100_000_000_000_u64,
        factor in 1.0..1e6_f64,
        percent in 0..=100_u8,
        n: u32,
        last: u64,
        dice: u64,
    ) {
        let (first, max) = (Duration::from_nanos(first), Duration::from_nanos(first + more));
        let wait = |jitter| {
            let backoff = Backoff::new(first, factor, max, jitter).unwrap();
            backoff.wait(n, Duration::from_nanos(last), &|| dice)
        };
        let plain = wait(Jitter::None);
        prop_assert!(first <= plain && plain <= max);
        prop_assert!(wait(Jitter::Full) <= plain);
        let decorrelated = wait(Jitter::Decorrelated);
        prop_assert!(first <= decorrelated && decorrelated <= max);
        let around = wait(Jitter::Proportional(percent));
        let swing = plain / 100 * u32::from(percent);
        prop_assert!(plain - swing <= around && around <= (plain + swing).min(max));
    }

    #[test]
    fn backoff_settings_never_panic(first: u64, factor: f64, max: u64, percent: u8, n: u32, dice: u64) {
        let (first, max) = (Duration::from_nanos(first), Duration::from_nanos(max));
        if let Ok(backoff) = Backoff::new(first, factor, max, Jitter::Proportional(percent)) {
            prop_assert!(backoff.wait(n, Duration::MAX, &|| dice) <= max);
        }
    }
}

#[test]
fn jitter_reaches_both_ends() {
    let wait = |jitter, dice: u64| {
        Backoff::new(secs(4), 2.0, secs(30), jitter).unwrap().wait(0, Duration::ZERO, &move || dice)
    };
    assert_eq!(wait(Jitter::Proportional(25), 0), secs(3));
    assert_eq!(wait(Jitter::Proportional(25), u64::MAX), secs(5));
    assert_eq!(wait(Jitter::Full, 0), Duration::ZERO);
    assert_eq!(wait(Jitter::Full, u64::MAX), secs(4));
    assert_eq!(wait(Jitter::Decorrelated, u64::MAX), secs(12));
}

#[test]
fn default_dice_differ() {
    let dice = SplitMix::default();
    let mut rolls: Vec<_> = (0..100).map(|_| dice.next()).collect();
    rolls.sort_unstable();
    rolls.dedup();
    assert_eq!(rolls.len(), 100);
}

#[test]
fn bad_settings_are_refused() {
    let bad = [
        Settings { attempts: 0, ..Settings::default() },
        Settings { attempts: 33, ..Settings::default() },
        Settings { attempts_per_target: Some(0), ..Settings::default() },
        Settings { obey_up_to: Duration::ZERO, ..Settings::default() },
        Settings { retry_on: Classes::NONE.with(ErrorClass::Auth), ..Settings::default() },
        Settings { fail_over_on: Classes::NONE.with(ErrorClass::Cancelled), ..Settings::default() },
    ];
    for settings in bad {
        assert!(Config::new(settings.clone()).is_err(), "{settings:?}");
    }
    assert!(Config::new(Settings::default()).is_ok());
    for (first, factor, max, jitter) in [
        (0, 2.0, 30, Jitter::None),
        (31, 2.0, 30, Jitter::None),
        (1, 0.9, 30, Jitter::None),
        (1, f64::NAN, 30, Jitter::None),
        (1, 2.0, 86_401, Jitter::None),
        (1, 2.0, 30, Jitter::Proportional(101)),
    ] {
        assert!(Backoff::new(secs(first), factor, secs(max), jitter).is_err());
    }
}

#[test]
fn a_header_can_hold_any_name() {
    let mut response = http::Response::new(());
    response.extensions_mut().insert(keyed("ü\n", "k", "m\u{7f}"));
    assert_eq!(Attempts::header(&response).unwrap(), "___/m_;200");
    assert_eq!(Attempts::header(&http::Response::new(())), None);
}
