//! What rules and strategies go by: names, ranges, hours of the week.

use schemars::{Schema, json_schema};

use super::{Count, Time, names::one_of, pattern, scaled};
use crate::policy::{Days, TimeRange, read::Scalar};

one_of!(
    /// How targets are ordered.
    StrategyName {
        Failover = "failover", RoundRobin = "round_robin", Weighted = "weighted",
        LeastBusy = "least_busy", Latency = "latency", Cost = "cost",
        PowerOfTwo = "power_of_two", Capability = "capability",
    }
);
one_of!(
    /// Which time is meant.
    TimingName { FirstToken = "first_token", Whole = "whole", }
);
one_of!(
    /// What a session is known by.
    AffinityName { User = "user", Prompt = "prompt", }
);
one_of!(
    /// What keeps an arm of a split.
    SplitName { User = "user", }
);
one_of!(
    /// Rules that are there already.
    SetName {
        Budget = "budget", Quality = "quality", Vision = "vision", Fast = "fast", Auto = "auto",
    }
);
one_of!(
    /// What a request asks of a model.
    NeedName {
        Vision = "vision", Tools = "tools", Json = "json", Reasoning = "reasoning",
        Streaming = "streaming", Audio = "audio",
    }
);
one_of!(
    /// How hard a request is.
    ComplexityName { Simple = "simple", Moderate = "moderate", Complex = "complex", }
);
one_of!(
    /// How large a model is.
    SizeName { Tiny = "tiny", Small = "small", Large = "large", Reasoning = "reasoning", }
);
one_of!(
    /// How long a prompt is.
    PromptSizeName {
        Tiny = "tiny", Small = "small", Medium = "medium", Large = "large", Huge = "huge",
    }
);
one_of!(
    /// Which replies tell the decision.
    TellName { Chosen = "chosen", Always = "always", Never = "never", }
);
/// No probes. What some YAML takes for a boolean means the same.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Off;

impl Scalar for Off {
    const EXPECTED: &'static str = "`off`, or a section with interval, jitter, timeout, path";
    const NAMES: &'static [&'static str] = &["off"];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" | "false" => Ok(Self),
            _ => Err("is not a choice here".into()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["off", false] })
    }
}

/// An amount of USD: whole nano-USD.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Money(pub(in crate::policy) u64);

impl Scalar for Money {
    const EXPECTED: &'static str = "an amount of USD, such as 0.02 (nine decimals at most)";

    fn parse(text: &str) -> Result<Self, String> {
        let nanos = scaled(text.strip_prefix('$').unwrap_or(text), 1_000_000_000);
        nanos.map(Self).ok_or_else(|| "is no amount of USD".into())
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string", "pattern": "^\\$?[0-9.]+$" }] })
    }
}

/// Points of a feature; they may count against it.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Points(pub(in crate::policy) i32);

impl Scalar for Points {
    const EXPECTED: &'static str = "a whole number from -1000 to 1000";

    fn parse(text: &str) -> Result<Self, String> {
        let points: i32 = text.parse().map_err(|_| "is not a whole number")?;
        match points {
            -1000..=1000 => Ok(Self(points)),
            _ => Err("is out of range".into()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": -1000, "maximum": 1000 })
    }
}

/// What a range can be of.
pub(in crate::policy) trait Amount: Scalar {
    const RANGE: &'static str;
    fn units(&self) -> u64;
}

impl Amount for Count {
    const RANGE: &'static str = "`>`, `>=`, `<` or `<=` and a number, or two numbers: `>100k`, `1k..20k` (up to, not with, the second)";

    fn units(&self) -> u64 {
        self.0
    }
}

impl Amount for Money {
    const RANGE: &'static str = "`>`, `>=`, `<` or `<=` and USD, or two amounts: `<0.01`, `0.01..0.05` (up to, not with, the second)";

    fn units(&self) -> u64 {
        self.0
    }
}

impl Amount for Time {
    const RANGE: &'static str = "`>`, `>=`, `<` or `<=` and a time, or two times: `<2s`, `500ms..2s` (up to, not with, the second)";

    fn units(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// `>100k`, `<=2s`, `1k..20k`: from the first to the last, both within.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Within<T> {
    pub(in crate::policy) first: Option<u64>,
    pub(in crate::policy) last: Option<u64>,
    of: std::marker::PhantomData<T>,
}

impl<T: Amount> Scalar for Within<T> {
    const EXPECTED: &'static str = T::RANGE;

    fn parse(text: &str) -> Result<Self, String> {
        let units = |text: &str| T::parse(text.trim()).map(|amount| amount.units());
        let empty = || "is an empty range: nothing lies in it".to_owned();
        let above = |text: &str| units(text)?.checked_add(1).ok_or_else(empty);
        let below = |text: &str| units(text)?.checked_sub(1).ok_or_else(empty);
        let (first, last) = if let Some((from, to)) = text.split_once("..") {
            (Some(units(from)?), Some(below(to)?))
        } else if let Some(rest) = text.strip_prefix(">=") {
            (Some(units(rest)?), None)
        } else if let Some(rest) = text.strip_prefix("<=") {
            (None, Some(units(rest)?))
        } else if let Some(rest) = text.strip_prefix('>') {
            (Some(above(rest)?), None)
        } else if let Some(rest) = text.strip_prefix('<') {
            (None, Some(below(rest)?))
        } else {
            return Err("is no range".into());
        };
        match (first, last) {
            (Some(first), Some(last)) if first > last => Err(empty()),
            _ => Ok(Self { first, last, of: std::marker::PhantomData }),
        }
    }

    fn schema() -> Schema {
        pattern("^\\s*([<>]=?.+|.+\\.\\..+)$")
    }
}

/// Hours of the week: `mon-fri 08:00-18:00`, `sat,sun`, `22:00-06:00`.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Hours(pub(in crate::policy) TimeRange);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MIDNIGHT: u16 = 24 * 60;

impl Scalar for Hours {
    const EXPECTED: &'static str =
        "days, hours or both (UTC), such as `mon-fri 08:00-18:00`, `sat,sun` or `22:00-06:00`";

    fn parse(text: &str) -> Result<Self, String> {
        let mut hours = TimeRange { days: Days::ALL, from: 0, to: MIDNIGHT };
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let (days, times) = match second {
            None if first.contains(':') => (None, Some(first)),
            _ => (Some(first), second),
        };
        if words.next().is_some() {
            return Err("is more than days and hours".into());
        }
        if let Some(days) = days {
            let runs = days.split(',').map(run).collect::<Result<Vec<_>, _>>()?;
            hours.days = Days::new(runs.into_iter().flatten());
        }
        if let Some(times) = times {
            let (from, to) = times.split_once('-').ok_or("has no end: `08:00-18:00`")?;
            (hours.from, hours.to) = (minute(from)?, minute(to)?);
        }
        if hours.from == hours.to || hours.from == MIDNIGHT {
            return Err("is an empty time: it ends where it begins".into());
        }
        Ok(Self(hours))
    }

    fn schema() -> Schema {
        let days = "(mon|tue|wed|thu|fri|sat|sun)";
        let run = format!("{days}(-{days})?");
        let days = format!("{run}(,{run})*");
        let times = "[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2}";
        pattern(&format!("^({days}|{times}|{days}\\s+{times})$"))
    }
}

/// `mon`, or `mon-fri`: numbers of days from Monday, 0, on.
fn run(text: &str) -> Result<Vec<u8>, String> {
    let day = |text: &str| {
        let known = DAYS.iter().zip(0..).find(|(day, _)| text.trim() == **day);
        known.map(|(_, at)| at).ok_or_else(|| "names no day of the week that is known".to_owned())
    };
    let (from, to): (u8, u8) = match text.split_once('-') {
        Some((from, to)) => (day(from)?, day(to)?),
        None => (day(text)?, day(text)?),
    };
    let length = (to + 7 - from) % 7;
    Ok((0..=length).map(|step| (from + step) % 7).collect())
}

fn minute(text: &str) -> Result<u16, String> {
    let wrong = || "has no time of day that is known".to_owned();
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let plain = |text: &str| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| plain(text));
    match (number(hour), number(minute).filter(|_| minute.len() == 2)) {
        (Some(24), Some(0)) => Ok(MIDNIGHT),
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let tokens =
            |text: &str| Within::<Count>::parse(text).map(|range| (range.first, range.last));
        assert_eq!(tokens(">100k"), Ok((Some(100_001), None)));
        assert_eq!(tokens(">= 100k"), Ok((Some(100_000), None)));
        assert_eq!(tokens("<5"), Ok((None, Some(4))));
        assert_eq!(tokens("<=5"), Ok((None, Some(5))));
        assert_eq!(tokens("1k..20k"), Ok((Some(1_000), Some(19_999))));
        for text in ["5..5", "6..5", "<0", "", "100k", "=5", ">x", "..", "5..", "<-1"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        let money = Within::<Money>::parse("<0.01").unwrap();
        assert_eq!((money.first, money.last), (None, Some(9_999_999)));
        assert_eq!(Within::<Time>::parse("500ms..2s").unwrap().last, Some(1_999_999_999));
    }

    #[test]
    fn hours() {
        let hours = |text: &str| Hours::parse(text).map(|Hours(one)| (one.days, one.from, one.to));
        assert_eq!(hours("mon-fri 08:00-18:00"), Ok((Days::WORKING, 480, 1080)));
        assert_eq!(hours("sat,sun"), Ok((Days::WEEKEND, 0, 1440)));
        assert_eq!(hours("sat-mon"), Ok((Days::new([5, 6, 0]), 0, 1440)));
        assert_eq!(hours("22:00-6:00"), Ok((Days::ALL, 1320, 360)));
        assert_eq!(hours("mon 18:00-24:00"), Ok((Days::new([0]), 1080, 1440)));
        for text in [
            "",
            "monday",
            "Mon",
            "mon 8-18",
            "mon 08:00",
            "08:00-08:00",
            "08:60-09:00",
            "25:00-26:00",
            "24:00-01:00",
            "mon 08:00-09:00 UTC",
            "mon--fri",
            "08:0-09:00",
            "+8:00-09:00",
        ] {
            assert!(hours(text).is_err(), "{text}");
        }
    }
}
