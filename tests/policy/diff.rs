//! What `tollway diff` says.

use tollway::policy::{Policy, diff::diff};

use super::parse;

const BASE: &str = "\
providers:
  openai: { api_key: sk-first }
  lab: { base_url: https://lab.example/v1, auth: none }
  sim: { simulate: {} }
";

/// All that is told of what `new` changes in `old`, both behind the same providers.
fn told(old: &str, new: &str) -> Vec<String> {
    let policy = |text: &str| parse(&format!("{BASE}{text}"));
    diff(&policy(old), &policy(new)).iter().map(ToString::to_string).collect()
}

/// The same of whole policies.
fn whole(old: &str, new: &str) -> Vec<String> {
    diff(&parse(old), &parse(new)).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_the_same_is_not_told() {
    for (name, text) in super::files::config().iter().filter(|(name, _)| name != "models.yaml") {
        assert!(diff(&parse(text), &parse(text)).is_empty(), "{name}");
    }
    assert!(told("log: { level: info }\n", "").is_empty(), "a default that is written out");
}

#[test]
fn limits_say_what_becomes_of_what_was_used() {
    const ANEW: &str = "everybody begins with all of it";
    const SHARE: &str = "buckets stay as full as they are, by their share";
    for (old, new, words) in [
        ("requests: 60/min", "requests: 90/min", format!("60 requests a minute -> 90 requests a minute; {SHARE}")),
        (
            "requests: 60/min",
            "requests: 60/min, burst: 5",
            format!("60 requests a minute -> 60 requests a minute, 5 at once; {SHARE}"),
        ),
        (
            "tokens: 5k/min, shape: sliding",
            "tokens: 5k/10s, shape: sliding",
            "5000 tokens in any 60s -> 5000 tokens in any 10s; what was used within the new window counts".into(),
        ),
        (
            "usd: 20/day",
            "usd: 100/month",
            "20 USD a calendar day -> 100 USD a calendar month; what was used in this period counts".into(),
        ),
        (
            "usd: 100/month",
            "usd: 20/day",
            format!("100 USD a calendar month -> 20 USD a calendar day; another kind of limit: {ANEW}"),
        ),
        (
            "requests: 60/min",
            "requests: 60/min, shape: sliding",
            format!("60 requests a minute -> 60 requests in any 60s; another kind of limit: {ANEW}"),
        ),
        (
            "concurrent: 5",
            "concurrent: 7",
            "5 at the same time -> 7 at the same time; places stay taken until their replies end".into(),
        ),
        ("requests: 60/min", "requests: 60/min, when_full: { wait: 5s }", "reject -> wait 5s".into()),
        ("usd: 5/day", "usd: 5/day, warn_at: 90%", "80% -> 90%".into()),
        ("usd: 5/day", "usd: 5/day, reserve: most", "usual -> most".into()),
        (
            "usd: 5/day",
            "usd: 5/day, when_full: { downgrade: [openai/gpt-4o, sim, free] }",
            "reject -> downgrade to openai/gpt-4o, sim, free".into(),
        ),
        ("requests: 60/min", "requests: 60/min, enforce: false", "true -> false".into()),
    ] {
        let limit = |quota: &str| format!("limits:\n  - {{ name: a, per: user, {quota} }}\n");
        let told = told(&limit(old), &limit(new));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("limits.a") && told[0].ends_with(&words), "{told:?}");
    }
    let limits = |text: &str| format!("limits:\n  - {{ name: a, {text} }}\n");
    assert_eq!(
        told(&limits("per: user, requests: 5/min"), &limits("per: ip, requests: 5/min")),
        [format!("limits.a: per user -> per ip; {ANEW}")],
    );
    assert_eq!(
        told(&limits("per: user, requests: 5/min"), ""),
        ["limits.a: removed: holds nobody up any more; what was used is forgotten"],
    );
    assert_eq!(
        told("", &limits("per: [user, model], requests: 5/min")),
        [format!("limits.a: added: 5 requests a minute per user and model; {ANEW}")],
    );
    assert_eq!(
        told(
            &limits("per: user, requests: 5/min"),
            &limits("per: user, requests: 5/min, tokens: 9/min"),
        ),
        [format!("limits.a: 9 tokens a minute added; {ANEW}")],
    );
}

#[test]
fn providers_say_what_becomes_of_what_is_under_way() {
    let base =
        "providers:\n  lab: { base_url: https://lab.example/v1, api_key: sk-first-secret }\n";
    for (from, to, words) in [
        ("sk-first-secret", "sk-other-secret", "providers.lab.keys.default: another secret"),
        (
            "lab.example",
            "lab2.example",
            "https://lab.example/v1 -> https://lab2.example/v1; its circuits are closed",
        ),
        (
            "secret }",
            "secret, headers: { x-secret: hidden-one } }",
            "providers.lab.headers: are others",
        ),
        (
            "secret }",
            "secret, timeouts: { total: 9s } }",
            "providers.lab.timeouts.total: 600s -> 9s",
        ),
        ("  lab:", "  sim: { simulate: {} }\n  lab:", "providers.sim: added"),
        ("  lab:", "  lap:", "providers.lab: removed: no request goes there any more"),
    ] {
        let told = whole(base, &base.replace(from, to));
        assert!(told.iter().any(|one| one.contains(words)), "{words} is not in {told:?}");
        assert!(!format!("{told:?}").contains("-secret"), "{told:?}");
        assert!(!format!("{told:?}").contains("hidden"), "{told:?}");
    }
}

#[test]
fn another_strategy_is_told_beside_other_targets() {
    let route = |rest: &str| format!("routes: [{{ name: all, {rest} }}]\n");
    let changes = told(
        &route("strategy: { latency: whole }, targets: [sim]"),
        &route("strategy: cost, targets: [sim, openai]"),
    );
    assert!(changes.iter().any(|it| it.contains("strategy")) && changes.len() == 2, "{changes:?}");

    let arms = |old: u8, more: &str| {
        let arm = |name: &str, weight: u8, rest: &str| {
            format!("{{ name: {name}, weight: {weight}, targets: [sim/{name}{rest}] }}")
        };
        let (one, two) = (arm("a", old, more), arm("b", 10 - old, ""));
        route(&format!("strategy: {{ split: user }}, targets: [{one}, {two}]"))
    };
    assert_eq!(told(&arms(9, ""), &arms(9, ", openai")).len(), 1);
    assert_eq!(told(&arms(9, ""), &arms(1, ", openai")).len(), 2, "other weights");
}

#[test]
fn what_needs_a_restart_says_so() {
    let policy = |text: &str| parse(&format!("{BASE}{text}"));
    let text = "listen: 127.0.0.1:9\nadmin: { listen: 127.0.0.1:10 }\nserver: { workers: 3, drain: 5s, idle_timeout: 7s }\nlog: { level: debug }\n";
    let changes = diff(&policy(""), &policy(text));
    let told: Vec<_> = changes.iter().map(|one| (one.path.as_str(), one.needs_restart)).collect();
    let restart =
        [("listen", true), ("admin.listen", true), ("log.level", true), ("server.workers", true)];
    assert_eq!(told[..4], restart);
    assert_eq!(told[4..], [("server.idle_timeout", false), ("server.drain", false)]);
    assert!(changes[4].words.ends_with("-> 7s; for new connections"), "{}", changes[4]);
}

#[test]
fn where_state_lives_is_decided_at_the_start() {
    let told = |old: &str, new: &str| {
        let policy = |state: &str| parse(&format!("{BASE}state: {state}\n"));
        let changes = diff(&policy(old), &policy(new));
        assert!(changes.iter().all(|change| change.needs_restart), "{changes:?}");
        changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let memory = "memory";
    let file = told(memory, "{ sqlite: /tmp/it.db }");
    assert_eq!(file[0], "state.ledger: memory -> /tmp/it.db (needs a restart)");
    assert_eq!(file[1], "state.limits: memory -> /tmp/it.db (needs a restart)");
    let redis = |password: &str| format!("{{ redis: \"redis://:{password}@host:6379\" }}");
    assert!(told(&redis("one"), &redis("one")).is_empty());
    let other = told(&redis("one"), &redis("other"));
    assert!(
        other[0].starts_with("state.ledger: another address, timeout or CA of a Redis"),
        "{other:?}"
    );
    assert!(!format!("{other:?}").contains("other@"), "{other:?}");
}

#[test]
fn all_else_is_told_by_its_name() {
    let hash = |digit: &str| digit.repeat(64);
    let keys = |text: &str| format!("callers: {{ keys: [{text}] }}\n");
    let key = |name: &str, digit| format!("{{ name: {name}, sha256: \"{}\" }}", hash(digit));
    for (old, new, words) in [
        (
            keys(&key("a", "1")),
            keys(&key("a", "2")),
            "callers.keys.a: another key; the one before is refused (401)",
        ),
        (keys(&key("a", "1")), keys(&key("b", "1")), "callers.keys.a: removed: refused (401)"),
        (
            "callers: { require_key: true }\n".into(),
            "".into(),
            "callers.require_key: nobody needs a Tollway key any more",
        ),
        ("".into(), "circuit_breaker: {}\n".into(), "circuit_breaker: added: circuits are closed"),
        (
            "circuit_breaker: { open_after: 5 }\n".into(),
            "circuit_breaker: { open_after: 7 }\n".into(),
            "circuit_breaker.open_after: 5 -> 7; circuits stay as they are",
        ),
        (
            "retry: { attempts: 2 }\n".into(),
            "retry: { attempts: 3 }\n".into(),
            "retry.attempts: 2 -> 3",
        ),
        ("retry: { attempts: 2 }\n".into(), "".into(), "retry: removed: each target"),
        (
            "".into(),
            "pacing: { wait: 3s }\n".into(),
            "pacing.wait: 5s -> 3s; what providers told is kept",
        ),
        (
            "".into(),
            "aliases: { fast: gpt-4o-mini }\n".into(),
            "aliases.fast: added: stands for gpt-4o-mini",
        ),
        (
            "".into(),
            "routes: [{ name: r, targets: [sim] }]\n".into(),
            "routes.r: added, with 1 targets",
        ),
        (
            "routes: [{ name: r, targets: [sim] }]\n".into(),
            "routes: [{ name: r, targets: [sim, lab] }]\n".into(),
            "routes.r.targets: sim -> sim, lab",
        ),
        (
            "routes: [{ name: r, targets: [sim, lab] }]\n".into(),
            "routes: [{ name: r, strategy: round_robin, targets: [sim, lab] }]\n".into(),
            "routes.r: rules, strategy, weights or regions are others",
        ),
        ("".into(), "streams: { on_hangup: drain }\n".into(), "streams.on_hangup: cancel -> drain"),
        (
            "".into(),
            "models: [{ id: gpt-4o, provider: openai, price: { input: 9, output: 11.5 } }]\n"
                .into(),
            "-> input 9, output 11.5 USD a million tokens; replies that end from now on cost that",
        ),
    ] {
        let told = told(&old, &new);
        assert!(told.iter().any(|one| one.contains(words)), "{words} is not in {told:?}");
        assert!(!format!("{told:?}").contains(&hash("2")), "{told:?}");
    }
}

#[test]
fn zones_and_alerts_are_told_without_secrets() {
    assert_eq!(
        told("", "time_zone: Europe/Berlin\n"),
        ["time_zone: UTC -> Europe/Berlin (needs a restart)"]
    );
    let hook = |url: &str, secret: &str, more: &str| {
        format!("alerts: {{ webhook: {{ url: \"https://{url}\", secret: {secret} }}{more} }}\n")
    };
    let (one, two) = (hook("one/token-1", "s-1", ""), hook("two/token-2", "s-2", ", again: 1h"));
    assert_eq!(told("", &one), ["alerts.webhook: added: called from the next alert on"]);
    assert_eq!(
        told(&one, &two),
        [
            "alerts.webhook.url: another one, also for what waits already",
            "alerts.webhook.secret: another one",
            "alerts.again: 86400s -> 3600s",
        ]
    );
    assert_eq!(
        told(&one, ""),
        ["alerts.webhook: removed: log and metrics tell; what waits goes nowhere"]
    );
}

/// Other things that could stand in the place of a scalar.
fn others(value: &str) -> Vec<String> {
    let digits = |text: &str| text.find(|c: char| c.is_ascii_digit());
    let mut all = Vec::new();
    if let Some(start) = digits(value) {
        let length = value[start..].find(|c: char| !c.is_ascii_digit());
        let end = length.map_or(value.len(), |length| start + length);
        let number: u64 = value[start..end].parse().unwrap_or(0);
        for number in [number + 1, number.saturating_sub(1), number * 2, number / 2] {
            all.push(format!("{}{number}{}", &value[..start], &value[end..]));
        }
    }
    if let Some(comma) = value.rfind(", ").filter(|_| value.starts_with('[')) {
        all.push(format!("{}]", &value[..comma]));
    }
    all.push(
        format!("{}x", value.trim_end_matches(['"', '\'']))
            + if value.starts_with('"') { "\"" } else { "" },
    );
    let words = "true false reject open drop refuse drain head always whole first_token pretty json \
        calendar bucket full none user ip latency openai anthropic large tiny vision retired fast most \
        medium simple debug only auto memory redis gpt-4o";
    all.extend(words.split_whitespace().map(str::to_owned));
    all.push("{ path: /other }".to_owned());
    all.retain(|other| other != value);
    all
}

/// Where the values of `key: value` stand in a line that are neither sections nor comments.
fn scalars(line: &str) -> Vec<std::ops::Range<usize>> {
    let line = line.split(" #").next().unwrap_or_default();
    let line = if line.trim_start().starts_with('#') { "" } else { line };
    line.match_indices(": ")
        .filter_map(|(at, _)| {
            let rest = &line[at + 2..];
            let start = at + 2 + (rest.len() - rest.trim_start().len());
            let rest = &line[start..];
            let length = match rest.chars().next()? {
                '{' => return None,
                '[' => rest.find(']')? + 1,
                '"' => rest[1..].find('"')? + 2,
                _ => rest.find([',', '}', ']']).unwrap_or(rest.len()),
            };
            let length = rest[..length].trim_end().len();
            (length > 0).then(|| start..start + length)
        })
        .collect()
}

#[test]
fn every_key_of_the_reference_is_told_in_words() {
    let (_, text) =
        super::files::config().into_iter().find(|(name, _)| name == "reference.yaml").unwrap();
    let before = parse(&text);
    let (mut start, mut tried, mut untried, mut untold) = (0, 0, vec![], vec![]);
    for line in text.split_inclusive('\n') {
        for at in scalars(line) {
            let (from, to) = (start + at.start, start + at.end);
            let changed = |other: &String| format!("{}{other}{}", &text[..from], &text[to..]);
            // For people alone, and kept by nobody.
            if line[..at.start].ends_with(" note: ") {
                continue;
            }
            let all = others(&text[from..to]);
            let parsed = all.iter().filter_map(|other| {
                Policy::parse("policy.yaml", &changed(other), &super::env()).ok()
            });
            // Some words mean the same.
            let mut told = parsed.map(|after| diff(&before, &after)).peekable();
            if told.peek().is_none() {
                untried.push(line.trim().to_owned());
                continue;
            }
            tried += 1;
            let Some(changes) = told.find(|changes| !changes.is_empty()) else {
                untold.push(format!("{} at `{}`", line.trim(), &text[from..to]));
                continue;
            };
            for change in &changes {
                let words = change.to_string();
                assert!(!words.contains(['{', '"', '[']) && !words.contains("Some("), "{words}");
            }
        }
        start += line.len();
    }
    assert!(untold.is_empty(), "nothing is told of\n{}", untold.join("\n"));
    assert!(tried > 200 && untried.len() < 20, "{tried} tried, but not\n{}", untried.join("\n"));
}
