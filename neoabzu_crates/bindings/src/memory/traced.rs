//! The spans of calls of the memory. They hold names and numbers, never what is remembered.

use neoabzu_crown::Trace;
use neoabzu_memory::Error;
use pyo3::prelude::*;

use super::errors::run;
use crate::spans::below;

/// Runs `work` as [`run`] does, in a span below the current one.
pub fn traced<T: Send>(
    py: Python<'_>,
    name: &'static str,
    work: impl FnOnce(&Trace) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let trace = below(py, name);
    trace.watch(run(py, || work(&trace)))
}

/// Notes how many there are of something.
pub fn count(trace: &Trace, name: &'static str, number: usize) {
    trace.count(name, i64::try_from(number).unwrap_or(i64::MAX));
}
