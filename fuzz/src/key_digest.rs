//! A key's digest: reads 64 hex digits and nothing else, writes what it read, repeats nothing of
//! what was no digest; and only the key itself is found by it.

use tollway_identify::{Key, KeyDigest, KeySet};

pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        parsed(text);
    }
    let digest = KeyDigest::of(data);
    assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
    assert_eq!(KeyDigest::from_bytes(*digest.as_bytes()), digest);
    found(data, digest);
    generated(data);
}

fn parsed(text: &str) {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let right = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.parse::<KeyDigest>() {
        Ok(digest) => {
            assert!(right, "{text:?} was read");
            assert_eq!(digest.to_string(), hex.to_lowercase());
        }
        Err(error) => {
            assert!(!right, "{text:?} was not read");
            let known = "expected the SHA-256 of a key: 64 hex digits";
            assert_eq!(error.to_string(), known, "may show a key");
        }
    }
}

fn found(presented: &[u8], digest: KeyDigest) {
    let mut near = *digest.as_bytes();
    near[31] ^= 1;
    let near = Key::new("near", KeyDigest::from_bytes(near));
    let others = KeySet::new([near.clone(), Key::new("other", KeyDigest::of("other"))]);
    let others = others.expect("two keys");
    assert!(others.find(presented).is_none() || presented == b"other");
    let keys = KeySet::new([Key::new("mine", digest), near]).expect("two keys");
    assert_eq!(keys.find(presented).map(|key| &*key.name), Some("mine"));
    for other in [[presented, b"\0"].concat(), presented.to_ascii_uppercase()] {
        assert!(keys.find(&other).is_none() || other == presented);
    }
    let half = presented.split_at(presented.len() / 2).0;
    assert!(keys.find(half).is_none() || half == presented);
    assert!(KeySet::new([Key::new("a", digest), Key::new("b", digest)]).is_err(), "one key twice");
}

fn generated(data: &[u8]) {
    let mut random = [0; 32];
    for (byte, from) in random.iter_mut().zip(data) {
        *byte = *from;
    }
    let new = Key::generate(random);
    let digits = new.secret().strip_prefix("tw_").unwrap_or_default();
    assert!(digits.len() == 43 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(new.digest(), KeyDigest::of(new.secret()));
    assert!(!format!("{new:?}").contains(digits), "shows the key");
    random[data.len() % 32] ^= 1 << (data.len() % 8);
    assert_ne!(Key::generate(random).secret(), new.secret());
}
