use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tollway_core::Usd;

use super::{
    Config, Nanos,
    health::Standing,
    measures::{HalfLife, Marks, Success},
    nanos,
};
use crate::{Figures, Health};

/// A slot's figures as its last writer left them, to be read without a lock. A reader may see one
/// figure of one moment beside another of the next.
#[derive(Debug)]
pub(super) struct Published {
    /// When success rate and peak were what they are told as.
    at: AtomicU64,
    /// When time alone changes the figures.
    changes_at: AtomicU64,
    marks: AtomicU64,
    success: AtomicU64,
    standing: AtomicU64,
    cost: AtomicU64,
    samples: AtomicU32,
    peak: AtomicU32,
    tokens_per_second: AtomicU32,
    output_tokens: AtomicU32,
    wordiness: AtomicU32,
    cached_share: AtomicU32,
    usual_in_flight: AtomicU32,
    /// When the latest sample came.
    sampled_at: AtomicU64,
    /// How to read them.
    rules: Rules,
}

/// What of the config a reader goes by.
#[derive(Debug, Default)]
struct Rules {
    success_fades: AtomicU32,
    peak_fades: AtomicU32,
    stale: AtomicU64,
    trickle: AtomicU32,
}

/// What a writer knows beside the figures that are means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest {
    pub(super) at: Nanos,
    pub(super) changes_at: Nanos,
    pub(super) marks: Marks,
    pub(super) success: Success,
    pub(super) standing: Standing,
    pub(super) peak: f32,
    pub(super) sampled_at: Nanos,
}

/// How figures grow old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fading {
    pub(super) success: HalfLife,
    pub(super) peak: HalfLife,
    /// Age of the latest sample at which one more is due.
    pub(super) stale: Nanos,
}

impl Fading {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            success: HalfLife::new(config.half_life),
            peak: HalfLife::new(config.peak_half_life),
            stale: nanos(config.window) / 5 * 4 / u64::from(config.min_samples.max(1)),
        }
    }
}

const NO_COST: u64 = u64::MAX;

impl Published {
    pub(super) fn new(config: &Config) -> Self {
        let published = Self {
            at: AtomicU64::default(),
            changes_at: AtomicU64::default(),
            marks: AtomicU64::default(),
            success: AtomicU64::default(),
            standing: AtomicU64::default(),
            cost: AtomicU64::default(),
            samples: AtomicU32::default(),
            peak: AtomicU32::default(),
            tokens_per_second: AtomicU32::default(),
            output_tokens: AtomicU32::default(),
            wordiness: AtomicU32::default(),
            cached_share: AtomicU32::default(),
            usual_in_flight: AtomicU32::default(),
            sampled_at: AtomicU64::default(),
            rules: Rules::default(),
        };
        published.read_by(config);
        let latest = Latest {
            at: 0,
            changes_at: Nanos::MAX,
            marks: Marks::NONE,
            success: Success::default(),
            standing: Standing::Healthy,
            peak: 0.0,
            sampled_at: 0,
        };
        published.write(&Figures::default(), &latest);
        published
    }

    /// Figures are read by this config from now on.
    pub(super) fn read_by(&self, config: &Config) {
        let (fading, rules) = (Fading::new(config), &self.rules);
        rules.success_fades.store(fading.success.to_bits(), Relaxed);
        rules.peak_fades.store(fading.peak.to_bits(), Relaxed);
        rules.stale.store(fading.stale, Relaxed);
        rules.trickle.store(config.health.trickle, Relaxed);
    }

    fn fading(&self) -> Fading {
        let half_life = |bits: &AtomicU32| HalfLife::from_bits(bits.load(Relaxed));
        Fading {
            success: half_life(&self.rules.success_fades),
            peak: half_life(&self.rules.peak_fades),
            stale: self.rules.stale.load(Relaxed),
        }
    }

    pub(super) fn write(&self, means: &Figures, latest: &Latest) {
        let float = |cell: &AtomicU32, value: f32| cell.store(value.to_bits(), Relaxed);
        let Success { good, all } = latest.success;
        self.at.store(latest.at, Relaxed);
        self.changes_at.store(latest.changes_at, Relaxed);
        self.marks.store(latest.marks.to_bits(), Relaxed);
        self.success.store(u64::from(good.to_bits()) << 32 | u64::from(all.to_bits()), Relaxed);
        self.standing.store(latest.standing.to_bits(), Relaxed);
        self.cost.store(means.cost.map_or(NO_COST, Usd::nanos), Relaxed);
        self.sampled_at.store(latest.sampled_at, Relaxed);
        self.samples.store(means.samples, Relaxed);
        float(&self.peak, latest.peak);
        float(&self.tokens_per_second, means.tokens_per_second.unwrap_or(f32::NAN));
        float(&self.output_tokens, means.output_tokens.unwrap_or(f32::NAN));
        float(&self.wordiness, means.wordiness.unwrap_or(f32::NAN));
        float(&self.cached_share, means.cached_share);
        float(&self.usual_in_flight, means.usual_in_flight);
    }

    /// Whether time alone has changed the figures since they were written.
    pub(super) fn is_behind(&self, now: Nanos) -> bool {
        now >= self.changes_at.load(Relaxed)
    }

    /// How the target stands, without its figures.
    pub(super) fn health(&self, now: Nanos, in_flight: u32) -> Health {
        let trickle = self.rules.trickle.load(Relaxed);
        Standing::from_bits(self.standing.load(Relaxed)).health(now, in_flight, trickle)
    }

    /// See [`Figures::wordiness`].
    pub(super) fn wordiness(&self) -> Option<f32> {
        Some(f32::from_bits(self.wordiness.load(Relaxed))).filter(|value| !value.is_nan())
    }

    pub(super) fn read(&self, now: Nanos, in_flight: u32) -> Figures {
        let fading = self.fading();
        let float = |cell: &AtomicU32| f32::from_bits(cell.load(Relaxed));
        let known = |cell: &AtomicU32| Some(float(cell)).filter(|value| !value.is_nan());
        let marks = Marks::from_bits(self.marks.load(Relaxed));
        let (whole, cost) = (marks.whole(), self.cost.load(Relaxed));
        let age = now.saturating_sub(self.at.load(Relaxed));
        let success = self.success.load(Relaxed);
        let success = Success {
            good: f32::from_bits((success >> 32) as u32),
            all: f32::from_bits(success as u32),
        };
        let success = match Standing::from_bits(self.standing.load(Relaxed)).is_on_trial(now) {
            true => Success::default(),
            false => success.decayed(fading.success.keeps(age)),
        };
        let median = whole.map_or(Duration::ZERO, |whole| whole.p50);
        Figures {
            samples: self.samples.load(Relaxed),
            first_token: marks.first_token(),
            whole,
            peak_ewma: (float(&self.peak) * fading.peak.keeps(age)).max(median.as_secs_f32()),
            success: success.share(),
            tokens_per_second: known(&self.tokens_per_second),
            cost: (cost != NO_COST).then(|| Usd::from_nanos(cost)),
            output_tokens: known(&self.output_tokens),
            wordiness: known(&self.wordiness),
            cached_share: float(&self.cached_share),
            in_flight,
            usual_in_flight: float(&self.usual_in_flight),
            stale: in_flight == 0
                && now.saturating_sub(self.sampled_at.load(Relaxed)) >= fading.stale,
            health: self.health(now, in_flight),
        }
    }
}
