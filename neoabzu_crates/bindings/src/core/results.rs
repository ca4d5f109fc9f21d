//! Results as Python values.

use neoabzu_core::chrono::Utc;
use neoabzu_core::{Key, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};

/// The Python value of a result. Instants are in UTC, types are their names.
///
/// # Errors
/// Those of Python: no memory.
pub(super) fn to_python<'py>(py: Python<'py>, value: Value<'static>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        Value::Int(value) => value.into_pyobject(py)?.into_any(),
        Value::Uint(value) => value.into_pyobject(py)?.into_any(),
        Value::Float(value) => PyFloat::new(py, value).into_any(),
        Value::String(text) => PyString::new(py, &text).into_any(),
        Value::Type(name) => PyString::new(py, &name).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
        Value::Timestamp(instant) => instant.with_timezone(&Utc).into_pyobject(py)?.into_any(),
        Value::Duration(duration) => duration.into_pyobject(py)?.into_any(),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Map(items) => {
            let dict = PyDict::new(py);
            for (key, item) in items {
                let item = to_python(py, item)?;
                match key {
                    Key::Bool(key) => dict.set_item(key, item)?,
                    Key::Int(key) => dict.set_item(key, item)?,
                    Key::Uint(key) => dict.set_item(key, item)?,
                    Key::String(key) => dict.set_item(&*key, item)?,
                }
            }
            dict.into_any()
        }
    })
}
