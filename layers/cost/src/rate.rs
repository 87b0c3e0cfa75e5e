use std::{fmt, str::FromStr};

use crate::error::ParseRateError;

/// A price for one token in whole pico-dollars (1e-12 USD), written as USD per 1,000,000 tokens.
///
/// Six decimals of a dollar per million tokens are one pico-dollar per token, so a price list's
/// figures are held exactly. The text is read digit by digit; no float is involved.
///
/// ```
/// use tollway_cost::Rate;
///
/// let rate: Rate = "0.0375".parse().unwrap();
/// assert_eq!(rate, Rate::from_picos(37_500));
/// assert_eq!(rate.to_string(), "0.0375");
/// assert!("1e-3".parse::<Rate>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

const PICOS: u64 = 1_000_000;
const DECIMALS: usize = 6;

impl Rate {
    /// Costs nothing.
    pub const FREE: Self = Self(0);

    /// From whole pico-USD per token.
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// Whole pico-USD per token.
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// The price of `tokens` in pico-USD. Cannot overflow: both factors have 64 bits.
    pub(crate) fn of(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }

    /// This rate times `to / from`, rounded up: as dear, relative to `to`, as it was to `from`.
    pub(crate) fn in_proportion(self, from: Self, to: Self) -> Self {
        if from.0 == 0 {
            return self.max(to);
        }
        let scaled = self.of(to.0).div_ceil(u128::from(from.0));
        Self(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    pub(crate) fn twice(self) -> Self {
        Self(self.0.saturating_mul(2))
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let fraction = fraction.trim_end_matches('0');
        if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > DECIMALS {
            return Err(ParseRateError);
        }
        let whole: u64 = whole.parse().map_err(|_| ParseRateError)?;
        let fraction: u64 =
            format!("{fraction:0<DECIMALS$}").parse().map_err(|_| ParseRateError)?;
        whole
            .checked_mul(PICOS)
            .and_then(|picos| picos.checked_add(fraction))
            .map(Self)
            .ok_or(ParseRateError)
    }
}

impl fmt::Display for Rate {
    /// USD per 1,000,000 tokens, plain decimal without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, picos) = (self.0 / PICOS, self.0 % PICOS);
        if picos == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{picos:0DECIMALS$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_rate() {
        for text in ["", ".", ".5", "-1", "+1", "1e3", "0.0000001", " 1", "1 ", "1.2.3", "٣"] {
            assert_eq!(text.parse::<Rate>(), Err(ParseRateError), "{text}");
        }
        assert!("18446744073710".parse::<Rate>().is_err(), "more than fits");
    }

    #[test]
    fn reads_six_decimals_exactly() {
        assert_eq!("0.000001".parse(), Ok(Rate::from_picos(1)));
        assert_eq!("30".parse(), Ok(Rate::from_picos(30_000_000)));
        assert_eq!("2.5000000000".parse(), Ok(Rate::from_picos(2_500_000)));
    }

    proptest::proptest! {
        #[test]
        fn prints_what_it_reads(picos: u64) {
            let rate = Rate::from_picos(picos);
            proptest::prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.+eE -]{0,24}") {
            let _ = text.parse::<Rate>();
        }
    }
}
