use std::{fmt, iter::Sum, ops::Add, str::FromStr};

/// An amount of money in whole nano-dollars (1e-9 USD). No float ever holds money.
///
/// The largest amount is about 18.4 billion USD; arithmetic saturates there.
///
/// ```
/// use tollway_core::Usd;
///
/// let price: Usd = "0.0228496".parse().unwrap();
/// assert_eq!(price, Usd::from_nanos(22_849_600));
/// assert_eq!(price.to_string(), "0.0228496");
/// assert!("0.0000000001".parse::<Usd>().is_err(), "finer than a nano-dollar");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

const NANOS: u64 = 1_000_000_000;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From whole nano-dollars.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Whole nano-dollars.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The difference, or zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    /// Plain decimal without trailing zeros: `0`, `12`, `0.0228496`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, nanos) = (self.0 / NANOS, self.0 % NANOS);
        if nanos == 0 {
            return write!(f, "{whole}");
        }
        let (mut digits, mut rest) = ([b'0'; 9], nanos);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        write!(f, "{whole}.")?;
        f.write_str(digits.trim_end_matches('0'))
    }
}

/// Why a text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUsdError;

impl fmt::Display for ParseUsdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a decimal amount of USD with at most nine decimals, such as 20 or 0.05",
        )
    }
}

impl std::error::Error for ParseUsdError {}

impl FromStr for Usd {
    type Err = ParseUsdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let fraction = fraction.trim_end_matches('0');
        if text.ends_with('.')
            || whole.is_empty()
            || !plain(whole)
            || !plain(fraction)
            || fraction.len() > 9
        {
            return Err(ParseUsdError);
        }
        let whole: u64 = whole.parse().map_err(|_| ParseUsdError)?;
        let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| ParseUsdError)?;
        let nanos = whole.checked_mul(NANOS).and_then(|whole| whole.checked_add(nanos));
        nanos.map(Self).ok_or(ParseUsdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_amount() {
        for text in
            ["", ".5", "5.", "-1", "+1", "1e3", "1,5", "20 USD", "99999999999", "1.0000000001"]
        {
            assert_eq!(text.parse::<Usd>(), Err(ParseUsdError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn prints_what_it_reads(nanos: u64) {
            let amount = Usd::from_nanos(nanos);
            proptest::prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        }
    }
}
