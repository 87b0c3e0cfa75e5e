//! State in one file beside the process. SQLite itself is built in.
//!
//! The file is in WAL mode: readers never block the writer nor it them, and what was committed
//! outlives a process that is killed. (A machine that loses its power may lose the last commits, not
//! the file.) Its schema has a version; an older one is brought up to date when it is opened, a newer
//! one is refused.
//!
//! ```
//! use std::sync::Arc;
//! use tollway_store::{ledger::{Ledger, RowsOf}, sqlite::{Sqlite, SqliteLedger}};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let file = Arc::new(Sqlite::open(folder.path().join("tollway.db")).unwrap());
//! let ledger = SqliteLedger::new(file);
//! assert!(ledger.rows(&RowsOf::default()).unwrap().is_empty());
//! ```

#[cfg(test)]
mod entry_tests;
mod ledger;
mod limits;
mod names;
mod records;
mod rows;
mod sums;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::time::Instant;

use crate::StoreError;

pub use ledger::SqliteLedger;
pub use limits::SqliteLimits;
pub use records::SqliteRecords;

/// Each brings the schema up by one version.
const MIGRATIONS: &[&str] =
    &[include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql")];

/// Marks our files: `TLWY`.
const APPLICATION: i32 = 0x544C_5759;

/// How long a lock of another process is waited for.
const BUSY: Duration = Duration::from_secs(3);

/// An open file: one connection that writes, one that reads.
///
/// One that can't be used at present (its disk is full, say) is opened anew when it is next needed.
pub struct Sqlite {
    path: PathBuf,
    write: Mutex<Option<Opened>>,
    read: Mutex<Option<Opened>>,
    /// How often it was opened to write.
    opened: AtomicU64,
    /// From then on nobody waits for a lock any more.
    last: OnceLock<Instant>,
}

/// A connection, and which file it is to.
struct Opened {
    connection: Connection,
    file: Option<FileId>,
}

/// Tells a file from another one of the same name: device and number. Nothing, where a system has
/// no such thing.
type FileId = (u64, u64);

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens a file, or makes one. One that is read-only or whose disk is full is no error yet: it
    /// may be mended while the process runs.
    ///
    /// # Errors
    /// When the file is of a newer version, of another program, no database, damaged, has hard links, or
    /// its folder is not there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let write = match Opened::to_write(&path, BUSY) {
            Ok(writing) => Some(writing),
            Err(error) if error.is_away() => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            path,
            write: Mutex::new(write),
            read: Mutex::default(),
            opened: AtomicU64::new(1),
            last: OnceLock::new(),
        })
    }

    /// For the end of a process: what is written from now on waits for locks of other processes for
    /// `most` in all, and what waits already for three seconds at the most. Of effect once.
    pub fn leave(&self, most: Duration) {
        let _ = self.last.set(Instant::now() + most);
    }

    /// How long a lock is waited for now.
    fn patience(&self) -> Duration {
        let left = |last: &Instant| last.saturating_duration_since(Instant::now());
        self.last.get().map_or(BUSY, left).min(BUSY)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does all of `change`, or nothing of it.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut slot = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writing = match slot.take() {
            Some(writing) => writing,
            None => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                let opened = Opened::to_write(&self.path, self.patience());
                opened.inspect_err(|_| self.forget_reader())?
            }
        };
        if writing.file != file_id(&self.path) {
            // What it read from is not there either.
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let path = self.path.display();
            let what = format!("`{path}` was moved or deleted while it was open");
            return Err(StoreError::away(
                what,
                "what was in it is gone with it; it is opened anew",
            ));
        }
        let patient = writing.connection.busy_timeout(self.patience());
        let changed = patient.and_then(|()| within(&mut writing.connection, change));
        // A connection that failed for another reason than these may be good for nothing any more.
        if changed.as_ref().map_or_else(is_passing, |_| true) {
            *slot = Some(writing);
        } else {
            self.forget_reader();
        }
        changed.map_err(|error| self.describe(error))
    }

    /// Tells an opening of the file from all others: it may be another file than before.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Reads, beside whatever is being written.
    pub(crate) fn look<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut slot = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // What was moved or deleted is still there for who has it open.
        let there = file_id(&self.path);
        let opened = match slot.take().filter(|opened| opened.file == there) {
            Some(opened) => opened,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let opened = Connection::open_with_flags(&self.path, flags);
                let opened = opened.and_then(|connection| {
                    connection.busy_timeout(BUSY)?;
                    connection.pragma_update(None, "query_only", true)?;
                    Ok(Opened { connection, file: there })
                });
                opened.map_err(|error| self.describe(error))?
            }
        };
        let seen = look(&opened.connection);
        if seen.is_ok() {
            *slot = Some(opened);
        }
        seen.map_err(|error| self.describe(error))
    }

    /// Whether there is no file of that name any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.path.try_exists(), Ok(false))
    }

    /// SQLite shares between a process's connections what it found when it opened the first of them:
    /// that the file is read-only, say. So the next one that writes has to be the first again.
    fn forget_reader(&self) {
        if let Ok(mut read) = self.read.try_lock() {
            *read = None;
        }
    }

    /// Gives some of the room that nothing needs any more back to the disk.
    pub(crate) fn shrink(&self) -> Result<(), StoreError> {
        let slot = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let shrunk = slot.as_ref().map(|writing| {
            // A page goes with each step.
            let mut vacuum = writing.connection.prepare("PRAGMA incremental_vacuum(1000)")?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
            Ok(())
        });
        shrunk.unwrap_or(Ok(())).map_err(|error| self.describe(error))
    }

    fn describe(&self, error: rusqlite::Error) -> StoreError {
        describe(&self.path, error)
    }
}

impl Opened {
    fn to_write(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        // By another name it has another write-ahead log, and each would overwrite what is in the other.
        if links(path) > 1 {
            let path = path.display();
            return Err(StoreError::wrong(format!(
                "`{path}` has another name (a hard link), which SQLite can't know of: remove the others, \
                 or make a copy"
            )));
        }
        let connection = connect(path, patience)?;
        Ok(Self { connection, file: file_id(path) })
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

/// How many names a file has, one that is not there none.
#[cfg(unix)]
fn links(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().map_or(0, |file| file.nlink())
}

#[cfg(not(unix))]
fn links(_: &Path) -> u64 {
    1
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<FileId> {
    None
}

fn within<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = change(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy))
}

fn is_held(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The reason in an operator's words.
fn describe(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::away(format!("the disk of `{path}` is full"), error),
        Some(ErrorCode::ReadOnly) => {
            StoreError::away(format!("`{path}` can't be written: it is read-only"), error)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::away(format!("`{path}` is held by another process"), error)
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
            StoreError::away(format!("`{path}` can't be read or written"), error)
        }
        Some(ErrorCode::NotADatabase) => {
            StoreError::wrong(format!("`{path}` is no SQLite database")).because(error)
        }
        Some(ErrorCode::DatabaseCorrupt) => StoreError::wrong(format!(
            "`{path}` is damaged: put it aside, and a new one is made; `sqlite3 FILE .recover` saves \
             what is left of it"
        ))
        .because(error),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::wrong(format!(
            "`{path}` can't be opened: its folder must be there, and writable"
        ))
        .because(error),
        _ => StoreError::wrong(format!("`{path}` can't be used")).because(error),
    }
}

fn connect(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    let said = |error| describe(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(said)?;
    connection.busy_timeout(patience).map_err(said)?;
    // Reads the file, so that one of somebody else is left as it is.
    let version = version(&connection, path)?;
    if version == 0 {
        // It has an effect on new files only, and waits for whoever writes another one.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(said)?;
    }
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                    PRAGMA journal_size_limit = 67108864;";
    connection.execute_batch(settings).map_err(said)?;
    if version < MIGRATIONS.len() {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let read = || {
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, tables))
    };
    let (application, version, tables) = read().map_err(|error| describe(path, error))?;
    if application != i64::from(APPLICATION) && (application != 0 || version != 0 || tables != 0) {
        let path = path.display();
        return Err(StoreError::wrong(format!("`{path}` is a database of another program")));
    }
    let known = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(version) if version <= known => Ok(version),
        _ => Err(StoreError::wrong(format!(
            "`{}` was written by a newer Tollway (its schema is version {version}, this program \
             knows {known}): upgrade the program, or name another file",
            path.display()
        ))),
    }
}

/// Brings the schema up to date, one version in one step; another process may do the same meanwhile.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    for (before, sql) in MIGRATIONS.iter().enumerate() {
        within(connection, |transaction| {
            let now: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if usize::try_from(now) != Ok(before) {
                return Ok(());
            }
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", now + 1)
        })
        .map_err(|error| describe(path, error))?;
    }
    Ok(())
}

/// SQLite's integers are signed; what is larger counts as the largest.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
