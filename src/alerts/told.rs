//! What was told, so that it is told once. Free of locks and clocks; moments are nanoseconds since
//! 1970.

use std::{collections::HashMap, sync::Arc};

use tollway_rate_limit::{Key, Unit};

use super::alert::{Alert, Level, Span};

/// Limits and keys that are remembered at the same time. Beyond it nothing is told: a flood of keys
/// must not become a flood of calls.
const MOST: usize = 10_000;

/// Whose quota.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) limit: &'a Arc<str>,
    pub(super) key: &'a Key,
    pub(super) unit: Unit,
}

/// The highest level that was told of a limit and key.
#[derive(Debug)]
struct Entry {
    level: Level,
    unit: Unit,
    start: u64,
    /// When it may be told anew.
    end: u64,
    /// It ends because a period of the calendar does.
    calendar: bool,
}

#[derive(Debug, Default)]
pub(super) struct Told {
    entries: HashMap<(Arc<str>, Key), Entry>,
    /// No entry ends before.
    earliest: u64,
}

impl Told {
    /// The alert, if it wasn't told of this period, nor a graver one. `span` says from when until
    /// when it counts as told, and whether that is a period.
    pub(super) fn tell(
        &mut self,
        seen: Seen<'_>,
        level: Level,
        figures: Option<(u64, u64)>,
        now: u64,
        span: impl FnOnce(u64) -> ((u64, u64), bool),
    ) -> Option<Alert> {
        let Seen { limit, key, unit } = seen;
        let at = (limit.clone(), key.clone());
        let full = self.entries.len() >= MOST;
        let entry = match self.entries.get_mut(&at) {
            Some(entry) if entry.level >= level => return None,
            Some(entry) => {
                entry.level = level;
                entry
            }
            None if full => return None,
            None => {
                let ((start, end), calendar) = span(now);
                if self.entries.is_empty() || end < self.earliest {
                    self.earliest = end;
                }
                self.entries.entry(at).or_insert(Entry { level, unit, start, end, calendar })
            }
        };
        let period = entry.calendar.then_some(Span { start: entry.start, end: entry.end });
        Some(Alert::new(seen, level, figures, period, now, entry.start))
    }

    /// Forgets what has ended; that a budget is whole again is told, if it was told to be used up.
    pub(super) fn over(&mut self, now: u64) -> Vec<Alert> {
        if self.entries.is_empty() || now < self.earliest {
            return Vec::new();
        }
        let mut alerts = Vec::new();
        self.entries.retain(|(limit, key), entry| {
            if entry.end > now {
                return true;
            }
            if entry.calendar {
                let seen = Seen { limit, key, unit: entry.unit };
                let period = Some(Span { start: entry.start, end: entry.end });
                alerts.push(Alert::new(seen, Level::Info, None, period, now, entry.start));
            }
            false
        });
        self.earliest = self.entries.values().map(|entry| entry.end).min().unwrap_or(0);
        alerts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    fn day(now: u64) -> ((u64, u64), bool) {
        let start = now - now % DAY;
        ((start, start + DAY), true)
    }

    fn tell(told: &mut Told, user: &str, level: Level, now: u64) -> Option<Alert> {
        let (limit, key) = ("spend".into(), Key::from(Arc::<str>::from(user)));
        let seen = Seen { limit: &limit, key: &key, unit: Unit::NanoUsd };
        told.tell(seen, level, Some((8, 10)), now, day)
    }

    #[test]
    fn each_level_once_a_period_and_key() {
        let mut told = Told::default();
        let mut levels =
            |user: &str, level, now| tell(&mut told, user, level, now).map(|a| a.level);
        assert_eq!(levels("ann", Level::Warning, 5), Some(Level::Warning));
        assert_eq!(levels("ann", Level::Warning, 6), None);
        assert_eq!(levels("bob", Level::Warning, 6), Some(Level::Warning));
        assert_eq!(levels("ann", Level::Critical, 7), Some(Level::Critical));
        // A reservation goes back and the mark is crossed again.
        assert_eq!(levels("ann", Level::Warning, 8), None);
        assert_eq!(levels("ann", Level::Critical, DAY - 1), None);
    }

    #[test]
    fn the_end_of_a_period_is_told_and_the_next_begins_anew() {
        let mut told = Told::default();
        let first = tell(&mut told, "ann", Level::Critical, 5).unwrap();
        assert_eq!(told.over(DAY - 1), []);
        let over = told.over(DAY);
        assert_eq!(
            over.iter().map(|a| (a.level, &*a.key)).collect::<Vec<_>>(),
            [(Level::Info, "ann")]
        );
        assert_eq!(told.over(DAY), []);
        let next = tell(&mut told, "ann", Level::Critical, DAY + 1).unwrap();
        assert_ne!(first.id, next.id);
    }

    #[test]
    fn what_no_calendar_ends_is_told_again_in_silence() {
        let mut told = Told::default();
        let (limit, key) = ("rate".into(), Key::All);
        let seen = Seen { limit: &limit, key: &key, unit: Unit::Requests };
        let tell = |told: &mut Told, now| {
            told.tell(seen, Level::Critical, None, now, |now| ((now, now + 100), false)).is_some()
        };
        assert!(tell(&mut told, 5) && !tell(&mut told, 104));
        assert_eq!(told.over(105), [], "nobody is told that a rate is there again");
        assert!(tell(&mut told, 105));
    }

    #[test]
    fn a_flood_of_keys_ends() {
        let mut told = Told::default();
        let told_of = (0..3 * MOST)
            .filter(|n| tell(&mut told, &n.to_string(), Level::Warning, 5).is_some())
            .count();
        assert_eq!((told_of, told.entries.len()), (MOST, MOST));
        assert_eq!(told.over(DAY).len(), MOST);
        assert!(tell(&mut told, "new", Level::Warning, DAY).is_some(), "there is room again");
    }

    /// Five instances of one policy tell the same of one period under one name.
    #[test]
    fn an_alert_has_the_same_id_wherever_it_is_told() {
        let id = |user, level, now| tell(&mut Told::default(), user, level, now).unwrap().id;
        let one = id("ann", Level::Warning, 5);
        assert_eq!(one, id("ann", Level::Warning, 77));
        for other in [
            id("bob", Level::Warning, 5),
            id("ann", Level::Critical, 5),
            id("ann", Level::Warning, DAY),
        ] {
            assert_ne!(one, other);
        }
    }
}
