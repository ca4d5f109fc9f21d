//! The exceptions of `neoabzu_memory`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use neoabzu_memory::{Error, ErrorKind};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::face::exception;

/// The package whose attributes the types are: pickles find them there.
const PACKAGE: &str = "neoabzu_memory";

/// An exception type; that of no kind is for a panic.
type Type = (Option<ErrorKind>, &'static str, Py<PyType>);

pub struct Types {
    pub base: Py<PyType>,
    pub kinds: Vec<Type>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

/// Every kind with its exception.
const KINDS: [(Option<ErrorKind>, &str, &str); 11] = [
    (
        Some(ErrorKind::InvalidInput),
        "InvalidInputError",
        "An argument is empty, too large, out of range or not text.",
    ),
    (Some(ErrorKind::Closed), "ClosedError", "The bundle was closed."),
    (Some(ErrorKind::Busy), "BusyError", "Another writer held the file for longer than the busy timeout."),
    (Some(ErrorKind::Deadline), "DeadlineError", "The time for reading ran out."),
    (Some(ErrorKind::Schema), "SchemaError", "The file holds records of a newer schema."),
    (Some(ErrorKind::Corrupt), "CorruptError", "The file is damaged, or it is not a memory file."),
    (
        Some(ErrorKind::ReadOnly),
        "ReadOnlyError",
        "The file, its folder or its file system may not be written.",
    ),
    (
        Some(ErrorKind::Full),
        "FullError",
        "The disk, a quota or a file size limit is used up; nothing was changed.",
    ),
    (Some(ErrorKind::Forked), "ForkedError", "The process was forked while the file was open."),
    (Some(ErrorKind::Storage), "StorageError", "The file system or SQLite reports another error."),
    (None, "InternalError", "The implementation failed; this is a defect of it, not of the call."),
];

pub fn types(py: Python<'_>) -> PyResult<&Types> {
    TYPES.get_or_try_init(py, || {
        let doc = "The memory could not do what was asked; the message says why and what to do.";
        let base = exception(py, PACKAGE, "BundleError", doc, &py.get_type::<PyException>(), &[])?;
        let mut kinds = Vec::new();
        for (kind, name, doc) in KINDS {
            let made = if kind == Some(ErrorKind::InvalidInput) {
                let body = PyDict::new(py);
                body.set_item("__module__", PACKAGE)?;
                body.set_item("__doc__", doc)?;
                let bases = (&base, py.get_type::<PyValueError>());
                py.get_type::<PyType>().call1((name, bases, body))?.cast_into::<PyType>()?
            } else {
                exception(py, PACKAGE, name, doc, &base, &[])?
            };
            kinds.push((kind, name, made.unbind()));
        }
        PyResult::Ok(Types { base: base.unbind(), kinds })
    })
}

pub fn raised(py: Python<'_>, kind: Option<ErrorKind>, message: &str) -> PyErr {
    let build = || {
        let types = types(py)?;
        let found = types.kinds.iter().find(|(other, ..)| *other == kind);
        let type_ = found.map_or(&types.base, |(.., type_)| type_);
        PyResult::Ok(PyErr::from_value(type_.bind(py).call1((message,))?))
    };
    build().unwrap_or_else(|failure| failure)
}

pub fn invalid(py: Python<'_>, message: &str) -> PyErr {
    raised(py, Some(ErrorKind::InvalidInput), message)
}

/// Runs `work` without the interpreter's lock. Its errors and its panics become exceptions.
pub fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(outcome) => outcome.map_err(|error| raised(py, Some(error.kind), &error.message)),
        Err(_) => Err(raised(py, None, "the memory failed; this is a defect of it, not of the call")),
    }
}
