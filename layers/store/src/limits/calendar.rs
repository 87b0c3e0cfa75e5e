//! Calendar windows as nanoseconds since 1970. No instant panics; the ends of time saturate.

use std::sync::{Mutex, PoisonError};

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};

/// A calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From one full hour to the next. Where clocks are put forward or back by less than an hour,
    /// one hour is shorter.
    Hour,
    /// From midnight to midnight: 23 or 25 hours where clocks are put forward or back.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

impl Period {
    /// This period of the calendar of `zone`.
    #[must_use]
    pub fn of(self, zone: Zone) -> Calendar {
        Calendar { period: self, zone }
    }
}

/// A calendar's time zone. Small, since every limit's shape has one: a zone that was seen once is
/// kept as long as the process runs, and the world has some hundred.
///
/// ```
/// use jiff::tz::TimeZone;
/// use tollway_store::limits::Zone;
///
/// let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3")?;
/// assert_eq!(Zone::new(berlin.clone()), Zone::new(berlin));
/// assert_eq!(Zone::new(TimeZone::UTC), Zone::UTC);
/// # Ok::<_, jiff::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(Option<&'static TimeZone>);

impl Zone {
    /// The default.
    pub const UTC: Self = Self(None);

    /// By its rules.
    pub fn new(zone: TimeZone) -> Self {
        static KNOWN: Mutex<Vec<&'static TimeZone>> = Mutex::new(Vec::new());
        if zone == TimeZone::UTC {
            return Self::UTC;
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.iter().find(|known| ***known == zone) {
            return Self(Some(known));
        }
        let zone: &'static TimeZone = Box::leak(Box::new(zone));
        known.push(zone);
        Self(Some(zone))
    }

    /// Its rules.
    pub fn rules(self) -> TimeZone {
        self.0.cloned().unwrap_or(TimeZone::UTC)
    }
}

/// A period and whose calendar it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The period.
    pub period: Period,
    /// The time zone.
    pub zone: Zone,
}

/// Of UTC.
impl From<Period> for Calendar {
    fn from(period: Period) -> Self {
        period.of(Zone::UTC)
    }
}

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Start and end of the period that holds `now`, all in nanoseconds since 1970; `start <= now` and
/// `now < end`, short of the end of time. Costs a microsecond in a zone that puts its clocks
/// forward and back, so it is asked when a period has ended, and not with each request.
///
/// ```
/// use jiff::tz::TimeZone;
/// use tollway_store::limits::{Period, Zone, span};
///
/// let berlin = Zone::new(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3")?);
/// let noon = "2026-10-25T12:00:00Z".parse::<jiff::Timestamp>()?.as_second() as u64;
/// let (start, end) = span(Period::Day.of(berlin), noon * 1_000_000_000);
/// assert_eq!((end - start) / 1_000_000_000, 25 * 3600, "an hour comes twice");
/// # Ok::<_, jiff::Error>(())
/// ```
pub fn span(calendar: impl Into<Calendar>, now: u64) -> (u64, u64) {
    let Calendar { period, zone } = calendar.into();
    let found = zone.0.and_then(|zone| local(period, zone, now));
    found.filter(|(start, end)| (*start..*end).contains(&now)).unwrap_or_else(|| utc(period, now))
}

fn local(period: Period, zone: &TimeZone, now: u64) -> Option<(u64, u64)> {
    let at = Timestamp::from_nanosecond(now.into()).ok()?;
    let day_start = |at: Zoned| at.start_of_day().ok();
    let (start, end) = match period {
        Period::Hour => return hour(zone, at, now),
        Period::Day => {
            let today = at.to_zoned(zone.clone());
            (day_start(today.clone())?, day_start(today.tomorrow().ok()?)?)
        }
        Period::Month => {
            let first = at.to_zoned(zone.clone()).first_of_month().ok()?;
            (day_start(first.clone())?, day_start(first.checked_add(1.month()).ok()?)?)
        }
    };
    Some((nanos(start.timestamp()), nanos(end.timestamp())))
}

/// The full hour of the clock on the wall, ended and begun early where that clock is changed.
fn hour(zone: &TimeZone, at: Timestamp, now: u64) -> Option<(u64, u64)> {
    let offset = i64::from(zone.to_offset(at).seconds()).checked_mul(1_000_000_000)?;
    let within = now.checked_add_signed(offset.rem_euclid(HOUR as i64))? % HOUR;
    let start = now.saturating_sub(within);
    let end = start.checked_add(HOUR)?;
    // `preceding` is of before a moment, so that a change at this very one needs the next moment.
    let next = at.checked_add(1.nanosecond()).ok()?;
    let before = zone.preceding(next).next().map_or(0, |change| nanos(change.timestamp()));
    let after = zone.following(at).next().map_or(u64::MAX, |change| nanos(change.timestamp()));
    Some((start.max(before), end.min(after)))
}

fn nanos(at: Timestamp) -> u64 {
    match u64::try_from(at.as_nanosecond()) {
        Ok(nanos) => nanos,
        Err(_) if at.as_nanosecond() < 0 => 0,
        Err(_) => u64::MAX,
    }
}

fn utc(period: Period, now: u64) -> (u64, u64) {
    let fixed = |length: u64| {
        let start = now - now % length;
        (start, start.saturating_add(length))
    };
    match period {
        Period::Hour => fixed(HOUR),
        Period::Day => fixed(DAY),
        Period::Month => {
            let month = month_of(now / DAY);
            (first_day(month) * DAY, first_day(month + 1).saturating_mul(DAY))
        }
    }
}

/// A length that no such period is shorter than. Clocks are changed by two hours at most, in
/// quarters of an hour.
pub(super) fn at_least(calendar: Calendar) -> u64 {
    let changes = calendar.zone != Zone::UTC;
    match calendar.period {
        Period::Hour if changes => HOUR / 4,
        Period::Hour => HOUR,
        Period::Day if changes => 22 * HOUR,
        Period::Day => DAY,
        Period::Month if changes => 27 * DAY,
        Period::Month => 28 * DAY,
    }
}

/// Days from 1970-01-01 to the first of `month`, counted in months from January 1970.
fn first_day(month: u64) -> u64 {
    let (year, month) = (1970 + month / 12, month % 12);
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    let days = before * 365 + leap_days - 719_162;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days + lengths.iter().take(month as usize).sum::<u64>()
}

fn month_of(day: u64) -> u64 {
    // No month is longer than 31 days, so this is never late, and early by a few months at most.
    let mut month = (day / 31).max(day * 12 / 366);
    while first_day(month + 1) <= day {
        month += 1;
    }
    month
}

#[cfg(test)]
mod tests {
    use super::{nanos as since_1970, *};

    fn nanos(text: &str) -> u64 {
        since_1970(text.parse().unwrap())
    }

    fn zone(name: &str) -> Zone {
        Zone::new(TimeZone::get(name).unwrap())
    }

    #[test]
    fn months_have_their_lengths() {
        for (now, start, end) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2028-02-29T23:59:59.999999999Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2100-02-28T12:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(span(Period::Month, nanos(now)), (nanos(start), nanos(end)), "{now}");
        }
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        for period in [Period::Hour, Period::Day, Period::Month] {
            for zone in [Zone::UTC, zone("Europe/Berlin"), zone("America/New_York")] {
                for now in [0, 1, u64::MAX - 1, u64::MAX] {
                    let (start, end) = span(period.of(zone), now);
                    assert!(start <= now && start < end);
                }
            }
        }
    }

    #[test]
    fn periods_of_a_zone_begin_and_end_by_its_clocks() {
        use Period::{Day, Hour, Month};
        for (name, period, now, start, end) in [
            // 23 hours, then 25.
            (
                "Europe/Berlin",
                Day,
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                "Europe/Berlin",
                Day,
                "2026-10-25T00:30:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // Still the summer's midnight, already the winter's.
            (
                "Europe/Berlin",
                Month,
                "2026-10-31T22:59:59Z",
                "2026-09-30T22:00:00Z",
                "2026-10-31T23:00:00Z",
            ),
            (
                "America/New_York",
                Month,
                "2027-01-01T04:59:59Z",
                "2026-12-01T05:00:00Z",
                "2027-01-01T05:00:00Z",
            ),
            // Its hours begin at our half hours.
            (
                "Asia/Kolkata",
                Hour,
                "2026-11-22T18:29:59Z",
                "2026-11-22T17:30:00Z",
                "2026-11-22T18:30:00Z",
            ),
            // The same hour twice is two hours.
            (
                "Europe/Berlin",
                Hour,
                "2026-10-25T00:59:59Z",
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
            ),
            (
                "Europe/Berlin",
                Hour,
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z",
            ),
            // From 02:00 to 02:30 at once, and half a year before that back from 02:00 to 01:30.
            (
                "Australia/Lord_Howe",
                Hour,
                "2026-10-03T15:30:00Z",
                "2026-10-03T15:30:00Z",
                "2026-10-03T16:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                Hour,
                "2026-04-04T15:10:00Z",
                "2026-04-04T15:00:00Z",
                "2026-04-04T15:30:00Z",
            ),
            // Midnight doesn't exist, comes twice; a whole day is left out.
            (
                "America/Sao_Paulo",
                Day,
                "2018-11-04T12:00:00Z",
                "2018-11-04T03:00:00Z",
                "2018-11-05T02:00:00Z",
            ),
            (
                "America/Havana",
                Day,
                "2024-11-03T05:30:00Z",
                "2024-11-03T04:00:00Z",
                "2024-11-04T05:00:00Z",
            ),
            (
                "Pacific/Apia",
                Day,
                "2011-12-30T09:59:59Z",
                "2011-12-29T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
        ] {
            let found = span(period.of(zone(name)), nanos(now));
            assert_eq!(found, (nanos(start), nanos(end)), "{name} {period:?} {now}");
        }
    }

    #[test]
    fn a_zone_is_kept_once() {
        assert_eq!(zone("Europe/Berlin"), zone("Europe/Berlin"));
        let [a, b] = [zone("Europe/Berlin"), zone("Europe/Berlin")].map(|zone| zone.0.unwrap());
        assert!(std::ptr::eq(a, b));
        assert_eq!(Zone::default().rules(), TimeZone::UTC);
    }

    proptest::proptest! {
        /// Periods lie end to end: what is spent is never forgotten in the middle of one.
        #[test]
        fn periods_of_a_zone_meet(
            name in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
                "America/Havana", "America/Sao_Paulo", "Pacific/Apia", "Antarctica/Troll",
                "Africa/Casablanca", "Asia/Kathmandu", "America/St_Johns",
            ]),
            period in proptest::sample::select(vec![Period::Hour, Period::Day, Period::Month]),
            now in nanos("2012-01-01T00:00:00Z")..nanos("2060-01-01T00:00:00Z"),
            share in 0.0..1.0f64,
        ) {
            let calendar = period.of(zone(name));
            let (start, end) = span(calendar, now);
            proptest::prop_assert!(start <= now && now < end);
            let within = start + ((end - start - 1) as f64 * share) as u64;
            proptest::prop_assert_eq!(span(calendar, within), (start, end));
            let (next, after) = span(calendar, end);
            proptest::prop_assert_eq!(next, end);
            proptest::prop_assert!(after - next >= at_least(calendar), "{} {}", next, after);
            proptest::prop_assert_eq!(span(calendar, start - 1).1, start);
        }

        /// A second implementation of the calendar agrees.
        #[test]
        fn agrees_with_jiff(now in 0..nanos("2500-01-01T00:00:00Z")) {
            let date = Timestamp::from_nanosecond(now.into()).unwrap().to_zoned(TimeZone::UTC);
            let first = date.first_of_month().unwrap().start_of_day().unwrap();
            let next = &first + 1.month();
            let nanos = |date: &jiff::Zoned| u64::try_from(date.timestamp().as_nanosecond()).unwrap();
            proptest::prop_assert_eq!(span(Period::Month, now), (nanos(&first), nanos(&next)));
            let day = date.start_of_day().unwrap();
            proptest::prop_assert_eq!(span(Period::Day, now).0, nanos(&day));
        }
    }
}
