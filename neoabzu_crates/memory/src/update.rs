//! Bringing an older file up to date while nobody waits for it longer than they would.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::{self, Role};
use crate::error::{Error, ErrorKind, Result};

/// An update under way in a thread of its own, which comes to its end whoever waits for it.
pub(crate) struct Update {
    outcome: Mutex<Option<Result<()>>>,
    ended: Condvar,
}

impl Update {
    pub(crate) fn start(path: PathBuf, patience: Duration) -> Result<Arc<Update>> {
        let update = Arc::new(Update { outcome: Mutex::default(), ended: Condvar::new() });
        let ending = Ending(Arc::clone(&update));
        let thread = thread::Builder::new().name("memory-update".to_owned());
        let started = thread.spawn(move || {
            let outcome = connection::open(&path, Role::Writer, patience).map(drop);
            ending.0.end(outcome);
        });
        started.map_err(|error| {
            Error::new(
                ErrorKind::Storage,
                format!("no thread can be started to bring it up to date ({error})"),
            )
        })?;
        Ok(update)
    }

    fn end(&self, outcome: Result<()>) {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
        self.ended.notify_all();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// How it ended, if it does before `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(outcome, left, |outcome| outcome.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone().unwrap_or_else(|| {
            let told = "an older version made the file, which is being brought up to date; ask again";
            Err(Error::new(ErrorKind::Deadline, told))
        })
    }
}

/// Ends the update even if it panics.
struct Ending(Arc<Update>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Storage, "it could not be brought up to date")));
    }
}
