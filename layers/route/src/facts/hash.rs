use std::hash::{BuildHasher, Hasher, RandomState};

/// A quick hasher for a table of some thousand names that clients may have a hand in: seeded by the
/// process, so that nobody outside can tell which of them collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for Seeded {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

/// Multiplies to 128 bits and folds the halves, eight bytes at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some((word, rest)) = bytes.split_first_chunk() {
            self.write_u64(u64::from_le_bytes(*word));
            bytes = rest;
        }
        let tail = bytes.iter().fold(1, |word, byte| word << 8 | u64::from(*byte));
        self.write_u64(tail);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, word: u64) {
        const ODD: u128 = 0x9E37_79B9_7F4A_7C15;
        let product = u128::from(self.0.rotate_left(23) ^ word) * ODD;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tells_like_names_apart() {
        let seeded = Seeded::default();
        let names = (0..20_000).map(|at| format!("provider-{}/model-{at}", at % 7));
        let hashes: HashSet<u64> = names.map(|name| seeded.hash_one(name)).collect();
        assert_eq!(hashes.len(), 20_000);
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xFFFF).collect();
        assert!(low.len() > 15_000, "{} of 65,536 low halves", low.len());
    }
}
