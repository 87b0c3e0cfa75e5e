//! What each kind of mistake is told, whole.

use super::told;

fn check(text: &str, expected: &str) {
    let told = told(text);
    assert!(told == expected, "told:\n{told}\nexpected:\n{expected}");
}

#[test]
fn policy_broken_unknown_keys() {
    check(
        r"listn: 127.0.0.1:80
providers:
  sim: { simulate: { latnecy: 5ms } }
zzz: 1
",
        r"error: unknown key `listn`
 --> policy.yaml:1:1 (listn)
  |
1 | listn: ************
  | ^^^^^
  = help: did you mean `listen`?

error: unknown key `latnecy`
 --> policy.yaml:3:22 (providers.sim.simulate.latnecy)
  |
3 |   sim: { simulate: { latnecy: *** } }
  |                      ^^^^^^^
  = help: did you mean `latency`?

error: unknown key `zzz`
 --> policy.yaml:4:1 (zzz)
  |
4 | zzz: *
  | ^^^
  = expected one of `listen`, `admin`, `server`, `log`, `callers`, `providers`, `limits`, `alerts`, `pacing`, `circuit_breaker`, `retry`, `streams`, `translation`, `aliases`, `routing`, `health`, `routes`, `state`, `time_zone`, `models`
",
    );
}

#[test]
fn policy_broken_duplicate_keys() {
    check(
        r"providers: { sim: { simulate: {} } }
retry: { attempts: 3, attempts: 4 }
retry: {}
",
        r"error: the key `attempts` stands here twice
 --> policy.yaml:2:23 (retry.attempts)
  |
2 | retry: { attempts: 3, attempts: * }
  |                       ^^^^^^^^
  = help: it stands in line 2 already; keep one

error: the key `retry` stands here twice
 --> policy.yaml:3:1 (retry)
  |
3 | retry: {}
  | ^^^^^
  = help: it stands in line 2 already; keep one
",
    );
}

#[test]
fn policy_broken_no_providers() {
    check(
        r"listen: 127.0.0.1:8080
",
        r"error: the key `providers` is missing
 --> policy.yaml:1:1
  |
1 | listen: 127.0.0.1:8080
  | ^
",
    );
}

#[test]
fn policy_broken_empty_providers() {
    check(
        r"providers: {}
",
        r"error: there is no provider
 --> policy.yaml:1:12 (providers)
  |
1 | providers: {}
  |            ^
  = expected at least one: `openai: { api_key: ${OPENAI_API_KEY} }`, or `demo: { simulate: {} }`
",
    );
}

#[test]
fn policy_broken_an_empty_file() {
    check(
        r"# nothing here
",
        r"error: the file is empty
 --> policy.yaml
  = expected a policy with `providers:`
",
    );
}

#[test]
fn policy_broken_broken_yaml() {
    check(
        r"providers:
  openai: [
",
        r"error: the YAML is broken here: unclosed bracket '['
 --> policy.yaml:2:11
  |
2 |   openai: *
  |           ^
",
    );
}

#[test]
fn policy_broken_tabs() {
    check(
        r"providers:
	openai: {}
",
        r"error: the YAML is broken here: tabs disallowed within this context (block indentation)
 --> policy.yaml:2:2
  |
2 |  openai: **
  |  ^
",
    );
}

#[test]
fn policy_broken_times_without_a_unit() {
    check(
        r"providers: { sim: { simulate: {} } }
retry: { backoff: { first: 500, max: 3 parsecs } }
",
        r"error: `500` has no unit
 --> policy.yaml:2:28 (retry.backoff.first)
  |
2 | retry: { backoff: { first: 500, max: 3 parsecs } }
  |                            ^^^
  = expected a time with its unit, such as 250ms, 15s, 5m, 1h or 1d

error: `3 parsecs` has no unit of time that is known
 --> policy.yaml:2:38 (retry.backoff.max)
  |
2 | retry: { backoff: { first: 500, max: 3 parsecs } }
  |                                      ^^^^^^^^^
  = expected a time with its unit, such as 250ms, 15s, 5m, 1h or 1d
",
    );
}

#[test]
fn policy_broken_rates() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 100 }
  - { name: b, per: user, tokens: 50k/fortnight }
  - { name: c, per: user, usd: 1.5k/day }
  - { name: d, per: user, requests: 0/min }
",
        r"error: `100` does not say for which time
 --> policy.yaml:3:37 (limits[0].requests)
  |
3 |   - { name: a, per: user, requests: 100 }
  |                                     ^^^
  = expected an amount for a time, such as 100/min, 50k/min, 10/s, 100/10s, 20/day or 500/month

error: `50k/fortnight` has no time that is known
 --> policy.yaml:4:35 (limits[1].tokens)
  |
4 |   - { name: b, per: user, tokens: 50k/fortnight }
  |                                   ^^^^^^^^^^^^^
  = expected an amount for a time, such as 100/min, 50k/min, 10/s, 100/10s, 20/day or 500/month

error: `1.5k/day` is no amount of usd
 --> policy.yaml:5:32 (limits[2].usd)
  |
5 |   - { name: c, per: user, usd: 1.5k/day }
  |                                ^^^^^^^^
  = expected an amount of USD with at most nine decimals, such as 20/day or 0.50/hour

error: `0/min` lets nothing through
 --> policy.yaml:6:37 (limits[3].requests)
  |
6 |   - { name: d, per: user, requests: 0/min }
  |                                     ^^^^^
  = expected an amount above zero
",
    );
}

#[test]
fn policy_broken_types() {
    check(
        r"providers: { sim: { simulate: {} } }
listen: [1, 2]
limits: { name: a }
retry: 5
log: { format: xml }
",
        r"error: a list where a single value belongs
 --> policy.yaml:2:9 (listen)
  |
2 | listen: [*, *]
  |         ^
  = expected an address and a port, such as 127.0.0.1:8080

error: a section with keys where a list belongs
 --> policy.yaml:3:9 (limits)
  |
3 | limits: { ****: * }
  |         ^
  = expected a list: `[one, two]`, or a line with `- ` for each

error: a single value where a section with keys belongs
 --> policy.yaml:4:8 (retry)
  |
4 | retry: *
  |        ^
  = expected keys and values

error: `xml` is not a choice here
 --> policy.yaml:5:16 (log.format)
  |
5 | log: { format: xml }
  |                ^^^
  = expected one of: json, pretty
",
    );
}

#[test]
fn policy_broken_scopes() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: usr, requests: 1/s }
  - { name: b, per: [user, user], requests: 1/s }
  - { name: c, per: [user, ip, key], requests: 1/s }
",
        r"error: `usr` is not a scope
 --> policy.yaml:3:21 (limits[0].per)
  |
3 |   - { name: a, per: usr, requests: 1/s }
  |                     ^^^
  = expected one of: all, user, key, ip, provider, provider_key, model, tag NAME
  = help: did you mean `user`?

error: a pair of the same scope twice
 --> policy.yaml:4:21 (limits[1].per)
  |
4 |   - { name: b, per: [user, user], requests: 1/s }
  |                     ^
  = help: name it once

error: 3 scopes at once
 --> policy.yaml:5:21 (limits[2].per)
  |
5 |   - { name: c, per: [user, ip, key], requests: 1/s }
  |                     ^
  = expected one scope, or a pair such as [user, model]
",
    );
}

#[test]
fn policy_broken_limits_of_nothing() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user }
  - { per: user, requests: 1/s }
",
        r"error: the limit limits nothing
 --> policy.yaml:3:5 (limits[0])
  |
3 |   - { name: a, per: user }
  |     ^
  = expected one or more of `requests`, `tokens`, `input_tokens`, `output_tokens`, `usd`, `concurrent`

error: the key `name` is missing
 --> policy.yaml:4:5 (limits[1])
  |
4 |   - { per: user, requests: 1/s }
  |     ^
",
    );
}

#[test]
fn policy_broken_reserve() {
    check(
        "providers: { sim: { simulate: {} } }
limits: [{ name: a, per: user, requests: 1k/s, reserve: most }]
",
        r"error: nothing that the limit counts hangs on the reply
 --> policy.yaml:2:57 (limits[0].reserve)
  |
2 | limits: [{ name: a, per: user, requests: 1k/s, reserve: most }]
  |                                                         ^^^^
  = help: `reserve` goes with `tokens`, `output_tokens` or `usd`
",
    );
}

#[test]
fn policy_broken_borrow() {
    let broken = |limit: &str, rest: &str| {
        let text = format!(
            "state: {{ redis: redis://localhost, budgets: memory }}
providers: {{ sim: {{ simulate: {{}} }} }}
limits: [{{ name: a, per: user, {limit} }}]
"
        );
        check(&text, rest);
    };
    broken(
        "requests: 1k/s, borrow: 11%",
        r"error: `11%` can't be borrowed
 --> policy.yaml:3:56 (limits[0].borrow)
  |
3 | limits: [{ name: a, per: user, requests: 1k/s, borrow: 11% }]
  |                                                        ^^^
  = expected at most 10%
",
    );
    broken(
        "requests: 1k/s, burst: 100, borrow: 1%",
        r"error: less than 2 requests would be borrowed: each request would ask all the same
 --> policy.yaml:3:68 (limits[0].borrow)
  |
3 | limits: [{ name: a, per: user, requests: 1k/s, burst: 100, borrow: 1% }]
  |                                                                    ^^
  = help: take it away, or borrow more
",
    );
    broken(
        "tokens: 1M/min, concurrent: 5, borrow: 1%",
        r"error: places for requests at the same time can't be borrowed
 --> policy.yaml:3:71 (limits[0].borrow)
  |
3 | limits: [{ name: a, per: user, tokens: 1M/min, concurrent: 5, borrow: 1% }]
  |                                                                       ^^
  = help: give `concurrent` a limit of its own
",
    );
    broken(
        "usd: 5/day, borrow: 1%",
        r"error: no other instance takes from this limit: it is not in a Redis
 --> policy.yaml:3:52 (limits[0].borrow)
  |
3 | limits: [{ name: a, per: user, usd: 5/day, borrow: 1% }]
  |                                                    ^^
  = help: take it away, or say `state: { redis: URL }`
",
    );
}

#[test]
fn policy_broken_headroom_of_all() {
    check(
        r"providers: { sim: { simulate: {} } }
limits: [{ name: a, per: user, requests: 1/s, headroom: 100% }]
",
        r"error: a headroom of 100% leaves nothing to use
 --> policy.yaml:2:57 (limits[0].headroom)
  |
2 | limits: [{ name: a, per: user, requests: 1/s, headroom: 100% }]
  |                                                         ^^^^
  = expected less than 100%
",
    );
}

#[test]
fn policy_broken_shapes() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 9/min, shape: calendar }
  - { name: b, per: user, requests: 9/month, shape: bucket }
  - { name: c, per: user, requests: 9/day, burst: 3 }
  - { name: d, per: user, tokens: 9/min, requests: 1/s, burst_tokens: 0 }
",
        r"error: the calendar has no such period
 --> policy.yaml:3:37 (limits[0].requests)
  |
3 |   - { name: a, per: user, requests: 9/min, shape: calendar }
  |                                     ^^^^^
  = expected an amount per hour, day or month

error: months differ in length, so only the calendar can count them
 --> policy.yaml:4:37 (limits[1].requests)
  |
4 |   - { name: b, per: user, requests: 9/month, shape: bucket }
  |                                     ^^^^^^^
  = help: say `shape: calendar`, or give the time in days: `/30d`

error: only a bucket has a burst
 --> policy.yaml:5:51 (limits[2].burst)
  |
5 |   - { name: c, per: user, requests: 9/day, burst: 3 }
  |                                                   ^
  = help: say `shape: bucket`, or take the burst away

error: a bucket with a burst of 0 lets nothing through
 --> policy.yaml:6:71 (limits[3].burst_tokens)
  |
6 |   - { name: d, per: user, tokens: 9/min, requests: 1/s, burst_tokens: 0 }
  |                                                                       ^
  = expected a whole number from 1
",
    );
}

#[test]
fn policy_broken_duplicate_names() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 1/s }
  - { name: a, per: ip, requests: 1/s }
",
        r"error: there are two limits with the name `a`
 --> policy.yaml:4:13 (limits[1].name)
  |
4 |   - { name: a, per: ip, requests: 1/s }
  |             ^
  = help: the other one is in line 3; give each its own name
",
    );
}

#[test]
fn policy_broken_unknown_providers() {
    check(
        r"providers:
  opnai: {}
  other: {}
  third: { like: antropic }
",
        r"error: `opnai` is no known provider, and has no `base_url`
 --> policy.yaml:2:3 (providers.opnai)
  |
2 |   opnai: {}
  |   ^^^^^
  = help: did you mean `openai`?

error: `other` is no known provider, and has no `base_url`
 --> policy.yaml:3:3 (providers.other)
  |
3 |   other: {}
  |   ^^^^^
  = help: give it a `base_url`, `simulate: {}`, or a known name: openai, anthropic, groq, gemini, xai, deepseek, moonshot

error: `antropic` is no known provider
 --> policy.yaml:4:18 (providers.third.like)
  |
4 |   third: { like: antropic }
  |                  ^^^^^^^^
  = help: did you mean `anthropic`?
",
    );
}

#[test]
fn policy_broken_routes_to_nothing() {
    check(
        r"providers: { openai: {}, sim: { simulate: {} } }
routes:
  - targets: [opnai/gpt-4o, openai/gpt-4o-mni, sim/anything, openai/new-model]
",
        r"error: there is no provider `opnai`
 --> policy.yaml:3:15 (routes[0].targets[0])
  |
3 |   - targets: [opnai/gpt-4o, openai/gpt-4o-mni, sim/anything, openai/new-model]
  |               ^^^^^^^^^^^^
  = help: did you mean `openai/gpt-4o`?

error: `openai` has no model `gpt-4o-mni`
 --> policy.yaml:3:29 (routes[0].targets[1])
  |
3 |   - targets: [opnai/gpt-4o, openai/gpt-4o-mni, sim/anything, openai/new-model]
  |                             ^^^^^^^^^^^^^^^^^
  = help: did you mean `gpt-4o-mini`? A model that is new goes under `models:`

error: `openai` has no model `new-model`
 --> policy.yaml:3:62 (routes[0].targets[3])
  |
3 |   - targets: [opnai/gpt-4o, openai/gpt-4o-mni, sim/anything, openai/new-model]
  |                                                              ^^^^^^^^^^^^^^^^
  = help: a model that is new goes under `models:`, with its price
",
    );
}

#[test]
fn policy_broken_routes_never_reached() {
    check(
        r#"providers: { sim: { simulate: {} } }
routes:
  - { name: all-gpt, match: { model: "gpt-*" }, targets: [sim] }
  - { name: minis, match: { model: [gpt-4o-mini, "gpt-5*"] }, targets: [sim] }
"#,
        r#"error: the route is never reached
 --> policy.yaml:4:5 (routes[1])
  |
4 |   - { name: minis, match: { model: [gpt-4o-mini, "gpt-5*"] }, targets: [sim] }
  |     ^
  = help: route `all-gpt` in line 3 takes every request that this one matches; move this one before it
"#,
    );
}

#[test]
fn policy_broken_weights() {
    check(
        r"providers: { sim: { simulate: {} } }
routes:
  - { strategy: weighted, targets: [sim: 0] }
  - { strategy: failover, match: { model: x }, targets: [sim: 5] }
",
        r"error: `0` does not work here
 --> policy.yaml:3:42 (routes[0].targets[0])
  |
3 |   - { strategy: weighted, targets: [sim: 0] }
  |                                          ^
  = expected a whole number from 1

error: the route is never reached
 --> policy.yaml:4:5 (routes[1])
  |
4 |   - { strategy: failover, match: { model: x }, targets: [sim: 5] }
  |     ^
  = help: route `route-1` in line 3 takes every request that this one matches; move this one before it

error: nobody reads this weight: only weighted, least_busy, affinity and split do
 --> policy.yaml:4:63 (routes[1].targets[0])
  |
4 |   - { strategy: failover, match: { model: x }, targets: [sim: 5] }
  |                                                               ^
  = help: say `strategy: weighted`, or take the weight away
",
    );
}

#[test]
fn policy_broken_empty_targets() {
    check(
        r"providers: { sim: { simulate: {} } }
routes: [{ targets: [] }]
",
        r"error: the route has no target
 --> policy.yaml:2:21 (routes[0].targets)
  |
2 | routes: [{ targets: [] }]
  |                     ^
  = expected `[provider]` or `[provider/model]`
",
    );
}

#[test]
fn policy_broken_aliases() {
    check(
        r"providers: { sim: { simulate: {} } }
aliases: { a: b, b: gpt-4o }
routes: [{ match: { model: a }, targets: [sim] }]
",
        r"error: `b` is an alias itself
 --> policy.yaml:2:15 (aliases.a)
  |
2 | aliases: { a: b, b: gpt-4o }
  |               ^
  = help: name the model that it stands for: aliases are looked up once

error: `a` is an alias, so no request has this name here
 --> policy.yaml:3:28 (routes[0].match.model)
  |
3 | routes: [{ match: { model: a }, targets: [sim] }]
  |                            ^
  = help: match the model that it stands for, or take the alias away
",
    );
}

#[test]
fn policy_broken_the_same_address_twice() {
    check(
        r"listen: 0.0.0.0:8081
providers: { sim: { simulate: {} } }
",
        r"error: `listen` and `admin.listen` are the same address
 --> policy.yaml:1:9 (listen)
  |
1 | listen: 0.0.0.0:8081
  |         ^^^^^^^^^^^^
  = help: give the admin listener another port; its default is 127.0.0.1:8081
",
    );
}

#[test]
fn policy_broken_variables() {
    check(
        r#"listen: ${TOLLWAY_LISTN}
providers:
  openai: { api_key: "${KEI", base_url: "${9}" }
"#,
        r#"error: the environment variable `TOLLWAY_LISTN` is not set
 --> policy.yaml:1:9 (listen)
  |
1 | listen: ${TOLLWAY_LISTN}
  |         ^^^^^^^^^^^^^^^^
  = help: set the variable, or give a default: `${NAME:-default}`; a plain `${` is written `$${`

error: `${` is never closed
 --> policy.yaml:3:22 (providers.openai.api_key)
  |
3 |   openai: { api_key: "${KEI", base_url: "${9}" }
  |                      ^^^^^^^
  = help: set the variable, or give a default: `${NAME:-default}`; a plain `${` is written `$${`

error: `${...}` holds no name of a variable
 --> policy.yaml:3:41 (providers.openai.base_url)
  |
3 |   openai: { api_key: "${KEI", base_url: "${9}" }
  |                                         ^^^^^^
  = help: set the variable, or give a default: `${NAME:-default}`; a plain `${` is written `$${`
"#,
    );
}

#[test]
fn policy_broken_urls() {
    check(
        r#"providers:
  a: { base_url: api.openai.com }
  b: { base_url: "ftp://x/v1" }
  c: { base_url: "https://x/v1?k=v" }
"#,
        r#"error: `api.openai.com` does not start with http:// or https://
 --> policy.yaml:2:18 (providers.a.base_url)
  |
2 |   a: { base_url: api.openai.com }
  |                  ^^^^^^^^^^^^^^
  = expected a URL such as https://api.example.com/v1

error: `ftp://x/v1` does not start with http:// or https://
 --> policy.yaml:3:18 (providers.b.base_url)
  |
3 |   b: { base_url: "ftp://x/v1" }
  |                  ^^^^^^^^^^^^
  = expected a URL such as https://api.example.com/v1

error: `https://x/v1?k=v` has a query or a fragment; paths are added to it
 --> policy.yaml:4:18 (providers.c.base_url)
  |
4 |   c: { base_url: "https://x/v1?k=v" }
  |                  ^^^^^^^^^^^^^^^^^^
  = expected a URL such as https://api.example.com/v1
"#,
    );
}

#[test]
fn policy_broken_dialects() {
    check(
        r"providers: { anthropic: { dialect: antropic, forms: [mesages] } }
translation: { meaning: tell }
",
        r"error: `antropic` is not a choice here
 --> policy.yaml:1:36 (providers.anthropic.dialect)
  |
1 | providers: { anthropic: { dialect: antropic, forms: [mesages] } }
  |                                    ^^^^^^^^
  = expected one of: openai, anthropic, gemini
  = help: did you mean `anthropic`?

error: `mesages` is not a choice here
 --> policy.yaml:1:54 (providers.anthropic.forms[0])
  |
1 | providers: { anthropic: { dialect: antropic, forms: [mesages] } }
  |                                                      ^^^^^^^
  = expected one of: chat, responses, messages, generate
  = help: did you mean `messages`?

error: `tell` is not a choice here
 --> policy.yaml:2:25 (translation.meaning)
  |
2 | translation: { meaning: tell }
  |                         ^^^^
  = expected one of: refuse, drop
",
    );
}

#[test]
fn policy_broken_forms() {
    check(
        r"providers: { lab: { base_url: http://lab/v1, forms: [] } }
",
        r"error: there is no API in the list
 --> policy.yaml:1:53 (providers.lab.forms)
  |
1 | providers: { lab: { base_url: http://lab/v1, forms: [] } }
  |                                                     ^
  = help: leave `forms` out for the default
",
    );
    check(
        r"providers: { lab: { base_url: http://lab/v1, forms: [chat, messages, chat] } }
",
        r"error: stands here twice
 --> policy.yaml:1:70 (providers.lab.forms[2])
  |
1 | providers: { lab: { base_url: http://lab/v1, forms: [chat, messages, chat] } }
  |                                                                      ^^^^
  = help: name each API once
",
    );
}

#[test]
fn policy_broken_credentials() {
    check(
        r"providers:
  a: { base_url: http://a, auth: bearer }
  b: { base_url: http://b, auth: passthrough, api_key: some-key }
  c: { base_url: http://c, api_key: file:/nowhere/key }
",
        r"error: there is no `api_key` to send
 --> policy.yaml:2:34 (providers.a.auth)
  |
2 |   a: { base_url: http://a, auth: bearer }
  |                                  ^^^^^^
  = help: add `api_key: ${NAME}`, or say `auth: passthrough`

error: there is an `api_key`, but it would never be sent
 --> policy.yaml:3:34 (providers.b.auth)
  |
3 |   b: { base_url: http://b, auth: passthrough, api_key: ******** }
  |                                  ^^^^^^^^^^^
  = help: take `api_key` away, or say `auth: bearer`

error: the secret's file cannot be read (entity not found)
 --> policy.yaml:4:37 (providers.c.api_key)
  |
4 |   c: { base_url: http://c, api_key: ***************** }
  |                                     ^^^^^^^^^^^^^^^^^
  = expected `file:` and the path of a file that holds the secret alone
",
    );
}

#[test]
fn policy_broken_keys() {
    check(
        r"providers: { sim: { simulate: {} } }
callers:
  identify: [ip]
  keys: [{ name: a, sha256: abc }, { name: b }]
",
        r"error: there are keys, but `identify` does not look for them
 --> policy.yaml:4:9 (callers.keys)
  |
4 |   keys: [{ name: a, sha256: *** }, { name: b }]
  |         ^
  = help: add `key` to `callers.identify`

error: `****` is not a SHA-256
 --> policy.yaml:4:29 (callers.keys[0].sha256)
  |
4 |   keys: [{ name: a, sha256: *** }, { name: b }]
  |                             ^^^
  = expected 64 hexadecimal digits, as `tollway keys new` prints them

error: the key `sha256` is missing
 --> policy.yaml:4:36 (callers.keys[1])
  |
4 |   keys: [{ name: a, sha256: *** }, { name: b }]
  |                                    ^
",
    );
}

#[test]
fn policy_broken_breakers() {
    check(
        r"providers: { sim: { simulate: {} } }
circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
",
        r"error: `0` does not work here
 --> policy.yaml:2:32 (circuit_breaker.open_after)
  |
2 | circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
  |                                ^^^^^^^^^^
  = expected a whole number from 1

error: `recover_max` is shorter than `recover_after`
 --> policy.yaml:2:76 (circuit_breaker.recover_max)
  |
2 | circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
  |                                                                            ^^
  = help: the time starts at `recover_after` and grows up to `recover_max`

error: `tiemout` is no kind of failure
 --> policy.yaml:2:91 (circuit_breaker.weights.tiemout)
  |
2 | circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
  |                                                                                           ^^^^^^^
  = help: did you mean `timeout`?

error: `120%` is more than 100%
 --> policy.yaml:2:129 (circuit_breaker.failure_ratio.ratio)
  |
2 | circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
  |                                                                                                                                 ^^^^
  = expected a percentage from 0% to 100%
",
    );
}

#[test]
fn policy_broken_a_simulation_with_a_key() {
    check(
        r"providers: { sim: { simulate: { error_status: 200 }, api_key: x-y-z } }
",
        r"error: `200` is not the status of an error
 --> policy.yaml:1:47 (providers.sim.simulate.error_status)
  |
1 | providers: { sim: { simulate: { error_status: 200 }, api_key: ***** } }
  |                                               ^^^
  = expected 400 to 599

error: a simulated provider has no use for this
 --> policy.yaml:1:63 (providers.sim.api_key)
  |
1 | providers: { sim: { simulate: { error_status: 200 }, api_key: ***** } }
  |                                                               ^^^^^
  = help: take it away, or take `simulate` away
",
    );
}

#[test]
fn policy_broken_models_of_nobody() {
    check(
        r"providers: { sim: { simulate: {} } }
models: [{ id: a, provider: simm, price: { input: -1 } }]
",
        r"error: there is no provider `simm`
 --> policy.yaml:2:29 (models[0].provider)
  |
2 | models: [{ id: a, provider: simm, price: { input: -1 } }]
  |                             ^^^^
  = help: did you mean `sim`?

error: `-1` is not a price
 --> policy.yaml:2:51 (models[0].price.input)
  |
2 | models: [{ id: a, provider: simm, price: { input: -1 } }]
  |                                                   ^^
  = expected USD for a million tokens, such as 2.50 (six decimals at most)
",
    );
}

#[test]
fn policy_broken_sizes() {
    check(
        r"providers: { sim: { simulate: {} } }
server: { max_body: 32, max_header_bytes: 1B, workers: 0 }
",
        r"error: `32` has no unit of size
 --> policy.yaml:2:21 (server.max_body)
  |
2 | server: { max_body: 32, max_header_bytes: 1B, workers: 0 }
  |                     ^^
  = expected a size with its unit, such as 64KiB, 32MiB or 1MB

error: `1B` is too small to be of use
 --> policy.yaml:2:43 (server.max_header_bytes)
  |
2 | server: { max_body: 32, max_header_bytes: 1B, workers: 0 }
  |                                           ^^
  = expected at least 8192B

error: `0` does not work here
 --> policy.yaml:2:56 (server.workers)
  |
2 | server: { max_body: 32, max_header_bytes: 1B, workers: 0 }
  |                                                        ^
  = expected a whole number from 1
",
    );
}

#[test]
fn policy_broken_keys_that_no_provider_would_see() {
    check(
        r"callers:
  keys: [{ name: a, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07 }]
providers:
  openai: {}
  lab: { base_url: http://lab/v1, auth: passthrough }
  free: { base_url: http://free/v1, auth: none }
",
        r"error: Tollway keys never go upstream, so `openai` would be called without any key
 --> policy.yaml:4:3 (providers.openai)
  |
4 |   openai: {}
  |   ^^^^^^
  = help: give it an `api_key: ${NAME}`, or say `auth: none` if it needs no key

error: Tollway keys never go upstream, so `lab` would be called without any key
 --> policy.yaml:5:41 (providers.lab.auth)
  |
5 |   lab: { base_url: http://lab/v1, auth: passthrough }
  |                                         ^^^^^^^^^^^
  = help: give it an `api_key: ${NAME}`, or say `auth: none` if it needs no key
",
    );
}

#[test]
fn policy_broken_limits_of_keys_that_nobody_has() {
    check(
        r"providers: { sim: { simulate: {} } }
callers: { identify: [header x-user-id, ip] }
limits:
  - { name: a, per: key, requests: 1/s }
  - { name: b, per: [model, key], tokens: 1k/min }
",
        r"error: the limit can never bind: no caller has a key here
 --> policy.yaml:4:21 (limits[0].per)
  |
4 |   - { name: a, per: key, requests: 1/s }
  |                     ^^^
  = help: add `callers.keys`, or `provider_key` to `callers.identify`

error: the limit can never bind: no caller has a key here
 --> policy.yaml:5:29 (limits[1].per[1])
  |
5 |   - { name: b, per: [model, key], tokens: 1k/min }
  |                             ^^^
  = help: add `callers.keys`, or `provider_key` to `callers.identify`
",
    );
}

#[test]
fn policy_broken_tags_that_no_key_has() {
    check(
        r"providers: { sim: { simulate: {} } }
callers:
  keys: [{ name: a, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07, tags: { team: search } }]
limits:
  - { name: a, per: tag team, requests: 1/s }
  - { name: b, per: [user, tag taem], requests: 1/s }
routes: [{ match: { tag: { env: dev } }, targets: [sim] }]
",
        r"error: the limit can never bind: no key has this tag
 --> policy.yaml:6:28 (limits[1].per[1])
  |
6 |   - { name: b, per: [user, tag taem], requests: 1/s }
  |                            ^^^^^^^^
  = help: did you mean `team`?

error: the route is never reached: no key has this tag
 --> policy.yaml:7:28 (routes[0].match.tag.env)
  |
7 | routes: [{ match: { tag: { env: dev } }, targets: [sim] }]
  |                            ^^^
  = help: there is `team`
",
    );
    check(
        r"providers: { sim: { simulate: {} } }
limits: [{ name: a, per: tag team, requests: 1/s }]
",
        r"error: the limit can never bind: no key has this tag
 --> policy.yaml:2:26 (limits[0].per)
  |
2 | limits: [{ name: a, per: tag team, requests: 1/s }]
  |                          ^^^^^^^^
  = help: tags are given to keys: `tags: { team: search }`
",
    );
}

#[test]
fn policy_broken_keys_that_are_not_there() {
    check(
        r"providers: { sim: { simulate: {} } }
callers: { identify: [key] }
",
        r"error: there are no keys, so anybody may call, and nobody has a name
 --> policy.yaml:2:22 (callers.identify)
  |
2 | callers: { identify: [key] }
  |                      ^
  = help: add `callers.keys` (`tollway keys new` makes one), `require_key: true` where keys are made at run time, or another way to tell callers
",
    );
}

#[test]
fn policy_broken_keys_that_are_asked_for() {
    check(
        r"providers: { sim: { simulate: {} }, openai: {} }
callers: { identify: [ip], require_key: true }
",
        r"error: Tollway keys never go upstream, so `openai` would be called without any key
 --> policy.yaml:1:37 (providers.openai)
  |
1 | providers: { sim: { simulate: {} }, openai: {} }
  |                                     ^^^^^^
  = help: give it an `api_key: ${NAME}`, or say `auth: none` if it needs no key

error: `identify` does not look for keys
 --> policy.yaml:2:41 (callers.require_key)
  |
2 | callers: { identify: [ip], require_key: true }
  |                                         ^^^^
  = help: add `key` to `callers.identify`
",
    );
    check(
        r"providers: { sim: { simulate: {} } }
callers:
  require_key: false
  keys: [{ name: a, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07 }]
",
        r"error: there are keys, and with any of them each request needs one
 --> policy.yaml:3:16 (callers.require_key)
  |
3 |   require_key: false
  |                ^^^^^
  = help: leave it out, or take the keys out
",
    );
}

#[test]
fn policy_broken_aliases_that_nobody_sees() {
    check(
        r"providers: { sim: { simulate: {} } }
aliases: { fast: gpt-5.6-luna }
callers:
  keys: [{ name: a, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07, models: fast }]
limits:
  - { name: a, per: user, requests: 1/s, match: { model: [gpt-4o, fast] } }
",
        r"error: `fast` is an alias, and a key goes by what it stands for
 --> policy.yaml:4:103 (callers.keys[0].models)
  |
4 |   keys: [{ name: a, sha256: ****************************************************************, models: fast }]
  |                                                                                                       ^^^^
  = help: name `gpt-5.6-luna`

error: `fast` is an alias, and a limit goes by what it stands for
 --> policy.yaml:6:67 (limits[0].match.model[1])
  |
6 |   - { name: a, per: user, requests: 1/s, match: { model: [gpt-4o, fast] } }
  |                                                                   ^^^^
  = help: name `gpt-5.6-luna`
",
    );
}

#[test]
fn policy_broken_key_pools() {
    check(
        r"providers:
  openai: { api_key: ${A_KEY}, keys: { a: ${B_KEY} } }
  groq: { key_name: main, keys: { a: ${A_KEY}, b: { weight: 2 }, a: ${C_KEY} } }
  xai: { keys: {} }
  gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: 1 } } }
  deepseek: { keys: { a: ${A_KEY}, b: ${A_KEY} } }
  moonshot: { auth: passthrough, keys: { a: ${A_KEY} } }
  lab: { base_url: http://lab/v1, keys: [secret-of-the-lab] }
",
        r"error: there is an `api_key`, and there are `keys` too
 --> policy.yaml:2:22 (providers.openai.api_key)
  |
2 |   openai: { api_key: ${A_KEY}, keys: { a: ${B_KEY} } }
  |                      ^^^^^^^^
  = help: give it a name among the `keys`

error: `key_name` goes with `api_key`; each of `keys` has a name already
 --> policy.yaml:3:21 (providers.groq.key_name)
  |
3 |   groq: { key_name: main, keys: { a: ${A_KEY}, b: { weight: 2 }, a: ******** } }
  |                     ^^^^
  = help: take `key_name` away

error: the key has no secret
 --> policy.yaml:3:48 (providers.groq.keys.b)
  |
3 |   groq: { key_name: main, keys: { a: ${A_KEY}, b: { weight: 2 }, a: ******** } }
  |                                                ^
  = expected `main: ${NAME}`, or `main: { api_key: ${NAME}, weight: 3 }`

error: the key `a` stands here twice
 --> policy.yaml:3:66 (providers.groq.keys.a)
  |
3 |   groq: { key_name: main, keys: { a: ${A_KEY}, b: { weight: 2 }, a: ******** } }
  |                                                                  ^
  = help: it stands in line 3 already; keep one

error: 0 keys
 --> policy.yaml:4:16 (providers.xai.keys)
  |
4 |   xai: { keys: {} }
  |                ^
  = expected 1 to 64 keys, each with a name: `main: ${NAME}`

error: this is no name for a key
 --> policy.yaml:5:21 (providers.gemini.keys.a b)
  |
5 |   gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: * } } }
  |                     ^^^
  = expected up to 64 letters, digits, `-`, `_` and `.`: it is shown in metrics and logs
  = help: the key's name comes first, then its secret: `main: ${NAME}`

error: this is no name for a key
 --> policy.yaml:5:36 (providers.gemini.keys.c/d)
  |
5 |   gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: * } } }
  |                                    ^^^
  = expected up to 64 letters, digits, `-`, `_` and `.`: it is shown in metrics and logs
  = help: the key's name comes first, then its secret: `main: ${NAME}`

error: `0` does not work here
 --> policy.yaml:5:83 (providers.gemini.keys.e.weight)
  |
5 |   gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: * } } }
  |                                                                                   ^
  = expected a whole number from 1

error: the key has no secret
 --> policy.yaml:5:88 (providers.gemini.keys.f)
  |
5 |   gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: * } } }
  |                                                                                        ^
  = expected `main: ${NAME}`, or `main: { api_key: ${NAME}, weight: 3 }`

error: unknown key `wieght`
 --> policy.yaml:5:93 (providers.gemini.keys.f.wieght)
  |
5 |   gemini: { keys: { a b: ${A_KEY}, c/d: ${B_KEY}, e: { api_key: ${C_KEY}, weight: 0 }, f: { wieght: * } } }
  |                                                                                             ^^^^^^
  = help: did you mean `weight`?

error: the same secret stands here twice
 --> policy.yaml:6:39 (providers.deepseek.keys.b)
  |
6 |   deepseek: { keys: { a: ${A_KEY}, b: ${A_KEY} } }
  |                                       ^^^^^^^^
  = help: the other one is in line 6; each key is limited and set aside by itself

error: there are `keys`, but they would never be sent
 --> policy.yaml:7:21 (providers.moonshot.auth)
  |
7 |   moonshot: { auth: passthrough, keys: { a: ${A_KEY} } }
  |                     ^^^^^^^^^^^
  = help: take `keys` away, or say `auth: bearer`

error: a list where a section with keys belongs
 --> policy.yaml:8:41 (providers.lab.keys)
  |
8 |   lab: { base_url: http://lab/v1, keys: [*****************] }
  |                                         ^
  = expected a section: a name and its value on each line
",
    );
}

#[test]
fn policy_broken_key_pools_that_are_too_large() {
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}: secret-{n}")).collect();
    let keys = keys.join(", ");
    let told = told(&format!(
        "providers:\n  a: {{ base_url: http://a, keys: {{ {keys} }} }}\n  b: {{ base_url: http://b, keys: {{ {keys} }} }}\nroutes:\n  - targets: [a, b]\n"
    ));
    let expected = r"error: 80 targets, each key of a provider counted
 --> policy.yaml:5:14 (routes[0].targets)
  |
5 |   - targets: [a, b]
  |              ^
  = expected at most 64
";
    assert!(told == expected, "{told}");
}

#[test]
fn policy_broken_limits_of_provider_keys() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: [provider, provider_key], requests: 1/s }
circuit_breaker: { bench: { auth: 0s, quotta: 1h } }
",
        r"error: each key is one provider's, so `provider` in the pair adds nothing
 --> policy.yaml:3:21 (limits[0].per)
  |
3 |   - { name: a, per: [provider, provider_key], requests: 1/s }
  |                     ^
  = help: name `provider_key` alone

error: a time of zero would let nothing through
 --> policy.yaml:4:35 (circuit_breaker.bench.auth)
  |
4 | circuit_breaker: { bench: { auth: 0s, quotta: ** } }
  |                                   ^^
  = expected a time above zero

error: unknown key `quotta`
 --> policy.yaml:4:39 (circuit_breaker.bench.quotta)
  |
4 | circuit_breaker: { bench: { auth: 0s, quotta: ** } }
  |                                       ^^^^^^
  = help: did you mean `quota`?
",
    );
}

#[test]
fn policy_broken_time_zones() {
    for (zone, help) in [
        ("Europe/Berln", "help: did you mean `Europe/Berlin`?"),
        ("Tokyo", "help: did you mean `Asia/Tokyo`?"),
        ("here", "expected a name of the IANA database, such as Europe/Berlin or UTC"),
    ] {
        check(
            &format!("providers: {{ sim: {{ simulate: {{}} }} }}\ntime_zone: {zone}\n"),
            &format!(
                "error: there is no time zone `{zone}`\n --> policy.yaml:2:12 (time_zone)\n  |\n\
                 2 | time_zone: {zone}\n  |            {}\n  = {help}\n",
                "^".repeat(zone.len())
            ),
        );
    }
}

#[test]
fn policy_broken_budgets() {
    check(
        r"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 5/min, when_full: { downgrade: [sim] } }
  - { name: b, per: provider, usd: 5/day, when_full: { downgrade: [free] } }
  - { name: c, per: user, usd: 5/day, when_full: { downgrade: [sin] } }
  - { name: d, per: user, usd: 5/day, when_full: { downgrade: free, wait: 5s } }
alerts: { webhook: { url: example.com, secret: s } }
",
        r"error: cheaper targets save money alone
 --> policy.yaml:3:68 (limits[0].when_full.downgrade)
  |
3 |   - { name: a, per: user, requests: 5/min, when_full: { downgrade: [sim] } }
  |                                                                    ^
  = help: give `usd` a limit of its own

error: the limit is decided when the target is chosen already
 --> policy.yaml:4:67 (limits[1].when_full.downgrade)
  |
4 |   - { name: b, per: provider, usd: 5/day, when_full: { downgrade: [free] } }
  |                                                                   ^
  = expected a limit per all, user, key, ip, model or tag

error: there is no provider `sin`
 --> policy.yaml:5:64 (limits[2].when_full.downgrade[0])
  |
5 |   - { name: c, per: user, usd: 5/day, when_full: { downgrade: [sin] } }
  |                                                                ^^^
  = help: did you mean `sim`?

error: it can't wait and go elsewhere
 --> policy.yaml:6:63 (limits[3].when_full.downgrade)
  |
6 |   - { name: d, per: user, usd: 5/day, when_full: { downgrade: free, wait: 5s } }
  |                                                               ^^^^
  = help: keep one of them

error: this is no address that can be called
 --> policy.yaml:7:27 (alerts.webhook.url)
  |
7 | alerts: { webhook: { url: ***********, secret: * } }
  |                           ^^^^^^^^^^^
  = expected `https://` or `http://`, a host and a path
",
    );
}

#[test]
fn policy_broken_state() {
    check(
        r"providers: { sim: { simulate: {} } }
state: sqlite
",
        r"error: `sqlite` is not a choice here
 --> policy.yaml:2:8 (state)
  |
2 | state: sqlite
  |        ^^^^^^
  = expected `memory`, `{ sqlite: FILE }` or `{ redis: URL }`
",
    );
    check(
        r"providers: { sim: { simulate: {} } }
state:
  sqlite: a.db
  redis: redis://:hunter2-horse@localhost
  ledger: { keep: 90, keep_rows: 0, keep_days: 0d }
  limits: redsi
  breakers: sqlite
",
        r"error: there are two stores, and nothing says which one is for what
 --> policy.yaml:4:10 (state.redis)
  |
4 |   redis: ********************************
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: keep one here and give the other to a kind of state: `ledger: { sqlite: FILE }`

error: `90` is not a number of days
 --> policy.yaml:5:19 (state.ledger.keep)
  |
5 |   ledger: { keep: 90, keep_rows: 0, keep_days: 0d }
  |                   ^^
  = expected a number of days, such as 90d, or `forever`

error: `0` does not work here
 --> policy.yaml:5:34 (state.ledger.keep_rows)
  |
5 |   ledger: { keep: 90, keep_rows: 0, keep_days: 0d }
  |                                  ^
  = expected a whole number from 1

error: `0d` keeps nothing
 --> policy.yaml:5:48 (state.ledger.keep_days)
  |
5 |   ledger: { keep: 90, keep_rows: 0, keep_days: 0d }
  |                                                ^^
  = expected a number of days, such as 90d, or `forever`

error: `redsi` is not a choice here
 --> policy.yaml:6:11 (state.limits)
  |
6 |   limits: redsi
  |           ^^^^^
  = expected one of: memory, sqlite, redis
  = help: did you mean `redis`?

error: a file beside the process tells no other instance
 --> policy.yaml:7:13 (state.breakers)
  |
7 |   breakers: sqlite
  |             ^^^^^^
  = expected `memory` or `redis`
",
    );
}

#[test]
fn policy_broken_limits_and_budgets_in_two_places() {
    check(
        r"providers: { sim: { simulate: {} } }
state: { sqlite: a.db, limits: { sqlite: b.db } }
",
        r"error: limits and budgets are decided in one step, not in two files
 --> policy.yaml:2:32 (state.limits)
  |
2 | state: { sqlite: a.db, limits: { sqlite: b.db } }
  |                                ^
  = expected the store of the other, or one of another kind
  = help: name the same store for both, or `memory` for one of them
",
    );
}

#[test]
fn policy_broken_stores() {
    check(
        r"providers: { sim: { simulate: {} } }
state:
  redis: http://:hunter2-horse@localhost
  ledger: { store: sqlite, redis: redis://other }
  limits: sqlite
  budgets: { sqlite: a.db, redis: redis://other }
",
        r"error: no address of a Redis: a Redis URL begins with redis:// or rediss://
 --> policy.yaml:3:10 (state.redis)
  |
3 |   redis: *******************************
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = expected redis://USER:PASSWORD@HOST:PORT/DATABASE, of which only the host must be

error: the ledger can't live in two stores
 --> policy.yaml:4:20 (state.ledger.store)
  |
4 |   ledger: { store: sqlite, redis: ************* }
  |                    ^^^^^^
  = help: keep one of them

error: nothing says where `sqlite` is
 --> policy.yaml:5:11 (state.limits)
  |
5 |   limits: sqlite
  |           ^^^^^^
  = help: say it here: `{ sqlite: FILE }`

error: it can't live in two stores
 --> policy.yaml:6:12 (state.budgets)
  |
6 |   budgets: { sqlite: a.db, redis: ************* }
  |            ^
  = help: keep one of them
",
    );
}

#[test]
fn policy_broken_names_of_limits() {
    for name in ["'a\"b'", "'a\\b'", "grün", &"n".repeat(65)] {
        let told = told(&format!(
            "providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {{ name: {name}, per: user, requests: 1/s }}\n"
        ));
        assert!(
            told.contains("a limit can't have this name\n --> policy.yaml:3:13 (limits[0].name)"),
            "{told}"
        );
        assert!(told.contains("expected 1 to 64 ASCII characters"), "{told}");
    }
    let several = |letters: usize| {
        told(&format!(
            "providers: {{ sim: {{ simulate: {{}} }} }}\nlimits: [{{ name: {}, per: user, requests: 1/s, tokens: 9/s }}]\n",
            "n".repeat(letters)
        ))
    };
    assert_eq!(several(55), "nothing");
    assert!(several(56).contains("1 to 55"));
}

#[cfg(feature = "redis")]
#[test]
fn a_ca_of_a_redis_is_a_file_of_certificates_for_one_that_speaks_tls() {
    check(
        r"providers: { sim: { simulate: {} } }
state: { redis: { url: redis://one, extra_ca: missing.pem } }
",
        r"error: the file cannot be read (entity not found)
 --> policy.yaml:2:47 (state.redis.extra_ca)
  |
2 | state: { redis: { url: ***********, extra_ca: missing.pem } }
  |                                               ^^^^^^^^^^^
  = expected a PEM file

error: no certificate is looked at: the address speaks no TLS
 --> policy.yaml:2:47 (state.redis.extra_ca)
  |
2 | state: { redis: { url: ***********, extra_ca: missing.pem } }
  |                                               ^^^^^^^^^^^
  = help: write `rediss` in the place of `redis`, or take this away
",
    );
}
