use proptest::prelude::*;
use tollway::policy::{Auth, Endpoint, Env, Policy};

const SECRET: &str = "hunter2-correct-horse";

fn env() -> Env<'static> {
    Env::new(|name| (name == "KEY").then(|| SECRET.to_owned())).with_files(|path| {
        match path.to_str() {
            Some("/run/key") => Ok(format!("{SECRET}\n")),
            Some("/run/empty") => Ok("\n".into()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    })
}

#[test]
fn policy_secrets_come_from_variables_files_and_defaults() {
    use secrecy::ExposeSecret;
    for (key, secret) in [
        ("${KEY}", SECRET),
        ("'${KEY}'", SECRET),
        ("file:/run/key", SECRET),
        ("pre-${KEY}-post", "pre-hunter2-correct-horse-post"),
        ("${NONE:-fallback}", "fallback"),
        ("\"$${KEY}\"", "${KEY}"),
    ] {
        let text = format!("providers: {{ openai: {{ api_key: {key} }} }}");
        let policy = Policy::parse("p", &text, &env()).unwrap_or_else(|e| panic!("{key}: {e}"));
        let Endpoint::Http(http) = &policy.providers[0].endpoint else { panic!() };
        assert_eq!(http.auth, Auth::Bearer);
        assert_eq!(policy.providers[0].keys[0].secret.expose_secret(), secret, "{key}");
        assert!(!format!("{policy:?}").contains(secret), "{key}");
    }
}

#[test]
fn policy_secrets_of_pools_stay_out_of_sight() {
    use secrecy::ExposeSecret;
    let text =
        "providers: { openai: { keys: { a: ${KEY}, b: { api_key: file:/run/key2, weight: 2 } } } }";
    let env = env().with_files(|_| Ok("another-correct-horse\n".into()));
    let policy = Policy::parse("p", text, &env).unwrap_or_else(|e| panic!("{e}"));
    let keys = &policy.providers[0].keys;
    let secrets: Vec<_> = keys.iter().map(|key| key.secret.expose_secret()).collect();
    assert_eq!(secrets, [SECRET, "another-correct-horse"]);
    let shown = format!("{policy:?}{:?}{:?}", keys, policy.warnings);
    assert!(!shown.contains("correct-horse"), "{shown}");
}

/// Every way to be wrong around a secret that is written out, referenced, or in the wrong place.
#[test]
fn policy_errors_never_show_a_secret() {
    let policies = [
        "providers: { openai: { api_key: SECRET, api_kee: SECRET, http2: maybe } }",
        "providers: { openai: { api_key: [SECRET] } }",
        "providers: { openai: { api_key: { value: SECRET } } }",
        "providers: { openai: { api_key: SECRET, auth: none } }",
        "providers: { openai: { api_key: \"SECRET\", key: 'SECRET', http2: 5 } }",
        "providers:\n  openai:\n    api_key: |\n      SECRET\n      more\n    nope: 1",
        "providers:\n  openai:\n    api_key: SECRET\n   broken: [",
        "providers:\n  openai:\n    api_key: SECRET # SECRET again\n    api_key: SECRET",
        "providers: { openai: { api_key: SECRET",
        "providers: { openai: { api_key: \"SECRET } }",
        "providers: { openai: { api_key: \"\\q SECRET\" } }",
        "providers: { openai: { headers: { authorization: SECRET, 'bad name': SECRET }, htpt2: 1 } }",
        "providers: { openai: { headers: { authorization: \"SECRET\\u0007\" } } }",
        "providers: { openai: { key_name: ${KEY}, api_key: ${KEY}, dialect: ${KEY}, http2: ${KEY} } }",
        "providers: { openai: { api_key: ${NONE:-SECRET}, http2: x } }",
        "providers: { openai: { base_url: \"https://me:SECRET@example.com\" } }",
        "providers: { openai: { base_url: \"https://${KEY}@example.com?x\" } }",
        "providers: { openai: SECRET }",
        "providers: SECRET",
        "SECRET",
        "- SECRET",
        "admin: { token: SECRET, listen: 127.0.0.1:8080 }\nproviders: {}",
        "admin: SECRET\nproviders: { a: { simulate: {} } }",
        "admin: { token: &t SECRET, tokken: *t }\nproviders: { openai: { api_key: *t, auth: none } }",
        "callers: { keys: [{ name: a, sha256: SECRET }] }\nproviders: { a: { simulate: {} } }",
        "callers: { keys: [{ name: a, sha26: SECRET }] }\nproviders: { a: { simulate: {} } }",
        "aliases: { a: ${KEY} }\nroutes: [{ targets: [${KEY}, \"${KEY}/x\"] }]\nproviders: { a: { simulate: {} } }",
        "providers: { openai: { api_key: ${KEY, http2: SECRET } }",
        "providers: { openai: { keys: SECRET } }",
        "providers: { openai: { keys: [SECRET] } }",
        "providers: { openai: { keys: { a: SECRET, b: SECRET, c: [SECRET] } } }",
        "providers: { openai: { keys: { a: { api_key: SECRET, wieght: 1, secret: SECRET } } } }",
        "providers: { openai: { keys: { a: { api_key: SECRET, weight: SECRET } } } }",
        "providers: { openai: { api_key: SECRET, keys: { a: SECRET, 'b c': SECRET } } }",
        "providers: { openai: { keys: { a: SECRET }, auth: none } }",
        "providers: { openai: { keys: { a: ${NONE:-SECRET}, b: ${KEY}, c: ${KEY} } } }",
        "providers: { a: { keys: { a: SECRET, a: SECRET }, simulate: { key: SECRET } } }",
    ];
    for written in policies {
        let text = written.replace("SECRET", SECRET);
        let wrong = Policy::parse("policy.yaml", &text, &env()).map(|_| ()).unwrap_err();
        let shown = format!("{wrong}{wrong:?}");
        assert!(!shown.contains("hunter2"), "{written}\n{wrong}");
    }
}

/// Keys of the usual makers are known by their looks, wherever they are put.
#[test]
fn policy_errors_hide_what_looks_like_a_key() {
    for key in [
        "sk-proj-abcdefgh12345678",
        "gsk_abcdEFGH1234",
        "AIzaSyA1234567890abcdef",
        "0a1b2c3d4e5f60718293a4b5",
    ] {
        for text in [
            "listen: SECRET",
            "SECRET: 1",
            "limits: [{ name: x, per: SECRET }]",
            "routes: [{ targets: [SECRET] }]",
            "aliases: {SECRET: {}}",
        ] {
            let text = format!(
                "{}\nproviders: {{ a: {{ simulate: {{}} }} }}",
                text.replace("SECRET", key)
            );
            let wrong = Policy::parse("policy.yaml", &text, &env()).map(|_| ()).unwrap_err();
            assert!(!format!("{wrong}{wrong:?}").contains(key), "{wrong}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn policy_any_text_gets_an_answer(text in "(?s).{0,200}") {
        let _ = Policy::parse("p", &text, &env()).map_err(|wrong| wrong.to_string());
    }

    /// Pieces of real policies in any order get further than noise.
    #[test]
    fn policy_any_pieces_get_an_answer(pieces in prop::collection::vec(prop::sample::select(vec![
        "providers:", "limits:", "routes:", "openai", "api_key", ":", " ", "\n", "\n  ", "- ", "[", "]",
        "{", "}", ",", "${KEY}", "${", "}", "$${", "100/min", "\"", "'", "#", "&a", "*a", "<<", "é", "\t",
        "5 failures", "match", "model", "targets", "a/b", "simulate", "|", ">", "!!int", "1e9", "~", "---",
    ]), 0..60)) {
        let text: String = pieces.concat();
        let _ = Policy::parse("p", &text, &env()).map_err(|wrong| wrong.to_string());
    }

    /// A good policy with something put into it.
    #[test]
    fn policy_any_damage_gets_an_answer(at in 0..3000usize, cut in 0..40usize, put in "(?s).{0,8}") {
        let good = tollway::policy::DEFAULT;
        let at = at.min(good.len());
        let mut text = good.as_bytes()[..at].to_vec();
        text.extend(put.as_bytes());
        text.extend(&good.as_bytes()[(at + cut).min(good.len())..]);
        let text = String::from_utf8_lossy(&text);
        let _ = Policy::parse("p", &text, &env()).map_err(|wrong| wrong.to_string());
    }
}

#[test]
fn policy_warnings_show_nothing_of_the_environment() {
    const HIDDEN: &str = "hidden-in-the-environment";
    let text = "listen: 0.0.0.0:80
admin: { listen: 127.0.0.1:81 }
providers: { lab: { base_url: http://lab/v1 } }
callers: { identify: [header x-${X}] }
limits:
  - { name: \"${X}\", per: user, requests: 1/s, usd: 1/day }
  - { name: \"${X}-b\", per: user, requests: 2/s, usd: 2/day, match: { model: \"${X}\" } }
  - { name: \"${X}-c\", per: user, requests: 3/s }
routes: [{ targets: [\"lab/${X}\"] }]
models: [{ id: \"${X}-own\", provider: lab }]
";
    let env = Env::new(|_| Some(HIDDEN.into()));
    let policy = Policy::parse("policy.yaml", text, &env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(policy.warnings.len(), 7, "{:#?}", policy.warnings);
    assert!(!format!("{:?}", policy.warnings).contains(HIDDEN), "{:#?}", policy.warnings);
    let twice = "providers: { sim: { simulate: {} } }
routes: [{ name: \"${X}\", targets: [sim] }, { targets: [sim] }]
";
    let wrong = Policy::parse("policy.yaml", twice, &env).unwrap_err();
    assert!(!wrong.to_string().contains(HIDDEN), "{wrong}");
}
