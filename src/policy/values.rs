//! What a single value can say: times, sizes, shares, counts, rates, money, names.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use schemars::{Schema, json_schema};

use super::read::Scalar;

fn pattern(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern })
}

/// Any text but the empty one.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

impl Scalar for Text {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.into())) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A secret, or `file:` and where it is. The text is only looked at by the check.
#[derive(Clone)]
pub(super) struct Hidden(pub(super) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl Scalar for Hidden {
    const EXPECTED: &'static str = "a secret: `${NAME}`, or `file:/path`";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.into())) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    const NAMES: &'static [&'static str] = &["true", "false"];

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "is neither true nor false".into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// Splits `12.5ms` into digits and unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A plain decimal times `scale`, exactly; no float in between.
pub(super) fn scaled(digits: &str, scale: u64) -> Option<u64> {
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
pub(super) struct Time(pub(super) Duration);

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

impl Scalar for Time {
    const EXPECTED: &'static str = "a time with its unit, such as 250ms, 15s, 5m, 1h or 1d";

    fn parse(text: &str) -> Result<Self, String> {
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
        if total > YEAR { Err("is longer than a year".into()) } else { Ok(Self(total)) }
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
pub(super) struct Size(pub(super) u64);

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
pub(super) struct Share(pub(super) f64);

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
pub(super) struct Count(pub(super) u64);

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
pub(super) struct Failures(pub(super) u64);

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
pub(super) struct Number(pub(super) f64);

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
pub(super) struct PerMillion(pub(super) Option<u64>);

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
pub(super) struct Rate {
    pub(super) amount: String,
    pub(super) per: Per,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Per {
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

/// Declares a value that is one of a few names.
macro_rules! one_of {
    ($(#[doc = $doc:literal])+ $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant,)+ }

        impl Scalar for $name {
            const EXPECTED: &'static str =
                concat!("one of: ", one_of!(@list $($word)+));
            const NAMES: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err("is not a choice here".into()),
                }
            }

            fn schema() -> Schema {
                json_schema!({ "enum": Self::NAMES })
            }
        }
    };
    (@list $first:literal $($word:literal)*) => { concat!($first $(, ", ", $word)*) };
}

one_of!(
    /// Shape of a log line.
    LogFormatName { Json = "json", Pretty = "pretty", }
);
one_of!(
    /// A wire protocol.
    DialectName { OpenAi = "openai", Anthropic = "anthropic", Gemini = "gemini", }
);
one_of!(
    /// Use of HTTP/2.
    Http2Name { Auto = "auto", Only = "only", Never = "never", }
);
one_of!(
    /// Shape of a quota.
    ShapeName { Bucket = "bucket", Sliding = "sliding", Calendar = "calendar", }
);
one_of!(
    /// How a route orders its targets.
    StrategyName { Failover = "failover", RoundRobin = "round_robin", Weighted = "weighted", }
);
one_of!(
    /// What becomes of the upstream when the client leaves.
    HangupName { Cancel = "cancel", Drain = "drain", }
);
one_of!(
    /// From when on a reply is final.
    CommitName { FirstToken = "first_token", Head = "head", }
);
one_of!(
    /// Whether a model still answers.
    StatusName { Active = "active", Deprecated = "deprecated", Retired = "retired", }
);
one_of!(
    /// A kind of failure.
    ClassName {
        RateLimit = "rate_limit", Quota = "quota", Overloaded = "overloaded", Server = "server",
        Timeout = "timeout", Network = "network", Auth = "auth", Invalid = "invalid",
        NotFound = "not_found", ContextLength = "context_length",
        ContentFilter = "content_filter", Cancelled = "cancelled",
    }
);

/// Declares a value that some other type's `FromStr` reads.
macro_rules! parsed {
    ($name:ty, $expected:literal, $not:literal) => {
        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $not.into())
            }

            fn schema() -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    };
}

parsed!(
    SocketAddr,
    "an address and a port, such as 127.0.0.1:8080",
    "is not an address with a port"
);
parsed!(HeaderName, "the name of a header, such as x-user-id", "is not the name of a header");
parsed!(jiff::civil::Date, "a day, such as 2026-12-31", "is not a day");

/// A network or a single address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net(pub(super) IpNet);

impl Scalar for Net {
    const EXPECTED: &'static str = "a network or an address, such as 10.0.0.0/8 or 192.0.2.7";

    fn parse(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse().map(|one: std::net::IpAddr| one.into()));
        net.map(Self).map_err(|_| "is not a network".into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The value of a header; shown to nobody, as many carry credentials.
#[derive(Clone, Debug)]
pub(super) struct HeaderText(pub(super) HeaderValue);

impl Scalar for HeaderText {
    const EXPECTED: &'static str = "the value of a header, in plain characters";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut value: HeaderValue =
            text.parse().map_err(|_| "cannot be sent in a header".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Where a provider is.
#[derive(Clone, Debug)]
pub(super) struct Url(pub(super) Uri);

impl Scalar for Url {
    const EXPECTED: &'static str = "a URL such as https://api.example.com/v1";

    fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| "is not a URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("does not start with http:// or https://".into());
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("holds a user name: a key belongs into `api_key`".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("has a query or a fragment; paths are added to it".into());
        }
        Ok(Self(uri))
    }

    fn schema() -> Schema {
        pattern("^https?://[^@?#]+$")
    }
}

/// Where a caller's identity comes from.
#[derive(Clone, Debug)]
pub(super) struct SourceName(pub(super) super::Source);

impl Scalar for SourceName {
    const EXPECTED: &'static str = "one of: key, header NAME, provider_key, ip";
    const NAMES: &'static [&'static str] = &["key", "header", "provider_key", "ip"];

    fn parse(text: &str) -> Result<Self, String> {
        use super::Source;
        Ok(Self(match text.split_once(' ').unwrap_or((text, "")) {
            ("key", "") => Source::Key,
            ("provider_key", "") => Source::ProviderKey,
            ("ip", "") => Source::Ip,
            ("header", name) if !name.is_empty() => {
                Source::Header(name.trim().parse().map_err(|_| "names no header")?)
            }
            ("header", _) => return Err("does not say which header: `header x-user-id`".into()),
            _ => return Err("is not a way to tell callers".into()),
        }))
    }

    fn schema() -> Schema {
        pattern("^(key|provider_key|ip|header [A-Za-z0-9-]+)$")
    }
}

/// Whose requests share a bucket.
#[derive(Clone, Debug)]
pub(super) struct ScopeName(pub(super) super::Scope);

impl Scalar for ScopeName {
    const EXPECTED: &'static str = "one of: all, user, key, ip, provider, model, tag NAME";
    const NAMES: &'static [&'static str] =
        &["all", "user", "key", "ip", "provider", "model", "tag"];

    fn parse(text: &str) -> Result<Self, String> {
        use super::Scope;
        Ok(Self(match text.split_once(' ').unwrap_or((text, "")) {
            ("all", "") => Scope::All,
            ("user", "") => Scope::User,
            ("key", "") => Scope::Key,
            ("ip", "") => Scope::Ip,
            ("provider", "") => Scope::Provider,
            ("model", "") => Scope::Model,
            ("tag", name) if !name.is_empty() => Scope::Tag(name.trim().into()),
            ("tag", _) => return Err("does not say which tag: `tag team`".into()),
            _ => return Err("is not a scope".into()),
        }))
    }

    fn schema() -> Schema {
        pattern("^(all|user|key|ip|provider|model|tag .+)$")
    }
}

/// How a credential is sent.
#[derive(Clone, Debug)]
pub(super) enum AuthName {
    Bearer,
    Header(HeaderName),
    None,
    Passthrough,
}

impl Scalar for AuthName {
    const EXPECTED: &'static str = "one of: bearer, header NAME, none, passthrough";
    const NAMES: &'static [&'static str] = &["bearer", "header", "none", "passthrough"];

    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(' ').unwrap_or((text, "")) {
            ("bearer", "") => Self::Bearer,
            ("none", "") => Self::None,
            ("passthrough", "") => Self::Passthrough,
            ("header", name) if !name.is_empty() => {
                Self::Header(name.trim().parse().map_err(|_| "names no header")?)
            }
            _ => return Err("is not a way to send a key".into()),
        })
    }

    fn schema() -> Schema {
        pattern("^(bearer|none|passthrough|header [A-Za-z0-9-]+)$")
    }
}

/// How waits vary.
#[derive(Clone, Copy, Debug)]
pub(super) struct JitterText(pub(super) super::Jitter);

impl Scalar for JitterText {
    const EXPECTED: &'static str = "a percentage such as 25%, or one of: none, full, decorrelated";
    const NAMES: &'static [&'static str] = &["none", "full", "decorrelated"];

    fn parse(text: &str) -> Result<Self, String> {
        use super::Jitter;
        Ok(Self(match text {
            "none" => Jitter::None,
            "full" => Jitter::Full,
            "decorrelated" => Jitter::Decorrelated,
            _ => match Share::parse(text)?.0 {
                0.0 => Jitter::None,
                share => Jitter::Share(share),
            },
        }))
    }

    fn schema() -> Schema {
        pattern("^(none|full|decorrelated|[0-9.]+\\s*%)$")
    }
}

/// SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Scalar for Digest {
    const EXPECTED: &'static str = "64 hexadecimal digits, as `tollway keys new` prints them";
    /// Somebody may have put the key itself here.
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("is not a SHA-256".into());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "is not a SHA-256")?;
        }
        Ok(Self(bytes))
    }

    fn schema() -> Schema {
        pattern("^[0-9a-fA-F]{64}$")
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
