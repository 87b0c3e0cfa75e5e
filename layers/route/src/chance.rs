use std::sync::atomic::{AtomicU64, Ordering};

use tollway_core::PerMille;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that a seed decides. Threads share it without a lock.
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The same stream from here on, so that what it gives takes nothing from this one.
    pub(crate) fn fork(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    pub(crate) fn draw(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }

    /// One of `0..count`; 0 where there is none.
    pub(crate) fn below(&self, count: usize) -> usize {
        let wide = u128::from(self.draw()).wrapping_mul(count as u128);
        (wide >> 64) as usize
    }

    pub(crate) fn happens(&self, share: PerMille) -> bool {
        self.below(1000) < usize::from(share.get())
    }
}

/// Spreads a number over all 64 bits (the finisher of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same number for the same bytes, on every machine and in every run (FNV-1a).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
