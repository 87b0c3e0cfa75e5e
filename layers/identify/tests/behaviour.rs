//! Who is found to be calling.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Response};
use tollway_core::{Caller, PeerAddr, Tags};
use tollway_identify::{
    Config, Event, Identifier, IdentifyLayer, Key, KeyDigest, KeySet, Reason, Source,
};
use tollway_testkit::{Probe, Recorder};
use tower::{Layer, ServiceExt};

const PEER: &str = "198.51.100.1";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

fn secret(seed: u8) -> String {
    Key::generate([seed; 32]).secret().to_owned()
}

fn keys() -> KeySet {
    let key = |name, seed| Key::new(name, KeyDigest::of(secret(seed)));
    let ada = Key {
        user: Some("ada".into()),
        tags: Tags::from_iter([("team", "search")]),
        ..key("ada-laptop", 1)
    };
    KeySet::new([ada, key("shared", 2)]).unwrap()
}

fn header(from_proxies_only: bool) -> Source {
    Source::Header { name: HeaderName::from_static("x-user-id"), from_proxies_only }
}

fn identify(config: Config, peer: &str, lines: &[(&'static str, &str)]) -> Result<Caller, Reason> {
    let peer: Option<IpAddr> = (!peer.is_empty()).then(|| peer.parse().unwrap());
    let identifier = Identifier::new(config).unwrap();
    identifier.identify(peer, &headers(lines)).map_err(|refusal| refusal.reason())
}

fn with_keys(sources: impl IntoIterator<Item = Source>) -> Config {
    Config { keys: keys(), sources: sources.into_iter().collect(), ..Config::default() }
}

fn user(caller: &Caller) -> Option<&str> {
    caller.user.as_deref()
}

#[test]
fn a_key_in_the_query_names_its_owner_however_its_name_is_written() {
    let identifier = Identifier::new(with_keys([Source::Key])).unwrap();
    let call = |query: &str| {
        let caller = identifier.identify_call(None, &HeaderMap::new(), Some(query));
        caller.map_err(|refusal| refusal.reason())
    };
    for name in ["key", "%6bey", "%6B%65%79", "alt=sse&ke%79"] {
        assert_eq!(user(&call(&format!("{name}={}", secret(1))).unwrap()), Some("ada"), "{name}");
    }
    for name in ["Key", "monkey", "%6Bey%", "%256bey", "%6gey", "ke", "keys", "%6"] {
        let query = format!("{name}={}", secret(1));
        assert_eq!(call(&query).unwrap_err(), Reason::Missing, "{name}");
    }
    let encoded = secret(1).replace("tw_", "%74w%5F");
    assert_ne!(encoded, secret(1));
    assert_eq!(user(&call(&format!("key={encoded}")).unwrap()), Some("ada"), "{encoded}");
    assert_eq!(call("%6bey=").unwrap_err(), Reason::Missing);
}

#[test]
fn a_key_in_any_of_the_headers_names_its_owner() {
    let bearer = format!("Bearer {}", secret(1));
    let loose = format!("bEARER   {} ", secret(1));
    let plain = secret(1);
    for (name, value) in [
        ("authorization", &bearer),
        ("authorization", &loose),
        ("x-api-key", &plain),
        ("api-key", &plain),
        ("x-goog-api-key", &plain),
    ] {
        let caller = identify(with_keys([Source::Key]), PEER, &[(name, value)]).unwrap();
        assert_eq!(user(&caller), Some("ada"), "{name}");
        assert_eq!(caller.key.as_deref(), Some("ada-laptop"));
        assert_eq!(caller.tags.get("team").map(|team| &**team), Some("search"));
        assert_eq!(caller.ip, Some(PEER.parse().unwrap()));
        assert!(caller.authenticated);
    }
}

#[test]
fn without_a_valid_key_nobody_gets_in() {
    let refuse = |lines: &[_]| identify(with_keys([Source::Key, Source::Ip]), PEER, lines);
    let raw = secret(1);
    let basic = format!("Basic {}", secret(1));
    let almost = format!("Bearer {}x", secret(1));
    for (lines, reason) in [
        (&[][..], Reason::Missing),
        (&[("authorization", "")], Reason::Missing),
        (&[("authorization", "Bearer ")], Reason::Missing),
        (&[("authorization", &*raw)], Reason::Missing),
        (&[("authorization", &*basic)], Reason::Missing),
        (&[("x-api-key", " ")], Reason::Missing),
        (&[("authorization", &*almost)], Reason::Wrong),
        (&[("x-api-key", "sk-proj-1234567890")], Reason::Wrong),
    ] {
        assert_eq!(refuse(lines), Err(reason), "{lines:?}");
    }
}

#[test]
fn one_valid_key_is_enough_but_two_different_ones_are_too_many() {
    let (one, other) = (format!("Bearer {}", secret(1)), secret(2));
    let ask = |lines: &[_]| identify(with_keys([Source::Key]), PEER, lines);
    let dummy = [("authorization", "Bearer dummy"), ("x-api-key", &*other)];
    assert_eq!(ask(&dummy).unwrap().key.as_deref(), Some("shared"));
    let same = secret(1);
    assert!(ask(&[("authorization", &one), ("x-api-key", &same)]).is_ok());
    let both = [("authorization", &*one), ("x-api-key", &*other)];
    assert_eq!(ask(&both), Err(Reason::Ambiguous));
    let mut guesses = vec![("x-api-key", "guess"); 8];
    guesses.push(("x-goog-api-key", &other));
    assert_eq!(ask(&guesses), Err(Reason::Ambiguous), "at most 8 guesses a request");
    assert_eq!(ask(guesses.get(1..).unwrap()).unwrap().key.as_deref(), Some("shared"));
}

#[test]
fn a_shared_key_leaves_the_user_to_the_header() {
    let config = || with_keys([Source::Key, Source::ProviderKey, header(false), Source::Ip]);
    let (ada, shared) = (secret(1), secret(2));
    let ask = |lines: &[_]| identify(config(), PEER, lines).unwrap();
    let caller = ask(&[("x-api-key", &shared), ("x-user-id", "bob")]);
    assert_eq!((user(&caller), caller.key.as_deref()), (Some("bob"), Some("shared")));
    let caller = ask(&[("x-api-key", &shared)]);
    assert_eq!(user(&caller), Some("shared"), "a key's name is better than an address");
    let caller = ask(&[("x-api-key", &ada), ("x-user-id", "bob")]);
    assert_eq!(user(&caller), Some("ada"), "the key names its owner and comes first");
}

#[test]
fn the_header_counts_only_where_configured_and_whole() {
    let by_header = || Config { sources: vec![header(false), Source::Ip], ..Config::default() };
    let long = "x".repeat(257);
    let just = "x".repeat(256);
    for (config, lines, expected) in [
        (Config::default(), &[("x-user-id", "bob")][..], PEER),
        (by_header(), &[("x-user-id", " bob ")], "bob"),
        (by_header(), &[], PEER),
        (by_header(), &[("x-user-id", " ")], PEER),
        (by_header(), &[("x-user-id", &*long)], PEER),
        (by_header(), &[("x-user-id", &*just)], &*just),
        (by_header(), &[("x-user-id", "admin"), ("x-user-id", "bob")], PEER),
    ] {
        assert_eq!(user(&identify(config, PEER, lines).unwrap()), Some(expected), "{lines:?}");
    }
}

#[test]
fn the_header_may_be_believed_from_proxies_only() {
    let config = || Config {
        sources: vec![header(true), Source::Ip],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..Config::default()
    };
    let ask = |peer| identify(config(), peer, &[("x-user-id", "bob")]).unwrap();
    assert_eq!(user(&ask("10.1.2.3")), Some("bob"));
    assert_eq!(user(&ask("::ffff:10.1.2.3")), Some("bob"));
    assert_eq!(user(&ask(PEER)), Some(PEER));
    assert_eq!(user(&ask("")), None, "an unknown peer is no proxy");
}

#[test]
fn a_provider_key_is_told_apart_by_its_hash_and_never_kept() {
    let ask = |key: &str| identify(Config::default(), PEER, &[("x-api-key", key)]).unwrap();
    let caller = ask("sk-proj-secret");
    let hash = KeyDigest::of("sk-proj-secret").to_string();
    assert_eq!(user(&caller), Some(&*format!("sha256:{}", hash.get(..16).unwrap())));
    assert_eq!(caller.key, caller.user);
    assert!(!caller.authenticated, "it belongs upstream");
    assert!(!format!("{caller:?}").contains("secret"));
    assert_ne!(ask("sk-proj-other").user, caller.user);
    // The key's hash is told even where another source names the user.
    let config = Config { sources: vec![Source::Ip, Source::ProviderKey], ..Config::default() };
    let caller = identify(config, PEER, &[("x-api-key", "sk-proj-secret")]).unwrap();
    assert_eq!(user(&caller), Some(PEER));
    assert_eq!(caller.key.as_deref(), Some(&*format!("sha256:{}", hash.get(..16).unwrap())));
}

#[test]
fn addresses_as_users() {
    let ask = |peer, ipv6_prefix| {
        let caller = identify(Config { ipv6_prefix, ..Config::default() }, peer, &[]).unwrap();
        (caller.user, caller.ip)
    };
    let full: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
    let named = |text: &str| Some(Arc::from(text));
    assert_eq!(ask("2001:db8:1:2:3:4:5:6", 64), (named("2001:db8:1:2::/64"), Some(full)));
    assert_eq!(ask("2001:db8:1:2:3:4:5:6", 128), (named("2001:db8:1:2:3:4:5:6"), Some(full)));
    let longest = "2001:db88:1111:2222:3333:4444:5555:6666";
    assert_eq!(ask(longest, 127).0, named(&format!("{longest}/127")));
    assert_eq!(ask("::ffff:192.0.2.1", 64), (named("192.0.2.1"), "192.0.2.1".parse().ok()));
    assert_eq!(ask("", 64), (None, None));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refuse = |config| Identifier::new(config).unwrap_err().to_string();
    let ok = Config::default;
    for (config, words) in [
        (Config { sources: vec![], ..ok() }, "no source"),
        (Config { sources: vec![Source::Ip, Source::Ip], ..ok() }, "twice"),
        (with_keys([Source::Ip]), "not among the sources"),
        (Config { sources: vec![header(true)], ..ok() }, "none are configured"),
        (Config { ipv6_prefix: 0, ..ok() }, "1 to 128"),
        (Config { ipv6_prefix: 129, ..ok() }, "1 to 128"),
    ] {
        let text = refuse(config);
        assert!(text.contains(words), "{text}");
    }
    let key = |name: &str, seed| Key::new(name, KeyDigest::of(secret(seed)));
    for (keys, words) in [
        ([key("a", 1), key("a", 2)], "named `a`"),
        ([key("a", 1), key("b", 1)], "same SHA-256"),
        ([key("", 1), key("b", 2)], "empty name"),
    ] {
        let text = KeySet::new(keys).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn the_layer_reads_the_peer_and_writes_the_caller() {
    let told = Recorder::default();
    let layer = IdentifyLayer::new(with_keys([Source::Key])).unwrap().with_hook(told.clone());
    let service = layer.layer(Probe::new(|request: Request<()>| async move {
        Ok::<_, std::convert::Infallible>(Response::new(
            request.extensions().get::<Caller>().cloned(),
        ))
    }));
    let mut request = Request::builder().header("x-api-key", secret(1)).body(()).unwrap();
    request.extensions_mut().insert(PeerAddr(([127, 0, 0, 1], 4711).into()));
    // Something else's idea of the caller doesn't survive.
    request.extensions_mut().insert(Caller::default());
    let caller = service.clone().oneshot(request).await.unwrap().into_body().unwrap();
    assert_eq!(user(&caller), Some("ada"));
    assert_eq!(caller.ip, Some(IpAddr::from([127, 0, 0, 1])));

    let wrong = Request::builder().header("x-api-key", "tw_wrong-secret").body(()).unwrap();
    let error = service.oneshot(wrong).await.unwrap_err();
    assert!(error.to_string().contains("Authorization: Bearer"), "says what to send");
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
    assert_eq!(told.take(), [Event::Key, Event::Refused(Reason::Wrong)]);
}

/// Keys that come and go count beside those that stay; without any of them nobody gets in.
#[test]
fn live_keys_let_in_for_as_long_as_they_are_there() {
    use std::sync::Mutex;
    let there: Arc<Mutex<Vec<Key>>> = Arc::default();
    let look = there.clone();
    let live = move |digest: &KeyDigest| {
        look.lock().unwrap().iter().find(|key| key.digest == *digest).cloned()
    };
    let live: Arc<dyn tollway_identify::LiveKeys> = Arc::new(live);
    let config = |keys| Config { keys, live: Some(live.clone()), ..Config::default() };
    let call =
        |config: &Config, seed| identify(config.clone(), PEER, &[("x-api-key", &secret(seed))]);
    let (alone, beside) = (config(KeySet::default()), config(keys()));
    assert_eq!(identify(alone.clone(), PEER, &[]), Err(Reason::Missing));
    assert_eq!(call(&alone, 3), Err(Reason::Wrong));
    assert_eq!(user(&call(&beside, 1).unwrap()), Some("ada"));
    let ben = Key {
        user: Some("ben".into()),
        tags: Tags::from_iter([("team", "ops")]),
        ..Key::new("ben-laptop", KeyDigest::of(secret(3)))
    };
    there.lock().unwrap().push(ben);
    for config in [&alone, &beside] {
        let caller = call(config, 3).unwrap();
        assert_eq!((user(&caller), caller.key.as_deref()), (Some("ben"), Some("ben-laptop")));
        assert_eq!(caller.tags.get("team").map(|tag| &**tag), Some("ops"));
        assert!(caller.authenticated);
    }
    // One of each is two, as two of either are.
    let both = [("x-api-key", &*secret(1)), ("api-key", &*secret(3))];
    assert_eq!(identify(beside.clone(), PEER, &both), Err(Reason::Ambiguous));
    let twice = [("x-api-key", &*secret(3)), ("api-key", &*secret(3))];
    assert!(identify(beside.clone(), PEER, &twice).is_ok());
    there.lock().unwrap().clear();
    assert_eq!(call(&beside, 3), Err(Reason::Wrong));
    assert!(Identifier::new(Config { sources: vec![Source::Ip], ..alone }).is_err());
}
