//! Tollway keys that were made at run time: how they are written down, and which let somebody in now.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tollway_core::{SystemClock, WallClock};
use tollway_identify::{Key, KeyDigest, KeySet};
use tollway_store::{ledger::millis, records::Record};

use super::Follower;
use crate::policy::Glob;

/// Of this shape. A later one may hold bounds that are not known here, so it lets nobody in.
const VERSION: u32 = 1;

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScope {
    /// Requests to providers.
    Api,
    /// The admin listener, to look.
    AdminRead,
    /// The admin listener, to look and to change.
    Admin,
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Api, Self::AdminRead, Self::Admin];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::AdminRead => "admin:read",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A Tollway key that was made at run time. The key itself is nowhere: only its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeKey {
    /// Unique among keys, also those of the policy.
    pub name: Arc<str>,
    /// SHA-256 of the whole key.
    pub sha256: KeyDigest,
    /// Whose key it is.
    pub user: Arc<str>,
    /// Labels: `team: search`.
    pub tags: BTreeMap<Arc<str>, Arc<str>>,
    /// The models it may use; `None`: all.
    pub models: Option<Arc<[Glob]>>,
    /// What it is good for.
    pub scopes: Vec<KeyScope>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// Who made it.
    pub by: Arc<str>,
    /// From when on it is of no use, in milliseconds since 1970; `None`: never.
    pub expires: Option<u64>,
}

/// As a document says it. Its name and its expiry are the record's.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    sha256: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    models: Option<Vec<String>>,
    scopes: Vec<String>,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    by: String,
}

impl RuntimeKey {
    /// The kind of its document.
    pub const KIND: &'static str = "key";

    /// What is kept of it.
    pub fn record(&self) -> Record {
        let text = |text: &Arc<str>| text.to_string();
        let models = self.models.iter().map(|all| all.iter().map(|glob| glob.as_str().to_owned()));
        let stored = Stored {
            version: VERSION,
            sha256: self.sha256.to_string(),
            user: Some(text(&self.user)),
            tags: self.tags.iter().map(|(name, value)| (text(name), text(value))).collect(),
            models: models.map(Iterator::collect).next(),
            scopes: self.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created: self.created,
            by: text(&self.by),
        };
        // Texts and numbers: there is nothing in it that JSON could not hold.
        let value = serde_json::to_vec(&stored).unwrap_or_default();
        Record { expires: self.expires, ..Record::new(self.name.clone(), value) }
    }

    /// Reads a document, of whatever version wrote it.
    ///
    /// # Errors
    ///
    /// Why it can't be gone by. What it lets somebody do and is not known here is left out; what
    /// it forbids can't be.
    pub fn read(record: &Record) -> Result<Self, String> {
        let is_later = || {
            #[derive(Deserialize)]
            struct Version {
                version: u32,
            }
            let version = serde_json::from_slice(&record.value).map(|Version { version }| version);
            version.is_ok_and(|version| version != VERSION)
        };
        if is_later() {
            return Err("another version of Tollway wrote it".into());
        }
        // What is in it is not repeated: nobody knows what that is.
        let stored: Stored =
            serde_json::from_slice(&record.value).map_err(|_| "it is no key's document")?;
        if record.name.is_empty() {
            return Err("it has no name".into());
        }
        let pattern = |text: &String| text.parse().map_err(|_| "a model's name is empty");
        let models = stored.models.map(|all| all.iter().map(pattern).collect::<Result<_, _>>());
        Ok(Self {
            name: record.name.clone(),
            sha256: stored.sha256.parse().map_err(|_| "it holds no SHA-256")?,
            user: stored.user.map_or_else(|| record.name.clone(), Into::into),
            tags: stored
                .tags
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            models: models.transpose()?,
            scopes: stored.scopes.iter().filter_map(|name| KeyScope::named(name)).collect(),
            created: stored.created,
            by: stored.by.into(),
            expires: record.expires,
        })
    }

    /// Whether it is good for this.
    pub fn may(&self, what: KeyScope) -> bool {
        self.scopes.contains(&what)
            || (what == KeyScope::AdminRead && self.scopes.contains(&KeyScope::Admin))
    }
}

/// The keys that were made at run time and are not revoked. Reading takes no lock.
pub struct KeyRing {
    keys: ArcSwap<Keys>,
    clock: Arc<dyn WallClock>,
}

#[derive(Default)]
struct Keys {
    set: KeySet,
    by_name: HashMap<Arc<str>, RuntimeKey>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.keys.load().by_name.len())
            .finish_non_exhaustive()
    }
}

impl Default for KeyRing {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl KeyRing {
    pub(super) fn new(clock: Arc<dyn WallClock>) -> Self {
        Self { keys: ArcSwap::default(), clock }
    }

    /// Has it hold what it is told.
    pub(super) fn follower(self: &Arc<Self>) -> Follower {
        let ring = self.clone();
        Arc::new(move |records| ring.hold(records))
    }

    fn hold(&self, records: &[Record]) {
        let mut by_name = HashMap::new();
        let mut digests = HashMap::new();
        for record in records {
            let read = RuntimeKey::read(record).and_then(|key| {
                match digests.insert(*key.sha256.as_bytes(), key.name.clone()) {
                    // Made by no Tollway: which of them is charged would be chance.
                    Some(other) => Err(format!("it is the same key as {other:?}")),
                    None => Ok(key),
                }
            });
            match read {
                Ok(key) => _ = by_name.insert(key.name.clone(), key),
                Err(why) => {
                    tracing::warn!(key = &*record.name, why, "a key in the store lets nobody in");
                }
            }
        }
        let keys = by_name.values().map(|key: &RuntimeKey| Key {
            user: Some(key.user.clone()),
            tags: key.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            ..Key::new(key.name.clone(), key.sha256)
        });
        match KeySet::new(keys) {
            Ok(set) => self.keys.store(Arc::new(Keys { set, by_name })),
            Err(error) => tracing::error!(%error, "keys made at run time stay as they were"),
        }
    }

    /// The key of this digest, if it is good for that at this moment.
    pub(super) fn find(&self, digest: &KeyDigest, what: KeyScope) -> Option<Key> {
        let keys = self.keys.load();
        let key = keys.set.find_digest(digest)?;
        let known = keys.by_name.get(&key.name)?;
        (known.may(what) && self.is_valid(known)).then(|| key.clone())
    }

    /// The models that the key of this name may use, none told where it may use all; `None`: there is
    /// no such key any more.
    pub(super) fn models(&self, name: &str) -> Option<Option<Arc<[Glob]>>> {
        let keys = self.keys.load();
        let key = keys.by_name.get(name).filter(|key| self.is_valid(key))?;
        Some(key.models.clone())
    }

    fn is_valid(&self, key: &RuntimeKey) -> bool {
        key.expires.is_none_or(|expires| millis(self.clock.now()) < expires)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::{Duration, UNIX_EPOCH},
    };

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_795_305_600_000;

    fn key(name: &str) -> RuntimeKey {
        RuntimeKey {
            name: name.into(),
            sha256: KeyDigest::of(name),
            user: "ann".into(),
            tags: [("team".into(), "search".into())].into(),
            models: Some(["gpt-*".parse().unwrap()].into()),
            scopes: vec![KeyScope::Api],
            created: NOW,
            by: "the admin token".into(),
            expires: None,
        }
    }

    fn ring() -> (Arc<KeyRing>, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = now.clone();
        let clock = move || UNIX_EPOCH + Duration::from_millis(clock.load(Ordering::SeqCst));
        (Arc::new(KeyRing::new(Arc::new(clock))), now)
    }

    fn lets_in(ring: &KeyRing, name: &str) -> bool {
        ring.find(&KeyDigest::of(name), KeyScope::Api).is_some()
    }

    #[test]
    fn what_is_written_is_read_again_without_the_key() {
        let mut key = key("ci");
        key.expires = Some(NOW + 9);
        key.scopes = KeyScope::ALL.into();
        assert_eq!(RuntimeKey::read(&key.record()), Ok(key.clone()));
        key.models = None;
        assert_eq!(RuntimeKey::read(&key.record()), Ok(key));
    }

    #[test]
    fn a_document_of_another_kind_is_told_and_lets_nobody_in() {
        let (ring, _) = ring();
        let sha256 = KeyDigest::of("other");
        let with = |text: &str| Record::new("other", text.replace("SHA", &sha256.to_string()));
        for (text, why) in [
            ("", "no key's document"),
            ("[1]", "no key's document"),
            ("{\"sha256\": \"SHA\", \"scopes\": [\"api\"]}", "no key's document"),
            ("{\"version\": 2, \"of\": {\"a\": \"newer shape\"}}", "another version"),
            ("{\"version\": 1, \"sha256\": \"x\", \"scopes\": []}", "no SHA-256"),
            (
                "{\"version\": 1, \"sha256\": \"SHA\", \"scopes\": [\"api\"], \"models\": [\"\"]}",
                "name is empty",
            ),
        ] {
            let record = with(text);
            let said = RuntimeKey::read(&record).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
            ring.hold(&[record, key("ci").record()]);
            assert!(lets_in(&ring, "ci") && !lets_in(&ring, "other"), "{text}");
        }
        assert!(RuntimeKey::read(&Record { name: "".into(), ..key("ci").record() }).is_err());
        // What only says more, or allows what is not known here, is gone by.
        let more = with(
            "{\"version\": 1, \"sha256\": \"SHA\", \"scopes\": [\"api\", \"fly\"], \"note\": 7}",
        );
        let read = RuntimeKey::read(&more).unwrap();
        assert_eq!((&*read.user, &read.scopes[..]), ("other", &[KeyScope::Api][..]));
        // One key under two names would be charged to either.
        let twin = RuntimeKey { sha256: KeyDigest::of("ci"), ..key("twin") };
        ring.hold(&[key("ci").record(), twin.record()]);
        let found = ring.find(&KeyDigest::of("ci"), KeyScope::Api).unwrap();
        assert_eq!(&*found.name, "ci");
    }

    #[test]
    fn a_key_is_good_until_it_expires_by_the_clock() {
        let (ring, now) = ring();
        let short = RuntimeKey { expires: Some(NOW + 5), ..key("short") };
        ring.hold(&[key("long").record(), short.record()]);
        now.store(NOW + 4, Ordering::SeqCst);
        assert!(lets_in(&ring, "short") && lets_in(&ring, "long"));
        assert_eq!(ring.models("short").unwrap().unwrap()[0].as_str(), "gpt-*");
        now.store(NOW + 5, Ordering::SeqCst);
        assert!(!lets_in(&ring, "short") && lets_in(&ring, "long"));
        assert!(ring.models("short").is_none() && ring.models("long").is_some());
        ring.hold(&[]);
        assert!(!lets_in(&ring, "long"));
    }

    #[test]
    fn a_key_is_good_for_its_scopes_alone() {
        let (ring, _) = ring();
        for (scopes, good) in [
            (vec![KeyScope::Api], [true, false, false]),
            (vec![KeyScope::AdminRead], [false, true, false]),
            (vec![KeyScope::Admin], [false, true, true]),
            (vec![KeyScope::Api, KeyScope::Admin], [true, true, true]),
            (vec![], [false, false, false]),
        ] {
            ring.hold(&[RuntimeKey { scopes: scopes.clone(), ..key("k") }.record()]);
            let found = KeyScope::ALL.map(|what| ring.find(&KeyDigest::of("k"), what).is_some());
            assert_eq!(found, good, "{scopes:?}");
        }
        assert!(KeyScope::ALL.iter().all(|scope| KeyScope::named(scope.as_str()) == Some(*scope)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whoever else writes to the store: no document can end the proxy, or hide another.
        #[test]
        fn no_document_does_harm(
            name in ".{0,8}",
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            cut in 0_usize..300,
            at in 0_usize..300,
        ) {
            let (ring, _) = ring();
            let mut damaged = key("damaged").record();
            damaged.value.truncate(cut);
            if let Some(byte) = damaged.value.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
            let strange = Record::new(name, bytes);
            let _ = (RuntimeKey::read(&strange), RuntimeKey::read(&damaged));
            ring.hold(&[strange, damaged, key("good").record()]);
            prop_assert!(lets_in(&ring, "good"));
        }
    }
}
