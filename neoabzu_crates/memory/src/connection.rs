//! One connection to the file: how it is opened, and when it stops what it is doing.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, accessat, mknodat};
use rustix::io::Errno;

use crate::companions::{Files, Standing};
use crate::error::{Error, ErrorKind, Result};
use crate::{process, schema, word_counts};

/// Kibibytes of pages each connection keeps.
const CACHE_KIB: i64 = 64 << 10;
/// Bytes to which the write-ahead log is cut back once it was copied into the file.
const WAL_LIMIT: i64 = 16 << 20;
/// Bytes of the smallest page that SQLite has.
const SMALLEST: u64 = 512;
/// Steps of SQLite's machine between two looks at the clock; about 20 microseconds.
const STEPS_PER_LOOK: i32 = 1000;

/// An open connection and the instant at which it stops what it is doing.
pub(crate) struct Handle {
    connection: Connection,
    clock: Arc<Clock>,
    files: Files,
    /// Another number, another content: what is known of the one does not hold for the other.
    pub(crate) content: u64,
    _open: process::Open,
}

impl Handle {
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }
}

impl Drop for Handle {
    /// The last one to close copies the log into the file and then removes the log by its name. If that is the name of
    /// somebody else's by now, it must do neither. A log that was only removed can still be copied: under the lock that
    /// this takes nobody has the file open.
    fn drop(&mut self) {
        if matches!(self.files.standing(), Standing::OtherFile | Standing::OtherLog) {
            // If this fails, so will what it keeps from happening: the connection is of no use.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

impl Deref for Handle {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Handle {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Tells SQLite's progress handler when to stop: in microseconds after `base`.
pub(crate) struct Clock {
    base: Instant,
    at: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { base: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    /// Statements after this instant fail with `ErrorKind::Deadline`; `None` lets them run to the end.
    pub(crate) fn set(&self, deadline: Option<Instant>) {
        let at = deadline.map_or(u64::MAX, |at| at.saturating_duration_since(self.base).as_micros() as u64);
        self.at.store(at, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != u64::MAX && self.base.elapsed().as_micros() as u64 >= at
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Writer,
}

/// Opens the file and makes it if it is not there; waits so long for other processes. An older file is brought up to
/// date for the writer, which may take as long as to write all of it; a reader gets none.
pub(crate) fn open(path: &Path, role: Role, patience: Duration) -> Result<Option<Handle>> {
    create_file(path)?;
    open_file(path, role, patience).map_err(|error| {
        // Of a file system that may not be written SQLite says only that it cannot open the companion files.
        let refused = error.kind == ErrorKind::Storage
            && accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
                .is_err_and(|error| is_read_only(&error.into()));
        if refused { Error { kind: ErrorKind::ReadOnly, ..error } } else { error }
    })
}

fn is_read_only(error: &std::io::Error) -> bool {
    matches!(error.kind(), IoKind::ReadOnlyFilesystem | IoKind::PermissionDenied)
}

fn open_file(path: &Path, role: Role, patience: Duration) -> Result<Option<Handle>> {
    let mut files = Files::before_open(path);
    let open = process::Open::new(files.file);
    // NO_MUTEX: a connection is with one thread at a time. No URIs: a path is only a path.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(64);
    // NORMAL: a commit survives the death of the process; after a power failure the file is whole, but the last
    // commits may be gone.
    connection.execute_batch(&format!(
        "PRAGMA cache_size = -{CACHE_KIB}; PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON;
         PRAGMA journal_size_limit = {WAL_LIMIT};"
    ))?;
    schema::owner(&connection)?;
    use_wal(&connection, patience)?;
    if role == Role::Reader && schema::is_older(&connection)? {
        return Ok(None);
    }
    schema::prepare(&mut connection)?;
    word_counts::register(&connection)?;
    if role == Role::Reader {
        connection.pragma_update(None, "query_only", true)?;
    }
    let clock = Arc::new(Clock::new());
    let seen = Arc::clone(&clock);
    connection.progress_handler(STEPS_PER_LOOK, Some(move || seen.is_over()))?;
    files.opened();
    Ok(Some(Handle { connection, clock, files, content: 0, _open: open }))
}

/// Makes the file, readable by owner and group alone, and refuses what SQLite would hang or choke on.
///
/// Nothing is opened for it, here or above: to close a file, however it was opened, gives up all locks that this process
/// has on it, those of its other connections too.
fn create_file(path: &Path) -> Result<()> {
    let storage = |error: std::io::Error| {
        let kind = match error.kind() {
            _ if is_read_only(&error) => ErrorKind::ReadOnly,
            IoKind::StorageFull | IoKind::QuotaExceeded | IoKind::FileTooLarge => ErrorKind::Full,
            _ => ErrorKind::Storage,
        };
        Error::new(kind, format!("the memory file cannot be made ({error})"))
    };
    match fs::metadata(path) {
        Ok(found) if found.is_file() && is_no_database(path, found.len()) => {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "this is not a memory file; set it aside or name another path",
            ));
        }
        Ok(found) if found.is_file() => return Ok(()),
        Ok(_) => {
            return Err(Error::new(ErrorKind::Storage, "there is something other than a file at that path"));
        }
        Err(error) if error.kind() == IoKind::NotFound => {}
        Err(error) => return Err(storage(error)),
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(storage)?;
    }
    match mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o640), 0) {
        Err(error) if error != Errno::EXIST => Err(storage(error.into())),
        _ => Ok(()),
    }
}

/// SQLite takes what is shorter than a page for empty, and would write over it. With a log beside it, it may be a
/// database whose first page is still on its way.
fn is_no_database(path: &Path, bytes: u64) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    (1..SMALLEST).contains(&bytes) && !Path::new(&log).exists()
}

/// Write-ahead log: readers and the writer do not wait for each other. The switch needs the file for itself for a
/// moment and does not honour the busy timeout, so it is tried until then.
fn use_wal(connection: &Connection, patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        let switched: rusqlite::Result<String> =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match switched {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let reason = format!("the file system has no write-ahead log (journal mode {mode})");
                return Err(Error::new(ErrorKind::Storage, reason));
            }
            Err(error) => {
                let error = Error::from(error);
                if error.kind != ErrorKind::Busy || Instant::now() >= end {
                    return Err(error);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
