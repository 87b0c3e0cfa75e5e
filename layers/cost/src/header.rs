use std::io::Write;

use http::{HeaderName, HeaderValue};
use tollway_core::Usd;

/// Header of a reply that says what it cost, in USD as a plain decimal (`0.0228496`).
///
/// Only on replies whose usage and price are known when the head is sent: those that are not
/// streamed.
pub const COST_HEADER: HeaderName = HeaderName::from_static("x-tollway-cost-usd");

const NANOS: u64 = 1_000_000_000;

/// As [`Usd`] prints itself, without a `String` on the way: the value's own bytes are the one
/// allocation.
pub(crate) fn value(cost: Usd) -> Option<HeaderValue> {
    // 2^64 nanos have 11 digits before the point and 9 behind it.
    let mut buffer = [0; 21];
    let mut rest = &mut buffer[..];
    let (whole, nanos) = (cost.nanos() / NANOS, cost.nanos() % NANOS);
    write!(rest, "{whole}.{nanos:09}").ok()?;
    let unused = rest.len();
    let text = buffer.get(..buffer.len().saturating_sub(unused))?;
    let end = text.iter().rposition(|&digit| digit != b'0')?;
    // Up to the last digit that counts, without a point that nothing follows.
    let end = if text.get(end) == Some(&b'.') { end } else { end + 1 };
    HeaderValue::from_bytes(text.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn says_what_usd_says(nanos: u64, small in 0..3_000_000_000_u64, whole in 0..99_999_u64) {
            for nanos in [nanos, small, whole * NANOS, 0, u64::MAX] {
                let cost = Usd::from_nanos(nanos);
                proptest::prop_assert_eq!(value(cost).unwrap(), cost.to_string());
            }
        }
    }
}
