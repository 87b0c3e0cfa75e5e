//! Whether the store can be asked, told to people: once when it can't, and once when it can again.

use std::{
    sync::{Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use super::Inner;
use crate::StoreError;

/// Looks without a failure after which all is well: a store that takes no writes comes and goes.
const QUIET: u32 = 8;

/// A connection that is only being made is no trouble yet.
const BEGINNING: Duration = Duration::from_secs(1);

type Hear = Box<dyn Fn(Option<&str>) + Send + Sync>;

#[derive(Default)]
pub(super) struct Trouble {
    hear: OnceLock<Hear>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What failed since the last look.
    failed: Option<String>,
    told: Option<String>,
    quiet: u32,
    /// When it was first looked, until it has been well.
    begun: Option<Instant>,
    was_well: bool,
}

impl Trouble {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn hear(&self, hear: Hear) {
        let _ = self.hear.set(hear);
    }

    /// What is the matter.
    pub(super) fn told(&self) -> Option<String> {
        self.seen().told.clone()
    }

    /// Looks how things are, now and then.
    pub(super) fn look(&self, away: Option<String>) {
        let mut seen = self.seen();
        let before = seen.told.is_some();
        let begun = *seen.begun.get_or_insert_with(Instant::now);
        let beginning = !seen.was_well && begun.elapsed() < BEGINNING;
        match seen.failed.take().or(away) {
            Some(_) if beginning => {}
            Some(why) => (seen.told, seen.quiet) = (Some(why), 0),
            None => (seen.was_well, seen.quiet) = (true, seen.quiet.saturating_add(1)),
        }
        if seen.quiet >= QUIET {
            seen.told = None;
        }
        let told = seen.told.clone();
        drop(seen);
        if let Some(hear) = self.hear.get().filter(|_| told.is_some() != before) {
            hear(told.as_deref());
        }
    }
}

impl Inner {
    /// Something was asked in vain. A single answer that is late is none of it.
    pub(super) fn failed(&self, error: &StoreError) {
        if error.is_away() && self.redis.away().is_none() {
            return;
        }
        let mut seen = self.trouble.seen();
        if seen.failed.is_none() {
            seen.failed = Some(error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_being_made_is_no_trouble_yet() {
        let trouble = Trouble::default();
        trouble.look(Some("not connected yet".to_owned()));
        assert_eq!(trouble.told(), None);
        tokio::time::advance(BEGINNING).await;
        trouble.look(Some("not connected yet".to_owned()));
        assert_eq!(trouble.told().as_deref(), Some("not connected yet"));
    }

    #[test]
    fn what_comes_and_goes_is_told_once() {
        let (trouble, heard) = (Trouble::default(), Arc::new(Mutex::new(Vec::new())));
        let hears = heard.clone();
        trouble.hear(Box::new(move |why| hears.lock().unwrap().push(why.map(str::to_owned))));
        let look = |away: Option<&str>| trouble.look(away.map(str::to_owned));
        look(None);
        for _ in 0..5 {
            // It answers a ping, and takes no writes.
            look(Some("gone"));
            look(None);
            trouble.seen().failed = Some("read-only".to_owned());
            look(None);
        }
        assert_eq!(trouble.told().as_deref(), Some("read-only"));
        assert_eq!(*heard.lock().unwrap(), [Some("gone".to_owned())]);
        (0..QUIET).for_each(|_| look(None));
        assert_eq!(trouble.told(), None);
        assert_eq!(*heard.lock().unwrap(), [Some("gone".to_owned()), None]);
    }
}
