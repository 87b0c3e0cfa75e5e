//! Connections to real servers: every way to address one, and every way in which it goes away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::time::Duration;

use tokio::time::Instant;
use tollway_store::redis::{Redis, RedisConfig};
use tollway_testkit::RedisServer;

const TIMEOUT: Duration = Duration::from_millis(20);
/// What a machine that is busy with other tests may need: never a part of a verdict.
const PATIENT: Duration = Duration::from_secs(5);

fn config(url: &str) -> RedisConfig {
    RedisConfig::parse(url).unwrap().timeout(PATIENT)
}

async fn open(config: RedisConfig) -> Redis {
    let redis = Redis::open(config).unwrap();
    back(&redis).await;
    redis
}

/// Until it can be asked.
async fn back(redis: &Redis) {
    while redis.connected().await.is_err() {}
}

#[tokio::test]
async fn one_server_with_user_password_and_database() {
    let server = RedisServer::with(&["--requirepass", "p@ss/word"]);
    let url = format!("redis://:p%40ss%2Fword@{}/3", server.address());
    open(config(&url)).await.ping().await.unwrap();

    let redis = Redis::open(config(&format!("redis://:wrong-one@{}", server.address()))).unwrap();
    let error = redis.connected().await.unwrap_err();
    assert!(error.is_away());
    let words = format!("{error} {error:?} {redis:?}");
    assert!(words.contains(&server.address()) && words.contains("Password"), "{words}");
    assert!(!words.contains("wrong-one"), "{words}");
}

#[tokio::test]
async fn the_master_that_sentinels_know() {
    let server = RedisServer::start();
    let sentinel = server.sentinel();
    let url = format!("redis+sentinel://{}/mymaster", sentinel.address());
    open(config(&url)).await.ping().await.unwrap();

    let url = format!("redis+sentinel://{}/another", sentinel.address());
    let error = Redis::open(config(&url)).unwrap().connected().await.unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
}

#[tokio::test]
async fn a_cluster() {
    let servers = RedisServer::cluster();
    let url = format!("redis+cluster://{},{}", servers[0].address(), servers[2].address());
    open(config(&url)).await.ping().await.unwrap();
}

#[tokio::test]
async fn tls_with_a_ca_of_ones_own() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", signed.cert.pem());
    let key = file("key.pem", signed.signing_key.serialize_pem());
    let server = RedisServer::with(&[
        "--tls-port",
        "{port}",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{}", server.port());
    open(config(&url).ca_pem(signed.cert.pem())).await.ping().await.unwrap();

    let stranger = Redis::open(config(&url)).unwrap();
    assert!(stranger.connected().await.unwrap_err().is_away(), "nobody vouches for it");
}

/// Who is trusted is asked for at each connection.
#[tokio::test]
async fn another_ca_is_good_for_the_next_connection() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let sign = || {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(file("cert.pem"), signed.cert.pem()).unwrap();
        std::fs::write(file("key.pem"), signed.signing_key.serialize_pem()).unwrap();
        signed.cert.pem()
    };
    let trusted = file("ca.pem");
    std::fs::write(&trusted, sign()).unwrap();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let mut server = RedisServer::with(&[
        "--tls-port",
        "{port}",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{}", server.port());
    let redis = open(config(&url).ca_from({
        let trusted = trusted.clone();
        move || std::fs::read(&trusted)
    }))
    .await;
    let another = sign();
    server.restart();
    while redis.connected().await.is_ok() {
        let _ = redis.ping().await;
    }
    std::fs::write(&trusted, another).unwrap();
    back(&redis).await;
    redis.ping().await.unwrap();
    std::fs::remove_file(&trusted).unwrap();
    server.kill();
    while redis.away().is_none_or(|why| !why.contains("No such file")) {
        let _ = redis.ping().await;
    }
}

/// The clock stands still but for timers: what passes is what the code waited.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_timeout() {
    let server = RedisServer::start();
    let redis = open(RedisConfig::parse(&server.url()).unwrap().timeout(TIMEOUT)).await;
    server.pause();
    let waited = async || {
        let start = Instant::now();
        assert!(redis.ping().await.unwrap_err().is_away());
        start.elapsed()
    };
    for _ in 0..3 {
        assert!(waited().await <= TIMEOUT + Duration::from_millis(1));
    }
    assert_eq!(waited().await, Duration::ZERO, "after three nobody asks any more");
    assert!(redis.away().is_some());
    server.resume();
    back(&redis).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again() {
    let mut server = RedisServer::start();
    let redis = open(config(&server.url())).await;
    server.kill();
    while redis.away().is_none() {
        let _ = redis.ping().await;
    }
    let words = redis.ping().await.unwrap_err().to_string();
    assert!(words.contains(&server.address()), "{words}");
    server.restart();
    back(&redis).await;
    redis.ping().await.unwrap();
}

#[test]
fn urls_that_cannot_be_read_are_told_without_their_secrets() {
    for url in [
        "127.0.0.1:6379",
        "http://:hunter2@one",
        "redis://:hunter2@one,two",
        "redis://:hunter2@one/x",
        "redis://:hunter2@one:99999",
        "redis://:hunter2@",
        "redis+sentinel://:hunter2@one",
        "redis+cluster://:hunter2@one/1",
        "redis+other://:hunter2@one",
        "redis://:hunter2@one#insecure",
    ] {
        let error = RedisConfig::parse(url).unwrap_err();
        assert!(!error.is_away() && !format!("{error:?}").contains("hunter2"), "{url}: {error:?}");
    }
    let prefix = |prefix| RedisConfig::parse("redis://one").unwrap().prefix(prefix);
    assert!(prefix("a-b.c:1").is_ok() && prefix("").is_err() && prefix("{a}").is_err());
}

#[test]
fn an_address_is_told_without_its_secrets() {
    let told = |url| RedisConfig::parse(url).unwrap().to_string();
    assert_eq!(told("redis://user:p@ss@one/2"), "the Redis at one:6379");
    assert_eq!(told("valkeys://[::1]:7000"), "the Redis at ::1:7000");
    let sentinels = told("redis+sentinel://one,two:1/m/0");
    assert_eq!(sentinels, "the Redis \"m\" of the sentinels one:26379, two:1");
}
