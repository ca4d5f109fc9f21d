//! Keeps a forked child away from what its parent has open.
//!
//! SQLite notes its locks in memory, which a fork copies, and holds them as locks of the process, which it does not: a
//! child that goes on with its parent's connection, or opens the same file while the copied note says that it holds
//! it, can damage the file (<https://www.sqlite.org/howtocorrupt.html>, section 2.6). A program that is started anew
//! is not concerned.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The process that opened connections (upper half) and how many are open (lower half). One number, so that a fork
/// never finds it locked.
static OPENED: AtomicU64 = AtomicU64::new(0);

const COUNT: u64 = u32::MAX as u64;

/// Counts one open connection for as long as it lives.
pub(crate) struct Open(());

impl Open {
    pub(crate) fn new() -> Self {
        let process = u64::from(std::process::id()) << 32;
        let _ = OPENED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |opened| {
            Some(process | ((opened & COUNT) + 1))
        });
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPENED.fetch_sub(1, Ordering::SeqCst);
    }
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
