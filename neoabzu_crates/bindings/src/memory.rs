//! `neoabzu_memory` for Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use neoabzu_kimicho::serde_json::{self, Value};
use neoabzu_memory::{BUSY_TIMEOUT, Bundle, Error, ErrorKind, Layer, Query, Record, RecordId};
use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use crate::face::{exception, to_json, to_python};

/// The package whose attributes the types are: pickles find them there.
const PACKAGE: &str = "neoabzu_memory";
/// Records that are converted before other threads of the interpreter get their turn.
const CONVERTED_AT_ONCE: usize = 64;

/// An exception type; that of no kind is for a panic.
type Type = (Option<ErrorKind>, &'static str, Py<PyType>);

struct Types {
    base: Py<PyType>,
    kinds: Vec<Type>,
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

fn types(py: Python<'_>) -> PyResult<&Types> {
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

fn raised(py: Python<'_>, kind: Option<ErrorKind>, message: &str) -> PyErr {
    let build = || {
        let types = types(py)?;
        let found = types.kinds.iter().find(|(other, ..)| *other == kind);
        let type_ = found.map_or(&types.base, |(.., type_)| type_);
        PyResult::Ok(PyErr::from_value(type_.bind(py).call1((message,))?))
    };
    build().unwrap_or_else(|failure| failure)
}

fn invalid(py: Python<'_>, message: &str) -> PyErr {
    raised(py, Some(ErrorKind::InvalidInput), message)
}

/// Runs `work` without the interpreter's lock. Its errors and its panics become exceptions.
fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(outcome) => outcome.map_err(|error| raised(py, Some(error.kind), &error.message)),
        Err(_) => Err(raised(py, None, "the memory failed; this is a defect of it, not of the call")),
    }
}

/// A str that is Unicode text.
fn text<'a>(value: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    let Ok(string) = value.cast::<PyString>() else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name}: expected str, got {kind}")));
    };
    string.to_str().map_err(|_| {
        invalid(value.py(), &format!("{name}: not Unicode text, it holds half of a surrogate pair"))
    })
}

/// Seconds above 0; what is too long is for the memory to refuse.
fn seconds(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    let py = value.py();
    let refused = || invalid(py, &format!("{name}: expected a number of seconds above 0, at most 60"));
    let number: f64 = value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(py) { refused() } else { error }
    })?;
    // NaN is not above 0.
    if number > 0.0 { Duration::try_from_secs_f64(number).map_err(|_| refused()) } else { Err(refused()) }
}

/// A dict, or None, as the text of a JSON object.
fn object(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<String> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok("{}".to_owned()) };
    if !value.is_instance_of::<PyDict>() {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name}: expected dict, got {kind}")));
    }
    let json = to_json(value, name).map_err(|fault| invalid(value.py(), &fault))?;
    Ok(json.to_string())
}

/// The text of a JSON object as a dict.
fn dict<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = serde_json::from_str(json).map_err(|_| {
        raised(py, Some(ErrorKind::Corrupt), "the memory file holds metadata that is not JSON")
    })?;
    to_python(py, &value)
}

fn layer(value: &Bound<'_, PyAny>) -> PyResult<Layer> {
    text(value, "layer")?.parse().map_err(|error: Error| invalid(value.py(), &error.message))
}

fn record(
    text_: &Bound<'_, PyAny>,
    metadata: Option<&Bound<'_, PyAny>>,
    key: Option<&Bound<'_, PyAny>>,
) -> PyResult<Record> {
    let key = key.filter(|key| !key.is_none()).map(|key| text(key, "key").map(str::to_owned)).transpose()?;
    Ok(Record { text: text(text_, "text")?.to_owned(), metadata: object(metadata, "metadata")?, key })
}

/// One of the items of `remember_many`.
fn item(value: &Bound<'_, PyAny>, place: usize) -> PyResult<Record> {
    let py = value.py();
    let Ok(entries) = value.cast::<PyDict>() else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("items[{place}]: expected dict, got {kind}")));
    };
    for (name, _) in entries {
        if !["text", "metadata", "key"].iter().any(|known| name.eq(known).unwrap_or(false)) {
            let message =
                format!("items[{place}]: expected only text, metadata and key, found {}", name.repr()?);
            return Err(invalid(py, &message));
        }
    }
    let Some(text) = entries.get_item("text")? else {
        return Err(invalid(py, &format!("items[{place}]: there is no text")));
    };
    record(&text, entries.get_item("metadata")?.as_ref(), entries.get_item("key")?.as_ref())
}

/// A mission's memory in one file. Threads may share it; other processes may use the same file.
///
/// `path` defaults to `razar_memory.db` in `$RAZAR_LOGS`, else in `logs`. Nothing is opened before the first
/// call that needs it; the file and its folder are then made. A write waits at most `busy_timeout` seconds for
/// other writers. Every error is a BundleError.
#[pyclass(frozen, module = "neoabzu_memory")]
struct MemoryBundle {
    bundle: Bundle,
    busy_timeout: Duration,
}

impl Drop for MemoryBundle {
    /// Closing may write: other threads go on meanwhile.
    fn drop(&mut self) {
        Python::try_attach(|py| py.detach(|| self.bundle.close()));
    }
}

#[pymethods]
impl MemoryBundle {
    #[new]
    #[pyo3(signature = (path=None, busy_timeout=None))]
    fn new(py: Python<'_>, path: Option<PathBuf>, busy_timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let busy_timeout = busy_timeout.map_or(Ok(BUSY_TIMEOUT), |value| seconds(value, "busy_timeout"))?;
        let path = path.unwrap_or_else(Bundle::default_path);
        let bundle = run(py, || Bundle::new(&path, busy_timeout))?;
        Ok(Self { bundle, busy_timeout })
    }

    /// The absolute path of the file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.bundle.path().to_owned()
    }

    /// Write to each layer, read it back, check its schema: `{layer: "ready" | "error: …"}`.
    fn initialize<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let states = PyDict::new(py);
        for (layer, outcome) in run(py, || Ok(self.bundle.initialize()))? {
            states.set_item(
                layer.name(),
                outcome.map_or_else(|error| format!("error: {error}"), |()| "ready".into()),
            )?;
        }
        Ok(states)
    }

    /// Keep a text, and return its id. A record of the layer with the same `key` is replaced.
    #[pyo3(signature = (layer, text, *, metadata=None, key=None))]
    fn remember(
        &self,
        py: Python<'_>,
        layer: &Bound<'_, PyAny>,
        text: &Bound<'_, PyAny>,
        metadata: Option<&Bound<'_, PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let layer = self::layer(layer)?;
        let record = record(text, metadata, key)?;
        run(py, || self.bundle.remember(layer, &record)).map(|id| id.to_string())
    }

    /// Keep all of `{"text": …, "metadata": …, "key": …}` or none, and return their ids.
    fn remember_many(
        &self,
        py: Python<'_>,
        layer: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<String>> {
        let layer = self::layer(layer)?;
        let mut records = Vec::new();
        for value in items.try_iter()? {
            if records.len() == neoabzu_memory::MAX_BATCH {
                let most = neoabzu_memory::MAX_BATCH;
                return Err(invalid(
                    py,
                    &format!("the batch has more than {most} records, which are allowed"),
                ));
            }
            records.push(item(&value?, records.len())?);
            if records.len() % CONVERTED_AT_ONCE == 0 {
                py.detach(|| ());
            }
        }
        let ids = run(py, || self.bundle.remember_many(layer, &records))?;
        Ok(ids.iter().map(RecordId::to_string).collect())
    }

    /// Search for the words of a text: `{"hits": […], "failed_layers": {…}, "elapsed": seconds}`.
    #[pyo3(signature = (text, *, layers=None, limit=None, deadline=None))]
    fn query<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        layers: Option<&Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
        deadline: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut query = Query::new(self::text(text, "text")?);
        let mut named = Vec::new();
        if let Some(layers) = layers {
            if layers.is_instance_of::<PyString>() {
                return Err(PyTypeError::new_err("layers: expected a list of names, got str"));
            }
            for name in layers.try_iter()? {
                named.push(layer(&name?)?);
            }
            query.layers = &named;
        }
        if let Some(limit) = limit {
            // What does not fit is out of range, too; the memory says what the range is.
            query.limit = match limit.extract::<i64>() {
                Ok(limit) => usize::try_from(limit).unwrap_or(0),
                Err(error) if error.is_instance_of::<PyOverflowError>(py) => usize::MAX,
                Err(error) => return Err(error),
            };
        }
        if let Some(deadline) = deadline {
            query.deadline = seconds(deadline, "deadline")?;
        }
        let answer = run(py, || self.bundle.query(&query))?;
        let hits = PyList::empty(py);
        for hit in &answer.hits {
            let entry = PyDict::new(py);
            entry.set_item("layer", hit.id.layer.name())?;
            entry.set_item("id", hit.id.to_string())?;
            entry.set_item("score", hit.score)?;
            entry.set_item("text", &hit.text)?;
            entry.set_item("metadata", dict(py, &hit.metadata)?)?;
            entry.set_item("created", hit.created)?;
            hits.append(entry)?;
        }
        let failed = PyDict::new(py);
        for (layer, error) in &answer.failed_layers {
            failed.set_item(layer.name(), &error.message)?;
        }
        let told = PyDict::new(py);
        told.set_item("hits", hits)?;
        told.set_item("failed_layers", failed)?;
        told.set_item("elapsed", answer.elapsed.as_secs_f64())?;
        Ok(told)
    }

    /// Remove a record; False if there was none.
    fn forget(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id: RecordId = text(id, "id")?.parse().map_err(|error: Error| invalid(py, &error.message))?;
        run(py, || self.bundle.forget(id))
    }

    /// Count what there is.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = run(py, || self.bundle.stats())?;
        let layers = PyDict::new(py);
        for (layer, found) in &stats.layers {
            let entry = PyDict::new(py);
            entry.set_item("records", found.records)?;
            entry.set_item("words", found.words)?;
            entry.set_item("schema", found.schema)?;
            layers.set_item(layer.name(), entry)?;
        }
        let told = PyDict::new(py);
        told.set_item("path", stats.path)?;
        told.set_item("bytes", stats.bytes)?;
        told.set_item("layers", layers)?;
        told.set_item("failures", stats.failures)?;
        told.set_item("repairs", stats.repairs)?;
        Ok(told)
    }

    /// Count a failure, keep it in the episodic layer, and return its fingerprint.
    fn record_failure(
        &self,
        py: Python<'_>,
        component: &Bound<'_, PyAny>,
        error_class: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<String> {
        let component = text(component, "component")?;
        let (class, error) = (text(error_class, "error_class")?, text(error, "error")?);
        run(py, || self.bundle.record_failure(component, class, error))
    }

    /// Record that a repair of a failure held, or did not.
    fn record_repair(
        &self,
        py: Python<'_>,
        fingerprint: &Bound<'_, PyAny>,
        repair: &Bound<'_, PyAny>,
        held: bool,
    ) -> PyResult<()> {
        let (fingerprint, repair) = (text(fingerprint, "fingerprint")?, object(Some(repair), "repair")?);
        run(py, || self.bundle.record_repair(fingerprint, &repair, held))
    }

    /// Return the repairs of a failure that held, the most reliable first.
    fn recall_repair<'py>(
        &self,
        py: Python<'py>,
        fingerprint: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let fingerprint = text(fingerprint, "fingerprint")?;
        let told = PyList::empty(py);
        for recalled in run(py, || self.bundle.recall_repair(fingerprint))? {
            let entry = PyDict::new(py);
            entry.set_item("repair", dict(py, &recalled.repair)?)?;
            entry.set_item("held", recalled.held)?;
            entry.set_item("failed", recalled.failed)?;
            entry.set_item("score", recalled.score)?;
            entry.set_item("first", recalled.first)?;
            entry.set_item("last", recalled.last)?;
            told.append(entry)?;
        }
        Ok(told)
    }

    /// Close the file; every later call but this one raises ClosedError.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            self.bundle.close();
            Ok(())
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    /// A pickle holds the path: another process opens the file anew.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, (PathBuf, f64))> {
        let bundle = slf.get();
        Ok((slf.get_type(), (bundle.path(), bundle.busy_timeout.as_secs_f64())))
    }

    fn __repr__(&self) -> String {
        format!("MemoryBundle({:?})", self.bundle.path())
    }
}

/// The name of a failure: the same for the same component, class and error, but for what changes from day to day.
#[pyfunction]
fn fingerprint(
    py: Python<'_>,
    component: &Bound<'_, PyAny>,
    error_class: &Bound<'_, PyAny>,
    error: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let component = text(component, "component")?;
    let (class, error) = (text(error_class, "error_class")?, text(error, "error")?);
    run(py, || neoabzu_memory::fingerprint(component, class, error))
}

#[pymodule(submodule, name = "neoabzu_memory")]
pub mod module {
    use super::{Bound, PyModule, PyModuleMethods, PyResult, types};

    #[pymodule_export]
    use super::{MemoryBundle, fingerprint};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let types = types(module.py())?;
        module.add("BundleError", &types.base)?;
        for (_, name, type_) in &types.kinds {
            module.add(name, type_)?;
        }
        Ok(())
    }
}
