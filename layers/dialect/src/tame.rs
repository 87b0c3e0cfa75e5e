//! JSON that is valid by RFC 8259, and that `serde_json` does not read: made readable without a
//! byte of it moving.

/// The same JSON, byte for byte as long, with -1 in the place of numbers that no double can hold
/// (`serde_json` reads every number it does not skip), and [mended](mend). `None` if that was not
/// what `error` is about.
pub(crate) fn tame(json: &[u8], error: &serde_json::Error) -> Option<Vec<u8>> {
    let number = error.to_string().starts_with("number out of range");
    if !number && !is_of_half(error) {
        return None;
    }
    let mut tamed = json.to_vec();
    each(json, |at, token| match token.first() {
        Some(b'"') => mend_string(tamed.get_mut(at..at + token.len()).unwrap_or_default()),
        _ if parse(token).is_some_and(f64::is_infinite) => {
            let place = tamed.get_mut(at..at + token.len()).unwrap_or_default();
            place.fill(b' ');
            place.iter_mut().zip(b"-1").for_each(|(byte, new)| *byte = *new);
        }
        _ => {}
    });
    Some(tamed)
}

/// The same JSON, byte for byte as long, with U+FFFD in the place of halves of letters (surrogates
/// that are not in pairs): many write them where they cut a text. `None` if that was not what
/// `error` is about.
pub(crate) fn mend(json: &[u8], error: &serde_json::Error) -> Option<Vec<u8>> {
    if !is_of_half(error) {
        return None;
    }
    let mut mended = json.to_vec();
    each(json, |at, token| {
        if token.starts_with(b"\"") {
            mend_string(mended.get_mut(at..at + token.len()).unwrap_or_default());
        }
    });
    Some(mended)
}

/// Whether a number in it is so small that a double would make it zero.
pub(crate) fn underflows(json: &[u8]) -> bool {
    let small = [&b"e-"[..], b"E-"].into_iter().any(|sign| {
        memchr::memmem::find_iter(json, sign).any(|at| {
            let digits = json.get(at + 2..at + 5).unwrap_or_default();
            digits.len() == 3 && digits.iter().all(u8::is_ascii_digit)
        })
    });
    let mut found = false;
    if small {
        each(json, |_, token| {
            let mantissa = token.split(|byte| matches!(byte, b'e' | b'E')).next();
            let nonzero =
                mantissa.unwrap_or_default().iter().any(|byte| (b'1'..=b'9').contains(byte));
            found |= !token.starts_with(b"\"") && nonzero && parse(token) == Some(0.0);
        });
    }
    found
}

fn is_of_half(error: &serde_json::Error) -> bool {
    let words = error.to_string();
    words.starts_with("lone leading surrogate") || words.starts_with("unexpected end of hex escape")
}

fn parse(number: &[u8]) -> Option<f64> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Visits each string, with its quotes, and each number, and tells where it begins.
fn each(json: &[u8], mut visit: impl FnMut(usize, &[u8])) {
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let rest = json.get(at..).unwrap_or_default();
        let len = match byte {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' => {
                let in_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                rest.iter().take_while(|byte| in_number(byte)).count()
            }
            _ => {
                at += 1;
                continue;
            }
        };
        visit(at, rest.get(..len).unwrap_or(rest));
        at += len;
    }
}

/// From one quote to the other.
fn string_len(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found + 1;
        match json.get(at - 1) {
            Some(b'\\') => at += 1,
            _ => return at,
        }
    }
    json.len()
}

fn mend_string(string: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', string.get(at..).unwrap_or_default()) {
        at += found;
        at += match (unit(string, at), unit(string, at + 6)) {
            (None, _) => 2,
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                let place = string.get_mut(at..at + 6).unwrap_or_default();
                place.iter_mut().zip(br"\ufffd").for_each(|(byte, new)| *byte = *new);
                6
            }
            (Some(_), _) => 6,
        };
    }
}

/// The UTF-16 unit that is escaped there.
fn unit(string: &[u8], at: usize) -> Option<u16> {
    let escape = string.get(at..)?.get(..6)?;
    let digits = std::str::from_utf8(escape.strip_prefix(br"\u")?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;

    use super::*;
    use crate::text::{Count, Mode, Walk};

    #[test]
    fn numbers_are_tamed_and_nothing_else() {
        for (json, tamed) in [
            ("[1e400]", Some("[-1   ]")),
            (
                r#"{"a\"1e400":"1e400\\","b":-1E+999,"c":2.5}"#,
                Some(r#"{"a\"1e400":"1e400\\","b":-1     ,"c":2.5}"#),
            ),
            ("[1e99999999999999999999,1e308]", Some("[-1                    ,1e308]")),
            ("[1e308]", None),
            ("[1e400x]", None),
            ("[1e-400]", None),
        ] {
            let read = |json: &[u8]| {
                let mut count = Count::default();
                let walk = Walk { count: &mut count, mode: Mode::Nothing };
                walk.deserialize(&mut serde_json::Deserializer::from_slice(json))
            };
            let Err(error) = read(json.as_bytes()) else {
                assert_eq!(tamed, None);
                continue;
            };
            let got = tame(json.as_bytes(), &error);
            match tamed {
                Some(tamed) => {
                    assert_eq!(std::str::from_utf8(&got.unwrap()), Ok(tamed));
                    read(tamed.as_bytes()).unwrap();
                }
                None => assert!(got.is_none_or(|got| read(&got).is_err())),
            }
        }
        // A string that never ends.
        let error = serde_json::from_str::<f64>("1e400").unwrap_err();
        assert_eq!(tame(b"[\"a\\", &error).unwrap(), b"[\"a\\");
    }

    #[test]
    fn half_a_letter_is_mended_and_nothing_else() {
        for (json, mended) in [
            (r#"["\ud83d"]"#, Some(r#"["\ufffd"]"#)),
            (r#"["\uDE00 \ud83d\ude00"]"#, Some(r#"["\ufffd \ud83d\ude00"]"#)),
            (
                r#"{"a\ud83d\u0041":"\ud83d\ud83d\ude00"}"#,
                Some(r#"{"a\ufffd\u0041":"\ufffd\ud83d\ude00"}"#),
            ),
            (r#"["\\ud83d\ude0"]"#, None),
            (r#"["\ud83d", 1e400]"#, Some(r#"["\ufffd", 1e400]"#)),
            (r#"["\ud83d\n", "x]"#, None),
            (r#"["\ud83d\ude00", "é"]"#, None),
        ] {
            let Err(error) = serde_json::from_str::<serde_json::Value>(json) else {
                assert_eq!(mended, None);
                continue;
            };
            let got = mend(json.as_bytes(), &error);
            match mended {
                Some(mended) => assert_eq!(std::str::from_utf8(&got.unwrap()), Ok(mended)),
                None => assert!(got.is_none_or(|got| {
                    serde_json::from_slice::<serde_json::Value>(&got).is_err()
                })),
            }
        }
        // Both at once.
        let both = br#"{"a":"\ud83d","b":1e400}"#;
        assert_eq!(crate::values::read::<serde_json::Value>(both).unwrap()["b"], -1);
    }
}
