use std::time::Duration;

use tollway_core::{Usage, Usd};

use super::{Sketch, nanos, sketch};
use crate::{Figures, Quantiles};

/// What can be kept in parts that are added up.
pub(super) trait Part: Default {
    fn merge(&mut self, other: &Self);
}

/// A reply that came to its end, or a timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) whole: Duration,
    pub(super) first_token: Option<Duration>,
    /// Other requests that were under way as it began.
    pub(super) beside: u32,
    /// Tokens that whoever asked usually gets.
    pub(super) usual: Option<f32>,
    pub(super) usage: Option<Usage>,
    pub(super) cost: Option<Usd>,
}

/// Sums over samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Measures {
    first_token: Sketch,
    whole: Sketch,
    beside: u64,
    priced: u64,
    cost: u64,
    metered: u64,
    input: u64,
    cached: u64,
    output: u64,
    /// Output of those whose askers' usual lengths were known, and the sum of these.
    told: u64,
    foretold: u64,
    /// Output after the first token, and the nanoseconds it took.
    streamed: u64,
    streaming: u64,
}

/// No reply is longer; keeps one false report from spoiling the sums for good.
const MOST_TOKENS: u64 = 100_000_000;
/// A reply this many times as long as usual, and any longer one, counts as no longer.
const OUT_OF_THE_ORDINARY: f32 = 4.0;
/// What comes faster after its first token came all at once, and tells no speed.
const AT_ONCE: Duration = Duration::from_millis(1);

impl Measures {
    pub(super) fn add(&mut self, sample: &Sample) {
        self.whole.add(sample.whole);
        self.beside = self.beside.saturating_add(sample.beside.into());
        if let Some(first_token) = sample.first_token {
            self.first_token.add(first_token);
        }
        if let Some(cost) = sample.cost {
            self.priced += 1;
            self.cost = self.cost.saturating_add(cost.nanos());
        }
        let Some(usage) = sample.usage else { return };
        let tokens = |tokens: u64| tokens.min(MOST_TOKENS);
        self.metered += 1;
        self.input = self.input.saturating_add(tokens(usage.input));
        self.cached = self.cached.saturating_add(tokens(usage.cached.min(usage.input)));
        self.output = self.output.saturating_add(tokens(usage.output));
        if let Some(usual) = sample.usual {
            // One reply out of the ordinary says nothing of all others.
            let most = (usual * OUT_OF_THE_ORDINARY).round() as u64;
            self.told = self.told.saturating_add(tokens(usage.output.min(most)));
            self.foretold = self.foretold.saturating_add(tokens(usual.round() as u64));
        }
        let streaming = sample.first_token.map(|first| sample.whole.saturating_sub(first));
        if let Some(streaming) = streaming.filter(|time| *time >= AT_ONCE && usage.output > 1) {
            self.streamed = self.streamed.saturating_add(tokens(usage.output - 1));
            self.streaming = self.streaming.saturating_add(nanos(streaming));
        }
    }

    pub(super) fn samples(&self) -> u32 {
        u32::try_from(self.whole.count()).unwrap_or(u32::MAX)
    }

    /// The quantiles that rest on enough samples.
    pub(super) fn marks(&self, min_samples: u32) -> Marks {
        let enough = |sketch: &Sketch| match sketch.count() >= u64::from(min_samples) {
            true => sketch.marks(),
            false => [sketch::NO_MARK; 3],
        };
        Marks { first_token: enough(&self.first_token), whole: enough(&self.whole) }
    }

    /// Requests that were under way, in the mean.
    pub(super) fn usual_in_flight(&self) -> f32 {
        mean(self.beside, self.whole.count()).unwrap_or(0.0)
    }

    /// All figures that are means, the others as if nothing were known.
    pub(super) fn means(&self) -> Figures {
        Figures {
            samples: self.samples(),
            tokens_per_second: mean(self.streamed, self.streaming).map(|rate| rate * 1e9),
            cost: self.cost.checked_div(self.priced).map(Usd::from_nanos),
            output_tokens: mean(self.output, self.metered),
            wordiness: mean(self.told, self.foretold).map(|ratio| ratio.clamp(0.05, 20.0)),
            cached_share: mean(self.cached, self.input).unwrap_or(0.0),
            usual_in_flight: self.usual_in_flight(),
            ..Figures::default()
        }
    }
}

fn mean(sum: u64, of: u64) -> Option<f32> {
    (of > 0).then(|| (sum as f64 / of as f64) as f32)
}

impl Part for Measures {
    fn merge(&mut self, other: &Self) {
        self.first_token.merge(&other.first_token);
        self.whole.merge(&other.whole);
        let sums = [
            (&mut self.beside, other.beside),
            (&mut self.priced, other.priced),
            (&mut self.cost, other.cost),
            (&mut self.metered, other.metered),
            (&mut self.input, other.input),
            (&mut self.cached, other.cached),
            (&mut self.output, other.output),
            (&mut self.told, other.told),
            (&mut self.foretold, other.foretold),
            (&mut self.streamed, other.streamed),
            (&mut self.streaming, other.streaming),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Quantiles by their sketch's buckets: six bytes, so that they are written and read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    first_token: [u8; 3],
    whole: [u8; 3],
}

impl Marks {
    pub(super) const NONE: Self =
        Self { first_token: [sketch::NO_MARK; 3], whole: [sketch::NO_MARK; 3] };

    pub(super) fn first_token(self) -> Option<Quantiles> {
        sketch::quantiles_of(self.first_token)
    }

    pub(super) fn whole(self) -> Option<Quantiles> {
        sketch::quantiles_of(self.whole)
    }

    pub(super) fn to_bits(self) -> u64 {
        let ([a, b, c], [d, e, f]) = (self.first_token, self.whole);
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, ..] = bits.to_le_bytes();
        Self { first_token: [a, b, c], whole: [d, e, f] }
    }
}

/// Shares that halve with time: how many succeeded, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Success {
    pub(super) good: f32,
    pub(super) all: f32,
}

impl Success {
    pub(super) fn add(&mut self, ok: bool) {
        self.good += f32::from(u8::from(ok));
        self.all += 1.0;
    }

    pub(super) fn decayed(self, keep: f32) -> Self {
        Self { good: self.good * keep, all: self.all * keep }
    }

    /// The share, as if one success had been seen before all else: with time and nothing new the
    /// benefit of the doubt comes back.
    pub(super) fn share(self) -> f32 {
        (self.good + 1.0) / (self.all + 1.0)
    }
}

/// How fast weights fade.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfLife {
    per_nano: f32,
}

impl HalfLife {
    pub(super) fn new(time: Duration) -> Self {
        Self { per_nano: 1.0 / nanos(time).max(1) as f32 }
    }

    pub(super) fn to_bits(self) -> u32 {
        self.per_nano.to_bits()
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self { per_nano: f32::from_bits(bits) }
    }

    /// What is left of a weight of one after so many nanoseconds.
    pub(super) fn keeps(self, age: u64) -> f32 {
        (-(age as f32) * self.per_nano).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reply_out_of_the_ordinary_makes_no_target_wordy() {
        let mut measures = Measures::default();
        let mut reply = |output| {
            let mut usage = Usage::default();
            usage.output = output;
            measures.add(&Sample {
                whole: Duration::from_millis(1),
                first_token: None,
                beside: 0,
                usual: Some(5.0),
                usage: Some(usage),
                cost: None,
            });
        };
        (0..60).for_each(|_| reply(5));
        reply(2_000);
        let wordiness = measures.means().wordiness.unwrap();
        assert!((1.0..1.1).contains(&wordiness), "{wordiness}");
    }
}
