use std::{fmt, time::Duration};

use tokio::time::Instant;
use tollway_core::Target;

use super::config::{ConfigError, first_broken, is_time};

/// How often a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Time from one probe to the next; a probe should give up sooner than that. Default 30 s.
    pub every: Duration,
    /// The most by which a wait is longer or shorter, per mille of it, at random. Default 100.
    pub jitter: u32,
    /// After each failed probe the wait doubles, up to this. Default 10 min.
    pub at_most: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), jitter: 100, at_most: Duration::from_secs(600) }
    }
}

impl Pacing {
    /// Whether probes can be paced by these settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that can't be, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        first_broken(&[
            (is_time(self.every), "every", "more than zero and at most 365 days"),
            (self.jitter <= 1000, "jitter", "0 to 1000 per mille"),
            (
                is_time(self.at_most) && self.at_most >= self.every,
                "at_most",
                "at least `every` and at most 365 days",
            ),
        ])
    }
}

/// When to probe which target. Sends nothing and has no clock: who does the sending asks
/// [`due`](Self::due) and tells [`report`](Self::report) (and the target's slot by
/// [`Slot::probed`](super::Slot::probed), as its health hangs on it).
///
/// `R` gives random numbers, uniform over all of `u64`.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use tollway_core::Target;
/// use tollway_route::facts::{Pacing, Probes};
///
/// let (start, groq) = (Instant::now(), Target::new("groq", "main", None));
/// let mut probes = Probes::new(|| u64::MAX / 2);
/// probes.watch(groq.clone(), Pacing::default(), start)?;
/// assert_eq!(probes.next(), Some(start + Duration::from_secs(15)), "spread over the first 30 s");
///
/// let now = start + Duration::from_secs(15);
/// assert_eq!(probes.due(now), [groq.clone()]);
/// probes.report(&groq, false, now);
/// assert_eq!(probes.next(), Some(now + Duration::from_secs(60)), "longer, as it is down");
/// # Ok::<_, tollway_route::facts::ConfigError>(())
/// ```
pub struct Probes<R> {
    random: R,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    target: Target,
    pacing: Pacing,
    next: Instant,
    /// In a row.
    failures: u32,
}

impl<R: FnMut() -> u64> Probes<R> {
    /// A schedule of no targets yet.
    pub fn new(random: R) -> Self {
        Self { random, watched: Vec::new() }
    }

    /// Probes `target` from now on; the first time at random within one interval, so that not all
    /// are probed at once. A target that is watched keeps its next time if that isn't later.
    ///
    /// # Errors
    ///
    /// Names the setting that no probes can be paced by.
    pub fn watch(
        &mut self,
        target: Target,
        pacing: Pacing,
        now: Instant,
    ) -> Result<(), ConfigError> {
        pacing.check()?;
        let next = now + part(pacing.every, (self.random)());
        match self.watched.iter_mut().find(|watched| watched.target == target) {
            Some(watched) => (watched.pacing, watched.next) = (pacing, watched.next.min(next)),
            None => self.watched.push(Watched { target, pacing, next, failures: 0 }),
        }
        Ok(())
    }

    /// Probes only those for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&Target) -> bool) {
        self.watched.retain(|watched| keep(&watched.target));
    }

    /// Those to probe now, the longest due first. Each is told once, then again after its wait,
    /// whether or not anybody reports.
    pub fn due(&mut self, now: Instant) -> Vec<Target> {
        let mut due: Vec<_> = self.watched.iter_mut().filter(|each| each.next <= now).collect();
        due.sort_by_key(|watched| watched.next);
        due.into_iter()
            .map(|watched| {
                watched.wait(now, &mut self.random);
                watched.target.clone()
            })
            .collect()
    }

    /// What came of a probe: after failures the waits grow, after a success they are as at first.
    pub fn report(&mut self, target: &Target, ok: bool, now: Instant) {
        let watched = self.watched.iter_mut().find(|watched| watched.target == *target);
        if let Some(watched) = watched {
            watched.failures = if ok { 0 } else { watched.failures.saturating_add(1) };
            watched.wait(now, &mut self.random);
        }
    }

    /// When a target is due next; `None`: there are none.
    pub fn next(&self) -> Option<Instant> {
        self.watched.iter().map(|watched| watched.next).min()
    }
}

impl<R> fmt::Debug for Probes<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("watched", &self.watched).finish_non_exhaustive()
    }
}

impl Watched {
    fn wait(&mut self, now: Instant, mut random: impl FnMut() -> u64) {
        let Pacing { every, jitter, at_most } = self.pacing;
        let growth = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let wait = every.saturating_mul(growth).min(at_most);
        let most = wait * jitter / 1000;
        self.next = now + (wait - most) + part(most * 2, random());
    }
}

/// The share of `whole` that a random number stands for.
fn part(whole: Duration, random: u64) -> Duration {
    whole.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::new(name, "main", None)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// With these dice: none, the middle, all.
    fn probes(dice: u64) -> (Probes<impl FnMut() -> u64>, Instant) {
        let (mut probes, start) = (Probes::new(move || dice), Instant::now());
        probes.watch(target("a"), Pacing::default(), start).unwrap();
        (probes, start)
    }

    #[test]
    fn waits_are_within_the_jitter() {
        for (dice, first, wait) in [(0, 0, 27), (u64::MAX, 30, 33)] {
            let (mut probes, start) = probes(dice);
            let now = start + seconds(first);
            assert_eq!(probes.due(now), [target("a")]);
            probes.report(&target("a"), true, now);
            assert_eq!(probes.next(), Some(now + seconds(wait)));
            assert_eq!(probes.due(now + seconds(wait) - Duration::from_millis(1)), []);
            assert_eq!(probes.due(now + seconds(wait)), [target("a")]);
        }
    }

    #[test]
    fn a_report_that_never_comes_stops_nothing() {
        let (mut probes, start) = probes(0);
        assert_eq!(probes.due(start), [target("a")]);
        assert_eq!(probes.due(start), []);
        assert_eq!(probes.due(start + seconds(27)), [target("a")]);
    }

    #[test]
    fn waits_double_while_it_is_down_and_have_an_end() {
        let (mut probes, start) = probes(u64::MAX / 2);
        for wait in [60, 120, 240, 480, 600, 600] {
            probes.report(&target("a"), false, start);
            let off = probes.next().unwrap().duration_since(start).abs_diff(seconds(wait));
            assert!(off < Duration::from_millis(1), "{wait}");
        }
        (0..100).for_each(|_| probes.report(&target("a"), false, start));
        probes.report(&target("a"), true, start);
        assert!(probes.next().unwrap() < start + seconds(31));
    }

    #[test]
    fn the_longest_due_comes_first_and_the_forgotten_never() {
        let (mut probes, start) = probes(0);
        probes.watch(target("b"), Pacing::default(), start - seconds(5)).unwrap();
        probes.watch(target("c"), Pacing::default(), start - seconds(9)).unwrap();
        assert_eq!(probes.due(start), [target("c"), target("b"), target("a")]);
        probes.retain(|each| *each == target("b"));
        assert_eq!(probes.due(start + seconds(60)), [target("b")]);
        // Watched anew under another pacing: not told twice as often.
        probes.watch(target("b"), Pacing::default(), start + seconds(60)).unwrap();
        assert_eq!(probes.due(start + seconds(60)).len(), 1);
        assert_eq!(probes.due(start + seconds(60)).len(), 0);
    }

    #[test]
    fn names_the_pacing_that_cannot_be() {
        let pacing = Pacing::default();
        let cases = [
            ("every", Pacing { every: Duration::ZERO, ..pacing }),
            ("jitter", Pacing { jitter: 1001, ..pacing }),
            ("at_most", Pacing { at_most: seconds(29), ..pacing }),
        ];
        for (setting, pacing) in cases {
            let mut probes = Probes::new(|| 0);
            let error = probes.watch(target("a"), pacing, Instant::now()).unwrap_err();
            assert_eq!((error.setting(), probes.next()), (setting, None));
        }
    }
}
