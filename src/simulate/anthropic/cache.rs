//! Cached prefixes: the first sight of one writes it, the next ones read it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::meter::{Point, Ttl};

/// At most this many prefixes are kept, the oldest dropped first.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    hash: u64,
    ttl: Ttl,
    expires: Instant,
}

/// How a prompt's tokens fall into classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) plain: u64,
    pub(super) read: u64,
    pub(super) written_5m: u64,
    pub(super) written_1h: u64,
}

impl Cache {
    /// Reads the longest prefix that is there and writes the longer ones.
    pub(super) fn take(&self, points: &[Point], tokens: u64) -> Input {
        if points.is_empty() {
            return Input { plain: tokens, ..Input::default() };
        }
        let now = Instant::now();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.expires > now);
        let mut input = Input::default();
        let mut counted = 0;
        for point in points {
            let known = entries.iter_mut().find(|entry| entry.hash == point.hash);
            if let Some(entry) = known {
                // What is read lives on, and a longer one that is known makes all before it read.
                entry.expires = now + entry.ttl.duration();
                input = Input { read: point.tokens, ..Input::default() };
            } else {
                let written = point.tokens.saturating_sub(counted);
                match point.ttl {
                    Ttl::FiveMinutes => input.written_5m += written,
                    Ttl::OneHour => input.written_1h += written,
                }
                let expires = now + point.ttl.duration();
                entries.push_back(Entry { hash: point.hash, ttl: point.ttl, expires });
                if entries.len() > MOST {
                    entries.pop_front();
                }
            }
            counted = point.tokens;
        }
        input.plain = tokens.saturating_sub(counted);
        input
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn point(hash: u64, tokens: u64, ttl: Ttl) -> Point {
        Point { hash, tokens, ttl }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_sight_writes_and_the_next_one_reads() {
        let cache = Cache::default();
        let short = point(1, 10, Ttl::OneHour);
        let long = point(2, 30, Ttl::FiveMinutes);
        let written = Input { plain: 10, written_1h: 10, written_5m: 20, read: 0 };
        assert_eq!(cache.take(&[short, long], 40), written);
        let read = Input { plain: 10, read: 30, ..Input::default() };
        assert_eq!(cache.take(&[short, long], 40), read);
        tokio::time::advance(Duration::from_secs(301)).await;
        let again = Input { plain: 10, read: 10, written_5m: 20, written_1h: 0 };
        assert_eq!(cache.take(&[short, long], 40), again);
        assert_eq!(cache.take(&[], 40), Input { plain: 40, ..Input::default() });
    }
}
