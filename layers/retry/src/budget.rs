use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::ConfigError;

/// The settings of a [`Budget`] as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// Repeats allowed in percent of the requests of the last [`window`](Self::window). Default 20.
    pub percent: u32,
    /// Repeats a second that are always allowed, so that a quiet service can retry at all. Default 10.
    pub floor_per_second: u32,
    /// The sliding time that is looked at, 1 s to 1 h; default 10 s.
    pub window: Duration,
    /// Whether going to a target that this request has not tried yet counts too. Default no: that
    /// puts at most one request on each target, as if it had been routed there in the first place,
    /// and a provider's outage must not use up what keeps its callers alive. Storms come from repeats.
    pub count_failovers: bool,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            percent: 20,
            floor_per_second: 10,
            window: Duration::from_secs(10),
            count_failovers: false,
        }
    }
}

/// A bound on repeats in proportion to requests, against retry storms. Clones share it, and it may
/// be given to several layers.
///
/// ```
/// use tollway_retry::{Budget, BudgetSettings};
///
/// let budget = Budget::new(BudgetSettings { percent: 10, ..BudgetSettings::default() })?;
/// assert_eq!(budget.left(tokio::time::Instant::now()), 100); // the floor: 10 a second for 10 s
/// # Ok::<(), tollway_retry::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    window: Arc<Mutex<Window>>,
}

const SLOTS: u64 = 10;

/// Counts of the last ten slots of time; a slot that has passed out of the window is counted out.
#[derive(Debug)]
struct Window {
    start: Option<Instant>,
    newest: u64,
    slots: [Counts; SLOTS as usize],
    sum: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    repeats: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(BudgetSettings::default())
    }
}

impl Budget {
    /// A checked budget.
    ///
    /// # Errors
    /// Where the window is not 1 s to 1 h.
    pub fn new(settings: BudgetSettings) -> Result<Self, ConfigError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&settings.window) {
            return Err(ConfigError::new("the retry budget's window must be 1 s to 1 h"));
        }
        Ok(Self::of(settings))
    }

    fn of(settings: BudgetSettings) -> Self {
        Self { settings, window: Arc::new(Mutex::new(Window::new(None, Counts::default()))) }
    }

    /// Goes on by other settings with what this one has counted, and shares it with this one; over
    /// another window, with a count of its own that begins with what this one has at `now`. For a
    /// policy that is replaced while traffic flows.
    ///
    /// # Errors
    /// Where the window is not 1 s to 1 h.
    ///
    /// ```
    /// use tokio::time::Instant;
    /// use tollway_retry::{Budget, BudgetSettings};
    ///
    /// let (budget, now) = (Budget::default(), Instant::now());
    /// let settings = BudgetSettings { floor_per_second: 1, ..BudgetSettings::default() };
    /// assert_eq!(budget.under(settings, now)?.left(now), 10);
    /// # Ok::<(), tollway_retry::ConfigError>(())
    /// ```
    pub fn under(&self, settings: BudgetSettings, now: Instant) -> Result<Self, ConfigError> {
        let next = Self::new(settings)?;
        if settings.window == self.settings.window {
            return Ok(Self { window: self.window.clone(), ..next });
        }
        let sum = self.with(now, |_, _, window| window.sum);
        Ok(Self { window: Arc::new(Mutex::new(Window::new(Some(now), sum))), ..next })
    }

    /// Repeats that would be allowed now.
    pub fn left(&self, now: Instant) -> u64 {
        self.with(now, |_, allowed, window| allowed.saturating_sub(window.sum.repeats))
    }

    pub(crate) fn counts_failovers(&self) -> bool {
        self.settings.count_failovers
    }

    /// Counts a request.
    pub(crate) fn deposit(&self, now: Instant) {
        self.with(now, |slot, _, window| {
            window.sum.requests += 1;
            if let Some(counts) = window.slots.get_mut(slot) {
                counts.requests += 1;
            }
        });
    }

    /// Takes one repeat, if there is one.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        self.with(now, |slot, allowed, window| {
            let granted = window.sum.repeats < allowed;
            if granted {
                window.sum.repeats += 1;
                if let Some(counts) = window.slots.get_mut(slot) {
                    counts.repeats += 1;
                }
            }
            granted
        })
    }

    fn with<T>(&self, now: Instant, act: impl FnOnce(usize, u64, &mut Window) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = window.advance(now, self.settings.window);
        let share = window.sum.requests.saturating_mul(self.settings.percent.into()) / 100;
        let floor = u64::from(self.settings.floor_per_second)
            .saturating_mul(u64::try_from(self.settings.window.as_millis()).unwrap_or(u64::MAX))
            / 1000;
        act(slot, share.saturating_add(floor), &mut window)
    }
}

impl Window {
    /// One whose newest slot has `counts`.
    fn new(start: Option<Instant>, counts: Counts) -> Self {
        let mut slots = [Counts::default(); SLOTS as usize];
        slots[0] = counts;
        Self { start, newest: 0, slots, sum: counts }
    }

    /// Counts out what has passed; the slot for `now`.
    fn advance(&mut self, now: Instant, length: Duration) -> usize {
        let start = *self.start.get_or_insert(now);
        let nanos = (length.as_nanos() / u128::from(SLOTS)).max(1);
        let passed = now.saturating_duration_since(start).as_nanos() / nanos;
        // An `Instant` read by another thread a moment ago may lie a slot back: it counts as newest.
        let newest = u64::try_from(passed).unwrap_or(u64::MAX).max(self.newest);
        for stale in (self.newest + 1..=newest).take(SLOTS as usize) {
            if let Some(slot) = self.slots.get_mut((stale % SLOTS) as usize) {
                self.sum.requests -= slot.requests;
                self.sum.repeats -= slot.repeats;
                *slot = Counts::default();
            }
        }
        self.newest = newest;
        (newest % SLOTS) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(percent: u32, floor_per_second: u32) -> Budget {
        Budget::new(BudgetSettings { percent, floor_per_second, ..BudgetSettings::default() })
            .unwrap()
    }

    #[test]
    fn a_share_of_the_requests_and_a_floor() {
        let (budget, now) = (budget(20, 1), Instant::now());
        (0..100).for_each(|_| budget.deposit(now));
        assert_eq!(budget.left(now), 30);
        assert_eq!((0..100).filter(|_| budget.clone().withdraw(now)).count(), 30);
        assert_eq!(budget.left(now), 0);
        assert_eq!(
            budget.left(now + Duration::from_secs(10)),
            10,
            "repeats pass out of the window"
        );
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let (budget, now) = (budget(50, 0), Instant::now());
        (0..10).for_each(|_| budget.deposit(now));
        assert_eq!(budget.left(now + Duration::from_secs(9)), 5);
        assert_eq!(budget.left(now + Duration::from_secs(10)), 0);
        budget.deposit(now + Duration::from_secs(100_000));
        budget.deposit(now + Duration::from_secs(100_000));
        assert_eq!(budget.left(now + Duration::from_secs(100_000)), 1);
        budget.deposit(now); // a clock that seems to go back does no harm
    }

    #[test]
    fn goes_on_under_other_settings() {
        let (old, now) = (budget(50, 0), Instant::now());
        (0..10).for_each(|_| old.deposit(now));
        assert!((0..4).all(|_| old.withdraw(now)));
        let same =
            BudgetSettings { percent: 100, floor_per_second: 0, ..BudgetSettings::default() };
        let new = old.under(same, now).unwrap();
        assert_eq!((old.left(now), new.left(now)), (1, 6));
        assert!(new.withdraw(now));
        assert_eq!(old.left(now), 0, "requests under way go by the same count");
        let longer = BudgetSettings { window: Duration::from_secs(20), ..same };
        let later = now + Duration::from_secs(5);
        let new = old.under(longer, later).unwrap();
        assert_eq!(new.left(later + Duration::from_secs(19)), 5);
        assert_eq!(new.left(later + Duration::from_secs(20)), 0);
        assert!(old.under(BudgetSettings { window: Duration::ZERO, ..same }, now).is_err());
    }

    #[test]
    fn windows_are_checked() {
        for window in [Duration::ZERO, Duration::MAX] {
            assert!(Budget::new(BudgetSettings { window, ..BudgetSettings::default() }).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_more_repeats_than_allowed(
            percent in 0..200_u32, floor in 0..5_u32,
            steps in prop::collection::vec((0..3000_u64, prop::bool::ANY), 1..200),
        ) {
            let budget = budget(percent, floor);
            let mut now = Instant::now();
            let (mut requests, mut granted) = (0_u64, Vec::new());
            for (millis, repeat) in steps {
                now += Duration::from_millis(millis);
                if !repeat {
                    budget.deposit(now);
                    requests += 1;
                } else if budget.withdraw(now) {
                    granted.push(now);
                }
                // In any 9 s (the window less its youngest slot), never above the whole of what was earned.
                let recent = granted.iter().filter(|at| now - **at < Duration::from_secs(9)).count();
                prop_assert!(recent as u64 <= requests * u64::from(percent) / 100 + u64::from(floor) * 10);
            }
        }
    }
}
