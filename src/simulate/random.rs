/// A small generator (SplitMix64, Steele et al. 2014): enough to scatter faults and words.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of numbers that belongs to item `n` under `seed`.
    pub(super) fn new(seed: u64, n: u64) -> Self {
        Self(mix(seed ^ mix(n.wrapping_add(1))))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Evenly spread over 0 (included) to 1 (excluded).
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens now.
    pub(super) fn happens(&mut self, rate: f64) -> bool {
        self.share() < rate
    }

    /// Below `end`, or 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number that belongs to these bytes (FNV-1a).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_share() {
        let hits = (0..10_000).filter(|n| Random::new(7, *n).happens(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert_eq!(Random::new(7, 3).next(), Random::new(7, 3).next());
        assert_ne!(Random::new(7, 3).next(), Random::new(8, 3).next());
    }
}
