use super::told;
#[test]
fn policy_probe() {
    println!("<<<unknown_keys\n{}>>>", told(r##"listn: 127.0.0.1:80
providers:
  sim: { simulate: { latnecy: 5ms } }
zzz: 1
"##));
    println!("<<<duplicate_keys\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
retry: { attempts: 3, attempts: 4 }
retry: {}
"##));
    println!("<<<no_providers\n{}>>>", told(r##"listen: 127.0.0.1:8080
"##));
    println!("<<<empty_providers\n{}>>>", told(r##"providers: {}
"##));
    println!("<<<an_empty_file\n{}>>>", told(r##"# nothing here
"##));
    println!("<<<broken_yaml\n{}>>>", told(r##"providers:
  openai: [
"##));
    println!("<<<tabs\n{}>>>", told(r##"providers:
	openai: {}
"##));
    println!("<<<times_without_a_unit\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
retry: { backoff: { first: 500, max: 3 parsecs } }
"##));
    println!("<<<rates\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 100 }
  - { name: b, per: user, tokens: 50k/fortnight }
  - { name: c, per: user, usd: 1.5k/day }
  - { name: d, per: user, requests: 0/min }
"##));
    println!("<<<types\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
listen: [1, 2]
limits: { name: a }
retry: 5
log: { format: xml }
"##));
    println!("<<<scopes\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: usr, requests: 1/s }
  - { name: b, per: [user, user], requests: 1/s }
  - { name: c, per: [user, ip, key], requests: 1/s }
"##));
    println!("<<<limits_of_nothing\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user }
  - { per: user, requests: 1/s }
"##));
    println!("<<<headroom_of_all\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits: [{ name: a, per: user, requests: 1/s, headroom: 100% }]
"##));
    println!("<<<shapes\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 9/min, shape: calendar }
  - { name: b, per: user, requests: 9/month, shape: bucket }
  - { name: c, per: user, requests: 9/day, burst: 3 }
  - { name: d, per: user, tokens: 9/min, requests: 1/s, burst_tokens: 0 }
"##));
    println!("<<<duplicate_names\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
limits:
  - { name: a, per: user, requests: 1/s }
  - { name: a, per: ip, requests: 1/s }
"##));
    println!("<<<unknown_providers\n{}>>>", told(r##"providers:
  opnai: {}
  other: {}
  third: { like: antropic }
"##));
    println!("<<<routes_to_nothing\n{}>>>", told(r##"providers: { openai: {}, sim: { simulate: {} } }
routes:
  - targets: [opnai/gpt-4o, openai/gpt-4o-mni, sim/anything, openai/new-model]
"##));
    println!("<<<routes_never_reached\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
routes:
  - { name: all-gpt, match: { model: "gpt-*" }, targets: [sim] }
  - { name: minis, match: { model: [gpt-4o-mini, "gpt-5*"] }, targets: [sim] }
"##));
    println!("<<<weights\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
routes:
  - { strategy: weighted, targets: [sim: 0] }
  - { strategy: failover, match: { model: x }, targets: [sim: 5] }
"##));
    println!("<<<empty_targets\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
routes: [{ targets: [] }]
"##));
    println!("<<<aliases\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
aliases: { a: b, b: gpt-4o }
routes: [{ match: { model: a }, targets: [sim] }]
"##));
    println!("<<<the_same_address_twice\n{}>>>", told(r##"listen: 0.0.0.0:8081
providers: { sim: { simulate: {} } }
"##));
    println!("<<<variables\n{}>>>", told(r##"listen: ${TOLLWAY_LISTN}
providers:
  openai: { api_key: "${KEI", base_url: "${9}" }
"##));
    println!("<<<urls\n{}>>>", told(r##"providers:
  a: { base_url: api.openai.com }
  b: { base_url: "ftp://x/v1" }
  c: { base_url: "https://x/v1?k=v" }
"##));
    println!("<<<dialects\n{}>>>", told(r##"providers: { anthropic: { dialect: anthropic } }
"##));
    println!("<<<credentials\n{}>>>", told(r##"providers:
  a: { base_url: http://a, auth: bearer }
  b: { base_url: http://b, auth: passthrough, api_key: some-key }
  c: { base_url: http://c, api_key: file:/nowhere/key }
"##));
    println!("<<<keys\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
callers:
  identify: [ip]
  keys: [{ name: a, sha256: abc }, { name: b }]
"##));
    println!("<<<breakers\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
circuit_breaker: { open_after: 0 failures, recover_after: 2h, recover_max: 1h, weights: { tiemout: 2 }, failure_ratio: { ratio: 120% } }
"##));
    println!("<<<a_simulation_with_a_key\n{}>>>", told(r##"providers: { sim: { simulate: { error_status: 200 }, api_key: x-y-z } }
"##));
    println!("<<<models_of_nobody\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
models: [{ id: a, provider: simm, price: { input: -1 } }]
"##));
    println!("<<<sizes\n{}>>>", told(r##"providers: { sim: { simulate: {} } }
server: { max_body: 32, max_header_bytes: 1B, workers: 0 }
"##));
}
