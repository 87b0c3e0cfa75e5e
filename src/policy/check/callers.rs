use std::sync::Arc;

use super::{Check, globs};
use crate::policy::{
    CallerKey, Callers, Source,
    written::{KeyWritten, PolicyWritten},
};

/// How callers are told apart.
pub(super) fn callers(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Callers {
    let section = written.callers.as_ref();
    let written = section.map(|at| at.value.clone()).unwrap_or_default();
    let mut identify: Vec<Source> = vec![];
    if let Some(sources) = &written.identify {
        for at in &sources.value.0 {
            if identify.contains(&at.value.0) {
                check.reader.wrong(at, "stands here twice").help("the second one is never reached");
            } else {
                identify.push(at.value.0.clone());
            }
        }
        if sources.value.0.is_empty() {
            check
                .reader
                .wrong(sources, "there is no way to tell callers here")
                .expected("one or more of: key, header NAME, provider_key, ip");
        }
    } else {
        identify = vec![Source::Key, Source::ProviderKey, Source::Ip];
    }
    let mut keys = vec![];
    let (mut names, mut digests) = (vec![], vec![]);
    for at in written.keys.iter().flat_map(|list| &list.value.0) {
        keys.extend(key(&at.value, &mut names, &mut digests, check));
    }
    if let (Some(list), false) = (&written.keys, identify.contains(&Source::Key))
        && !list.value.0.is_empty()
    {
        check
            .reader
            .wrong(list, "there are keys, but `identify` does not look for them")
            .help("add `key` to `callers.identify`");
    }
    let has_keys = written.keys.iter().any(|list| !list.value.0.is_empty());
    let asked = written.require_key.as_ref();
    match asked {
        Some(at) if at.value && !identify.contains(&Source::Key) => {
            check
                .reader
                .wrong(at, "`identify` does not look for keys")
                .help("add `key` to `callers.identify`");
        }
        Some(at) if !at.value && has_keys => {
            check
                .reader
                .wrong(at, "there are keys, and with any of them each request needs one")
                .help("leave it out, or take the keys out");
        }
        _ => {}
    }
    let require_key = has_keys || asked.is_some_and(|at| at.value);
    let nets = written.trusted_proxies.iter().flat_map(|many| &many.value.0);
    let trusted_proxies = nets.map(|at| at.value.0).collect();
    Callers { identify, trusted_proxies, keys, require_key }
}

fn key(
    written: &KeyWritten,
    names: &mut Vec<(String, usize)>,
    digests: &mut Vec<[u8; 32]>,
    check: &mut Check<'_, '_>,
) -> Option<CallerKey> {
    let name = written.name.as_ref()?;
    check.unique(names, name, "keys");
    let digest = written.sha256.as_ref()?;
    if digests.contains(&digest.value.0) {
        check
            .reader
            .wrong(digest, "another key has the same SHA-256")
            .help("each key needs its own secret: `tollway keys new`");
    }
    digests.push(digest.value.0);
    if let Some(models) = &written.models
        && models.value.0.is_empty()
    {
        check
            .reader
            .wrong(models, "this key may use no model at all")
            .help("leave `models` out to allow all of them");
    }
    let tags = written.tags.iter().flat_map(|tags| &tags.value.0);
    let tags = tags.filter_map(|(name, value)| {
        Some((name.value.as_str().into(), value.as_ref()?.value.0.as_str().into()))
    });
    let name: Arc<str> = name.value.0.as_str().into();
    Some(CallerKey {
        user: written.user.as_ref().map_or_else(|| name.clone(), |at| at.value.0.as_str().into()),
        name,
        sha256: digest.value.0,
        tags: tags.collect(),
        models: written.models.is_some().then(|| globs(&written.models, check)),
    })
}
