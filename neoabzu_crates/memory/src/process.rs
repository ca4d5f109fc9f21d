//! Keeps a forked child away from what its parent has open.
//!
//! SQLite notes its locks in memory, which a fork copies, and holds them as locks of the process, which it does not: a
//! child that goes on with its parent's connection, or opens the same file while the copied note says that it holds
//! it, can damage the file (<https://www.sqlite.org/howtocorrupt.html>, section 2.6). A program that is started anew
//! is not concerned.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::companions::Inode;
use crate::error::{Error, ErrorKind, Result};

/// The process that opened connections (upper half) and how many are open (lower half). One number, so that a fork
/// never finds it locked.
static OPENED: AtomicU64 = AtomicU64::new(0);

const COUNT: u64 = u32::MAX as u64;

/// How many of them are open to files whose inode leaves the same remainder; without a lock for the same reason.
static OPENED_BY_FILE: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];

fn by_file(file: Inode) -> &'static AtomicU32 {
    &OPENED_BY_FILE[(file.1 % OPENED_BY_FILE.len() as u64) as usize]
}

/// Counts one open connection for as long as it lives.
pub(crate) struct Open(Option<Inode>);

impl Open {
    pub(crate) fn new(file: Option<Inode>) -> Self {
        let process = u64::from(std::process::id()) << 32;
        let _ = OPENED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |opened| {
            Some(process | ((opened & COUNT) + 1))
        });
        if let Some(file) = file {
            by_file(file).fetch_add(1, Ordering::SeqCst);
        }
        Self(file)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPENED.fetch_sub(1, Ordering::SeqCst);
        if let Some(file) = self.0 {
            by_file(file).fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// False if surely no connection to a file is open in this process.
pub(crate) fn has_open(file: Inode) -> bool {
    by_file(file).load(Ordering::SeqCst) > 0
}

/// True in a child that was forked while connections were open.
pub(crate) fn is_forked() -> bool {
    let opened = OPENED.load(Ordering::SeqCst);
    opened & COUNT > 0 && opened >> 32 != u64::from(std::process::id())
}

pub(crate) fn check() -> Result<()> {
    if is_forked() {
        return Err(Error::new(
            ErrorKind::Forked,
            "this process was forked while a memory bundle was open; close it before the fork, \
             or start the child as a new program (multiprocessing: \"spawn\" or \"forkserver\")",
        ));
    }
    Ok(())
}
