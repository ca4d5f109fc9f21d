//! What a forked child must not share with its parent.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

/// A value that is made anew in a process that was forked.
///
/// A fork copies connections, and locks as they are: one that another thread held stays locked for ever. The lock
/// here is held with the interpreter's own lock alone, and so does whoever forks.
#[derive(Debug)]
pub struct PerProcess<T>(Mutex<(u32, Arc<T>)>);

impl<T> PerProcess<T> {
    pub fn new(value: T) -> PerProcess<T> {
        PerProcess(Mutex::new((std::process::id(), Arc::new(value))))
    }

    /// The value of this process; `anew` makes it from that of the parent, of which it may use no lock.
    pub fn get(&self, _py: Python<'_>, anew: impl FnOnce(&T) -> T) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        if held.0 != pid {
            let made = Arc::new(anew(&held.1));
            // Not dropped: to end its connections is the parent's business, and they have locks too.
            std::mem::forget(std::mem::replace(&mut *held, (pid, made)));
        }
        held.1.clone()
    }
}
