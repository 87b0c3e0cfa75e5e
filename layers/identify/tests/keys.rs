//! Keys and digests.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use tollway_identify::{Key, KeyDigest, KeySet};

#[test]
fn keys_have_one_form_and_lose_nothing_of_the_randomness() {
    assert_eq!(Key::generate([0; 32]).secret(), format!("tw_{}", "0".repeat(43)));
    let mut one = [0; 32];
    one[31] = 62;
    assert_eq!(Key::generate(one).secret(), format!("tw_{}10", "0".repeat(41)));
    // 2^256 - 1 in base 62, with digits before capitals before small letters.
    let largest = Key::generate([255; 32]);
    assert_eq!(largest.secret().len(), 46);
    assert_ne!(largest.secret(), Key::generate([254; 32]).secret());
    assert!(!format!("{largest:?}").contains(largest.secret()), "Debug keeps the secret");
}

#[test]
fn digests_are_read_in_the_forms_people_paste() {
    let digest = KeyDigest::of("tw_x");
    let hex = digest.to_string();
    for text in [hex.clone(), hex.to_uppercase(), format!("sha256:{hex}")] {
        assert_eq!(text.parse(), Ok(digest));
    }
    for text in ["", "tw_x", &hex[1..], &format!("{hex}0"), &"é".repeat(32), &"+0".repeat(32)] {
        assert!(text.parse::<KeyDigest>().is_err(), "{text}");
    }
    // sha256sum of nothing.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(KeyDigest::of("").to_string(), empty);
}

#[test]
fn keys_whose_digests_begin_alike_are_told_apart() {
    // Digests made up so that the first eight bytes are those of the real one.
    let real = KeyDigest::of("tw_real");
    let neighbour = |last| {
        let mut bytes = *real.as_bytes();
        bytes[31] = last;
        KeyDigest::from_bytes(bytes)
    };
    let last = real.as_bytes()[31];
    let before = Key::new("before", neighbour(last.wrapping_sub(1)));
    let after = Key::new("after", neighbour(last.wrapping_add(1)));
    let keys = KeySet::new([after, Key::new("real", real), before]).unwrap();
    assert_eq!(&*keys.find(b"tw_real").unwrap().name, "real");
    assert!(keys.find(b"tw_other").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_key_is_found_and_no_other(seeds in prop::collection::btree_set(any::<[u8; 32]>(), 1..40)) {
        let secrets: Vec<String> =
            seeds.iter().map(|seed| Key::generate(*seed).secret().to_owned()).collect();
        let (known, unknown) = secrets.split_at(secrets.len() / 2);
        let keys = KeySet::new(
            known.iter().map(|secret| Key::new(secret.as_str(), KeyDigest::of(secret))),
        ).unwrap();
        for secret in known {
            prop_assert_eq!(&*keys.find(secret.as_bytes()).unwrap().name, secret);
        }
        for secret in unknown {
            prop_assert!(keys.find(secret.as_bytes()).is_none());
        }
    }

    #[test]
    fn the_form_of_a_key(seed: [u8; 32]) {
        let new = Key::generate(seed);
        let digits = new.secret().strip_prefix("tw_").unwrap();
        prop_assert_eq!(digits.len(), 43);
        prop_assert!(digits.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
