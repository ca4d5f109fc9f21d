//! What callers in Python hand over, and what they get.

use std::time::Duration;

use neoabzu_kimicho::serde_json::{self, Value};
use neoabzu_memory::{Answer, Error, ErrorKind, Layer, MAX_METADATA, Recalled, Record, Stats};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::errors::{invalid, raised};
use crate::entries::{CHANGED, entries};
use crate::face::{to_json_within, to_python};

/// A str that is Unicode text.
pub fn text<'a>(value: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    let Ok(string) = value.cast::<PyString>() else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name}: expected str, got {kind}")));
    };
    string.to_str().map_err(|_| {
        invalid(value.py(), &format!("{name}: not Unicode text, it holds half of a surrogate pair"))
    })
}

/// Seconds above 0; what is too long is for the memory to refuse.
pub fn seconds(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    let py = value.py();
    let refused = || invalid(py, &format!("{name}: expected a number of seconds above 0, at most 60"));
    let number: f64 = value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(py) { refused() } else { error }
    })?;
    // NaN is not above 0.
    if number > 0.0 { Duration::try_from_secs_f64(number).map_err(|_| refused()) } else { Err(refused()) }
}

/// A dict, or None, as the text of a JSON object.
pub fn object(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<String> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok("{}".to_owned()) };
    if !value.is_instance_of::<PyDict>() {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name}: expected dict, got {kind}")));
    }
    let json = to_json_within(value, name, MAX_METADATA).map_err(|fault| invalid(value.py(), &fault))?;
    Ok(json.to_string())
}

/// The text of a JSON object as a dict.
pub fn dict<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = serde_json::from_str(json).map_err(|_| {
        raised(py, Some(ErrorKind::Corrupt), "the memory file holds metadata that is not JSON")
    })?;
    to_python(py, &value)
}

pub fn layer(value: &Bound<'_, PyAny>) -> PyResult<Layer> {
    text(value, "layer")?.parse().map_err(|error: Error| invalid(value.py(), &error.message))
}

pub fn record(
    text_: &Bound<'_, PyAny>,
    metadata: Option<&Bound<'_, PyAny>>,
    key: Option<&Bound<'_, PyAny>>,
) -> PyResult<Record> {
    let key = key.filter(|key| !key.is_none()).map(|key| text(key, "key").map(str::to_owned)).transpose()?;
    Ok(Record { text: text(text_, "text")?.to_owned(), metadata: object(metadata, "metadata")?, key })
}

/// One of the items of `remember_many`.
pub fn item(value: &Bound<'_, PyAny>, place: usize) -> PyResult<Record> {
    let py = value.py();
    let Ok(item) = value.cast::<PyDict>() else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("items[{place}]: expected dict, got {kind}")));
    };
    for entry in entries(item) {
        let (name, _) = entry.map_err(|_| invalid(py, &format!("items[{place}]: {CHANGED}")))?;
        let text = name.cast::<PyString>().ok().and_then(|name| name.to_str().ok());
        if !text.is_some_and(|name| ["text", "metadata", "key"].contains(&name)) {
            let message =
                format!("items[{place}]: expected only text, metadata and key, found {}", name.repr()?);
            return Err(invalid(py, &message));
        }
    }
    let Some(text) = item.get_item("text")? else {
        return Err(invalid(py, &format!("items[{place}]: there is no text")));
    };
    record(&text, item.get_item("metadata")?.as_ref(), item.get_item("key")?.as_ref())
}

pub fn answer<'py>(py: Python<'py>, answer: &Answer) -> PyResult<Bound<'py, PyDict>> {
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

pub fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let layers = PyDict::new(py);
    for (layer, found) in &stats.layers {
        let entry = PyDict::new(py);
        entry.set_item("records", found.records)?;
        entry.set_item("words", found.words)?;
        entry.set_item("schema", found.schema)?;
        layers.set_item(layer.name(), entry)?;
    }
    let told = PyDict::new(py);
    told.set_item("path", stats.path.as_os_str())?;
    told.set_item("bytes", stats.bytes)?;
    told.set_item("layers", layers)?;
    told.set_item("failures", stats.failures)?;
    told.set_item("repairs", stats.repairs)?;
    Ok(told)
}

pub fn recalled<'py>(py: Python<'py>, repairs: &[Recalled]) -> PyResult<Bound<'py, PyList>> {
    let told = PyList::empty(py);
    for recalled in repairs {
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
