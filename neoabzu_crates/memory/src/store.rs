//! The file and its connections: one writer, a few readers, each lent to one thread at a time.
//!
//! Before one is lent it is looked whether the file is still the one at the path: somebody may have removed it, or put
//! another one in its place.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::companions::{Inode, Standing};
use crate::connection::{self, Handle, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::update::Update;

/// Readers at once; more threads wait for one of them.
const READERS: usize = 4;

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
    /// The file whose log, or the index of it, was removed below open connections. SQLite shares the index among all
    /// connections of a process, so that none may be opened before all are closed.
    log_lost: Option<Inode>,
    /// The file that is open, and how often it became another one.
    file: Option<Inode>,
    content: u64,
    /// An older file on its way to a current one.
    update: Option<Arc<Update>>,
}

impl State {
    /// Takes out all connections that are not lent, to be closed outside of the lock.
    fn take_idle(&mut self) -> Vec<Handle> {
        let mut taken = Vec::new();
        for pool in [&mut self.readers, &mut self.writer] {
            pool.open -= pool.idle.len();
            taken.append(&mut pool.idle);
        }
        taken
    }

    /// Notes that what the open connections read is not what is at the path.
    fn outdated(&mut self, standing: Standing) -> Vec<Handle> {
        self.content += 1;
        let file = self.file.take();
        if standing != Standing::OtherFile {
            self.log_lost = self.log_lost.or(file);
        }
        self.take_idle()
    }

    fn opened(&mut self, handle: &mut Handle) {
        let file = handle.files().file;
        if self.file.is_some() && self.file != file {
            self.content += 1;
        }
        self.file = file;
        handle.content = self.content;
    }

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
        lease.clock().set(Some(deadline));
        lease.busy_timeout(deadline.saturating_duration_since(Instant::now()))?;
        Ok(lease)
    }

    /// The connection for writing. Waits for other threads here, and for other processes when a transaction begins,
    /// each for the busy timeout at most.
    pub(crate) fn writer(&self) -> Result<Lease<'_>> {
        let lease = self.lend(Role::Writer, Instant::now() + self.busy_timeout)?;
        lease.busy_timeout(self.busy_timeout)?;
        Ok(lease)
    }

    /// Ends the use of this bundle. What other threads are doing goes on to its end.
    pub(crate) fn close(&self) {
        if process::is_forked() {
            return;
        }
        let mut state = self.lock();
        state.closed = true;
        let idle = state.take_idle();
        drop(state);
        self.returned.notify_all();
        drop(idle);
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
            if let Some(handle) = state.pool(role).0.idle.pop() {
                let standing = handle.files().standing();
                if standing == Standing::Same {
                    return Ok(Lease { store: self, role, handle: Some(handle) });
                }
                state.pool(role).0.idle.push(handle);
                let outdated = state.outdated(standing);
                drop(state);
                drop(outdated);
                self.returned.notify_all();
                state = self.lock();
                continue;
            }
            state.log_lost = state.log_lost.filter(|&file| process::has_open(file));
            let lost = state.log_lost.is_some();
            let lent = state.readers.open + state.writer.open;
            let (pool, most) = state.pool(role);
            if !lost && pool.open < most {
                pool.open += 1;
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (lost && lent == 0) {
                return Err(match role {
                    _ if lost => Error::new(
                        ErrorKind::Storage,
                        "its write-ahead log was removed while it was open; once all bundles of this process \
                         that use it are closed, it can be opened again",
                    ),
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
        let opened = self.open(role, deadline);
        let mut state = self.lock();
        match opened {
            Ok(mut handle) => {
                state.opened(&mut handle);
                Ok(Lease { store: self, role, handle: Some(handle) })
            }
            Err(error) => {
                state.pool(role).0.open -= 1;
                drop(state);
                self.returned.notify_all();
                Err(error)
            }
        }
    }

    fn open(&self, role: Role, deadline: Instant) -> Result<Handle> {
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            match connection::open(&self.path, role, patience)? {
                Some(handle) => return Ok(handle),
                None => self.update()?.wait(deadline)?,
            }
            if Instant::now() >= deadline {
                return Err(Error::new(ErrorKind::Deadline, "the time limit was reached"));
            }
        }
    }

    /// The update that is under way, or a new one.
    fn update(&self) -> Result<Arc<Update>> {
        let mut state = self.lock();
        match state.update.as_ref().filter(|update| !update.has_ended()) {
            Some(update) => Ok(Arc::clone(update)),
            None => {
                let update = Update::start(self.path.clone(), self.busy_timeout)?;
                state.update = Some(Arc::clone(&update));
                Ok(update)
            }
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
