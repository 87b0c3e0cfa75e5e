use std::time::Duration;

use tollway_core::Usd;

use crate::{Figures, Of, Quantiles, Query, Traits};

/// A place that always fails is not infinitely slow, or nothing could be compared with it.
const LEAST_SUCCESS: f32 = 0.05;

/// What a request would meet at one place. Many are made for each decision: the default is all
/// zeros, which costs next to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate {
    /// Nanoseconds of the 95th percentiles to the first token and to the end; 0: too little is
    /// known.
    p95: [u64; 2],
    /// By how much it takes longer, with what is under way and what fails.
    slowed: f32,
    pub(crate) cost: Option<Usd>,
    pub(crate) samples: u32,
    pub(crate) in_flight: u32,
    /// Nano-dollars to expect, with what fails.
    pub(crate) dearness: Option<f32>,
    /// Seconds; `None`: nothing is known.
    pub(crate) peak: Option<f32>,
}

impl Estimate {
    pub(crate) fn new(figures: &Figures, traits: &Traits, query: &Query<'_>) -> Self {
        let nanos = |times: Quantiles| u64::try_from(times.p95.as_nanos()).unwrap_or(u64::MAX);
        let p95 = [figures.first_token, figures.whole]
            .map(|times| times.map_or(0, nanos).max(times.is_some().into()));
        let cost =
            query.ask.and_then(|ask| traits.cost(ask, figures.output_tokens, figures.cached_share));
        let success = sound(figures.success).clamp(LEAST_SUCCESS, 1.0);
        let crowd = crowd(figures.in_flight as f32, figures.usual_in_flight);
        Self {
            p95,
            slowed: crowd / success,
            cost,
            samples: figures.samples,
            in_flight: figures.in_flight,
            dearness: cost.map(|cost| cost.nanos() as f32 / success),
            peak: (figures.peak_ewma > 0.0).then_some(figures.peak_ewma),
        }
    }

    /// The 95th percentile; `None`: too little is known.
    pub(crate) fn latency(&self, of: Of) -> Option<Duration> {
        let [first_token, whole] = self.p95;
        let nanos = match of {
            Of::FirstToken => first_token,
            Of::Whole => whole,
        };
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Seconds to expect, with what is under way and what fails.
    pub(crate) fn expected(&self, of: Of) -> Option<f32> {
        self.latency(of).map(|latency| latency.as_secs_f32() * self.slowed)
    }
}

/// What is no number is nobody's advantage.
fn sound(share: f32) -> f32 {
    if share.is_nan() { 0.0 } else { share }
}

/// How much longer it takes when more is under way than usual: in proportion to what is beyond the
/// ups and downs of chance (twice the root of the mean). So load spreads before the times tell.
fn crowd(now: f32, usual: f32) -> f32 {
    let usual = usual.max(0.0) + 1.0;
    if now <= usual {
        return 1.0;
    }
    let beyond = now - usual - 2.0 * usual.sqrt();
    1.0 + beyond.max(0.0) / usual
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unusual_crowd_counts() {
        assert_eq!(crowd(0.0, 0.0), 1.0);
        assert_eq!(crowd(14.0, 8.0), 1.0, "chance");
        assert_eq!(crowd(24.0, 8.0), 2.0);
        assert!(crowd(1e9, f32::NAN) > 1.0, "no figure can make it no number");
    }
}
