//! The file and its connections: one writer, a few readers, each lent to one thread at a time.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::{process, schema, word_counts};

/// Readers at once; more threads wait for one of them.
const READERS: usize = 4;
/// Kibibytes of pages each connection keeps.
const CACHE_KIB: i64 = 64 << 10;
/// Bytes to which the write-ahead log is cut back once it was copied into the file.
const WAL_LIMIT: i64 = 16 << 20;
/// Steps of SQLite's machine between two looks at the clock; about 20 microseconds.
const STEPS_PER_LOOK: i32 = 1000;

/// An open connection and the instant at which it stops what it is doing.
pub(crate) struct Handle {
    connection: Connection,
    clock: Arc<Clock>,
    _open: process::Open,
}

impl Handle {
    pub(crate) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
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
enum Role {
    Reader,
    Writer,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Handle>,
    /// Open connections, the lent ones included.
    open: usize,
}

#[derive(Default)]
struct State {
    closed: bool,
    readers: Pool,
    writer: Pool,
}

impl State {
    fn pool(&mut self, role: Role) -> (&mut Pool, usize) {
        match role {
            Role::Reader => (&mut self.readers, READERS),
            Role::Writer => (&mut self.writer, 1),
        }
    }
}

/// A connection on loan; it goes back when this is dropped.
pub(crate) struct Lease<'a> {
    store: &'a Store,
    role: Role,
    handle: Option<Handle>,
}

impl Deref for Lease<'_> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.handle.as_ref().expect("a lease holds its handle until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Handle {
        self.handle.as_mut().expect("a lease holds its handle until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        let closed = state.closed;
        let (pool, _) = state.pool(self.role);
        if closed {
            pool.open -= 1;
            drop(state);
            self.handle = None;
        } else {
            pool.idle.extend(self.handle.take());
            drop(state);
        }
        self.store.returned.notify_all();
    }
}

/// Where the records are. Opens nothing until it is asked for a connection.
pub(crate) struct Store {
    path: PathBuf,
    busy_timeout: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

impl Store {
    pub(crate) fn new(path: PathBuf, busy_timeout: Duration) -> Self {
        Self { path, busy_timeout, state: Mutex::default(), returned: Condvar::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A connection for reading, at the latest at `deadline`, which is also its own.
    pub(crate) fn reader(&self, deadline: Instant) -> Result<Lease<'_>> {
        let lease = self.lend(Role::Reader, deadline)?;
        lease.clock.set(Some(deadline));
        lease.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
        Ok(lease)
    }

    /// The connection for writing. Waits for other threads here, and for other processes when a transaction begins,
    /// each for the busy timeout at most.
    pub(crate) fn writer(&self) -> Result<Lease<'_>> {
        self.lend(Role::Writer, Instant::now() + self.busy_timeout)
    }

    /// Ends the use of this bundle. What other threads are doing goes on to its end.
    pub(crate) fn close(&self) {
        if process::is_forked() {
            return;
        }
        let mut state = self.lock();
        state.closed = true;
        let readers = std::mem::take(&mut state.readers.idle);
        let writer = std::mem::take(&mut state.writer.idle);
        state.readers.open -= readers.len();
        state.writer.open -= writer.len();
        drop(state);
        self.returned.notify_all();
        drop((readers, writer));
    }

    /// A panic cannot leave this state half changed, so a poisoned lock is as good as any other.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(&self, role: Role, deadline: Instant) -> Result<Lease<'_>> {
        process::check()?;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Error::new(ErrorKind::Closed, "the memory bundle is closed"));
            }
            let (pool, most) = state.pool(role);
            if let Some(handle) = pool.idle.pop() {
                return Ok(Lease { store: self, role, handle: Some(handle) });
            }
            if pool.open < most {
                pool.open += 1;
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(match role {
                    Role::Reader => {
                        Error::new(ErrorKind::Deadline, "all connections are busy with other queries")
                    }
                    Role::Writer => Error::new(ErrorKind::Busy, "another thread is still writing; try again"),
                });
            }
            state = self.returned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // The place in the pool is taken; opening takes its time outside of the lock.
        let opened = self.open(role);
        let mut state = self.lock();
        match opened {
            Ok(handle) => Ok(Lease { store: self, role, handle: Some(handle) }),
            Err(error) => {
                state.pool(role).0.open -= 1;
                drop(state);
                self.returned.notify_all();
                Err(error.while_doing(&format!("open {}", self.path.display())))
            }
        }
    }

    fn open(&self, role: Role) -> Result<Handle> {
        self.create_file()?;
        let open = process::Open::new();
        // NO_MUTEX: a connection is with one thread at a time. No URIs: a path is only a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_prepared_statement_cache_capacity(64);
        // NORMAL: a commit survives the death of the process; after a power failure the file is whole, but the last
        // commits may be gone.
        connection.execute_batch(&format!(
            "PRAGMA cache_size = -{CACHE_KIB}; PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON;
             PRAGMA journal_size_limit = {WAL_LIMIT};"
        ))?;
        schema::check_owner(&connection)?;
        self.use_wal(&connection)?;
        schema::prepare(&mut connection)?;
        word_counts::register(&connection)?;
        if role == Role::Reader {
            connection.pragma_update(None, "query_only", true)?;
        }
        let clock = Arc::new(Clock::new());
        let seen = Arc::clone(&clock);
        connection.progress_handler(STEPS_PER_LOOK, Some(move || seen.is_over()))?;
        Ok(Handle { connection, clock, _open: open })
    }

    /// Makes the file, readable by owner and group alone, and refuses what SQLite would hang or choke on.
    fn create_file(&self) -> Result<()> {
        let storage = |error: std::io::Error| {
            let kind = match error.kind() {
                IoKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
                IoKind::StorageFull | IoKind::QuotaExceeded | IoKind::FileTooLarge => ErrorKind::Full,
                _ => ErrorKind::Storage,
            };
            Error::new(kind, error.to_string())
        };
        match fs::metadata(&self.path) {
            Ok(found) if found.is_file() => return Ok(()),
            Ok(_) => {
                return Err(Error::new(
                    ErrorKind::Storage,
                    "there is something other than a file at that path",
                ));
            }
            Err(error) if error.kind() == IoKind::NotFound => {}
            Err(error) => return Err(storage(error)),
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(storage)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        match options.open(&self.path) {
            Err(error) if error.kind() != IoKind::AlreadyExists => Err(storage(error)),
            _ => Ok(()),
        }
    }

    /// Write-ahead log: readers and the writer do not wait for each other. The switch needs the file for itself for
    /// a moment and does not honour the busy timeout, so it is tried until then.
    fn use_wal(&self, connection: &Connection) -> Result<()> {
        let end = Instant::now() + self.busy_timeout;
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
}

impl Drop for Store {
    fn drop(&mut self) {
        if process::is_forked() {
            // These connections belong to the parent: closing them here would damage what it holds.
            std::mem::forget(std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner)));
        } else {
            self.close();
        }
    }
}
