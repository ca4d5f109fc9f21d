//! Python values, held so that an evaluation can borrow their text while other threads run.

use std::borrow::Cow;

use neoabzu_core::chrono::{DateTime, Duration, FixedOffset, NaiveDateTime, Utc};
use neoabzu_core::{Key, Limits, Part, Value};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{
    PyBool, PyBytes, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyTzInfo,
    PyTzInfoAccess,
};

use super::errors;
use crate::entries::{CHANGED, Changed, Turns, entries};

/// CEL's range of durations, in seconds: about ten thousand years.
const DURATION_SECONDS: i64 = 315_576_000_000;

/// A part of a variable that an expression reads; see [`neoabzu_core::Shape`].
pub(super) struct PyPart {
    name: Box<str>,
    key: Py<PyString>,
    entries: Option<Vec<PyPart>>,
}

impl PyPart {
    pub(super) fn of(py: Python<'_>, part: &Part) -> PyPart {
        let entries = part.entries.as_ref();
        PyPart {
            name: part.name.clone(),
            key: PyString::intern(py, &part.name).unbind(),
            entries: entries.map(|entries| entries.iter().map(|entry| PyPart::of(py, entry)).collect()),
        }
    }
}

/// A value whose text stays in the Python object it came from.
pub(super) enum Held<'p> {
    Plain(Value<'static>),
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
    List(Vec<Held<'p>>),
    Map(Vec<(HeldKey<'p>, Held<'p>)>),
}

pub(super) enum HeldKey<'p> {
    Name(&'p str),
    Text(PyBackedStr),
    Plain(Key<'static>),
}

impl Held<'_> {
    /// The value, borrowing its text.
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Held::Plain(value) => value.clone(),
            Held::Text(text) => Value::String(Cow::Borrowed(text)),
            Held::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Held::List(items) => Value::List(items.iter().map(Held::value).collect()),
            Held::Map(items) => {
                Value::Map(items.iter().map(|(key, item)| (key.key(), item.value())).collect())
            }
        }
    }
}

impl HeldKey<'_> {
    fn key(&self) -> Key<'_> {
        match self {
            HeldKey::Name(name) => Key::String(Cow::Borrowed(name)),
            HeldKey::Text(text) => Key::String(Cow::Borrowed(text)),
            HeldKey::Plain(key) => key.clone(),
        }
    }
}

/// Names with the values that are held for them.
pub(super) type Named<'p> = Vec<(&'p str, Held<'p>)>;

/// The parts of `variables` that are read, and their size in steps.
///
/// # Errors
/// `ConversionError` for a value that CEL has no type for or that is nested too deep, `LimitExceeded` as soon as they
/// are too large, and what code of the values raises.
pub(super) fn variables<'p>(
    variables: &Bound<'_, PyDict>,
    parts: &'p [PyPart],
) -> PyResult<(Named<'p>, u64)> {
    let py = variables.py();
    let mut held = Vec::with_capacity(parts.len());
    let mut holder = Holder::default();
    for part in parts {
        if let Some(value) = variables.get_item(part.key.bind(py))? {
            let value = holder.part(&value, part).map_err(|fault| fault.raised(py, &part.name))?;
            held.push((&*part.name, value));
        }
    }
    Ok((held, holder.size))
}

/// Why a value cannot be held.
enum Fault {
    /// What it is, and the keys that lead to it, innermost first.
    Value { message: String, path: Vec<String> },
    /// The value's own code raised something.
    Raised(PyErr),
    /// All together they are too large.
    Size,
}

type Outcome<'p> = Result<Held<'p>, Fault>;

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Fault::Value { message: message.into(), path: Vec::new() }
    }

    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        // A value that contains itself leads here through as many keys as there may be levels.
        if let Fault::Value { path, .. } = &mut self
            && path.len() < 16
        {
            path.push(step());
        }
        self
    }

    fn raised(self, py: Python<'_>, name: &str) -> PyErr {
        match self {
            Fault::Value { message, path: steps } => {
                let mut path = name.to_owned();
                path.extend(steps.into_iter().rev());
                errors::not_convertible(py, format!("variable {path}: {message}"), &path)
            }
            Fault::Raised(error) => error,
            Fault::Size => errors::raised(py, Limits::DEFAULT.input_exceeded()),
        }
    }
}

impl From<Changed> for Fault {
    fn from(_: Changed) -> Self {
        Fault::new(CHANGED)
    }
}

/// Counts as it goes: a few values that are in each other many times over are a very large one.
#[derive(Default)]
struct Holder {
    depth: usize,
    /// Of all that is held, in steps.
    size: u64,
    turns: Turns,
}

impl Holder {
    fn charge(&mut self, steps: u64) -> Result<(), Fault> {
        self.size += steps;
        self.check(0)
    }

    /// Whether so much more may come.
    fn check(&self, steps: u64) -> Result<(), Fault> {
        if self.size + steps > Limits::DEFAULT.input { Err(Fault::Size) } else { Ok(()) }
    }

    /// Text, borrowed from the object; one that is far too long is not even made UTF-8 of.
    fn text(&mut self, text: &Bound<'_, PyString>, what: &str) -> Result<PyBackedStr, Fault> {
        self.check(Limits::steps_of_text(text.len().unwrap_or(0)))?;
        let text = PyBackedStr::try_from(text.clone())
            .map_err(|_| Fault::new(format!("{what}not Unicode text: it holds half of a surrogate pair")))?;
        self.charge(Limits::steps_of_text(text.len()))?;
        Ok(text)
    }

    fn part<'p>(&mut self, value: &Bound<'_, PyAny>, part: &'p PyPart) -> Outcome<'p> {
        let (Some(entries), Ok(dict)) = (&part.entries, value.cast::<PyDict>()) else {
            return self.whole(value);
        };
        let py = value.py();
        self.charge(1)?;
        let mut held = Vec::with_capacity(entries.len());
        for entry in entries {
            let found = dict.get_item(entry.key.bind(py)).map_err(Fault::Raised)?;
            if let Some(item) = found {
                self.charge(Limits::steps_of_text(entry.name.len()))?;
                let item =
                    self.part(&item, entry).map_err(|fault| fault.within(|| format!(".{}", entry.name)))?;
                held.push((HeldKey::Name(&entry.name), item));
            }
        }
        Ok(Held::Map(held))
    }

    fn whole<'p>(&mut self, value: &Bound<'_, PyAny>) -> Outcome<'p> {
        self.turns.take(value.py());
        if let Ok(text) = value.cast::<PyString>() {
            return self.text(text, "").map(Held::Text);
        }
        if let Ok(bytes) = value.cast::<PyBytes>() {
            self.charge(Limits::steps_of_text(bytes.as_bytes().len()))?;
            return Ok(Held::Bytes(bytes.clone().into()));
        }
        self.charge(1)?;
        if value.is_none() {
            return Ok(Held::Plain(Value::Null));
        }
        if let Ok(truth) = value.cast::<PyBool>() {
            return Ok(Held::Plain(Value::Bool(truth.is_true())));
        }
        if let Ok(number) = value.cast::<PyInt>() {
            return integer(number).map(Held::Plain);
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return Ok(Held::Plain(Value::Float(number.value())));
        }
        if let Ok(dict) = value.cast::<PyDict>() {
            return self.nested(|holder| holder.map(dict));
        }
        if let Ok(list) = value.cast::<PyList>() {
            return self.nested(|holder| holder.list(list.iter(), list.len()));
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return self.nested(|holder| holder.list(tuple.iter(), tuple.len()));
        }
        if let Ok(instant) = value.cast::<PyDateTime>() {
            return timestamp(instant).map(Held::Plain);
        }
        if let Ok(duration) = value.cast::<PyDelta>() {
            return delta(duration).map(Held::Plain);
        }
        let name = value.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |n| n.to_string());
        Err(Fault::new(format!("CEL has no type for {name}")))
    }

    fn nested<'p>(&mut self, hold: impl FnOnce(&mut Self) -> Outcome<'p>) -> Outcome<'p> {
        let allowed = Limits::DEFAULT.value_depth;
        if self.depth >= allowed {
            return Err(Fault::new(format!("nested deeper than {allowed} levels, or contains itself")));
        }
        self.depth += 1;
        let held = hold(self);
        self.depth -= 1;
        held
    }

    fn list<'py, 'p>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        length: usize,
    ) -> Outcome<'p> {
        self.check(length as u64)?;
        let mut held = Vec::with_capacity(length);
        for (at, item) in items.enumerate() {
            held.push(self.whole(&item).map_err(|fault| fault.within(|| format!("[{at}]")))?);
        }
        Ok(Held::List(held))
    }

    fn map<'p>(&mut self, dict: &Bound<'_, PyDict>) -> Outcome<'p> {
        self.check(2 * dict.len() as u64)?;
        let mut held = Vec::with_capacity(dict.len());
        for entry in entries(dict) {
            let (key, item) = entry?;
            let step = || match key.cast::<PyString>() {
                Ok(text) => format!(".{}", text.to_string_lossy()),
                Err(_) => format!("[{key}]"),
            };
            let key = self.key(&key).map_err(|fault| fault.within(step))?;
            held.push((key, self.whole(&item).map_err(|fault| fault.within(step))?));
        }
        Ok(Held::Map(held))
    }

    fn key<'p>(&mut self, key: &Bound<'_, PyAny>) -> Result<HeldKey<'p>, Fault> {
        if let Ok(text) = key.cast::<PyString>() {
            return self.text(text, "a key is ").map(HeldKey::Text);
        }
        self.charge(1)?;
        let plain = if let Ok(truth) = key.cast::<PyBool>() {
            Some(Key::Bool(truth.is_true()))
        } else if let Ok(number) = key.cast::<PyInt>() {
            match integer(number)? {
                Value::Int(number) => Some(Key::Int(number)),
                Value::Uint(number) => Some(Key::Uint(number)),
                _ => None,
            }
        } else {
            None
        };
        plain.map(HeldKey::Plain).ok_or_else(|| {
            let name =
                key.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |n| n.to_string());
            Fault::new(format!("a key is of type {name}, not string, integer or boolean"))
        })
    }
}

fn integer(number: &Bound<'_, PyInt>) -> Result<Value<'static>, Fault> {
    if let Ok(number) = number.extract::<i64>() {
        return Ok(Value::Int(number));
    }
    let number = number.extract::<u64>().map_err(|_| Fault::new("an integer of more than 64 bits"))?;
    Ok(Value::Uint(number))
}

/// An instant without a time zone is taken to be UTC.
fn timestamp(instant: &Bound<'_, PyDateTime>) -> Result<Value<'static>, Fault> {
    let aware = instant.get_tzinfo().is_some();
    let converted: PyResult<DateTime<FixedOffset>> = if aware {
        let utc = PyTzInfo::utc(instant.py()).and_then(|utc| instant.call_method1("astimezone", (utc,)));
        utc.and_then(|utc| utc.extract::<DateTime<Utc>>()).map(|utc| utc.fixed_offset())
    } else {
        instant.extract::<NaiveDateTime>().map(|naive| naive.and_utc().fixed_offset())
    };
    converted.map(Value::Timestamp).map_err(|error| {
        let py = instant.py();
        // A time zone may be written in Python: what it raises is not for us to explain.
        if error.is_instance_of::<PyOverflowError>(py) || error.is_instance_of::<PyValueError>(py) {
            Fault::new("an instant outside the years 1 to 9999")
        } else {
            Fault::Raised(error)
        }
    })
}

fn delta(duration: &Bound<'_, PyDelta>) -> Result<Value<'static>, Fault> {
    let duration = duration.extract::<Duration>().map_err(Fault::Raised)?;
    if duration.num_seconds().abs() > DURATION_SECONDS {
        return Err(Fault::new("a duration of more than ten thousand years"));
    }
    Ok(Value::Duration(duration))
}
