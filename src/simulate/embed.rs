//! Unit vectors that follow from a text alone, the same in every dialect.

use super::random::{Random, hash};

/// The vector of `text`, which is `tokens` long.
pub(super) fn vector(seed: u64, text: &str, tokens: u64, dimensions: u32) -> Vec<f32> {
    let mut random = Random::new(seed ^ hash(text.as_bytes()), tokens);
    let raw: Vec<f64> = (0..dimensions).map(|_| random.share() * 2.0 - 1.0).collect();
    let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
    raw.iter().map(|v| (v / length.max(f64::MIN_POSITIVE)) as f32).collect()
}
