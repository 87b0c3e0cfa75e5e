use std::time::Duration;

use super::{config::SimulateConfig, control::Control, random::Random};

/// Where in a reply a fault falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the reply's head.
    Head,
    /// After the head, before the first event.
    First,
    /// After this many content events, or after the last one.
    After(u32),
}

/// What goes wrong with a reply that says 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Stall(Place),
    Reset(Place),
    Truncate(Place),
    Malformed(Place),
    LateError(Place),
}

impl Fault {
    pub(super) fn place(&self) -> Place {
        match *self {
            Self::Stall(place)
            | Self::Reset(place)
            | Self::Truncate(place)
            | Self::Malformed(place)
            | Self::LateError(place) => place,
        }
    }
}

/// How fast content comes, counted from the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) interval: Duration,
}

impl Pace {
    pub(super) fn is_paced(&self) -> bool {
        !self.first.is_zero() || !self.interval.is_zero()
    }

    /// When token `n` (the first is 0) comes.
    pub(super) fn at(&self, n: u32) -> Duration {
        self.first.saturating_add(self.interval.saturating_mul(n))
    }
}

/// An error to answer with, decided before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Status(u16),
    Quota,
}

/// All that was decided about one request: the policy of the provider, with what the request asked
/// for itself laid over it.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub(super) latency: Duration,
    pub(super) pace: Pace,
    pub(super) output_tokens: u32,
    pub(super) refusal: Option<Refusal>,
    pub(super) fault: Option<Fault>,
    pub(super) control: Option<Box<Control>>,
}

impl Fate {
    pub(super) fn decide(
        config: &SimulateConfig,
        control: Option<Box<Control>>,
        random: &mut Random,
    ) -> Self {
        let asked = control.as_deref();
        let latency = asked.and_then(|c| c.latency).unwrap_or_else(|| jittered(config, random));
        let speed = asked.and_then(|c| c.tps).or(config.tokens_per_second);
        let pace = Pace {
            first: asked.and_then(|c| c.ttft).unwrap_or(config.time_to_first_token),
            interval: speed.map_or(Duration::ZERO, interval),
        };
        let output_tokens = asked.and_then(|c| c.output_tokens).unwrap_or(config.output_tokens);
        let by_chance = by_chance(config, output_tokens, random);
        let (refusal, fault) = match asked {
            Some(c) if c.quota => (Some(Refusal::Quota), None),
            Some(c) if c.status.is_some() => (c.status.map(Refusal::Status), None),
            Some(c) if c.fault.is_some() => (None, c.fault),
            // A request that says how it is to be answered is answered so.
            Some(_) => (None, None),
            None => by_chance,
        };
        Self { latency, pace, output_tokens, refusal, fault, control }
    }
}

fn interval(tokens_per_second: f64) -> Duration {
    let seconds = 1.0 / tokens_per_second;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

fn jittered(config: &SimulateConfig, random: &mut Random) -> Duration {
    if config.jitter <= 0.0 || config.latency.is_zero() {
        return config.latency;
    }
    let factor = 1.0 + config.jitter.min(1.0) * (2.0 * random.share() - 1.0);
    config.latency.mul_f64(factor.max(0.0))
}

/// What falls on this request by the configured rates; the first that does, in the order of the
/// fields. Every rate draws its number, so that changing one moves none of the others.
fn by_chance(
    config: &SimulateConfig,
    output_tokens: u32,
    random: &mut Random,
) -> (Option<Refusal>, Option<Fault>) {
    let none = [
        config.error_rate,
        config.stall_rate,
        config.reset_rate,
        config.truncate_rate,
        config.malformed_rate,
        config.late_error_rate,
    ];
    if none.iter().all(|rate| *rate <= 0.0) {
        return (None, None);
    }
    let [error, stall, reset, truncate, malformed, late] = none.map(|rate| random.happens(rate));
    let somewhere = random.below(u64::from(output_tokens) + 2);
    let place = match u32::try_from(somewhere).unwrap_or(u32::MAX) {
        0 => Place::Head,
        n => Place::After(n - 1),
    };
    let inside = if place == Place::Head { Place::First } else { place };
    let fault = if stall {
        Some(Fault::Stall(place))
    } else if reset {
        Some(Fault::Reset(place))
    } else if truncate {
        Some(Fault::Truncate(inside))
    } else if malformed {
        Some(Fault::Malformed(inside))
    } else if late {
        Some(Fault::LateError(inside))
    } else {
        None
    };
    if error { (Some(Refusal::Status(config.error_status)), None) } else { (None, fault) }
}
