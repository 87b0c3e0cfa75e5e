use std::{error::Error, fmt};

use super::{Complexity, Feature, Judgement, Signals, feature::Each};

/// What one feature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Points of complexity for each count; below zero it speaks for a simple request.
    pub points: i32,
    /// Points of reasoning for each count.
    pub reasoning: i32,
    /// Counts above are as good as this one.
    pub at_most: u16,
}

/// How features add up to a [`Judgement`].
///
/// Each feature's count, cut at its `at_most`, is multiplied with its points; the sum is compared
/// with two thresholds for complexity, a second sum with one for reasoning. The defaults:
///
#[doc = include_str!("weights.md")]
///
/// ```
/// use tollway_route::auto::{Feature, Weight, Weights};
///
/// let mut weights = Weights::default();
/// weights.set(Feature::Images, Weight { points: 30, reasoning: 0, at_most: 4 });
/// weights.moderate = 25;
/// assert!(weights.check().is_ok());
/// weights.complex = 20;
/// assert_eq!(
///     weights.check().unwrap_err().to_string(),
///     "`complex` must be above `moderate`, but 20 is not above 25",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Points from which a request is moderate.
    pub moderate: i32,
    /// Points from which it is complex.
    pub complex: i32,
    /// Points of reasoning from which it asks for reasoning.
    pub reasoning: i32,
    each: Each<Weight>,
}

/// Points beyond are a mistake.
const MOST_POINTS: i32 = 10_000;

impl Default for Weights {
    fn default() -> Self {
        let mut weights = Self {
            moderate: 16,
            complex: 60,
            reasoning: 20,
            each: Each::all(Weight { points: 0, reasoning: 0, at_most: 1 }),
        };
        for (feature, points, reasoning, at_most) in DEFAULTS {
            weights.set(feature, Weight { points, reasoning, at_most });
        }
        weights
    }
}

/// Points, points of reasoning, and the count that is the most.
const DEFAULTS: [(Feature, i32, i32, u16); 26] = [
    (Feature::AskLength, 6, 0, 3),
    (Feature::PromptLength, 2, 0, 8),
    (Feature::Turns, 5, 0, 4),
    (Feature::Tools, 5, 0, 6),
    (Feature::Images, 6, 0, 4),
    (Feature::Schema, 12, -6, 1),
    (Feature::Code, 1, 0, 4),
    (Feature::Trace, 12, 4, 3),
    (Feature::Maths, 5, 8, 3),
    (Feature::Figures, 4, 4, 4),
    (Feature::Proof, 54, 26, 2),
    (Feature::Reasoning, 10, 13, 2),
    (Feature::Analysis, 15, -3, 4),
    (Feature::Design, 16, 0, 3),
    (Feature::Task, 9, 0, 2),
    (Feature::Topic, 10, 4, 4),
    (Feature::Constraints, 7, 5, 3),
    (Feature::Questions, 0, 1, 4),
    (Feature::Items, 2, 0, 6),
    (Feature::LengthAsked, 6, -3, 5),
    (Feature::Trivial, -17, -8, 2),
    (Feature::Brief, -10, -4, 2),
    (Feature::Context, 4, 1, 5),
    (Feature::Earlier, 12, 8, 4),
    (Feature::Narrow, -10, -6, 2),
    (Feature::Clauses, 2, 0, 8),
];

impl Weights {
    /// What a feature is worth.
    pub fn get(&self, feature: Feature) -> Weight {
        self.each.get(feature)
    }

    /// Says what a feature is worth.
    pub fn set(&mut self, feature: Feature, weight: Weight) {
        *self.each.get_mut(feature) = weight;
    }

    /// Whether they can be meant.
    ///
    /// # Errors
    ///
    /// `complex` is not above `moderate`, or points are beyond 10,000 either way.
    pub fn check(&self) -> Result<(), WeightsError> {
        if self.complex <= self.moderate {
            return Err(WeightsError::Order { moderate: self.moderate, complex: self.complex });
        }
        for feature in Feature::ALL {
            let weight = self.get(feature);
            for points in [weight.points, weight.reasoning] {
                if points.unsigned_abs() > MOST_POINTS.unsigned_abs() {
                    return Err(WeightsError::Points { feature, points });
                }
            }
        }
        Ok(())
    }

    /// Judges what was found. Deterministic: the same signals, the same judgement.
    pub fn score(&self, signals: &Signals) -> Judgement {
        let (mut score, mut reasoning) = (0_i32, 0_i32);
        let mut because: [Option<(Feature, i32)>; 3] = [None; 3];
        for feature in Feature::ALL {
            let weight = self.get(feature);
            let count = i32::from(signals.count(feature).min(weight.at_most));
            let points = count.saturating_mul(weight.points);
            score = score.saturating_add(points);
            reasoning = reasoning.saturating_add(count.saturating_mul(weight.reasoning));
            if points != 0 {
                rank(&mut because, (feature, points));
            }
        }
        let complexity = match score {
            score if score >= self.complex => Complexity::Complex,
            score if score >= self.moderate => Complexity::Moderate,
            _ => Complexity::Simple,
        };
        Judgement { complexity, reasoning: reasoning >= self.reasoning, score, because }
    }
}

/// Puts a feature where it belongs among those that weigh most.
fn rank(because: &mut [Option<(Feature, i32)>], mut new: (Feature, i32)) {
    for place in because {
        match place {
            Some(old) if old.1.unsigned_abs() >= new.1.unsigned_abs() => {}
            Some(old) => std::mem::swap(old, &mut new),
            None => {
                *place = Some(new);
                return;
            }
        }
    }
}

/// Weights that can't be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsError {
    /// The thresholds stand in the wrong order.
    Order {
        /// The lower one.
        moderate: i32,
        /// The one that has to be above it.
        complex: i32,
    },
    /// More than anybody means.
    Points {
        /// Whose points they are.
        feature: Feature,
        /// How many.
        points: i32,
    },
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { moderate, complex } => write!(
                f,
                "`complex` must be above `moderate`, but {complex} is not above {moderate}"
            ),
            Self::Points { feature, points } => write!(
                f,
                "points must lie between -{MOST_POINTS} and {MOST_POINTS}, but `{feature}` has \
                 {points}"
            ),
        }
    }
}

impl Error for WeightsError {}
