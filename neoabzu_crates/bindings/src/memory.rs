//! `neoabzu_memory` for Python.

mod errors;
mod traced;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use neoabzu_crown::Trace;
use neoabzu_memory::{BUSY_TIMEOUT, Bundle, Error, MAX_BATCH_BYTES, Query, RecordId};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use errors::{invalid, run};
use traced::{count, traced};
use values::{item, layer, object, record, seconds, text};

/// Records that are converted before other threads of the interpreter get their turn.
const CONVERTED_AT_ONCE: usize = 64;

/// A mission's memory in one file. Threads may share it; other processes may use the same file.
///
/// `path` defaults to `razar_memory.db` in `$RAZAR_LOGS`, else in `logs`. Nothing is opened before the first
/// call that needs it; the file and its folder are then made. A write waits at most `busy_timeout` seconds for
/// other writers. Raises BundleError, and TypeError for what has the wrong type.
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
    fn path(&self) -> &OsStr {
        self.bundle.path().as_os_str()
    }

    /// Write to each layer, read it back, check its schema: `{layer: "ready" | "error: …"}`.
    fn initialize<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let states = PyDict::new(py);
        let initialized = traced(py, "memory.initialize", |trace| {
            let outcomes = self.bundle.initialize();
            count(trace, "memory.failed_layers", outcomes.iter().filter(|(_, it)| it.is_err()).count());
            for (layer, outcome) in &outcomes {
                if let Err(error) = outcome {
                    trace.fail(&format!("{}: {error}", layer.name()));
                }
            }
            Ok(outcomes)
        })?;
        for (layer, outcome) in initialized {
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
        let layer = values::layer(layer)?;
        let record = record(text, metadata, key)?;
        let remember = |trace: &Trace| {
            trace.set("memory.layer", layer.name());
            self.bundle.remember(layer, &record)
        };
        traced(py, "memory.remember", remember).map(|id| id.to_string())
    }

    /// Keep all of `{"text": …, "metadata": …, "key": …}` or none, and return their ids.
    fn remember_many(
        &self,
        py: Python<'_>,
        layer: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<String>> {
        let layer = values::layer(layer)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for value in items.try_iter()? {
            if records.len() == neoabzu_memory::MAX_BATCH {
                let most = neoabzu_memory::MAX_BATCH;
                return Err(invalid(
                    py,
                    &format!("the batch has more than {most} records, which are allowed"),
                ));
            }
            let record = item(&value?, records.len())?;
            bytes += record.bytes();
            if bytes > MAX_BATCH_BYTES {
                let told = format!("the batch has more than {MAX_BATCH_BYTES} bytes, which are allowed");
                return Err(invalid(py, &told));
            }
            records.push(record);
            if records.len() % CONVERTED_AT_ONCE == 0 {
                py.detach(|| ());
            }
        }
        let ids = traced(py, "memory.remember_many", |trace| {
            trace.set("memory.layer", layer.name());
            count(trace, "memory.records", records.len());
            self.bundle.remember_many(layer, &records)
        })?;
        Ok(ids.iter().map(RecordId::to_string).collect())
    }

    /// Search for the words of a text: `{"hits": […], "failed_layers": {…}, "elapsed": seconds}`.
    #[pyo3(signature = (text, *, layers=None, limit=None, deadline=None),
           text_signature = "($self, text, *, layers=None, limit=10, deadline=0.25)")]
    fn query<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        layers: Option<&Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
        deadline: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut query = Query::new(values::text(text, "text")?);
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
        let answer = traced(py, "memory.query", |trace| {
            let answer = self.bundle.query(&query)?;
            count(trace, "memory.hits", answer.hits.len());
            count(trace, "memory.failed_layers", answer.failed_layers.len());
            Ok(answer)
        })?;
        values::answer(py, &answer)
    }

    /// Remove a record; False if there was none.
    fn forget(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id: RecordId = text(id, "id")?.parse().map_err(|error: Error| invalid(py, &error.message))?;
        traced(py, "memory.forget", |trace| {
            trace.set("memory.layer", id.layer.name());
            let found = self.bundle.forget(id)?;
            count(trace, "memory.records", usize::from(found));
            Ok(found)
        })
    }

    /// Count what there is.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        values::stats(py, &run(py, || self.bundle.stats())?)
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
        traced(py, "memory.record_failure", |_| self.bundle.record_failure(component, class, error))
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
        traced(py, "memory.record_repair", |_| self.bundle.record_repair(fingerprint, &repair, held))
    }

    /// Return the repairs of a failure that held, the most reliable first.
    fn recall_repair<'py>(
        &self,
        py: Python<'py>,
        fingerprint: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let fingerprint = text(fingerprint, "fingerprint")?;
        let repairs = traced(py, "memory.recall_repair", |trace| {
            let repairs = self.bundle.recall_repair(fingerprint)?;
            count(trace, "memory.repairs", repairs.len());
            Ok(repairs)
        })?;
        values::recalled(py, &repairs)
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
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, (OsString, f64))> {
        let bundle = slf.get();
        Ok((slf.get_type(), (bundle.path().into(), bundle.busy_timeout.as_secs_f64())))
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
    use neoabzu_memory::{Layer, SCHEMA};
    use pyo3::types::PyTuple;

    use super::{Bound, PyModule, PyModuleMethods, PyResult, errors};

    #[pymodule_export]
    use super::{MemoryBundle, fingerprint};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("LAYERS", PyTuple::new(module.py(), Layer::ALL.map(Layer::name))?)?;
        module.add("SCHEMA", SCHEMA)?;
        let types = errors::types(module.py())?;
        module.add("BundleError", &types.base)?;
        for (_, name, type_) in &types.kinds {
            module.add(name, type_)?;
        }
        Ok(())
    }
}
