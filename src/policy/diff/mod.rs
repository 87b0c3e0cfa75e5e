//! What another policy will do, in words: what changes, and what becomes of what is under way.

mod limits;
mod providers;

use std::{collections::HashSet, fmt, hash::Hash};

use serde_json::{Value, json};

use super::{Policy, registry::Model};

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: `limits.user`, `providers.groq.keys`, `listen`.
    pub path: String,
    /// What is different, and what that does to what is there already. Never a secret.
    pub words: String,
    /// It holds only once the program starts again.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restart = if self.needs_restart { " (needs a restart)" } else { "" };
        write!(f, "{}: {}{restart}", self.path, self.words)
    }
}

impl Change {
    /// As JSON: `path`, `change`, `needs_restart`.
    pub fn json(&self) -> Value {
        json!({ "path": self.path, "change": self.words, "needs_restart": self.needs_restart })
    }
}

/// Everything that is different, section by section; empty: nothing is.
///
/// ```
/// use tollway::policy::{Env, Policy, diff::diff};
///
/// let policy = |rate: u32| {
///     let limit = format!("{{ name: user, per: user, requests: {rate}/min }}");
///     let text = format!("providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {limit}\n");
///     Policy::parse("policy.yaml", &text, &Env::new(|_| None))
/// };
/// let changes = diff(&policy(60)?, &policy(120)?);
/// assert_eq!(changes[0].path, "limits.user");
/// assert!(changes[0].words.contains("60 requests a minute -> 120 requests a minute"), "{}", changes[0]);
/// assert!(diff(&policy(60)?, &policy(60)?).is_empty());
/// # Ok::<(), tollway::policy::Diagnostics>(())
/// ```
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut all = Changes::default();
    all.listeners(old, new);
    all.callers(old, new);
    providers::changes(&old.providers, &new.providers, &mut all);
    limits::changes(&old.limits, &new.limits, &mut all);
    all.resilience(old, new);
    all.routes(old, new);
    all.models(old, new);
    all.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn tell(&mut self, path: impl Into<String>, words: impl Into<String>) {
        let (path, words) = (path.into(), words.into());
        self.0.push(Change { path, words, needs_restart: false });
    }

    /// One value in place of another.
    fn value<T: PartialEq + fmt::Debug>(&mut self, path: &str, old: &T, new: &T) {
        if old != new {
            self.tell(path, format!("{} -> {}", shown(old), shown(new)));
        }
    }

    /// A value that a running program does not change.
    fn fixed<T: PartialEq + fmt::Debug>(&mut self, path: &str, old: &T, new: &T) {
        let before = self.0.len();
        self.value(path, old, new);
        self.0.iter_mut().skip(before).for_each(|change| change.needs_restart = true);
    }

    /// A part that is there or not; `what` becomes of what there is.
    fn part<T: PartialEq + fmt::Debug>(
        &mut self,
        path: &str,
        (old, new): (Option<&T>, Option<&T>),
        (added, removed, kept): (&str, &str, &str),
        fields: impl FnOnce(&T, &T, &mut Self),
    ) {
        match (old, new) {
            (None, Some(_)) => self.tell(path, added),
            (Some(_), None) => self.tell(path, removed),
            (Some(old), Some(new)) if old != new => {
                let before = self.0.len();
                fields(old, new, self);
                for change in self.0.iter_mut().skip(before) {
                    change.words = format!("{}; {kept}", change.words);
                }
            }
            _ => {}
        }
    }

    fn listeners(&mut self, old: &Policy, new: &Policy) {
        self.fixed("listen", &old.listen, &new.listen);
        self.fixed("admin.listen", &old.admin.listen, &new.admin.listen);
        self.fixed("log", &old.log, &new.log);
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
            use secrecy::ExposeSecret;
            policy.admin.token.as_ref().map(|token| token.expose_secret().to_owned())
        };
        match (token(old), token(new)) {
            (None, Some(_)) => self.tell("admin.token", "is asked for from now on"),
            (Some(_), None) => self.tell("admin.token", "is not asked for any more"),
            (a, b) if a != b => self.tell("admin.token", "another one"),
            _ => {}
        }
    }

    fn callers(&mut self, old: &Policy, new: &Policy) {
        let (a, b) = (&old.callers, &new.callers);
        self.value("callers.identify", &a.identify, &b.identify);
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

    fn resilience(&mut self, old: &Policy, new: &Policy) {
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
        self.value("routing", &old.routing, &new.routing);
        if old.health != new.health {
            let words = format!("{} -> {}", shown(&old.health), shown(&new.health));
            self.tell("health", format!("{words}; all targets are judged anew by their figures"));
        }
        self.value("health.routes_mind_it", &old.minds_health, &new.minds_health);
        self.value("streams", &old.streams, &new.streams);
        self.value("translation", &old.translation, &new.translation);
    }

    fn routes(&mut self, old: &Policy, new: &Policy) {
        let pair = (&old.aliases[..], &new.aliases[..]);
        self.named(
            "aliases",
            pair,
            |alias| &alias.name,
            |at, pair, all| match pair {
                (None, Some(alias)) => all.tell(at, format!("added: stands for {}", alias.model)),
                (Some(_), None) => all.tell(at, "removed: stands for itself"),
                (Some(a), Some(b)) => all.value(at, &a.model, &b.model),
                (None, None) => {}
            },
        );
        let pair = (&old.routes[..], &new.routes[..]);
        self.named(
            "routes",
            pair,
            |route| &route.name,
            |at, pair, all| match pair {
                (None, Some(route)) => {
                    let targets = route.places().count();
                    all.tell(at, format!("added, with {targets} targets"));
                }
                (Some(_), None) => {
                    all.tell(at, "removed: requests on their way end as they began");
                }
                (Some(a), Some(b)) => {
                    all.value(&format!("{at}.match"), &a.matches, &b.matches);
                    let places = |route: &super::Route| -> Vec<String> {
                        let place = |place: &super::Place| match &place.model {
                            Some(model) => format!("{}/{model}", place.provider),
                            None => place.provider.to_string(),
                        };
                        route.places().map(place).collect()
                    };
                    all.value(&format!("{at}.targets"), &places(a), &places(b));
                    let rest = |route: &super::Route| (route.rules.clone(), route.nearest.clone());
                    if rest(a) != rest(b) || (a.group != b.group && places(a) == places(b)) {
                        all.tell(at, "rules, strategy, weights or regions are others");
                    }
                }
                (None, None) => {}
            },
        );
        let order = |policy: &Policy| -> Vec<_> {
            policy.routes.iter().map(|route| route.name.clone()).collect()
        };
        let (a, b) = (order(old), order(new));
        let both: HashSet<_> = a.iter().filter(|name| b.contains(name)).collect();
        let among = |all: &[std::sync::Arc<str>]| -> Vec<_> {
            all.iter().filter(|name| both.contains(name)).cloned().collect()
        };
        if among(&a) != among(&b) {
            self.tell("routes", "are tried in another order");
        }
    }

    /// Prices and the rest of what is known of models.
    fn models(&mut self, old: &Policy, new: &Policy) {
        let key = |model: &Model| (model.provider.clone(), model.id.clone());
        let find = |policy: &Policy, at: &_| {
            policy.registry.models.iter().find(|model| key(model) == *at).cloned()
        };
        for model in &new.registry.models {
            let at = format!("models.{}/{}", model.provider, model.id);
            match find(old, &key(model)) {
                None => self.tell(at, "added"),
                Some(old) if (old.price, &old.tiers) != (model.price, &model.tiers) => {
                    let words = format!("{} -> {}", prices(&old), prices(model));
                    self.tell(at, format!("{words}; replies that end from now on cost that"));
                }
                Some(old) if old != *model => self.tell(at, "what is known of it has changed"),
                Some(_) => {}
            }
        }
        for model in &old.registry.models {
            if find(new, &key(model)).is_none() {
                self.tell(format!("models.{}/{}", model.provider, model.id), "removed");
            }
        }
    }

    /// Pairs by name what is in either of two lists, the new list's order first.
    fn named<T: PartialEq, N: Eq + Hash + fmt::Display>(
        &mut self,
        path: &str,
        (old, new): (&[T], &[T]),
        name: impl Fn(&T) -> &N,
        mut tell: impl FnMut(&str, (Option<&T>, Option<&T>), &mut Self),
    ) {
        let find = |all: &'_ [T], wanted: &N| all.iter().position(|one| name(one) == wanted);
        for one in new {
            let before = find(old, name(one)).and_then(|at| old.get(at));
            if before != Some(one) {
                tell(&format!("{path}.{}", name(one)), (before, Some(one)), self);
            }
        }
        for one in old.iter().filter(|one| find(new, name(one)).is_none()) {
            tell(&format!("{path}.{}", name(one)), (Some(one), None), self);
        }
    }
}

/// USD per million tokens, as prices are written.
fn prices(model: &Model) -> String {
    let million = |picos: Option<u64>| {
        picos.map_or("unknown".to_owned(), |picos| {
            let usd = format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000);
            usd.trim_end_matches('0').trim_end_matches('.').to_owned()
        })
    };
    let (input, output) = (million(model.price.input), million(model.price.output));
    format!("input {input}, output {output} USD a million tokens")
}

/// A value for people: without what only Rust needs.
fn shown(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.as_str() {
        "None" => "none".into(),
        text => {
            text.strip_prefix("Some(").and_then(|it| it.strip_suffix(')')).unwrap_or(text).into()
        }
    }
}
