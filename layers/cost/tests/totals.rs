//! Totals: what is counted where, what is bounded, and that they are the sum of the records.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use tollway_core::{Ending, Target, Usage, Usd};
use tollway_cost::{
    Dimension, Event, NO_KEY, OTHER_KEYS, Period, Record, Total, Totals, TotalsConfig,
};
use tollway_testkit::Recorder;

const DAY: Duration = Duration::from_secs(86_400);

fn record(day: u32, user: &str, usage: Option<Usage>, cost: Option<u64>) -> Record {
    let mut record = Record::new(SystemTime::UNIX_EPOCH + DAY * day, Ending::Complete);
    record.caller.user = Some(user.into());
    record.usage = usage;
    record.cost = cost.map(Usd::from_nanos);
    record
}

fn total(totals: &Totals, dimension: Dimension, period: Period, key: &str) -> Total {
    let rows = totals.rows(dimension, period);
    rows.iter().find(|(row, _)| &**row == key).map(|(_, total)| *total).unwrap_or_default()
}

fn on(day: u32) -> Period {
    Period::day(SystemTime::UNIX_EPOCH + DAY * day)
}

#[test]
fn counts_in_every_dimension_by_day_and_month() {
    let totals = Totals::default();
    let mut row = record(0, "ann", Some(Usage::new(10, 5)), Some(7));
    row.caller.key = Some("k1".into());
    row.target = Some(Target::new("openai", "main", Some("gpt".into())));
    totals.add(&row);
    row.usage = Some(Usage::new(1, 1).estimated());
    row.cost = None;
    row.target = Some(Target::new("lab", "main", None));
    row.ask.model = Some("asked".into());
    totals.add(&row);
    row.usage = None;
    row.target = None;
    row.started += DAY;
    totals.add(&row);

    assert_eq!(totals.periods(), [on(0), on(1), on(0).whole_month()]);
    let ann = total(&totals, Dimension::User, on(0).whole_month(), "ann");
    assert_eq!((ann.requests, ann.estimated, ann.unpriced), (3, 1, 1));
    assert_eq!((ann.usage.input, ann.usage.output, ann.cost.nanos()), (11, 6, 7));
    assert_eq!(total(&totals, Dimension::Key, on(0), "k1").requests, 2);
    assert_eq!(total(&totals, Dimension::Provider, on(0), "openai").cost.nanos(), 7);
    assert_eq!(total(&totals, Dimension::Provider, on(1), NO_KEY).requests, 1);
    assert_eq!(total(&totals, Dimension::Model, on(0), "gpt").usage.input, 10);
    assert_eq!(total(&totals, Dimension::Model, on(0).whole_month(), "asked").requests, 2);
    assert_eq!(totals.snapshot().len(), 6 + 4 + 7);
}

#[test]
fn a_request_counts_for_the_day_it_ended() {
    let totals = Totals::default();
    let mut row = record(0, "ann", None, None);
    row.elapsed = DAY;
    totals.add(&row);
    assert_eq!(total(&totals, Dimension::User, on(1), "ann").requests, 1);
}

#[test]
fn keys_beyond_the_bound_are_folded_and_told_once() {
    let events = Recorder::default();
    let config = TotalsConfig { max_keys: 2, ..TotalsConfig::default() };
    let totals = Totals::new(config).unwrap().with_hook(events.clone());
    for user in ["a", "b", "c", "d", "a", "c"] {
        totals.add(&record(0, user, None, Some(1)));
    }
    let user = |key| total(&totals, Dimension::User, on(0), key).cost.nanos();
    assert_eq!((user("a"), user("b"), user("c"), user(OTHER_KEYS)), (2, 1, 0, 3));
    let dimension = Dimension::User;
    let folded = |period| Event::KeysFolded { dimension, period };
    assert_eq!(events.take(), [folded(on(0)), folded(on(0).whole_month())]);
    totals.add(&record(1, "c", None, Some(1)));
    assert_eq!(total(&totals, dimension, on(1), "c").requests, 1, "a new day has room again");
}

#[test]
fn old_periods_roll_off() {
    let config = TotalsConfig { days: 3, months: 2, ..TotalsConfig::default() };
    let totals = Totals::new(config).unwrap();
    for day in 0..70 {
        totals.add(&record(day, "ann", None, None));
    }
    let months = [on(31).whole_month(), on(69).whole_month()];
    assert_eq!(totals.periods(), [on(67), on(68), on(69), months[0], months[1]]);
    assert_eq!(total(&totals, Dimension::User, months[0], "ann").requests, 28);
}

#[test]
fn a_clock_that_jumps_loses_no_present() {
    let config = TotalsConfig { days: 3, months: 2, ..TotalsConfig::default() };
    let totals = Totals::new(config).unwrap();
    let mut row = record(20_000, "ann", None, None);
    // 20,003 comes while the oldest kept is 20,000; then a jump to the epoch and a far future.
    for day in [20_000, 20_001, 20_002, 0, 20_002, 3_000_000, 20_002] {
        totals.add(&record(day, "ann", None, None));
        assert!(total(&totals, Dimension::User, on(day), "ann").requests > 0, "{day}");
    }
    assert_eq!(total(&totals, Dimension::User, on(20_002), "ann").requests, 3);
    row.started = SystemTime::UNIX_EPOCH - DAY;
    row.elapsed = Duration::MAX;
    totals.add(&row);
    assert_eq!(totals.periods().len(), 5, "three days, two months");
}

#[test]
fn nothing_kept_is_refused() {
    let config = TotalsConfig { days: 0, ..TotalsConfig::default() };
    assert_eq!(Totals::new(config).unwrap_err().to_string(), "days must be at least 1");
}

#[test]
fn nothing_is_lost_between_threads() {
    let totals = Totals::default();
    std::thread::scope(|scope| {
        for user in ["a", "b", "c", "a"] {
            let totals = totals.clone();
            scope.spawn(move || (0..500).for_each(|_| totals.add(&record(0, user, None, Some(1)))));
        }
    });
    assert_eq!(total(&totals, Dimension::User, on(0), "a").cost.nanos(), 1000);
    assert_eq!(total(&totals, Dimension::Provider, on(0), NO_KEY).requests, 2000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn totals_are_the_sum_of_the_records(
        rows in prop::collection::vec(
            (0..5_u32, 0..4_u8, any::<Option<(u32, u32, bool)>>(), any::<Option<u32>>()), 0..60,
        ),
        max_keys in 1..5_usize,
    ) {
        let totals = Totals::new(TotalsConfig { max_keys, ..TotalsConfig::default() }).unwrap();
        let mut days: HashMap<Period, Total> = HashMap::new();
        let mut all = Total::default();
        for (day, user, used, cost) in rows {
            let used = used.map(|(input, output, guess)| {
                let usage = Usage::new(input.into(), output.into());
                if guess { usage.estimated() } else { usage }
            });
            let row = record(day, &user.to_string(), used, cost.map(Into::into));
            totals.add(&row);
            for sum in [days.entry(on(day)).or_default(), &mut all] {
                sum.add(row.usage.as_ref(), row.cost);
            }
        }
        days.insert(on(0).whole_month(), all);
        for (period, want) in days {
            for dimension in Dimension::ALL {
                let rows = totals.rows(dimension, period);
                prop_assert!(rows.len() <= max_keys + 1);
                let sum = |field: fn(&Total) -> u64| rows.iter().map(|(_, t)| field(t)).sum::<u64>();
                prop_assert_eq!(sum(|t| t.requests), want.requests);
                prop_assert_eq!(sum(|t| t.estimated), want.estimated);
                prop_assert_eq!(sum(|t| t.unpriced), want.unpriced);
                prop_assert_eq!(sum(|t| t.usage.input), want.usage.input);
                prop_assert_eq!(sum(|t| t.usage.output), want.usage.output);
                prop_assert_eq!(sum(|t| t.cost.nanos()), want.cost.nanos());
            }
        }
    }
}

#[test]
fn what_was_counted_elsewhere_is_added() {
    let totals = Totals::default();
    totals.add(&record(40, "ann", Some(Usage::new(10, 5)), Some(7)));
    let mut before = Total::default();
    before.add(Some(&Usage::new(1, 2)), Some(Usd::from_nanos(3)));
    let (day, month) = (on(40), on(40).whole_month());
    for period in [on(2), on(2).whole_month(), day, month] {
        totals.restore(Dimension::User, period, &"ann".into(), &before);
    }
    let ann = |period| {
        let ann = total(&totals, Dimension::User, period, "ann");
        (ann.requests, ann.usage.output, ann.cost.nanos())
    };
    assert_eq!([ann(day), ann(month), ann(on(2))], [(2, 7, 10), (2, 7, 10), (1, 2, 3)]);
    assert_eq!(totals.rows(Dimension::Key, on(2)), []);
}

#[test]
fn days_are_those_of_the_zone() {
    let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let totals = Totals::new(TotalsConfig { zone, ..TotalsConfig::default() }).unwrap();
    // A quarter of a second before and after midnight, of a summer's and of a winter's day.
    for midnight in [1_792_879_200_000, 1_792_969_200_000] {
        for at in [midnight - 250, midnight] {
            let ended = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
            totals.add(&Record::new(ended, Ending::Complete));
        }
    }
    let periods: Vec<_> = totals.periods().iter().map(ToString::to_string).collect();
    assert_eq!(periods, ["2026-10-24", "2026-10-25", "2026-10-26", "2026-10"]);
    let requests =
        |day: &str| total(&totals, Dimension::User, day.parse().unwrap(), NO_KEY).requests;
    assert_eq!(["2026-10-24", "2026-10-25", "2026-10-26"].map(requests), [1, 2, 1]);
}
