use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, request::Parts};
use tokio::time::Instant;

use super::SimulateConfig;

/// The span in which the limits hold, wherever it is laid.
const WINDOW: Duration = Duration::from_secs(60);

/// What was admitted in the last 60 seconds, and how much of the quota is gone; each account has
/// limits of its own.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<Box<[u8]>, Window>>);

/// Accounts told apart; any further ones share the limits of no account.
const MAX_ACCOUNTS: usize = 1_000;

/// In a request's extensions: whose limits it draws on, where no credential says so.
#[derive(Clone, Debug)]
pub struct Account(pub Arc<str>);

/// Whose limits a request draws on: as it was told, else by the credential.
pub(super) fn account(request: &Parts) -> &[u8] {
    if let Some(Account(name)) = request.extensions.get() {
        return name.as_bytes();
    }
    let names = ["authorization", "x-api-key", "x-goog-api-key"];
    let value = names.iter().find_map(|name| request.headers.get(*name));
    value.map_or(&[], HeaderValue::as_bytes)
}

#[derive(Debug, Default)]
struct Window {
    admitted: VecDeque<(Instant, u64)>,
    tokens: u64,
    quota_used: u64,
}

/// Which limit said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Requests,
    Tokens,
}

/// One limit as its headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) limit: u64,
    pub(super) remaining: u64,
    /// Until the window would be empty.
    pub(super) reset: Duration,
}

/// The state of both limits after a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) requests: Option<Level>,
    pub(super) tokens: Option<Level>,
}

/// A limit's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted(Levels),
    /// Would be admitted after `wait`; `None`: never, it is larger than the limit.
    Full {
        scope: Scope,
        limit: u64,
        used: u64,
        wait: Option<Duration>,
        levels: Levels,
    },
    NoQuota,
}

impl Limits {
    /// Counts a request of `tokens` if it may pass now; else says why not and counts nothing.
    pub(super) fn admit(&self, config: &SimulateConfig, account: &[u8], tokens: u64) -> Verdict {
        let unlimited = config.requests_per_minute.is_none() && config.tokens_per_minute.is_none();
        if unlimited && config.quota_requests.is_none() {
            return Verdict::Admitted(Levels::default());
        }
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = windows.contains_key(account) || windows.len() < MAX_ACCOUNTS;
        let account = if known { account } else { &[] };
        windows.entry(account.into()).or_default().admit(config, tokens, Instant::now())
    }
}

impl Window {
    fn admit(&mut self, config: &SimulateConfig, tokens: u64, now: Instant) -> Verdict {
        self.forget(now);
        if config.quota_requests.is_some_and(|quota| self.quota_used >= quota) {
            return Verdict::NoQuota;
        }
        let (rpm, tpm) = (config.requests_per_minute, config.tokens_per_minute);
        let count = self.admitted.len() as u64;
        if let Some(limit) = rpm.filter(|limit| count >= *limit) {
            let wait = self.until_room(now, |left, _| left < limit);
            let levels = self.levels(config, now);
            return Verdict::Full { scope: Scope::Requests, limit, used: count, wait, levels };
        }
        if let Some(limit) = tpm.filter(|limit| self.tokens.saturating_add(tokens) > *limit) {
            let fits = limit.checked_sub(tokens);
            let wait = fits.and_then(|most| self.until_room(now, |_, left| left <= most));
            let levels = self.levels(config, now);
            return Verdict::Full { scope: Scope::Tokens, limit, used: self.tokens, wait, levels };
        }
        self.quota_used = self.quota_used.saturating_add(1);
        if rpm.is_some() || tpm.is_some() {
            self.admitted.push_back((now, tokens));
            self.tokens = self.tokens.saturating_add(tokens);
        }
        Verdict::Admitted(self.levels(config, now))
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, tokens)) = self.admitted.front() {
            if now.duration_since(*at) < WINDOW {
                break;
            }
            self.tokens = self.tokens.saturating_sub(*tokens);
            self.admitted.pop_front();
        }
    }

    /// How long until enough has left the window that `enough(requests, tokens)`.
    fn until_room(&self, now: Instant, enough: impl Fn(u64, u64) -> bool) -> Option<Duration> {
        let (mut count, mut tokens) = (self.admitted.len() as u64, self.tokens);
        for (at, used) in &self.admitted {
            count = count.saturating_sub(1);
            tokens = tokens.saturating_sub(*used);
            if enough(count, tokens) {
                return Some(left(*at, now));
            }
        }
        None
    }

    fn levels(&self, config: &SimulateConfig, now: Instant) -> Levels {
        let reset = self.admitted.back().map_or(Duration::ZERO, |(at, _)| left(*at, now));
        let level =
            |limit: u64, used: u64| Level { limit, remaining: limit.saturating_sub(used), reset };
        let count = self.admitted.len() as u64;
        Levels {
            requests: config.requests_per_minute.map(|limit| level(limit, count)),
            tokens: config.tokens_per_minute.map(|limit| level(limit, self.tokens)),
        }
    }
}

fn left(at: Instant, now: Instant) -> Duration {
    WINDOW.saturating_sub(now.duration_since(at))
}

/// A duration as OpenAI's headers write it, in whole milliseconds rounded up: `20ms`, `8.64s`,
/// `6m0s`, `1h2m3s`.
pub(super) fn go_duration(time: Duration) -> String {
    let ms = whole_ms(time);
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let mut seconds = format!("{}.{:03}", ms / 1000 % 60, ms % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Milliseconds, rounded up: a hint must never be too short.
pub(super) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_durations_as_go_does() {
        for (ms, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1146, "1.146s"),
            (8640, "8.64s"),
            (59_500, "59.5s"),
            (360_000, "6m0s"),
            (3_723_500, "1h2m3.5s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(go_duration(Duration::from_nanos(1)), "1ms");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Never more than allowed in any 60 seconds, and a hint that is obeyed is kept.
        #[test]
        fn no_window_holds_more_than_allowed(
            rpm in 1u64..20,
            tpm in 50u64..2000,
            asks in prop::collection::vec((0u64..20_000, 1u64..80), 1..300),
        ) {
            let config = SimulateConfig {
                requests_per_minute: Some(rpm),
                tokens_per_minute: Some(tpm),
                ..SimulateConfig::default()
            };
            let mut window = Window::default();
            let start = Instant::now();
            let (mut now, mut passed) = (start, Vec::new());
            for (pause, tokens) in asks {
                now += Duration::from_millis(pause);
                match window.admit(&config, tokens, now) {
                    Verdict::Admitted(_) => passed.push((now, tokens)),
                    Verdict::Full { wait: Some(wait), .. } => {
                        let early = now + wait - Duration::from_nanos(1);
                        prop_assert!(early <= now || !matches!(window.admit(&config, tokens, early), Verdict::Admitted(_)));
                        now += wait;
                        // The other limit may still say no, but not the same one.
                        if matches!(window.admit(&config, tokens, now), Verdict::Admitted(_)) {
                            passed.push((now, tokens));
                        }
                    }
                    Verdict::Full { wait: None, .. } => prop_assert!(tokens > tpm),
                    Verdict::NoQuota => prop_assert!(false),
                }
            }
            for (at, _) in &passed {
                let inside = passed.iter().filter(|(t, _)| t >= at && *t < *at + WINDOW);
                let (count, sum) = inside.fold((0, 0), |(n, s), (_, tokens)| (n + 1, s + tokens));
                prop_assert!(count <= rpm && sum <= tpm, "{count} requests, {sum} tokens");
            }
        }
    }
}
