use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderValue;

/// A request's id: 24 hex digits, unique in this process and, by a random half, among processes.
///
/// Made without a system call; ids of one process sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    process: u64,
    number: u32,
}

static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
static NEXT: AtomicU64 = AtomicU64::new(1);

impl RequestId {
    /// The next id.
    pub fn next() -> Self {
        // The counter's upper half goes into the process half, so it never wraps.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { process: PROCESS.wrapping_add(number >> 32), number: number as u32 }
    }

    /// Its twelve bytes.
    pub fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.process.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// As a header's value.
    pub fn header(self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'0'; 24];
        let bits = (u128::from(self.process) << 32) | u128::from(self.number);
        for (place, digit) in text.iter_mut().enumerate() {
            *digit = HEX[(bits >> (4 * (23 - place))) as usize & 0xf];
        }
        HeaderValue::from_bytes(&text).expect("hex digits are a valid header value")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.process, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_text_agree_and_differ_from_the_next() {
        let (one, two) = (RequestId::next(), RequestId::next());
        assert_eq!(one.header(), one.to_string());
        assert_ne!(one, two);
    }
}
