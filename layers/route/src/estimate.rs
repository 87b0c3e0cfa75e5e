use std::time::Duration;

use tollway_core::Usd;

use crate::{Figures, Of, Quantiles, Query, Traits, strategy::Told};

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
    /// One more sample is due.
    pub(crate) stale: bool,
    /// Nano-dollars to expect, with what fails.
    pub(crate) dearness: Option<f32>,
    /// Seconds; `None`: nothing is known.
    pub(crate) peak: Option<f32>,
}

impl Estimate {
    /// `usual`: tokens of the replies that its caller usually gets.
    pub(crate) fn new(
        figures: &Figures,
        traits: &Traits,
        (query, usual): (&Query<'_>, Option<f32>),
    ) -> Self {
        let nanos = |times: Quantiles| u64::try_from(times.p95.as_nanos()).unwrap_or(u64::MAX);
        let p95 = [figures.first_token, figures.whole]
            .map(|times| times.map_or(0, nanos).max(times.is_some().into()));
        let own = usual.zip(figures.wordiness).map(|(usual, wordiness)| usual * wordiness);
        let output = own.or(figures.output_tokens);
        let cost = query.ask.and_then(|ask| traits.cost(ask, output, figures.cached_share));
        let success = sound(figures.success).clamp(LEAST_SUCCESS, 1.0);
        let crowd = crowd(figures.in_flight as f32, figures.usual_in_flight);
        Self {
            p95,
            slowed: crowd / success,
            cost,
            samples: figures.samples,
            in_flight: figures.in_flight,
            stale: figures.stale,
            dearness: cost.map(|cost| cost.nanos() as f32 / success),
            peak: (figures.peak_ewma > 0.0).then_some(figures.peak_ewma),
        }
    }

    /// The 95th percentile; `None`: too little is known.
    pub(crate) fn latency(&self, of: Of) -> Option<Duration> {
        self.nanos(of).map(Duration::from_nanos)
    }

    fn nanos(&self, of: Of) -> Option<u64> {
        let [first_token, whole] = self.p95;
        let nanos = match of {
            Of::FirstToken => first_token,
            Of::Whole => whole,
        };
        (nanos > 0).then_some(nanos)
    }

    /// The figures as they are told.
    pub(crate) fn told(&self, of: Of) -> Told {
        let time = self.nanos(of).map(|nanos| nanos as f64);
        Told { time, cost: self.cost.map(|cost| cost.nanos() as f64) }
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

/// How much longer it takes when more is under way than usual, and how much shorter when less is: in
/// proportion to what is beyond the ups and downs of chance (1.5 times the root of the mean). So load
/// spreads before the times tell, and comes back to whom it has left.
fn crowd(now: f32, usual: f32) -> f32 {
    let usual = usual.max(0.0) + 1.0;
    let chance = 1.5 * usual.sqrt();
    let more = (now - usual - chance).max(0.0);
    let less = (usual - now - 1.0 - chance).max(0.0);
    1.0 + (more - less) / usual
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unusual_crowd_counts() {
        assert_eq!(crowd(0.0, 0.0), 1.0);
        assert_eq!((crowd(7.0, 3.0), crowd(9.0, 15.0)), (1.0, 1.0), "chance");
        assert_eq!(crowd(11.0, 3.0), 2.0);
        assert_eq!(crowd(0.0, 15.0), 1.0 - 9.0 / 16.0);
        assert!(crowd(0.0, 1e9) > 0.0);
        assert!(crowd(1e9, f32::NAN) > 1.0, "no figure can make it no number");
    }
}
