use std::time::Duration;

use super::fate::{Fault, Place};

/// The header by which one request says how it is to be answered.
pub(super) const HEADER: &str = "x-simulate";

/// What one request asked for by its `x-simulate` header.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Control {
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<String>,
    pub(super) retry_after_ms: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) latency: Option<Duration>,
    pub(super) ttft: Option<Duration>,
    pub(super) tps: Option<f64>,
    pub(super) output_tokens: Option<u32>,
    pub(super) fault: Option<Fault>,
    pub(super) quota: bool,
    pub(super) garbage: bool,
    pub(super) no_usage: bool,
    pub(super) refuse: bool,
    pub(super) calls: Option<u32>,
}

const KEYS: &str = "status, retry_after, retry_after_ms, hint, latency, ttft, tps, output_tokens, \
                    stall, reset, truncate, malformed, late_error, quota, body, no_usage, \
                    refuse, calls";

impl Control {
    /// Reads `key=value; key; ...`; the error says what was wrong and what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut control = Self::default();
        for item in text.split(';').map(str::trim).filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            control.set(key.trim(), value.trim())?;
        }
        Ok(control)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |expected: &str| format!("{HEADER}: {key}={value}: expected {expected}");
        match key {
            "status" => {
                let status = value.parse().ok().filter(|s| (400..600).contains(s));
                self.status = Some(status.ok_or_else(|| wrong("a status from 400 to 599"))?);
            }
            "retry_after" => self.retry_after = Some(value.to_owned()),
            "retry_after_ms" => self.retry_after_ms = Some(value.to_owned()),
            "hint" => self.hint = Some(value.to_owned()),
            "latency" | "ttft" => {
                let time = duration(value).ok_or_else(|| wrong("a time such as 200ms or 1.5s"))?;
                let slot = if key == "ttft" { &mut self.ttft } else { &mut self.latency };
                *slot = Some(time);
            }
            "tps" => {
                let speed = value.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0);
                self.tps = Some(speed.ok_or_else(|| wrong("tokens a second, above 0"))?);
            }
            "output_tokens" => {
                let tokens = value.parse().map_err(|_| wrong("a whole number of tokens"))?;
                self.output_tokens = Some(tokens);
            }
            "stall" | "reset" | "truncate" | "malformed" | "late_error" => {
                self.fault = Some(fault(key, value).ok_or_else(|| {
                    wrong(match key {
                        "stall" | "reset" => "before, first or after:N",
                        _ => "first or after:N",
                    })
                })?);
            }
            "quota" => self.quota = true,
            "no_usage" => self.no_usage = true,
            "refuse" => self.refuse = true,
            "calls" => {
                let calls = value.parse().ok().filter(|calls| (1..=16).contains(calls));
                self.calls = Some(calls.ok_or_else(|| wrong("1 to 16 calls"))?);
            }
            "body" if value == "garbage" => self.garbage = true,
            "body" => return Err(wrong("garbage")),
            _ => {
                return Err(format!("{HEADER}: unknown key {key:?}; the keys are {KEYS}"));
            }
        }
        Ok(())
    }
}

fn fault(key: &str, value: &str) -> Option<Fault> {
    let place = match value {
        "before" => Place::Head,
        "first" => Place::First,
        _ => Place::After(value.strip_prefix("after:")?.parse().ok()?),
    };
    match (key, place) {
        ("stall", _) => Some(Fault::Stall(place)),
        ("reset", _) => Some(Fault::Reset(place)),
        (_, Place::Head) => None,
        ("truncate", _) => Some(Fault::Truncate(place)),
        ("malformed", _) => Some(Fault::Malformed(place)),
        _ => Some(Fault::LateError(place)),
    }
}

/// `200ms`, `1.5s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_keys() {
        let text = "status=503; retry_after=2; retry_after_ms=1146;hint=1.1s; latency=200ms; ttft=1.5s; \
                    tps=50; output_tokens=500; quota; body=garbage; no_usage; refuse; calls=3;";
        let control = Control::parse(text).unwrap();
        assert_eq!(control.status, Some(503));
        assert_eq!(control.retry_after.as_deref(), Some("2"));
        assert_eq!(control.retry_after_ms.as_deref(), Some("1146"));
        assert_eq!(control.hint.as_deref(), Some("1.1s"));
        assert_eq!(control.latency, Some(Duration::from_millis(200)));
        assert_eq!(control.ttft, Some(Duration::from_millis(1500)));
        assert_eq!((control.tps, control.output_tokens), (Some(50.0), Some(500)));
        assert!(control.quota && control.garbage && control.no_usage && control.refuse);
        assert_eq!(control.calls, Some(3));
    }

    #[test]
    fn reads_places() {
        let fault = |text| Control::parse(text).unwrap().fault.unwrap();
        assert_eq!(fault("stall=before"), Fault::Stall(Place::Head));
        assert_eq!(fault("reset=after:3"), Fault::Reset(Place::After(3)));
        assert_eq!(fault("truncate=after:0"), Fault::Truncate(Place::After(0)));
        assert_eq!(fault("malformed=first"), Fault::Malformed(Place::First));
        assert_eq!(fault("late_error=first"), Fault::LateError(Place::First));
    }

    #[test]
    fn refuses_the_rest_with_help() {
        for (text, part) in [
            ("speed=3", "late_error, quota"),
            ("status=200", "400 to 599"),
            ("latency=5", "200ms"),
            ("latency=-1s", "200ms"),
            ("tps=0", "above 0"),
            ("output_tokens=x", "whole number"),
            ("truncate=before", "first or after:N"),
            ("stall", "before, first"),
            ("body=x", "garbage"),
            ("calls=0", "1 to 16"),
        ] {
            let error = Control::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
