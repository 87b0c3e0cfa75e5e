//! What instances tell each other: each pins one note to a board, in the place of its last, and
//! reads those of all others.
//!
//! A note tells its age by the board's own clock, so that the clocks of the machines need not agree;
//! it is taken down when its instance says so, or has said nothing for as long as the note is to be
//! kept.
//!
//! ```
//! use std::time::Duration;
//! use tollway_store::board::{Board, MemoryBoard, Note};
//!
//! let board = MemoryBoard::default();
//! let note = Note { text: "openai is down".into(), keep: Duration::from_secs(60) };
//! assert!(board.exchange("one", Some(&note))?.is_empty());
//! let read = board.exchange("two", None)?;
//! assert_eq!((&*read[0].from, &read[0].text[..]), ("one", "openai is down".as_bytes()));
//! # Ok::<_, tollway_store::StoreError>(())
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::StoreError;

/// What one instance has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text.
    pub text: Vec<u8>,
    /// For how long it stays, should the instance fall silent. In whole milliseconds.
    pub keep: Duration,
}

/// Another's note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Who pinned it.
    pub from: Arc<str>,
    /// The text.
    pub text: Vec<u8>,
    /// How long ago.
    pub age: Duration,
}

/// Where notes are pinned.
pub trait Board: Send + Sync + 'static {
    /// Pins a note of `me`, or takes the last one down, and reads those of others: of a hundred at
    /// most. May block: call it from a thread that may wait.
    ///
    /// # Errors
    /// When it could not be done; the last note may still be read by others.
    fn exchange(&self, me: &str, note: Option<&Note>) -> Result<Vec<Pinned>, StoreError>;
}

/// Notes of others that are read.
pub(crate) const MOST: usize = 100;

/// A board within one process.
#[derive(Debug, Default)]
pub struct MemoryBoard(Mutex<BTreeMap<Arc<str>, (Note, Instant)>>);

impl Board for MemoryBoard {
    fn exchange(&self, me: &str, note: Option<&Note>) -> Result<Vec<Pinned>, StoreError> {
        let (mut notes, now) =
            (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        notes.remove(me);
        notes.extend(note.map(|note| (me.into(), (note.clone(), now))));
        notes.retain(|_, (note, at)| now.saturating_duration_since(*at) < note.keep);
        let others = notes.iter().filter(|(from, _)| ***from != *me).take(MOST);
        let read = others.map(|(from, (note, at))| Pinned {
            from: from.clone(),
            text: note.text.clone(),
            age: now.saturating_duration_since(*at),
        });
        Ok(read.collect())
    }
}
