use std::{
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

/// Where the jitter comes from: uniform 64-bit numbers. A closure `Fn() -> u64` is one, so a test
/// can fix the dice.
pub trait Random: Send + Sync {
    /// The next number, uniform over all of `u64`.
    fn next(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync> Random for F {
    fn next(&self) -> u64 {
        self()
    }
}

/// The default source: SplitMix64 on one atomic, seeded from the process's hash seed.
///
/// Good enough to spread retries; not for secrets.
#[derive(Debug)]
pub struct SplitMix(AtomicU64);

impl SplitMix {
    /// A source that always gives the same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Default for SplitMix {
    fn default() -> Self {
        Self::from_seed(std::collections::hash_map::RandomState::new().build_hasher().finish())
    }
}

impl Random for SplitMix {
    fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A number in `0..=most`, spread evenly.
pub(crate) fn below(most: u64, random: &dyn Random) -> u64 {
    let scaled = ((u128::from(most) + 1) * u128::from(random.next())) >> 64;
    u64::try_from(scaled).unwrap_or(most)
}
