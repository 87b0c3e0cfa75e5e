//! Notices that the policy's file has changed, however it was written.
//!
//! Folders are watched, not files: editors put a new file in the place of the old one, and a mounted
//! config map replaces a link beside it. What is heard only says when to look; whether anything has
//! changed is told by the contents. Where nothing is heard (a network's file system), looking every
//! ten seconds finds it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::Reloader;
use crate::policy::PolicyFile;

/// A file is read once nothing has happened around it for so long: it may be half written.
const QUIET: Duration = Duration::from_millis(100);
/// And at the latest after so long, in a folder that is never quiet.
const LATEST: Duration = Duration::from_secs(2);
/// How often to look where nothing is heard.
const LOOK: Duration = Duration::from_secs(10);

/// Has the policy read again each time that its files hold something else. Never ends.
pub(super) async fn watch(file: Arc<PolicyFile>, reloader: Reloader) {
    let (hear, mut heard) = mpsc::unbounded_channel();
    // Held here too: without a watcher nothing is heard, which is not the end of hearing.
    let _open = hear.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event, too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = hear.send(());
        }
    });
    let mut watched = Folders { watcher: watcher.ok(), folders: Vec::new() };
    loop {
        watched.follow(file.folders());
        // Now that what comes is heard: something may have come before.
        let looked = file.clone();
        let changed = tokio::task::spawn_blocking(move || looked.has_changed()).await;
        if changed.unwrap_or(false) {
            // Whoever it concerns has been told how it went.
            let _ = reloader.read_again().await;
            continue;
        }
        if timeout(LOOK, heard.recv()).await.is_ok() {
            let latest = Instant::now() + LATEST;
            while Instant::now() < latest && timeout(QUIET, heard.recv()).await.is_ok() {}
        }
    }
}

struct Folders {
    /// `None`: the system lets nobody watch any more.
    watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
}

impl Folders {
    fn follow(&mut self, folders: Vec<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.iter().filter(|folder| !folders.contains(folder)) {
            let _ = watcher.unwatch(gone);
        }
        for new in folders.iter().filter(|folder| !self.folders.contains(folder)) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "can't watch a folder: it is looked at instead");
            }
        }
        self.folders = folders;
    }
}
