//! What the faces of the crates that speak JSON share: values, exceptions, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use neoabzu_kimicho::serde_json::{Map, Number, Value};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use crate::entries::CHANGED;

/// How deep lists and dicts may be nested.
const MAX_DEPTH: usize = 100;

/// A Python value as JSON: None, bool, int, float, str, list, tuple, dict with keys of text.
///
/// # Errors
/// What cannot be JSON, and where; the value itself is not repeated.
pub fn to_json(value: &Bound<'_, PyAny>, place: &str) -> Result<Value, String> {
    convert(value, place, 0)
}

fn convert(value: &Bound<'_, PyAny>, place: &str, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("{place}: nested more than {MAX_DEPTH} deep"));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return text
            .to_str()
            .map(Value::from)
            .map_err(|_| format!("{place}: not Unicode text, it holds half of a surrogate pair"));
    }
    if value.is_instance_of::<PyInt>() {
        let signed = value.extract::<i64>().map(Value::from);
        return signed
            .or_else(|_| value.extract::<u64>().map(Value::from))
            .map_err(|_| format!("{place}: a whole number beyond 64 bits"));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Number::from_f64(number.value())
            .map(Value::Number)
            .ok_or_else(|| format!("{place}: not a finite number"));
    }
    if let Ok(entries) = value.cast::<PyDict>() {
        let mut map = Map::with_capacity(entries.len());
        for entry in crate::entries::entries(entries) {
            let (key, item) = entry.map_err(|_| format!("{place}: {CHANGED}"))?;
            let key = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok().map(str::to_owned));
            let key = key.ok_or_else(|| format!("{place}: a key is not Unicode text"))?;
            let item = convert(&item, &format!("{place}.{}", shown(&key)), depth + 1)?;
            map.insert(key, item);
        }
        return Ok(Value::Object(map));
    }
    let items: Vec<Bound<'_, PyAny>> = if let Ok(list) = value.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        let kind = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        return Err(format!("{place}: a value of type {kind}, which JSON does not have"));
    };
    let items =
        items.iter().enumerate().map(|(at, item)| convert(item, &format!("{place}[{at}]"), depth + 1));
    items.collect::<Result<Vec<Value>, String>>().map(Value::Array)
}

fn shown(key: &str) -> String {
    neoabzu_kimicho::clean(key, 60, &[])
}

/// A JSON value as Python has it.
pub fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => int.into_pyobject(py)?.into_any(),
            (None, Some(int)) => int.into_pyobject(py)?.into_any(),
            (None, None) => PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(entries) => {
            let dict = PyDict::new(py);
            for (key, item) in entries {
                dict.set_item(key, to_python(py, item)?)?;
            }
            dict.into_any()
        }
    })
}

/// An exception type of `package`, whose attributes are `None` until they are set.
pub fn exception<'py>(
    py: Python<'py>,
    package: &str,
    name: &str,
    doc: &str,
    base: &Bound<'py, PyType>,
    attributes: &[&str],
) -> PyResult<Bound<'py, PyType>> {
    let body = PyDict::new(py);
    body.set_item("__module__", package)?;
    body.set_item("__doc__", doc)?;
    for attribute in attributes {
        body.set_item(attribute, py.None())?;
    }
    let made = py.get_type::<PyType>().call1((name, (base,), body))?;
    Ok(made.cast_into::<PyType>()?)
}

/// Runs `work` without the interpreter's lock; a panic is an error like any other.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|_| {
        PyRuntimeError::new_err("the implementation failed; this is a defect of it, not of the call")
    })
}
