use std::time::Duration;

use super::measures::Part;
use crate::Quantiles;

/// Buckets to each doubling of time. A bucket [a, b] stands for its harmonic mean, which is wrong
/// by (b - a) / (b + a) at most: 1/21, or 4.8 %.
const STEPS: u64 = 10;
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 600_000_000;
/// 19 doublings lie between the shortest and the longest time, and two steps of the twentieth.
const BUCKETS: usize = 192;

/// The time that each bucket stands for.
static TIMES: [Duration; BUCKETS] = times();

const fn times() -> [Duration; BUCKETS] {
    let mut times = [Duration::ZERO; BUCKETS];
    let mut bucket = 0;
    while bucket < BUCKETS {
        let (doublings, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
        let (low, high) = (STEPS + step, STEPS + step + 1);
        let mean = (SHORTEST << doublings) * 2 * low * high / (STEPS * (low + high));
        times[bucket] = Duration::from_micros(if mean < LONGEST { mean } else { LONGEST });
        bucket += 1;
    }
    times
}

/// Times from 1 ms to 10 min in logarithmic buckets: quantiles within 5 % of the exact ones, in 776
/// bytes. Shorter and longer times count as the shortest and the longest.
///
/// ```
/// use std::time::Duration;
/// use tollway_route::facts::Sketch;
///
/// let (mut one, mut other) = (Sketch::default(), Sketch::default());
/// (1..=90).for_each(|_| one.add(Duration::from_millis(200)));
/// (1..=10).for_each(|_| other.add(Duration::from_secs(4)));
/// one.merge(&other);
/// let quantiles = one.quantiles().unwrap();
/// assert!(quantiles.p50.abs_diff(Duration::from_millis(200)) <= Duration::from_millis(10));
/// assert!(quantiles.p95.abs_diff(Duration::from_secs(4)) <= Duration::from_millis(200));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    counts: [u32; BUCKETS],
    count: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], count: 0 }
    }
}

impl Sketch {
    /// Adds one time.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        if let Some(count) = self.counts.get_mut(bucket_of(micros)) {
            *count = count.saturating_add(1);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Adds all times of `other`, as if each had been added here.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.count = self.count.saturating_add(other.count);
    }

    /// How many times were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time that this share of all, per mille, did not exceed; `None`: there are none.
    pub fn quantile(&self, per_mille: u32) -> Option<Duration> {
        self.mark(per_mille).and_then(time_of)
    }

    /// The three that are looked at most; `None`: there are no times.
    pub fn quantiles(&self) -> Option<Quantiles> {
        quantiles_of(self.marks())
    }

    /// The buckets of the three.
    pub(super) fn marks(&self) -> [u8; 3] {
        [500, 950, 990].map(|per_mille| self.mark(per_mille).unwrap_or(NO_MARK))
    }

    fn mark(&self, per_mille: u32) -> Option<u8> {
        if self.count == 0 {
            return None;
        }
        let rank = u128::from(self.count) * u128::from(per_mille.min(1000));
        let rank = u64::try_from(rank.div_ceil(1000)).unwrap_or(self.count).max(1);
        let mut below = 0;
        let reached = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        u8::try_from(reached.unwrap_or(BUCKETS - 1)).ok()
    }
}

impl Part for Sketch {
    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }
}

/// Stands where there is no quantile.
pub(super) const NO_MARK: u8 = u8::MAX;

/// The quantiles that three buckets stand for, `None` if one is [`NO_MARK`].
pub(super) fn quantiles_of([p50, p95, p99]: [u8; 3]) -> Option<Quantiles> {
    Some(Quantiles { p50: time_of(p50)?, p95: time_of(p95)?, p99: time_of(p99)? })
}

fn time_of(bucket: u8) -> Option<Duration> {
    TIMES.get(usize::from(bucket)).copied()
}

fn bucket_of(micros: u64) -> usize {
    let micros = micros.clamp(SHORTEST, LONGEST);
    let doublings = (micros / SHORTEST).ilog2();
    let step = micros * STEPS / (SHORTEST << doublings) - STEPS;
    (u64::from(doublings) * STEPS + step) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_bucket_and_the_last_is_used() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(SHORTEST), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert!(TIMES.is_sorted());
    }

    #[test]
    fn each_bucket_is_within_five_percent_of_its_ends() {
        for micros in (SHORTEST..LONGEST).step_by(7_919) {
            let told = TIMES[bucket_of(micros)].as_micros() as f64;
            let error = (told - micros as f64).abs() / micros as f64;
            assert!(error <= 0.05, "{micros} is told as {told}");
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Sketch::default().quantiles(), None);
        assert_eq!(Sketch::default().quantile(500), None);
    }
}
