//! Times, sizes, shares, counts, rates, prices.

use std::time::Duration;

use schemars::{Schema, json_schema};

use super::pattern;
use crate::policy::read::Scalar;

/// Splits `12.5ms` into digits and unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A plain decimal times `scale`, exactly; no float in between.
pub(in crate::policy) fn scaled(digits: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 18 {
        return None;
    }
    let tens = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let whole: u128 = whole.parse().ok()?;
    let all = whole.checked_mul(tens)?.checked_add(fraction)?.checked_mul(scale.into())?;
    (all % tens == 0).then(|| u64::try_from(all / tens).ok())?
}

/// A time.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Time(pub(in crate::policy) Duration);

const YEAR: Duration = Duration::from_secs(366 * 86_400);

fn unit(unit: &str) -> Option<Duration> {
    Some(match unit {
        "ms" => Duration::from_millis(1),
        "s" | "sec" | "second" | "seconds" => Duration::from_secs(1),
        "m" | "min" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hour" | "hours" => Duration::from_secs(3_600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        _ => return None,
    })
}

impl Time {
    /// However long it is.
    pub(in crate::policy) fn of_any_length(text: &str) -> Result<Self, String> {
        let (mut rest, mut total) = (text, Duration::ZERO);
        if text.is_empty() {
            return Err("is empty".into());
        }
        while !rest.is_empty() {
            let (digits, after) = split(rest);
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (word, next) = after.split_at(end);
            if digits.is_empty() {
                return Err("is not a time".into());
            }
            if word.is_empty() && next.is_empty() && rest == text {
                return match digits {
                    "0" => Ok(Self(Duration::ZERO)),
                    _ => Err("has no unit".into()),
                };
            }
            let one = unit(word).ok_or("has no unit of time that is known")?;
            let nanos = u64::try_from(one.as_nanos()).map_err(|_| "is too long")?;
            let nanos = scaled(digits, nanos).ok_or("is not a time, or too long")?;
            total = total.saturating_add(Duration::from_nanos(nanos));
            rest = next.trim_start();
        }
        Ok(Self(total))
    }
}

impl Scalar for Time {
    const EXPECTED: &'static str = "a time with its unit, such as 250ms, 15s, 5m, 1h or 1d";

    fn parse(text: &str) -> Result<Self, String> {
        let time = Self::of_any_length(text)?;
        if time.0 > YEAR { Err("is longer than a year".into()) } else { Ok(time) }
    }

    fn schema() -> Schema {
        let text = pattern(
            "^\\s*([0-9.]+\\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\\s*)+$|^0$",
        );
        json_schema!({ "anyOf": [text, { "const": 0 }] })
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Size(pub(in crate::policy) u64);

impl Scalar for Size {
    const EXPECTED: &'static str = "a size with its unit, such as 64KiB, 32MiB or 1MB";

    fn parse(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let scale = match unit {
            "B" => 1,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "" => return Err("has no unit of size".into()),
            _ => return Err("has no unit of size that is known".into()),
        };
        scaled(digits, scale).map(Self).ok_or_else(|| "is not a whole number of bytes".into())
    }

    fn schema() -> Schema {
        pattern("^[0-9.]+\\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)$")
    }
}

/// A share, 0..=1, written as a percentage.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Share(pub(in crate::policy) f64);

impl Scalar for Share {
    const EXPECTED: &'static str = "a percentage from 0% to 100%";

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('%').ok_or("has no percent sign")?.trim_end();
        let millionths = scaled(digits, 10_000).ok_or("is not a percentage")?;
        if millionths > 1_000_000 {
            return Err("is more than 100%".into());
        }
        Ok(Self(millionths as f64 / 1e6))
    }

    fn schema() -> Schema {
        pattern("^(100|[0-9]{1,2}(\\.[0-9]+)?)\\s*%$")
    }
}

/// A whole number; `50k` and `2M` are short for thousands and millions.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Count(pub(in crate::policy) u64);

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number, such as 100, 50k or 2M";

    fn parse(text: &str) -> Result<Self, String> {
        let (digits, suffix) = split(text);
        let scale = match suffix {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            _ => return Err("is not a whole number".into()),
        };
        scaled(digits, scale).map(Self).ok_or_else(|| "is not a whole number".into())
    }

    fn schema() -> Schema {
        let text = pattern("^[0-9.]+\\s*[kKM]?$");
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, text] })
    }
}

/// `5 failures`, or just `5`.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Failures(pub(in crate::policy) u64);

impl Scalar for Failures {
    const EXPECTED: &'static str = "a number of failures in a row, such as `5 failures`";

    fn parse(text: &str) -> Result<Self, String> {
        let (digits, word) = split(text);
        match word {
            "" | "failure" | "failures" => {}
            _ => return Err("is not a number of failures".into()),
        }
        scaled(digits, 1).map(Self).ok_or_else(|| "is not a whole number".into())
    }

    fn schema() -> Schema {
        let text = pattern("^[0-9]+( failures?)?$");
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, text] })
    }
}

/// A decimal number, not negative.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Number(pub(in crate::policy) f64);

impl Scalar for Number {
    const EXPECTED: &'static str = "a number, such as 2 or 1.5";

    fn parse(text: &str) -> Result<Self, String> {
        let millionths = scaled(text, 1_000_000).ok_or("is not a plain decimal number")?;
        Ok(Self(millionths as f64 / 1e6))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// A price in USD for a million tokens: whole pico-USD for one.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct PerMillion(pub(in crate::policy) Option<u64>);

impl Scalar for PerMillion {
    const EXPECTED: &'static str = "USD for a million tokens, such as 2.50 (six decimals at most)";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "unknown" => Ok(Self(None)),
            _ => match scaled(text, 1_000_000) {
                Some(pico) => Ok(Self(Some(pico))),
                None => Err("is not a price".into()),
            },
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "type": "number", "minimum": 0 }, { "const": "unknown" }] })
    }
}

/// `100/min`: an amount as text (its unit is known only to the limit), and a time.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Rate {
    pub(in crate::policy) amount: String,
    pub(in crate::policy) per: Per,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Per {
    Time(Duration),
    Day,
    Month,
}

impl Scalar for Rate {
    const EXPECTED: &'static str =
        "an amount for a time, such as 100/min, 50k/min, 10/s, 100/10s, 20/day or 500/month";

    fn parse(text: &str) -> Result<Self, String> {
        let Some((amount, per)) = text.split_once('/') else {
            return Err("does not say for which time".into());
        };
        let per = per.trim();
        let per = match (per, unit(per)) {
            ("day" | "d", _) => Per::Day,
            ("month", _) => Per::Month,
            ("ms", _) => return Err("has no time that is known".into()),
            (_, Some(one)) => Per::Time(one),
            _ => match Time::parse(per) {
                Ok(Time(time)) if !time.is_zero() => Per::Time(time),
                _ => return Err("has no time that is known".into()),
            },
        };
        let amount = amount.trim();
        if !amount.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
            return Err("has no amount".into());
        }
        Ok(Self { amount: amount.to_owned(), per })
    }

    fn schema() -> Schema {
        pattern(
            "^\\$?[0-9.]+\\s*[kKM]?\\s*/\\s*([0-9]+\\s*)?(ms|s|sec|second|m|min|minute|h|hour|d|day|month)$",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ms) in
            [("0", 0), ("250ms", 250), ("1.5s", 1500), ("1h30m", 5_400_000), ("1d", 86_400_000)]
        {
            assert_eq!(Time::parse(text).unwrap().0.as_millis(), ms, "{text}");
        }
        for text in
            ["", "5", "s", "5 parsecs", "-1s", "1e3s", "999d", "1..5s", "99999999999999999999s"]
        {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_shares_counts() {
        assert_eq!(Size::parse("64KiB").unwrap().0, 65_536);
        assert_eq!(Size::parse("1.5MB").unwrap().0, 1_500_000);
        assert!(Size::parse("64").is_err() && Size::parse("0.3B").is_err());
        assert_eq!(Share::parse("12.5%").unwrap().0, 0.125);
        assert!(Share::parse("0.5").is_err() && Share::parse("101%").is_err());
        assert_eq!(Count::parse("1.5k").unwrap().0, 1_500);
        assert!(Count::parse("1.5").is_err() && Count::parse("-1").is_err());
        assert_eq!(PerMillion::parse("0.0028").unwrap().0, Some(2_800));
    }

    #[test]
    fn rates() {
        let rate = Rate::parse("50k/min").unwrap();
        assert_eq!((rate.amount.as_str(), rate.per), ("50k", Per::Time(Duration::from_secs(60))));
        assert_eq!(Rate::parse("100/10s").unwrap().per, Per::Time(Duration::from_secs(10)));
        assert_eq!(Rate::parse("20 / day").unwrap().per, Per::Day);
        for text in ["100", "/min", "100/fortnight", "100/0s", "many/min"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
