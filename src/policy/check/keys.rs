use std::num::NonZeroU32;

use secrecy::ExposeSecret;

use super::{Check, providers::secret};
use crate::policy::{
    ProviderKey, Secret,
    diag::looks_secret,
    read::{At, Named},
    written::{KeyOrSecret, ProviderWritten},
};

/// Keys of one provider at most: as many as places in a route.
const MOST: usize = 64;

/// A provider's own keys: `keys`, or `api_key` and `key_name`.
pub(super) fn keys(written: &ProviderWritten, check: &mut Check<'_, '_>) -> Vec<ProviderKey> {
    let Some(named) = &written.keys else { return single(written, check).into_iter().collect() };
    if let Some(at) = &written.api_key {
        check
            .reader
            .wrong(at, "there is an `api_key`, and there are `keys` too")
            .help("give it a name among the `keys`");
    }
    if let Some(at) = &written.key_name {
        check
            .reader
            .wrong(at, "`key_name` goes with `api_key`; each of `keys` has a name already")
            .help("take `key_name` away");
    }
    let count = named.value.0.len();
    if !(1..=MOST).contains(&count) {
        check
            .reader
            .wrong(named, format!("{count} keys"))
            .expected("1 to 64 keys, each with a name: `main: ${NAME}`");
    }
    pool(named, written.simulate.is_some(), check)
}

/// The short form of one key.
fn single(written: &ProviderWritten, check: &mut Check<'_, '_>) -> Option<ProviderKey> {
    let secret = written.api_key.as_ref().and_then(|at| secret(at, check))?;
    let name = written.key_name.as_ref().map_or("default", |at| &at.value.0).into();
    Some(ProviderKey { name, secret, weight: NonZeroU32::MIN })
}

fn pool(
    named: &At<Named<KeyOrSecret>>,
    simulated: bool,
    check: &mut Check<'_, '_>,
) -> Vec<ProviderKey> {
    let mut keys: Vec<(ProviderKey, usize)> = vec![];
    for (name, key) in &named.value.0 {
        if !is_name(&name.value) {
            check
                .reader
                .wrong(name, "this is no name for a key")
                .expected(
                    "up to 64 letters, digits, `-`, `_` and `.`: it is shown in metrics and logs",
                )
                .help("the key's name comes first, then its secret: `main: ${NAME}`");
        }
        let Some(written) = key.as_ref().map(|at| &at.value.0) else { continue };
        let weight = check.at_least_one_u32(&written.weight, 1);
        let found = match &written.api_key {
            Some(at) => secret(at, check).inspect(|found| {
                let same = |(other, _): &&(ProviderKey, usize)| {
                    other.secret.expose_secret() == found.expose_secret()
                };
                if let Some((_, line)) = keys.iter().find(same).filter(|_| !simulated) {
                    check
                        .reader
                        .wrong(at, "the same secret stands here twice")
                        .help(format!("the other one is in line {line}; each key is limited and set aside by itself"));
                }
            }),
            // Nobody looks at it.
            None if simulated => Some(Secret::from("simulated")),
            None => {
                if !check.reader.told_at(&format!("{}.api_key", name.path)) {
                    check.reader.wrong(name, "the key has no secret").expected(
                        "`main: ${NAME}`, or `main: { api_key: ${NAME}, weight: 3 }`",
                    );
                }
                None
            }
        };
        let name_of = name.value.as_str().into();
        keys.extend(
            found.map(|secret| (ProviderKey { name: name_of, secret, weight }, name.span.line)),
        );
    }
    keys.into_iter().map(|(key, _)| key).collect()
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !looks_secret(name)
}
