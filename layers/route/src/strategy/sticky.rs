//! The same to the same: rendezvous hashing.

use super::{By, Entrant, Rank, sorted};
use crate::{
    Query,
    chance::{hash, mix},
    set::Few,
};

/// The number of what makes requests the same; `None`: this one doesn't say. A prompt's is read once
/// for a decision, by whoever asks for it.
pub(crate) fn key(by: &By, query: &Query<'_>) -> Option<u64> {
    match by {
        By::Header(name) => query.headers.get(name).map(|value| hash(value.as_bytes())),
        By::Prompt => query.prefix().map(mix),
        By::User => {
            let caller = query.caller?;
            let name = caller.user.as_ref().or(caller.key.as_ref());
            match (name, caller.ip) {
                (Some(name), _) => Some(hash(name.as_bytes())),
                (None, Some(ip)) => Some(match ip {
                    std::net::IpAddr::V4(ip) => hash(&ip.octets()),
                    std::net::IpAddr::V6(ip) => hash(&ip.octets()),
                }),
                (None, None) => None,
            }
        }
    }
}

/// Each member draws a number from key and identity; of numbers that are spread exponentially, each
/// divided by its weight, the lowest is first as often as the weights say. A member that goes takes
/// its numbers along and changes nobody else's.
pub(super) fn rendezvous(all: &[Entrant], key: u64) -> Few<Rank> {
    sorted(all, |one| match one.weight {
        0 => f32::INFINITY,
        weight => {
            let bits = mix(key ^ mix(one.identity)) >> 11;
            let unit = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
            (-unit.ln() / f64::from(weight)) as f32
        }
    })
}
