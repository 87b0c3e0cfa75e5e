//! The fuzz targets' checks over every seed and a fixed run of mutations: the part of fuzzing that
//! an ordinary test run can do. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::BuildHasher,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Mutations of a target's seeds, and where the dice start: a few that are always the same, fewer
/// where one takes long. `FUZZ_RUNS` asks for more of all, others each time.
fn runs(target: &str) -> (usize, u64) {
    if let Some(runs) = env::var("FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()) {
        return (runs, RandomState::new().hash_one(target));
    }
    let runs = match target {
        "policy" => 25,
        "sse" | "stream" | "family_stream" | "translate_stream" | "retry_after" => 300,
        _ => 1000,
    };
    (runs, 2026)
}

/// Of a mutation, in bytes.
const LONGEST: usize = 2048;

/// Small and always the same (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * below.max(1) as u128) >> 64) as usize
    }

    fn span(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.roll(bytes.len() + 1);
        start..start + self.roll((bytes.len() - start).min(64) + 1)
    }
}

const TOKENS: [&[u8]; 26] = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\"",
    b"\\",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"\xC3",
    b"\xE2\x80\xA8",
    b"null",
    b"true",
    b"{}",
    b"[",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"-0.0",
    b"data: ",
    b",",
    b";",
    b":",
    b"\\ud800",
    b"${UNSET}",
    b"%00",
];

/// One to four changes: a flipped bit, a token put in, a part taken out, repeated, or put in from
/// another seed.
fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            0 | 1 => drop(bytes.splice(at..at, TOKENS[dice.roll(TOKENS.len())].iter().copied())),
            2 => drop(bytes.drain(dice.span(&bytes.clone()))),
            3 => {
                let part = bytes[dice.span(&bytes)].repeat(1 + dice.roll(8));
                bytes.splice(at..at, part);
            }
            4 => {
                let other = &seeds[dice.roll(seeds.len())];
                let part = other[dice.span(other)].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn run(name: &str) {
    let (_, check) = targets::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seeds = seeds(name);
    assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
    let hold = |what: &str, bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
            panic!("{name}, {what}: b\"{}\"", bytes.escape_ascii());
        }
    };
    for (file, bytes) in &seeds {
        hold(file, bytes);
    }
    let seeds: Vec<_> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let (runs, start) = runs(name);
    let mut dice = Dice(start);
    for nth in 0..runs {
        hold(&format!("mutation {nth}"), &mutate(&seeds, &mut dice));
    }
}

macro_rules! smoke {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                run(stringify!($target));
            }
        )*

        #[test]
        fn every_target_has_a_test_and_a_fuzzer() {
            assert_eq!(targets::TARGETS.map(|(name, _)| name), [$(stringify!($target)),*]);
            let manifest = include_str!("../fuzz/Cargo.toml");
            for (name, _) in targets::TARGETS {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

smoke! {
    policy sse stream usage request family_stream family_request translate_request
    translate_reply translate_stream translate_same error multipart retry_after ratelimit forwarded key_digest
    prompt
}
