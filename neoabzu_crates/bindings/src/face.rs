//! What the faces of the crates that speak JSON share: values, exceptions, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use neoabzu_kimicho::serde_json::{Map, Number, Value};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use crate::entries::{CHANGED, Turns, entries};

/// How deep lists and dicts may be nested.
const MAX_DEPTH: usize = 100;
/// Bytes of JSON that a request may come to, or a configuration.
const MAX_REQUEST: usize = 8 << 20;
/// Values in one of them; each takes far more room than its bytes.
const MAX_VALUES: usize = 1_000_000;

/// A Python value as JSON of at most 8 MiB: None, bool, int, float, str, list, tuple, dict with keys of text.
///
/// # Errors
/// What cannot be JSON, and where; the value itself is not repeated.
pub fn to_json(value: &Bound<'_, PyAny>, place: &str) -> Result<Value, String> {
    to_json_within(value, place, MAX_REQUEST)
}

/// The same of at most `most` bytes.
pub fn to_json_within(value: &Bound<'_, PyAny>, place: &str, most: usize) -> Result<Value, String> {
    let mut conversion = Conversion { depth: 0, bytes: 0, values: 0, most, turns: Turns::default() };
    conversion.value(value).map_err(|fault| match fault {
        Fault::Size => format!("{place}: too large as JSON, {most} are allowed (bytes)"),
        Fault::Count => format!("{place}: too many values, {MAX_VALUES} are allowed"),
        Fault::Value { message, path } => {
            let steps: String = path.into_iter().rev().collect();
            format!("{place}{steps}: {message}")
        }
    })
}

/// Why a value cannot be converted.
enum Fault {
    /// What it is, and the steps that lead to it, innermost first.
    Value {
        message: String,
        path: Vec<String>,
    },
    Size,
    Count,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Fault::Value { message: message.into(), path: Vec::new() }
    }

    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        if let Fault::Value { path, .. } = &mut self {
            path.push(step());
        }
        self
    }
}

/// Counts the bytes that are surely needed before it makes anything: a few lists that are in each other many times
/// over are a very large one.
struct Conversion {
    depth: usize,
    bytes: usize,
    values: usize,
    most: usize,
    turns: Turns,
}

impl Conversion {
    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most { Err(Fault::Size) } else { Ok(()) }
    }

    /// Whether so many more values may come.
    fn room_for(&self, values: usize) -> Result<(), Fault> {
        if self.values + values > MAX_VALUES { Err(Fault::Count) } else { Ok(()) }
    }

    fn value(&mut self, value: &Bound<'_, PyAny>) -> Result<Value, Fault> {
        self.turns.take(value.py());
        self.values += 1;
        self.room_for(0)?;
        if let Ok(text) = value.cast::<PyString>() {
            return self.text(text).map(Value::String);
        }
        self.charge(1)?;
        if value.is_none() {
            return Ok(Value::Null);
        }
        if let Ok(truth) = value.cast::<PyBool>() {
            return Ok(Value::Bool(truth.is_true()));
        }
        if value.is_instance_of::<PyInt>() {
            let signed = value.extract::<i64>().map(Value::from);
            return signed
                .or_else(|_| value.extract::<u64>().map(Value::from))
                .map_err(|_| Fault::new("a whole number beyond 64 bits"));
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            let number = Number::from_f64(number.value());
            return number.map(Value::Number).ok_or_else(|| Fault::new("not a finite number"));
        }
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let made = if let Ok(dict) = value.cast::<PyDict>() {
            self.object(dict)
        } else if let Ok(list) = value.cast::<PyList>() {
            self.array(list.iter(), list.len())
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.array(tuple.iter(), tuple.len())
        } else {
            let kind = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            Err(Fault::new(format!("a value of type {kind}, which JSON does not have")))
        };
        self.depth -= 1;
        made
    }

    /// Text that is far too long is not even made UTF-8 of.
    fn text(&mut self, text: &Bound<'_, PyString>) -> Result<String, Fault> {
        self.charge(text.len().unwrap_or(0).saturating_add(2))?;
        match text.to_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Fault::new("not Unicode text, it holds half of a surrogate pair")),
        }
    }

    fn object(&mut self, dict: &Bound<'_, PyDict>) -> Result<Value, Fault> {
        self.charge(dict.len())?;
        self.room_for(dict.len())?;
        let mut map = Map::with_capacity(dict.len());
        for entry in entries(dict) {
            let (key, item) = entry.map_err(|_| Fault::new(CHANGED))?;
            let key = match key.cast::<PyString>() {
                Ok(key) => self.text(key),
                Err(_) => Err(Fault::new("")),
            };
            let key = key.map_err(|fault| match fault {
                Fault::Value { .. } => Fault::new("a key is not Unicode text"),
                fault => fault,
            })?;
            let item = self.value(&item).map_err(|fault| fault.within(|| format!(".{}", shown(&key))))?;
            map.insert(key, item);
        }
        Ok(Value::Object(map))
    }

    fn array<'py>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        length: usize,
    ) -> Result<Value, Fault> {
        self.charge(length)?;
        self.room_for(length)?;
        let mut made = Vec::with_capacity(length);
        for (at, item) in items.enumerate() {
            made.push(self.value(&item).map_err(|fault| fault.within(|| format!("[{at}]")))?);
        }
        Ok(Value::Array(made))
    }
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
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|_| failed())
}

/// What is raised for a panic.
pub fn failed() -> PyErr {
    PyRuntimeError::new_err("the implementation failed; this is a defect of it, not of the call")
}
