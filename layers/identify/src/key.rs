use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tollway_core::Tags;

use crate::ConfigError;

const PREFIX: &str = "tw_";
/// 62^43 is just over 2^256.
const DIGITS: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a key: what a policy stores in place of the key. Written as 64 hex digits.
///
/// ```
/// use tollway_identify::KeyDigest;
///
/// let digest = KeyDigest::of("tw_example");
/// assert_eq!(digest.to_string().parse::<KeyDigest>(), Ok(digest));
/// assert!("not hex".parse::<KeyDigest>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `key`, exactly as a client would send it.
    pub fn of(key: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(key.as_ref()).into())
    }

    /// From the 32 bytes of a SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn prefix(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyDigest {
    type Err = ParseDigestError;

    /// Reads 64 hex digits of either case, with or without `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(ParseDigestError);
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            let value = digit(0).zip(digit(1)).map(|(high, low)| high * 16 + low);
            *byte = value.and_then(|v| u8::try_from(v).ok()).ok_or(ParseDigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// Why a text is no [`KeyDigest`]. Does not repeat the text: it may be a key pasted by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseDigestError;

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the SHA-256 of a key: 64 hex digits")
    }
}

impl std::error::Error for ParseDigestError {}

/// A key just made: the one moment at which the secret itself is known.
pub struct NewKey {
    secret: String,
    digest: KeyDigest,
}

impl NewKey {
    /// The key to hand to its owner, once.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What to keep.
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// One key that callers may present, known by its digest only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Name of the key, unique; what limits, logs and costs go by.
    pub name: Arc<str>,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Who uses it; `None`: a shared key, whose user a later source may name.
    pub user: Option<Arc<str>>,
    /// Labels for everything that comes with this key.
    pub tags: Tags,
}

impl Key {
    /// A key without user and tags.
    pub fn new(name: impl Into<Arc<str>>, digest: KeyDigest) -> Self {
        Self { name: name.into(), digest, user: None, tags: Tags::default() }
    }

    /// Makes a key of 256 random bits, which the caller brings from the system's generator:
    /// `tw_` and 43 digits of base 62, so that a double click selects the whole.
    ///
    /// ```
    /// use tollway_identify::{Key, KeyDigest};
    ///
    /// let new = Key::generate([7; 32]); // in earnest: 32 bytes from the system's generator
    /// assert_eq!(new.secret().len(), 46);
    /// assert_eq!(new.digest(), KeyDigest::of(new.secret()));
    /// ```
    pub fn generate(random: [u8; 32]) -> NewKey {
        let mut number = random;
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            let mut remainder = 0_u16;
            for byte in &mut number {
                let value = (remainder << 8) | u16::from(*byte);
                // The remainder is below 62, so the quotient fits a byte.
                *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
                remainder = value % 62;
            }
            *digit = ALPHABET.get(usize::from(remainder)).copied().unwrap_or(b'0');
        }
        let mut secret = String::from(PREFIX);
        secret.extend(digits.map(char::from));
        let digest = KeyDigest::of(&secret);
        NewKey { secret, digest }
    }
}

/// The keys that callers may present. Cheap to clone.
///
/// A presented key is hashed once; its digest is looked up by its first 8 bytes and then compared
/// whole in constant time. The lookup's timing can tell no more than how a digest begins, and from
/// a digest (even all of it) nobody gets back to a key of 256 random bits: that is why it may be
/// stored in a policy at all. It holds for generated keys, not for guessable ones.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Arc<[Key]>);

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    ///
    /// An empty name, a name given twice, or one key under two names.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, ConfigError> {
        let mut keys: Vec<Key> = keys.into_iter().collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        if keys.iter().any(|key| key.name.is_empty()) {
            return Err(ConfigError::new("a key has an empty name"));
        }
        for (a, b) in keys.iter().zip(keys.iter().skip(1)) {
            if a.name == b.name {
                return Err(ConfigError::new(format!("two keys are named `{}`", a.name)));
            }
        }
        keys.sort_by_key(|key| key.digest);
        for (a, b) in keys.iter().zip(keys.iter().skip(1)) {
            if a.digest == b.digest {
                let text = format!("keys `{}` and `{}` have the same SHA-256", a.name, b.name);
                return Err(ConfigError::new(text));
            }
        }
        Ok(Self(keys.into()))
    }

    /// Whether there are no keys, so that everybody may call.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key whose digest is that of `presented`.
    pub fn find(&self, presented: &[u8]) -> Option<&Key> {
        self.find_digest(&KeyDigest::of(presented))
    }

    /// The key of this digest.
    pub fn find_digest(&self, digest: &KeyDigest) -> Option<&Key> {
        let start = self.0.partition_point(|key| key.digest.prefix() < digest.prefix());
        let alike = self.0.iter().skip(start);
        alike
            .take_while(|key| key.digest.prefix() == digest.prefix())
            .find(|key| bool::from(key.digest.0.ct_eq(&digest.0)))
    }
}

/// Keys that come and go while a layer serves. Closures implement it:
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// use tollway_identify::{Config, Identifier, Key, KeyDigest, KeySet};
///
/// let new = Key::generate([7; 32]); // in earnest: from the system's random generator
/// let keys = KeySet::new([Key::new("ann", new.digest())]).unwrap();
/// let revoked = Arc::new(AtomicBool::new(false));
/// let is_revoked = revoked.clone();
/// let live = move |digest: &KeyDigest| {
///     keys.find_digest(digest).filter(|_| !is_revoked.load(Ordering::Relaxed)).cloned()
/// };
/// let identifier =
///     Identifier::new(Config { live: Some(Arc::new(live)), ..Config::default() }).unwrap();
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-api-key", new.secret().parse().unwrap());
/// assert_eq!(identifier.identify(None, &headers).unwrap().key.as_deref(), Some("ann"));
/// revoked.store(true, Ordering::Relaxed);
/// assert!(identifier.identify(None, &headers).is_err());
/// ```
pub trait LiveKeys: Send + Sync {
    /// The key of this digest, if it lets somebody in at this moment. Asked once for each credential
    /// that is none of [`Config::keys`](crate::Config::keys), on the request's way: it must not wait.
    /// Compare digests as [`KeySet::find_digest`] does.
    fn find(&self, digest: &KeyDigest) -> Option<Key>;
}

impl<F: Fn(&KeyDigest) -> Option<Key> + Send + Sync> LiveKeys for F {
    fn find(&self, digest: &KeyDigest) -> Option<Key> {
        self(digest)
    }
}

impl fmt::Debug for dyn LiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveKeys")
    }
}
