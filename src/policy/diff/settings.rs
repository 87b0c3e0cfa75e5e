//! Listeners, callers, resilience: mostly single values.

use secrecy::ExposeSecret;

use super::{Change, Changes};
use crate::policy::{Policy, Store};

impl Changes {
    pub(super) fn listeners(&mut self, old: &Policy, new: &Policy) {
        self.fixed("listen", &old.listen, &new.listen);
        self.fixed("admin.listen", &old.admin.listen, &new.admin.listen);
        self.fixed("log", &old.log, &new.log);
        self.zone(old, new);
        let (a, b) = (&old.server, &new.server);
        self.fixed("server.workers", &a.workers, &b.workers);
        self.value("server.max_header_bytes", &a.max_header_bytes, &b.max_header_bytes);
        self.value("server.max_headers", &a.max_headers, &b.max_headers);
        self.value("server.header_timeout", &a.header_timeout, &b.header_timeout);
        self.value("server.body_timeout", &a.body_timeout, &b.body_timeout);
        self.value("server.idle_timeout", &a.idle_timeout, &b.idle_timeout);
        for change in self.0.iter_mut().filter(|change| !change.needs_restart) {
            change.words.push_str("; for new connections");
        }
        self.value("server.max_body", &a.max_body, &b.max_body);
        self.value("server.max_upload", &a.max_upload, &b.max_upload);
        self.value("server.request_deadline", &a.request_deadline, &b.request_deadline);
        self.value("server.drain", &a.drain, &b.drain);
        let token = |policy: &Policy| {
            policy.admin.token.as_ref().map(|token| token.expose_secret().to_owned())
        };
        match (token(old), token(new)) {
            (None, Some(_)) => self.tell("admin.token", "is asked for from now on"),
            (Some(_), None) => self.tell("admin.token", "is not asked for any more"),
            (a, b) if a != b => self.tell("admin.token", "another one"),
            _ => {}
        }
    }

    /// Stores are opened once: what they hold would be of two places.
    pub(super) fn state(&mut self, old: &Policy, new: &Policy) {
        let (a, b) = (&old.state, &new.state);
        let kinds = [
            ("state.ledger", &a.ledger.store, &b.ledger.store),
            ("state.limits", &a.limits, &b.limits),
            ("state.budgets", &a.budgets, &b.budgets),
            ("state.breakers", &a.breakers, &b.breakers),
            ("state", &a.documents, &b.documents),
        ];
        for (path, one, other) in kinds.into_iter().filter(|(_, one, other)| one != other) {
            let place = |store: &Store| store.to_string();
            let words = match (place(one), place(other)) {
                (one, other) if one == other => format!("another address, timeout or CA of {one}"),
                (one, other) => format!("{one} -> {other}"),
            };
            self.0.push(Change { path: path.into(), words, needs_restart: true });
        }
        let (a, b) = (&a.ledger.keep, &b.ledger.keep);
        let days = |days: Option<u32>| days.map_or("forever".to_owned(), |days| format!("{days}d"));
        self.fixed("state.ledger.keep", &days(a.rows), &days(b.rows));
        self.fixed("state.ledger.keep_rows", &a.most_rows, &b.most_rows);
        self.fixed("state.ledger.keep_days", &days(a.days), &days(b.days));
        self.fixed("state.ledger.keep_months", &days(a.months), &days(b.months));
    }

    fn zone(&mut self, old: &Policy, new: &Policy) {
        let name = |policy: &Policy| policy.time_zone.iana_name().unwrap_or("UTC").to_owned();
        let (a, b) = (name(old), name(new));
        if a != b {
            self.tell("time_zone", format!("{a} -> {b}"));
            self.0.iter_mut().rev().take(1).for_each(|change| change.needs_restart = true);
        }
    }

    pub(super) fn alerts(&mut self, old: &Policy, new: &Policy) {
        let (a, b) = (&old.alerts, &new.alerts);
        match (&a.webhook, &b.webhook) {
            (None, Some(_)) => self.tell("alerts.webhook", "added: called from the next alert on"),
            (Some(_), None) => {
                self.tell(
                    "alerts.webhook",
                    "removed: log and metrics tell; what waits goes nowhere",
                );
            }
            (Some(a), Some(b)) => {
                // Either may hold a token.
                if a.url.expose_secret() != b.url.expose_secret() {
                    self.tell("alerts.webhook.url", "another one, also for what waits already");
                }
                if a.secret.expose_secret() != b.secret.expose_secret() {
                    self.tell("alerts.webhook.secret", "another one");
                }
                self.value("alerts.webhook.timeout", &a.timeout, &b.timeout);
                self.value("alerts.webhook.retries", &a.retries, &b.retries);
            }
            (None, None) => {}
        }
        self.value("alerts.again", &a.again, &b.again);
    }

    pub(super) fn callers(&mut self, old: &Policy, new: &Policy) {
        let (a, b) = (&old.callers, &new.callers);
        self.value("callers.identify", &a.identify, &b.identify);
        if a.require_key != b.require_key {
            self.tell(
                "callers.require_key",
                match b.require_key {
                    true => "a request without a valid Tollway key is refused (401) from the next one on",
                    false => "nobody needs a Tollway key any more; who sends one is taken to send a provider's",
                },
            );
        }
        self.value("callers.trusted_proxies", &a.trusted_proxies, &b.trusted_proxies);
        self.named(
            "callers.keys",
            (&a.keys, &b.keys),
            |key| &key.name,
            |at, pair, all| match pair {
                (None, Some(key)) => all.tell(at, format!("added, of user {}", key.user)),
                (Some(_), None) => all.tell(at, "removed: refused (401) from the next request on"),
                (Some(a), Some(b)) => {
                    if a.sha256 != b.sha256 {
                        all.tell(at, "another key; the one before is refused (401)");
                    }
                    all.value(&format!("{at}.user"), &a.user, &b.user);
                    all.value(&format!("{at}.tags"), &a.tags, &b.tags);
                    all.value(&format!("{at}.models"), &a.models, &b.models);
                }
                (None, None) => {}
            },
        );
    }

    pub(super) fn resilience(&mut self, old: &Policy, new: &Policy) {
        let words = (
            "added: gauges are empty until the next replies",
            "removed: what providers tell holds nobody back any more",
            "what providers told is kept",
        );
        self.part("pacing", (old.pacing.as_ref(), new.pacing.as_ref()), words, |a, b, all| {
            all.value("pacing.wait", &a.wait, &b.wait);
        });
        let words = (
            "added: circuits are closed until targets fail",
            "removed: no target is guarded any more",
            "circuits stay as they are and go by it from their next change on",
        );
        let both = (old.circuit_breaker.as_ref(), new.circuit_breaker.as_ref());
        self.part("circuit_breaker", both, words, |a, b, all| {
            let at = |name: &str| format!("circuit_breaker.{name}");
            all.value(&at("open_after"), &a.open_after, &b.open_after);
            all.value(&at("failure_ratio"), &a.failure_ratio, &b.failure_ratio);
            all.value(&at("slow_calls"), &a.slow_calls, &b.slow_calls);
            all.value(&at("recover_after"), &a.recover_after, &b.recover_after);
            all.value(&at("recover_factor"), &a.recover_factor, &b.recover_factor);
            all.value(&at("recover_max"), &a.recover_max, &b.recover_max);
            all.value(&at("trial_requests"), &a.trial_requests, &b.trial_requests);
            all.value(&at("ramp"), &a.ramp, &b.ramp);
            all.value(&at("weights"), &a.weights, &b.weights);
            all.value(&at("bench"), &a.bench, &b.bench);
        });
        let words = (
            "added",
            "removed: each target of a route has one turn, without waits",
            "for requests that come from now on",
        );
        self.part("retry", (old.retry.as_ref(), new.retry.as_ref()), words, |a, b, all| {
            all.value("retry.attempts", &a.attempts, &b.attempts);
            all.value("retry.backoff", &a.backoff, &b.backoff);
            all.value("retry.obey_retry_after", &a.obey_retry_after, &b.obey_retry_after);
            all.value("retry.budget", &a.budget, &b.budget);
            all.value("retry.on", &a.on, &b.on);
        });
        self.routing(old, new);
        let (a, b) = (&old.streams, &new.streams);
        self.value("streams.on_hangup", &a.on_hangup, &b.on_hangup);
        self.value("streams.commit", &a.commit, &b.commit);
        self.value("translation", &old.translation, &new.translation);
    }

    fn routing(&mut self, old: &Policy, new: &Policy) {
        let (a, b) = (&old.routing, &new.routing);
        self.value("routing.min_samples", &a.min_samples, &b.min_samples);
        self.value("routing.window", &a.window, &b.window);
        self.value("routing.explore", &a.explore, &b.explore);
        self.value("routing.expect", &a.expect, &b.expect);
        self.value("routing.header", &a.header, &b.header);
        self.value("routing.decisions", &a.decisions, &b.decisions);
        self.value("routing.auto", &a.auto, &b.auto);
        let (a, b) = (&old.health, &new.health);
        let before = self.0.len();
        self.value("health.degraded_below", &a.degraded_below, &b.degraded_below);
        self.value("health.down_below", &a.down_below, &b.down_below);
        self.value("health.min_outcomes", &a.min_outcomes, &b.min_outcomes);
        self.value("health.down_after", &a.down_after, &b.down_after);
        self.value("health.slow_first_token", &a.slow_first_token, &b.slow_first_token);
        self.value("health.slow_whole", &a.slow_whole, &b.slow_whole);
        self.value("health.cooldown", &a.cooldown, &b.cooldown);
        self.value("health.trickle", &a.trickle, &b.trickle);
        self.value("health.recover_after", &a.recover_after, &b.recover_after);
        for change in self.0.iter_mut().skip(before) {
            change.words.push_str("; all targets are judged anew by their figures");
        }
        self.value("health: routes go by it", &old.minds_health, &new.minds_health);
    }
}
