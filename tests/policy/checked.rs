use std::time::Duration;

use tollway::policy::*;

use super::parse;

const SIM: &str = "providers: { sim: { simulate: {} } }\n";

const SHA: &str = "12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07";

/// Each warning with its place, all dates aside.
fn warned(text: &str) -> Vec<String> {
    let warnings = parse(text).warnings;
    warnings.into_iter().map(|w| format!("{} {}: {}", w.place, w.path, w.message)).collect()
}

/// The places of the first route.
fn places(policy: &Policy) -> Vec<&Place> {
    policy.routes[0].places().collect()
}

#[test]
fn policy_defaults() {
    let policy = parse("providers: { openai: {} }");
    assert_eq!(policy.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(policy.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(policy.server.max_body, 32 << 20);
    assert_eq!(policy.server.max_upload, 512 << 20);
    assert!(policy.limits.is_empty() && policy.routes.is_empty());
    assert!(policy.circuit_breaker.is_none() && policy.retry.is_none());
    let Endpoint::Http(http) = &policy.providers[0].endpoint else { panic!() };
    assert_eq!(http.base_url, "https://api.openai.com/v1");
    assert!(matches!(http.auth, Auth::Passthrough));
    assert_eq!(http.timeouts.first_byte, Duration::from_secs(120));
}

#[test]
fn policy_of_the_design_as_far_as_it_goes() {
    let policy = parse(
        "\
listen: 127.0.0.1:8080
admin: { listen: 127.0.0.1:8081, token: ${TOLLWAY_ADMIN_TOKEN} }
callers:
  identify: [key, header x-user-id, ip]
  trusted_proxies: [10.0.0.0/8]
providers:
  openai:    { api_key: ${OPENAI_API_KEY} }
  anthropic: { api_key: ${ANTHROPIC_API_KEY} }
  groq:      { api_key: ${GROQ_API_KEY} }
  lab:       { base_url: http://127.0.0.1:11434/v1, dialect: openai }
limits:
  - { name: everyone, per: all,      requests: 10000/min, burst: 1000 }
  - { name: user,     per: user,     requests: 100/min, burst: 10, tokens: 50k/min }
  - { name: address,  per: ip,       requests: 50/min, burst: 5 }
  - { name: provider, per: provider, requests: 1000/min, burst: 100, when_full: { wait: 15s } }
  - { name: spend,    per: user,     usd: 20/day, warn_at: 80% }
circuit_breaker: { open_after: 5 failures, recover_after: 300s, trial_requests: 3 }
retry:     { attempts: 3, backoff: { first: 500ms, factor: 2, max: 30s, jitter: 25% }, retry_after: { obey_up_to: 60s } }
routes:
  - match: { model: \"gpt-*\" }
    strategy: failover
    targets: [openai, anthropic/claude-sonnet-5-5]
",
    );
    let user = &policy.limits[1];
    assert_eq!(user.quotas.len(), 2);
    let minute = Duration::from_secs(60);
    let ten = 10.try_into().unwrap();
    assert_eq!(user.quotas[0].shape, Shape::Bucket { per: minute, burst: ten });
    let all = 50_000.try_into().unwrap();
    assert_eq!(user.quotas[1].shape, Shape::Bucket { per: minute, burst: all });
    assert_eq!(policy.limits[3].when_full, WhenFull::Wait(Duration::from_secs(15)));
    let spend = policy.limits[4].quotas[0];
    assert_eq!((spend.amount.get(), spend.shape), (20_000_000_000, Shape::Calendar(Period::Day)));
    assert_eq!(policy.circuit_breaker.as_ref().unwrap().open_after.get(), 5);
    assert_eq!(policy.retry.as_ref().unwrap().backoff.jitter, Jitter::Share(0.25));
    assert_eq!(&*policy.routes[0].name, "route-1");
    assert_eq!(places(&policy)[1].model.as_deref(), Some("claude-sonnet-5-5"));
    assert_eq!(policy.warnings, []);
}

#[test]
fn policy_empty_sections_mean_their_defaults() {
    let policy = parse(&format!("{SIM}retry:\ncircuit_breaker:\n"));
    assert_eq!(policy.retry.unwrap().attempts.get(), 3);
    assert_eq!(policy.circuit_breaker.unwrap().recover_after, Duration::from_secs(300));
}

#[test]
fn policy_aliases_of_providers_meet() {
    let policy =
        parse("providers: { gemini: {} }\nroutes: [{ targets: [google/gemini-3.8-flash] }]");
    assert_eq!(&*places(&policy)[0].provider, "gemini");
    assert!(policy.registry.model_of("google", "gemini-3.8-flash").is_some());
}

#[test]
fn policy_models_override_the_registry() {
    let policy = parse(
        "providers: { openai: {}, lab: { base_url: http://lab/v1 } }
models:
  - { id: gpt-4o-mini, provider: openai, price: { input: 0.1, output: 0.000001 } }
  - { id: own, provider: lab, aliases: [mine], price: { input: 1 }, price_tiers: [{ from_prompt_tokens: 100, input: 2 }] }
routes: [{ targets: [lab/own] }]",
    );
    let mini = policy.registry.model_of("openai", "gpt-4o-mini").unwrap();
    assert_eq!((mini.price.input, mini.price.output), (Some(100_000), Some(1)));
    assert_eq!(mini.context_window, Some(128_000), "what is not said stays");
    let own = policy.registry.model("mine").unwrap();
    assert_eq!(own.tiers[0].over_prompt_tokens, 99);
    assert_eq!(own.price.cached_input, None);
}

#[test]
fn policy_warns_of_old_models_by_the_date() {
    let text = "providers: { gemini: {} }\nroutes: [{ targets: [gemini/gemini-2.5-flash] }]\naliases: { old: grok-4 }\n";
    let on = |y, m, d| {
        let env = Env::new(|_| None).on(jiff::civil::date(y, m, d));
        let policy = Policy::parse("p.yaml", text, &env).unwrap();
        policy
            .warnings
            .into_iter()
            .map(|w| format!("{} {}: {}", w.place, w.path, w.message))
            .collect::<Vec<_>>()
    };
    let grok = "p.yaml:3:17 aliases.old: the model `grok-4-0709` was shut down on 2026-05-15; its provider suggests `grok-4.3`";
    assert_eq!(on(2026, 1, 1), [grok]);
    assert_eq!(
        on(2026, 11, 22)[1],
        "p.yaml:2:22 routes[0].targets[0]: the model `gemini-2.5-flash` is shut down on 2026-12-01; its provider suggests `gemini-3.5-flash-lite`"
    );
    assert!(on(2026, 12, 2)[1].contains("was shut down on 2026-12-01"));
}

#[test]
fn policy_warns_of_limits_that_never_bind() {
    let warned = |limits: &str| parse(&format!("{SIM}limits:\n{limits}")).warnings.len();
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min }\n  - { name: b, per: user, requests: 20/min }"
        ),
        1
    );
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min }\n  - { name: b, per: user, requests: 10/min }"
        ),
        1
    );
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min }\n  - { name: b, per: ip, requests: 20/min }"
        ),
        0
    );
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min }\n  - { name: b, per: user, tokens: 20/min }"
        ),
        0
    );
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min, enforce: false }\n  - { name: b, per: user, requests: 20/min }"
        ),
        0
    );
    assert_eq!(
        warned(
            "  - { name: a, per: user, requests: 10/min, burst: 50 }\n  - { name: b, per: user, requests: 20/min }"
        ),
        0
    );
}

#[test]
fn policy_shapes_by_default_and_by_word() {
    let policy = parse(&format!(
        "{SIM}limits:
  - {{ name: a, per: all, usd: 0.50/hour, requests: 5/hour }}
  - {{ name: b, per: all, requests: 500/10s, shape: sliding }}
  - {{ name: c, per: [user, tag team], requests: 1M/month, concurrent: 3 }}
  - {{ name: d, per: all, requests: 10/day, shape: bucket, burst: 2 }}
callers: {{ keys: [{{ name: a, sha256: {SHA}, tags: {{ team: x }} }}] }}"
    ));
    let shapes: Vec<Vec<Shape>> =
        policy.limits.iter().map(|l| l.quotas.iter().map(|q| q.shape).collect()).collect();
    let hour = Duration::from_secs(3600);
    let five = 5.try_into().unwrap();
    assert_eq!(
        shapes[0],
        [Shape::Bucket { per: hour, burst: five }, Shape::Calendar(Period::Hour)]
    );
    assert_eq!(shapes[1], [Shape::Sliding { window: Duration::from_secs(10) }]);
    assert_eq!(shapes[2], [Shape::Calendar(Period::Month), Shape::Concurrent]);
    let two = 2.try_into().unwrap();
    assert_eq!(shapes[3], [Shape::Bucket { per: hour * 24, burst: two }]);
    assert_eq!(policy.limits[2].per, [Scope::User, Scope::Tag("team".into())]);
    assert_eq!(policy.limits[0].quotas[1].amount.get(), 500_000_000);
}

#[test]
fn policy_variables_work_in_any_value() {
    let env = Env::new(|name| match name {
        "PORT" => Some("9000".into()),
        "HOST" => Some("lab.example".into()),
        "RATE" => Some("7".into()),
        _ => None,
    });
    let text = "listen: 127.0.0.1:${PORT}\nproviders: { lab: { base_url: \"http://${HOST}:${P:-80}/v1/\" } }\nlimits: [{ name: a, per: all, requests: ${RATE}/s }]";
    let policy = Policy::parse("p", text, &env).unwrap();
    assert_eq!(policy.listen.port(), 9000);
    let Endpoint::Http(http) = &policy.providers[0].endpoint else { panic!() };
    assert_eq!(http.base_url, "http://lab.example:80/v1");
    assert_eq!(policy.limits[0].quotas[0].amount.get(), 7);
}

#[test]
fn policy_load_tells_of_files_that_are_not_there() {
    let wrong = Policy::load("/nowhere/policy.yaml").unwrap_err().to_string();
    assert!(wrong.starts_with("error: the policy cannot be read"), "{wrong}");
}

#[test]
fn policy_refuses_an_open_admin_listener() {
    let admin = |admin: &str| {
        let text = format!("{SIM}admin: {{ {admin} }}");
        let env = Env::new(|_| Some("secret-of-the-environment".into()));
        Policy::parse("policy.yaml", &text, &env).map_err(|wrong| wrong.to_string())
    };
    for open in ["listen: 0.0.0.0:8081", "listen: \"[::]:8081\""] {
        let wrong = admin(open).unwrap_err();
        assert!(wrong.contains("(admin.listen)") && wrong.contains("set `admin.token`"), "{wrong}");
    }
    for closed in [
        "listen: 0.0.0.0:8081, token: \"${ADMIN_TOKEN}\"",
        "listen: 127.0.0.9:8081",
        "listen: \"[::1]:8081\"",
    ] {
        assert_eq!(admin(closed).unwrap().warnings, []);
    }
}

#[test]
fn policy_warns_of_apis_that_a_provider_is_not_known_for() {
    assert_eq!(
        warned(
            "providers: { openai: { forms: [chat, generate] }, g: { like: gemini, forms: [messages] } }"
        ),
        [
            "policy.yaml:1:38 providers.openai.forms[1]: `openai` is not known to offer `generate`, only chat, responses: for a server of your own that does, say its `base_url`",
            "policy.yaml:1:78 providers.g.forms[0]: `g` is not known to offer `messages`, only chat, generate: for a server of your own that does, say its `base_url`",
        ]
    );
    for fine in [
        "anthropic: { forms: [chat] }",
        "openai: { base_url: http://lab/v1, forms: [messages] }",
        "openai: { simulate: {}, forms: [messages] }",
        "lab: { base_url: http://lab/v1, forms: [generate] }",
    ] {
        assert_eq!(warned(&format!("providers: {{ {fine} }}")), [""; 0], "{fine}");
    }
}

#[test]
fn policy_warns_of_a_translation_that_drops_nothing() {
    let warned = |how: &str| warned(&format!("{SIM}translation: {{ {how} }}"));
    assert_eq!(
        warned("meaning: drop, harmless: refuse"),
        [
            "policy.yaml:2:25 translation.meaning: nothing is dropped where even what is harmless is refused"
        ]
    );
    for fine in ["meaning: drop", "harmless: refuse", "meaning: refuse, harmless: refuse"] {
        assert_eq!(warned(fine), [""; 0], "{fine}");
    }
}

#[test]
fn policy_warns_of_users_without_a_name() {
    let told = "policy.yaml:2:26 limits[0].per: callers without a name share one bucket of `a`: not all of them have one by `callers.identify`; add `ip` there to tell them apart";
    let by = |identify: &str| {
        warned(&format!(
            "{SIM}limits: [{{ name: a, per: user, requests: 1/s }}]\ncallers: {{ {identify} }}"
        ))
    };
    assert_eq!(by("identify: header x-user-id"), [told]);
    assert_eq!(by("identify: [header x-a, header x-b]"), [told]);
    assert_eq!(by("identify: [key, provider_key]"), [told]);
    assert_eq!(by("identify: [header x-user-id, ip]").len(), 0);
    let keys = format!("keys: [{{ name: k, sha256: {SHA} }}]");
    assert_eq!(by(&format!("identify: [header x-user-id, key], {keys}")).len(), 0);
    assert_eq!(by("").len(), 0);
    let pair = "limits: [{ name: a, per: [model, user], requests: 1/s }]\ncallers: { identify: header x-a }";
    assert_eq!(warned(&format!("{SIM}{pair}")).len(), 1, "in a pair as well");
}

#[test]
fn policy_warns_of_headers_that_name_nobody_or_anybody() {
    let key = format!("keys: [{{ name: k, sha256: {SHA} }}]");
    assert_eq!(
        warned(&format!("{SIM}callers: {{ identify: [key, header x-user-id], {key} }}")),
        [
            "policy.yaml:2:28 callers.identify[1]: the header `x-user-id` is never read: each caller has a key, and `key` comes first"
        ]
    );
    let open = "listen: 0.0.0.0:80\ncallers: { identify: [header X-User-Id, ip]";
    assert_eq!(
        warned(&format!("{SIM}{open} }}")),
        [
            "policy.yaml:3:23 callers.identify[0]: everybody who can reach `listen` can write the header `X-User-Id`: name the proxy that sets it in `trusted_proxies`"
        ]
    );
    assert_eq!(warned(&format!("{SIM}{open}, trusted_proxies: 10.0.0.0/8 }}")).len(), 0);
    assert_eq!(warned(&format!("{SIM}callers: {{ identify: [header x-user-id, ip] }}")).len(), 0);
}

#[test]
fn policy_warns_of_budgets_without_prices() {
    let told = |what: &str, at: &str| {
        format!(
            "policy.yaml:{at} limits[0].usd: {what} has no known price, so what it costs is not held against `a`: give it one under `models:`"
        )
    };
    let budget = |rest: &str| {
        warned(&format!("limits: [{{ name: a, per: user, usd: 20/day }}]\nproviders: {rest}"))
    };
    let lab = "{ lab: { base_url: http://lab/v1 }, openai: {}, sim: { simulate: {} } }";
    let known = "{ openai: {}, lab: { base_url: http://lab/v1 }, sim: { simulate: {} } }";
    assert_eq!(budget(lab), [told("what is asked of `lab`", "1:37")]);
    assert_eq!(budget(known).len(), 0, "nothing goes to `lab` there");
    let routes = |targets: &str| budget(&format!("{known}\nroutes: [{{ targets: [{targets}] }}]"));
    assert_eq!(routes("openai, lab"), [told("what is asked of `lab`", "1:37")]);
    assert_eq!(routes("openai, lab/llama"), [told("`lab/llama`", "1:37")]);
    assert_eq!(routes("sim/anything"), [told("`sim/anything`", "1:37")]);
    assert_eq!(routes("openai/gpt-5.6-luna, sim"), Vec::<String>::new());
    let priced = "models: [{ id: llama, provider: lab, price: { input: 0, output: 0 } }]";
    assert_eq!(
        budget(&format!("{known}\n{priced}\nroutes: [{{ targets: [lab/llama] }}]")).len(),
        0
    );
    let half = "models: [{ id: llama, provider: lab, price: { input: 1 } }]";
    assert_eq!(budget(&format!("{known}\n{half}")), [told("`lab/llama`", "1:37")]);
    let named = "routes: [{ match: { model: [gpt-4o, mine] }, targets: [openai] }]";
    assert_eq!(budget(&format!("{known}\n{named}")), [told("`openai/mine`", "1:37")]);
    let requests = "limits: [{ name: a, per: user, requests: 20/day }]\nproviders: ";
    assert_eq!(warned(&format!("{requests}{lab}")).len(), 0, "only money has a price");
}

#[test]
fn policy_warns_of_replies_of_unknown_length() {
    let most = |limit: &str, rest: &str| {
        warned(&format!(
            "limits: [{{ name: a, per: user, {limit} }}]\nproviders: {{ openai: {{}}, lab: {{ base_url: http://lab/v1 }} }}\n{rest}"
        ))
    };
    let routes = "routes: [{ targets: [lab/llama] }]";
    assert_eq!(
        most("tokens: 1M/day, reserve: most", routes),
        [
            "policy.yaml:1:57 limits[0].reserve: how long replies of `lab/llama` can get is not known, so what is usual is reserved for those without `max_tokens`: give it `max_output_tokens` under `models:`"
        ]
    );
    let known = "models: [{ id: llama, provider: lab, max_output_tokens: 4096 }]";
    assert_eq!(most("tokens: 1M/day, reserve: most", &format!("{known}\n{routes}")).len(), 0);
    assert_eq!(most("tokens: 1M/day, reserve: usual", routes).len(), 0);
}

#[test]
fn policy_budgets_are_about_the_models_they_match() {
    let budget = |per: &str, model: &str, rest: &str| {
        warned(&format!(
            "limits: [{{ name: a, per: {per}, usd: 20/day, match: {{ model: {model} }} }}]\nproviders: {{ openai: {{}}, lab: {{ base_url: http://lab/v1 }} }}\n{rest}"
        ))
        .len()
    };
    let routes = "routes: [{ match: { model: llama }, targets: [lab] }, { targets: [openai] }]";
    assert_eq!(budget("user", "\"gpt-*\"", routes), 0);
    assert_eq!(budget("user", "\"llama*\"", routes), 1);
    assert_eq!(budget("user", "mine", routes), 1, "`openai/mine`");
    let sent = "routes: [{ match: { model: \"gpt-*\" }, targets: [lab/llama] }]";
    assert_eq!(budget("user", "\"gpt-*\"", sent), 1);
    assert_eq!(budget("provider", "\"gpt-*\"", sent), 0, "the target's model counts there");
    assert_eq!(budget("provider", "llama", sent), 1);
}

#[test]
fn policy_keys_go_with_providers_that_need_none() {
    let key = format!("callers: {{ keys: [{{ name: k, sha256: {SHA} }}] }}\n");
    let policy = parse(&format!(
        "{key}providers: {{ a: {{ base_url: http://a, auth: none }}, b: {{ base_url: http://b, headers: {{ Authorization: Bearer x }} }}, c: {{ simulate: {{}} }}, openai: {{ api_key: \"${{OPENAI_KEY}}\" }} }}"
    ));
    let Endpoint::Http(http) = &policy.providers[0].endpoint else { panic!() };
    assert!(matches!(http.auth, Auth::None));
    assert_eq!(policy.warnings, []);
}

#[test]
fn policy_keys_of_a_provider() {
    use secrecy::ExposeSecret;
    let text = "
providers:
  openai:
    keys:
      main: { api_key: ${A_KEY}, weight: 3 }
      spare: ${B_KEY}
  anthropic: { api_key: ${C_KEY}, key_name: team }
  lab: { base_url: http://lab/v1, auth: header x-api-key, keys: { only: ${D_KEY} } }
  sim: { keys: { one: , two: { weight: 2 }, three: written-out }, simulate: {} }
  own: { base_url: http://own/v1 }
limits: [{ name: account, per: [provider_key, model], requests: 1/s }]
";
    let policy = parse(text);
    let keys = |name: &str| -> Vec<(String, String, u32)> {
        let keys = policy.provider(name).unwrap().keys.iter();
        keys.map(|key| {
            (key.name.to_string(), key.secret.expose_secret().to_owned(), key.weight.get())
        })
        .collect()
    };
    let key = |name: &str, secret: &str, weight| (name.to_owned(), secret.to_owned(), weight);
    assert_eq!(
        keys("openai"),
        [key("main", "secret-of-a_key", 3), key("spare", "secret-of-b_key", 1)]
    );
    assert_eq!(keys("anthropic"), [key("team", "secret-of-c_key", 1)]);
    assert_eq!(keys("lab"), [key("only", "secret-of-d_key", 1)]);
    let names: Vec<_> = keys("sim").into_iter().map(|(name, _, weight)| (name, weight)).collect();
    assert_eq!(names, [("one".into(), 1), ("two".into(), 2), ("three".into(), 1)]);
    assert_eq!(keys("own"), []);
    assert!(policy.limits[0].per.iter().any(Scope::is_of_target));
    assert!(policy.circuit_breaker.is_none());

    let text = "providers: { sim: { simulate: {} } }\ncircuit_breaker: { bench: { auth: 1h } }";
    let bench = parse(text).circuit_breaker.unwrap().bench;
    assert_eq!((bench.auth.as_secs(), bench.quota.as_secs()), (3600, 900));
}

#[test]
fn policy_time_zones() {
    let zone = |text: &str| parse(&format!("{SIM}{text}")).time_zone;
    assert_eq!(zone("").iana_name(), Some("UTC"));
    assert_eq!(zone("time_zone: Europe/Berlin").iana_name(), Some("Europe/Berlin"));
    assert_eq!(zone("time_zone: europe/berlin").iana_name(), Some("Europe/Berlin"));
}

#[test]
fn policy_budgets() {
    let policy = parse(&format!(
        "{SIM}limits:
  - {{ name: spend, per: user, usd: 20/day, when_full: {{ downgrade: [sim/gpt-4o-mini, free] }} }}
  - {{ name: late, per: all, usd: 20/day, warn_at: 95%, requests: 5/min, when_full: {{ wait: 2s }} }}
alerts: {{ webhook: {{ url: https://example.com/x, secret: s, retries: 2 }}, again: 6h }}
"
    ));
    let place = Place { provider: "sim".into(), model: Some("gpt-4o-mini".into()) };
    let cheaper = Cheaper { to: vec![place], free: true };
    assert_eq!(policy.limits[0].when_full, WhenFull::Downgrade(cheaper));
    let warns = |limit: usize, quota: usize| {
        let limit = &policy.limits[limit];
        limit.warns_at(&limit.quotas[quota])
    };
    assert_eq!((warns(0, 0), warns(1, 0), warns(1, 1)), (Some(0.8), Some(0.95), Some(0.95)));
    let webhook = policy.alerts.webhook.unwrap();
    assert_eq!((webhook.timeout, webhook.retries), (Duration::from_secs(5), 2));
    assert_eq!(policy.alerts.again, Duration::from_secs(6 * 3600));
    let bare = parse(&format!("{SIM}limits: [{{ name: rate, per: all, requests: 5/min }}]"));
    assert_eq!(bare.limits[0].warns_at(&bare.limits[0].quotas[0]), None);
    assert!(bare.alerts.webhook.is_none());
}

#[test]
fn policy_keys_are_asked_for_where_there_are_any_or_it_says_so() {
    let callers = |text: &str| parse(&format!("{SIM}callers: {{ {text} }}\n")).callers;
    let key = format!("keys: [{{ name: a, sha256: '{}' }}]", "1".repeat(64));
    for (text, asked) in [
        ("identify: [key, ip]", false),
        ("keys: []", false),
        ("require_key: false", false),
        ("require_key: true", true),
        ("identify: key, require_key: true", true),
        (&*key, true),
        (&*format!("{key}, require_key: true"), true),
    ] {
        assert_eq!(callers(text).require_key, asked, "{text}");
    }
    // Of keys made at run time nobody knows the tags yet.
    let limit = "limits: [{ name: team, per: tag team, requests: 1/s }]\n";
    parse(&format!("{SIM}callers: {{ require_key: true }}\n{limit}"));
}

#[test]
fn policy_state_lives_in_memory_unless_it_says_otherwise() {
    for text in [SIM.to_owned(), format!("{SIM}state: memory")] {
        let state = parse(&text).state;
        assert!(matches!(state.ledger.store, Store::Memory), "{state:?}");
        assert!(matches!(state.limits, Store::Memory) && matches!(state.budgets, Store::Memory));
        assert_eq!((state.ledger.keep.rows, state.ledger.keep.months), (Some(90), None));
        assert_eq!(state.ledger.keep.most_rows, 10_000, "{text}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn policy_state_in_a_file_is_all_there_but_what_is_for_others() {
    let text = format!("{SIM}state: {{ sqlite: tollway.db }}");
    let env = super::env().in_folder("/etc/tollway");
    let state = Policy::parse("p", &text, &env).unwrap().state;
    for store in [&state.ledger.store, &state.limits, &state.budgets] {
        let Store::Sqlite(path) = store else { panic!("{state:?}") };
        assert_eq!(path.to_str(), Some("/etc/tollway/tollway.db"));
    }
    assert!(matches!(state.breakers, Store::Memory));
    assert_eq!(state.ledger.keep.most_rows, 10_000_000);
}

#[cfg(all(feature = "sqlite", feature = "redis"))]
#[test]
fn policy_state_can_live_elsewhere_by_kind() {
    use secrecy::ExposeSecret;
    let state = parse(&format!(
        "{SIM}
state:
  redis: {{ url: 'redis://:${{SOME_KEY}}@one:6380/2', timeout: 5ms, prefix: 'eu:tollway' }}
  ledger: {{ sqlite: /var/lib/ledger.db, keep: 400d, keep_rows: 50k, keep_days: forever, keep_months: 3650 days }}
  budgets: memory
  breakers: redis
"
    ))
    .state;
    let Store::Redis(redis) = &state.limits else { panic!("{state:?}") };
    assert_eq!(redis.url.expose_secret(), "redis://:secret-of-some_key@one:6380/2");
    assert_eq!((redis.timeout, &*redis.prefix), (Duration::from_millis(5), "eu:tollway"));
    assert!(matches!(state.breakers, Store::Redis(_)));
    assert!(matches!(state.budgets, Store::Memory));
    let Store::Sqlite(path) = &state.ledger.store else { panic!("{state:?}") };
    assert_eq!(path.to_str(), Some("/var/lib/ledger.db"));
    let keep = state.ledger.keep;
    assert_eq!((keep.rows, keep.most_rows), (Some(400), 50_000));
    assert_eq!((keep.days, keep.months), (None, Some(3650)));
    assert!(!format!("{state:?}").contains("secret-of"), "{state:?}");
}

#[test]
fn policy_warns_of_folders_that_are_not_there() {
    let text = |file: &str| format!("{SIM}state: {{ sqlite: {file} }}\n");
    assert!(warned(&text("t.db")).is_empty());
    let warned = warned(&text("/nowhere/at/all/t.db"));
    assert!(warned[0].contains("state.sqlite: there is no folder /nowhere/at/all"), "{warned:?}");
}
