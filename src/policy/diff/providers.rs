//! Providers: what becomes of their keys, connections and circuits.

use super::Changes;
use crate::policy::{Endpoint, HttpEndpoint, Provider};

pub(super) fn changes(old: &[Provider], new: &[Provider], all: &mut Changes) {
    all.named(
        "providers",
        (old, new),
        |one| &one.name,
        |at, pair, all| match pair {
            (None, Some(_)) => all.tell(at, "added"),
            (Some(_), None) => {
                let words = "removed: no request goes there any more; replies on their way end";
                all.tell(at, words);
            }
            (Some(old), Some(new)) => changed(at, old, new, all),
            (None, None) => {}
        },
    );
}

fn changed(at: &str, old: &Provider, new: &Provider, all: &mut Changes) {
    let path = |name: &str| format!("{at}.{name}");
    match (&old.endpoint, &new.endpoint) {
        (Endpoint::Http(a), Endpoint::Http(b)) => over_http(at, a, b, all),
        (Endpoint::Simulate(a), Endpoint::Simulate(b)) => all.value(&path("simulate"), a, b),
        (Endpoint::Http(_), Endpoint::Simulate(_)) => all.tell(at, "is simulated from now on"),
        (Endpoint::Simulate(_), Endpoint::Http(_)) => all.tell(at, "is not simulated any more"),
    }
    let pair = (&old.keys[..], &new.keys[..]);
    all.named(
        &path("keys"),
        pair,
        |key| &key.name,
        |at, pair, all| match pair {
            (None, Some(_)) => all.tell(at, "added"),
            (Some(_), None) => all.tell(at, "removed: no request is signed with it any more"),
            (Some(a), Some(b)) => {
                if !a.is_same_secret(b) {
                    all.tell(at, "another secret; if the key was set aside it is tried again");
                }
                all.value(&format!("{at}.weight"), &a.weight, &b.weight);
            }
            (None, None) => {}
        },
    );
    all.value(&path("api"), &old.forms, &new.forms);
    all.value(&path("known_as"), &old.known, &new.known);
    all.value(&path("region"), &old.region, &new.region);
    all.value(&path("free"), &old.free, &new.free);
    all.value(&path("probe"), &old.probe, &new.probe);
}

fn over_http(at: &str, old: &HttpEndpoint, new: &HttpEndpoint, all: &mut Changes) {
    let path = |name: &str| format!("{at}.{name}");
    if old.base_url != new.base_url {
        let words = format!("{} -> {}", old.base_url, new.base_url);
        all.tell(path("base_url"), format!("{words}; its circuits are closed"));
    }
    all.value(&path("dialect"), &old.dialect, &new.dialect);
    all.value(&path("openai_path"), &old.openai_path, &new.openai_path);
    all.value(&path("auth"), &old.auth, &new.auth);
    if old.headers != new.headers {
        // Their values may be secret.
        all.tell(path("headers"), "are others");
    }
    all.value(&path("timeouts"), &old.timeouts, &new.timeouts);
    all.value(&path("idle_connections"), &old.idle_connections, &new.idle_connections);
    all.value(&path("http2"), &old.http2, &new.http2);
    all.value(&path("extra_ca"), &old.extra_ca, &new.extra_ca);
}
