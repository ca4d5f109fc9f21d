//! Large values on their way from Python: dicts that change meanwhile, and other threads that want their turn.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::types::dict::BoundDictIterator;

/// What is told of a dict to which something else was done meanwhile.
pub const CHANGED: &str = "the dict changed while it was read";

/// The dict has more or fewer entries than at the beginning.
#[derive(Debug)]
pub struct Changed;

/// The entries `dict` has now.
///
/// A time zone or a key that is written in Python can change a dict in the middle of its conversion, and so can
/// another thread where the interpreter's lock is let go of.
pub fn entries<'py>(dict: &Bound<'py, PyDict>) -> Entries<'py> {
    Entries { dict: dict.clone(), entries: dict.iter(), length: dict.len(), left: dict.len() }
}

pub struct Entries<'py> {
    dict: Bound<'py, PyDict>,
    entries: BoundDictIterator<'py>,
    length: usize,
    left: usize,
}

impl<'py> Iterator for Entries<'py> {
    type Item = Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Changed>;

    fn next(&mut self) -> Option<Self::Item> {
        // PyO3 panics for another length, and for more entries than there were; it is asked for neither.
        if self.dict.len() != self.length {
            self.length = self.dict.len();
            self.left = 0;
            return Some(Err(Changed));
        }
        self.left = self.left.checked_sub(1)?;
        let entry = self.entries.next();
        if entry.is_none() {
            self.left = 0;
        }
        Some(entry.ok_or(Changed))
    }
}

/// Values that are converted before other threads of the interpreter get their turn: a few hundred microseconds.
const AT_ONCE: u32 = 10_000;

/// Counts the values of a conversion.
#[derive(Debug, Default)]
pub struct Turns(u32);

impl Turns {
    /// One value more. Small values are converted as of one instant; among large ones other threads run.
    pub fn take(&mut self, py: Python<'_>) {
        self.0 += 1;
        if self.0.is_multiple_of(AT_ONCE) {
            py.detach(|| ());
        }
    }
}
