use std::{fmt, num::NonZeroU64, time::Duration};

use super::{
    Period, Quota, Shape,
    read::Scalar,
    values::{Count, Per, Rate},
};

/// Why a quota in the place of a limit's can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongQuota {
    /// It is the burst that can't be, and not the amount.
    pub burst: bool,
    message: String,
}

impl fmt::Display for WrongQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WrongQuota {}

impl Quota {
    /// Another amount of the same unit and shape, in a policy's words: `200/min`, `20/day`; of places
    /// a number alone. Without a burst a bucket holds its amount.
    ///
    /// # Errors
    ///
    /// The text can't be read, allows nothing, or counts over a period that this shape doesn't have;
    /// the burst is zero, or of what has none.
    ///
    /// ```
    /// use std::{num::NonZeroU64, time::Duration};
    /// use tollway::policy::{Quota, Shape, Unit};
    ///
    /// let (minute, amount) = (Duration::from_secs(60), NonZeroU64::new(100).unwrap());
    /// let shape = Shape::Bucket { per: minute, burst: amount };
    /// let limit = Quota { unit: Unit::Requests, amount, shape };
    /// let own = limit.instead("200/10s", Some(50))?;
    /// assert_eq!(own.amount.get(), 200);
    /// assert!(limit.instead("200", None).is_err());
    /// # Ok::<_, tollway::policy::WrongQuota>(())
    /// ```
    pub fn instead(&self, text: &str, burst: Option<u64>) -> Result<Self, WrongQuota> {
        let unit = self.unit;
        let wrong = |what: String| WrongQuota { burst: false, message: what };
        let no_burst = |message: &str| WrongQuota { burst: true, message: message.to_owned() };
        if burst.is_some() && !matches!(self.shape, Shape::Bucket { .. }) {
            return Err(no_burst("only a bucket has a burst"));
        }
        if let Shape::Concurrent = self.shape {
            let amount = Count::parse(text).map(|count| count.0);
            let amount = amount
                .map_err(|why| wrong(format!("`{text}` {why}: expected {}", Count::EXPECTED)))?;
            return Ok(Self { amount: some(amount, text).map_err(wrong)?, ..*self });
        }
        let rate = Rate::parse(text)
            .map_err(|why| wrong(format!("`{text}` {why}: expected {}", Rate::EXPECTED)))?;
        let amount = unit
            .amount(&rate.amount)
            .ok_or_else(|| wrong(format!("`{text}` is no amount of {}", unit.as_str())))?;
        let amount = some(amount, text).map_err(wrong)?;
        let shape = match self.shape {
            Shape::Bucket { .. } => {
                let burst = match burst {
                    None => amount,
                    Some(burst) => NonZeroU64::new(burst).ok_or_else(|| {
                        no_burst("a bucket with a burst of 0 lets nothing through")
                    })?,
                };
                Shape::Bucket { per: length(rate.per, text).map_err(wrong)?, burst }
            }
            Shape::Sliding { .. } => {
                Shape::Sliding { window: length(rate.per, text).map_err(wrong)? }
            }
            Shape::Calendar(period) if is(period, rate.per) => Shape::Calendar(period),
            Shape::Calendar(period) => {
                let name = period.as_str();
                return Err(wrong(format!(
                    "the limit counts by the calendar's {name}, and so does a quota in its \
                     place: expected AMOUNT/{name}, not `{text}`"
                )));
            }
            Shape::Concurrent => Shape::Concurrent,
        };
        Ok(Self { unit, amount, shape })
    }
}

fn some(amount: u64, text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(amount).ok_or_else(|| format!("`{text}` lets nothing through"))
}

fn length(per: Per, text: &str) -> Result<Duration, String> {
    match per {
        Per::Time(time) => Ok(time),
        Per::Day => Ok(Duration::from_secs(86_400)),
        Per::Month => Err(format!(
            "`{text}`: months differ in length, and the limit does not count by the calendar; \
             give the time in days: `/30d`"
        )),
    }
}

fn is(period: Period, per: Per) -> bool {
    match period {
        Period::Hour => per == Per::Time(Duration::from_secs(3600)),
        Period::Day => per == Per::Day,
        Period::Month => per == Per::Month,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Unit;

    fn quota(unit: Unit, shape: Shape) -> Quota {
        Quota { unit, amount: NonZeroU64::MIN, shape }
    }

    #[test]
    fn quotas_are_read_by_the_shape_of_their_limit() {
        let minute = Duration::from_secs(60);
        let bucket = quota(Unit::Tokens, Shape::Bucket { per: minute, burst: NonZeroU64::MIN });
        let told = bucket.instead("50k/day", None).unwrap();
        let amount = NonZeroU64::new(50_000).unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!((told.amount, told.shape), (amount, Shape::Bucket { per: day, burst: amount }));
        let budget = quota(Unit::Usd, Shape::Calendar(Period::Month));
        assert_eq!(budget.instead("$2.50/month", None).unwrap().amount.get(), 2_500_000_000);
        let places = quota(Unit::Concurrent, Shape::Concurrent);
        assert_eq!(places.instead("7", None).unwrap().amount.get(), 7);
        let sliding = quota(Unit::Requests, Shape::Sliding { window: minute });
        for (of, text, burst, said) in [
            (bucket, "5/month", None, "/30d"),
            (bucket, "5", None, "for which time"),
            (bucket, "0/min", None, "lets nothing through"),
            (bucket, "x/min", None, "has no amount"),
            (bucket, "5.5/min", None, "no amount of tokens"),
            (bucket, "5/min", Some(0), "burst of 0"),
            (sliding, "5/min", Some(5), "only a bucket"),
            (budget, "5/day", None, "expected AMOUNT/month"),
            (places, "5/min", None, "whole number"),
            (places, "0", None, "lets nothing through"),
        ] {
            let wrong = of.instead(text, burst).unwrap_err();
            assert!(wrong.to_string().contains(said), "{text}: {wrong}");
            assert_eq!(wrong.burst, burst.is_some());
        }
    }
}
