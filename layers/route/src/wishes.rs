//! What clients say of a request in headers of Tollway's own.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};
use tollway_core::Usd;

use crate::nearest::{distance, nearest};

/// Header in which a client says how much a request may cost, in USD: `0.02`.
pub const MAX_COST: &str = "x-tollway-max-cost";
/// Header in which a client says how long it may take, with the unit: `800ms`, `2s`, `1m`.
pub const MAX_LATENCY: &str = "x-tollway-max-latency";
/// Header in which a client says what kind of task it is.
pub const TASK: &str = "x-tollway-task";
/// Header in which a client says in which region it is.
pub const REGION: &str = "x-tollway-region";
/// All of them. They are for the router alone: no provider has to see them.
pub const HEADERS: [&str; 4] = [MAX_COST, MAX_LATENCY, TASK, REGION];

// Made once: the first two are looked for in every request.
static MAX_COST_NAME: HeaderName = HeaderName::from_static(MAX_COST);
static MAX_LATENCY_NAME: HeaderName = HeaderName::from_static(MAX_LATENCY);
static TASK_NAME: HeaderName = HeaderName::from_static(TASK);
static REGION_NAME: HeaderName = HeaderName::from_static(REGION);

/// How the names of headers begin that are Tollway's own.
const OWN: &[u8] = b"x-tollway";

/// Whether a header is Tollway's own by its name: what begins so is said to a proxy or by one, however
/// the words are joined.
///
/// ```
/// use http::HeaderName;
/// use tollway_route::is_own;
///
/// for own in ["x-tollway-max-cost", "x-tollway_max_cost", "x_tollway_max_cost", "x-tollway"] {
///     assert!(is_own(&HeaderName::from_static(own)), "{own}");
/// }
/// assert!(!is_own(&HeaderName::from_static("x-toll-way")));
/// ```
pub fn is_own(name: &HeaderName) -> bool {
    let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    let start = name.as_str().as_bytes().get(..OWN.len());
    start.is_some_and(|start| start.iter().map(dashed).eq(OWN.iter().copied()))
}

/// Bytes that a task or a region may have.
const MAX_TEXT: usize = 256;
/// Characters of a wrong value repeated in an error.
const MAX_ECHO: usize = 64;

/// A header of Tollway's own says what means nothing: answer with 400. Who mistypes a bound should not
/// go without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHeader {
    name: HeaderName,
    wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is there more than once.
    Twice {
        right: &'static str,
    },
    Says {
        said: Box<str>,
        right: &'static str,
    },
    /// There is no such header.
    Name {
        nearest: Option<Box<str>>,
    },
}

impl BadHeader {
    /// Which header.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// One whose name nobody knows; `known` are those that somebody does.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tollway_route::{BadHeader, HEADERS};
    ///
    /// let name = HeaderName::from_static("x-tollway-max-price");
    /// assert_eq!(
    ///     BadHeader::unknown(&name, &HEADERS).to_string(),
    ///     "There is no header `x-tollway-max-price`. Did you mean `x-tollway-max-cost`?",
    /// );
    /// ```
    pub fn unknown(name: &HeaderName, known: &[&str]) -> Self {
        let known: Vec<Arc<str>> = known.iter().map(|name| (*name).into()).collect();
        // All share how they begin, which makes none of them alike.
        let part = |name: &str| name.get(OWN.len()..).unwrap_or_default().to_owned();
        let alike = |near: &String| {
            let (a, b) = (part(name.as_str()), part(near));
            3 * distance(a.as_bytes(), b.as_bytes()) <= 2 * a.len().max(b.len())
        };
        let nearest = nearest(name.as_str(), &known).into_iter().find(alike).map(Into::into);
        Self { name: name.clone(), wrong: Wrong::Name { nearest } }
    }

    /// Reads a header that may be there once; `Ok(None)`: it isn't there.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderName};
    /// use tollway_route::BadHeader;
    ///
    /// static TIER: HeaderName = HeaderName::from_static("x-tier");
    /// let read = |value: &'static str| {
    ///     let headers = HeaderMap::from_iter([(TIER.clone(), value.parse().unwrap())]);
    ///     BadHeader::read(&headers, &TIER, "a whole number", |text| text.parse::<u8>().ok())
    /// };
    /// assert_eq!(read("3"), Ok(Some(3)));
    /// assert_eq!(
    ///     read("three").unwrap_err().to_string(),
    ///     "The header `x-tier` says `three`. Right is a whole number, or no such header.",
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// It is there more than once, isn't UTF-8, or `parse` can't read it. `right` says in words what
    /// it could.
    pub fn read<'a, T>(
        headers: &'a HeaderMap,
        name: &'static HeaderName,
        right: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, Self> {
        let mut all = headers.get_all(name).iter();
        let Some(value) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(Self { name: name.clone(), wrong: Wrong::Twice { right } });
        }
        let text = std::str::from_utf8(value.as_bytes()).ok();
        text.and_then(|text| parse(text.trim())).map(Some).ok_or_else(|| {
            let said = String::from_utf8_lossy(value.as_bytes());
            let shown = |c: char| if c.is_control() { '?' } else { c };
            let said = said.chars().take(MAX_ECHO).map(shown).collect::<String>();
            Self { name: name.clone(), wrong: Wrong::Says { said: said.into(), right } }
        })
    }
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = match &self.wrong {
            Wrong::Name { nearest } => {
                // A name may be as long as a head.
                let name = self.name.as_str();
                write!(f, "There is no header `{}`", name.get(..MAX_ECHO).unwrap_or(name))?;
                return match nearest {
                    Some(nearest) => write!(f, ". Did you mean `{nearest}`?"),
                    None => f.write_str("; names that begin so are Tollway's own."),
                };
            }
            Wrong::Twice { right } => {
                write!(f, "The header `{}` is there more than once", self.name)?;
                right
            }
            Wrong::Says { said, right } => {
                match &**said {
                    "" => write!(f, "The header `{}` is empty", self.name)?,
                    said => write!(f, "The header `{}` says `{said}`", self.name)?,
                }
                right
            }
        };
        write!(f, ". Right is {right}, or no such header.")
    }
}

impl std::error::Error for BadHeader {}

/// Whether all that is said can be understood.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), BadHeader> {
    // Most requests have none, and to look through the names is cheaper than to search for each.
    if headers.keys().any(is_own) {
        max_cost(headers)?;
        max_latency(headers)?;
        task(headers)?;
        region(headers)?;
    }
    Ok(())
}

pub(crate) fn max_cost(headers: &HeaderMap) -> Result<Option<Usd>, BadHeader> {
    let right = "an amount in USD, such as `0.02`";
    BadHeader::read(headers, &MAX_COST_NAME, right, |text| text.parse().ok())
}

pub(crate) fn max_latency(headers: &HeaderMap) -> Result<Option<Duration>, BadHeader> {
    let right = "a time with its unit, such as `800ms` or `2s`";
    BadHeader::read(headers, &MAX_LATENCY_NAME, right, time)
}

pub(crate) fn task(headers: &HeaderMap) -> Result<Option<&str>, BadHeader> {
    text(headers, &TASK_NAME)
}

pub(crate) fn region(headers: &HeaderMap) -> Result<Option<&str>, BadHeader> {
    text(headers, &REGION_NAME)
}

/// Any text; an empty one says nothing.
fn text<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<&'a str>, BadHeader> {
    let short = |text: &'a str| (text.len() <= MAX_TEXT).then_some(text);
    let said = BadHeader::read(headers, name, "a text of at most 256 bytes", short)?;
    Ok(said.filter(|text| !text.is_empty()))
}

/// A plain decimal and a unit. A number alone is none, as in policies: nobody knows whether it means
/// seconds.
fn time(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim_start() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    if number.starts_with('.') || number.ends_with('.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        let value = |value: &&[u8]| HeaderValue::from_bytes(value).unwrap();
        values.iter().map(|one| (name.clone(), value(one))).collect()
    }

    fn refused(name: &'static str, values: &[&[u8]]) -> String {
        let bad = check(&with(name, values)).unwrap_err();
        assert_eq!(bad.name(), name);
        bad.to_string()
    }

    #[test]
    fn times_have_a_unit() {
        for (text, millis) in [("800ms", 800), ("2s", 2_000), ("0.25 s", 250), ("1.5m", 90_000)] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        let many = format!("{}s", "9".repeat(400));
        for text in [
            "", "soon", "5.s", ".5s", "-1s", "+1s", "NaN", "inf", "1e300s", "1e3ms", "ms", ".s",
            "1.2.3s", "30",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!((time(&many), time("2h")), (None, None));
    }

    #[test]
    fn what_cant_be_understood_is_refused_by_name() {
        for wrong in ["abc", "-1", "NaN", "inf", "", "5.", "1e-3", "0.1 USD", "$1", "0,5"] {
            let said = refused(MAX_COST, &[wrong.as_bytes()]);
            assert!(
                said.ends_with("Right is an amount in USD, such as `0.02`, or no such header.")
            );
        }
        for wrong in ["abc", "-1", "NaN", "inf", "", "1e3ms", "fast", "30", "0.1"] {
            refused(MAX_LATENCY, &[wrong.as_bytes()]);
        }
        assert_eq!(
            refused(MAX_LATENCY, &[b"30"]),
            "The header `x-tollway-max-latency` says `30`. Right is a time with its unit, such as \
             `800ms` or `2s`, or no such header."
        );
        assert!(refused(MAX_COST, &[b""]).contains("is empty"));
        for name in HEADERS {
            assert!(refused(name, &[b"1s", b"1s"]).contains("is there more than once"));
            refused(name, &[b"\xff"]);
            let long = "x".repeat(MAX_TEXT + 1);
            assert!(refused(name, &[long.as_bytes()]).len() < 300, "cut off");
        }
    }

    /// The words behind `x-tollway` have to be alike.
    #[test]
    fn only_a_likely_name_is_suggested() {
        for (name, near) in [
            ("x-tollway-max-price", Some(MAX_COST)),
            ("x-tollway-maxlatency", Some(MAX_LATENCY)),
            ("x_tollway_max_cost", Some(MAX_COST)),
            ("x-tollway_tsak", Some(TASK)),
            ("x-tollway-bogus", None),
            ("x-tollway-", None),
            ("x-tollway", None),
        ] {
            let said = BadHeader::unknown(&HeaderName::from_static(name), &HEADERS).to_string();
            match near {
                Some(near) => assert!(said.ends_with(&format!("Did you mean `{near}`?")), "{said}"),
                None => assert!(said.ends_with("are Tollway's own."), "{said}"),
            }
        }
    }

    #[test]
    fn what_is_right_passes() {
        for (name, value) in [
            (MAX_COST, " 0.02 "),
            (MAX_COST, "0"),
            (MAX_LATENCY, "800ms"),
            (TASK, ""),
            (TASK, "traducción"),
            (REGION, "eu-west"),
            ("x-tollway-other", "?"),
        ] {
            assert_eq!(check(&with(name, &[value.as_bytes()])), Ok(()), "{name}: {value}");
        }
        assert_eq!(task(&with(TASK, &[" a b ".as_bytes()])), Ok(Some("a b")));
        assert_eq!(region(&with(REGION, &[b""])), Ok(None));
        let long = "x".repeat(MAX_TEXT);
        assert_eq!(task(&with(TASK, &[long.as_bytes()])), Ok(Some(&*long)));
    }
}
