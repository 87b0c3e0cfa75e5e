use bytes::{BufMut, Bytes, BytesMut};

use super::random::Random;

/// The date of everything, in Unix seconds (2025-11-22): replies never depend on the clock.
pub(super) const CREATED: u64 = 1_763_800_000;

/// Writes `text` as the inside of a JSON string.
pub(super) fn escaped(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.put_slice(bytes.get(from..at).unwrap_or_default());
        from = at + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.put_slice(b"\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    out.put_u8(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
                }
            }
        }
    }
    out.put_slice(bytes.get(from..).unwrap_or_default());
}

/// Writes `text` as a JSON string.
pub(super) fn string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    escaped(out, text);
    out.put_u8(b'"');
}

/// Writes a whole number in decimal.
pub(super) fn number(out: &mut BytesMut, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut length = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        length += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(digits.get(20 - length..).unwrap_or_default());
}

/// Standard base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4usize {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            let letter = if digit <= group.len() { ALPHABET.get(index) } else { None };
            text.push(char::from(letter.copied().unwrap_or(b'=')));
        }
    }
    text
}

/// An id's 24 hex digits.
pub(super) fn hex(random: &mut Random) -> impl Iterator<Item = u8> + use<> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (random.next(), random.next());
    (0..24u32).map(move |n| {
        let nibble = if n < 16 { high >> (4 * n) } else { low >> (4 * (n - 16)) } & 15;
        HEX.get(nibble as usize).copied().unwrap_or(b'0')
    })
}

/// The bytes of a value made by `json!`.
pub(super) fn json(value: &serde_json::Value) -> Bytes {
    Bytes::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn strings_and_numbers_read_back(text: String, value: u64) {
            let mut out = BytesMut::new();
            string(&mut out, &text);
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            number(&mut out, value);
            proptest::prop_assert_eq!(serde_json::from_slice::<u64>(&out).unwrap(), value);
        }
    }
}
