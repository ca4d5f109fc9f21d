//! Calls that wait for others, and hear signals meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::face::{detached, failed};

/// How long a signal waits to be heard.
const LOOK: Duration = Duration::from_millis(50);

/// Runs `work` without the interpreter's lock, as [`detached`] does. In the main thread, the only one in which Python
/// runs handlers of signals, they run meanwhile; if one raises, the call ends at once, and `work` on its own.
///
/// The thread that works ends with it: none is left that a fork would not copy.
///
/// # Errors
/// What a handler raises, and `RuntimeError` for a panic or where no thread can be made.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    if !is_main_thread(py)? {
        return detached(py, work);
    }
    let (done, mut outcome) = sync_channel(1);
    let worker = thread::Builder::new().name("neoabzu-call".to_owned()).spawn(move || {
        // Nobody may be there any more to take it.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    let worker =
        worker.map_err(|error| PyRuntimeError::new_err(format!("cannot start a thread: {error}")))?;
    loop {
        let outcome = &mut outcome;
        match py.detach(move || outcome.recv_timeout(LOOK)) {
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Ok(Ok(value)) => {
                let _ = py.detach(|| worker.join());
                return Ok(value);
            }
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(failed()),
        }
    }
}

/// By its number: to ask for the current thread would make an object for one that Python does not know.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}
