//! The exceptions of `neoabzu_core`, made from its errors.

use neoabzu_core::{Error, ErrorKind, Position};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

/// The package whose attributes the types are: pickles find them there.
const PACKAGE: &str = "neoabzu_core";

struct Types {
    core: Py<PyType>,
    parse: Py<PyType>,
    evaluation: Py<PyType>,
    unknown_name: Py<PyType>,
    conversion: Py<PyType>,
    limit: Py<PyType>,
    internal: Py<PyType>,
    position: Py<PyAny>,
    cache_info: Py<PyAny>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

impl Types {
    fn get(py: Python<'_>) -> PyResult<&Types> {
        TYPES.get_or_try_init(py, || Types::make(py))
    }

    fn make(py: Python<'_>) -> PyResult<Types> {
        let core = exception(
            py,
            "CoreError",
            "An expression could not be compiled or evaluated; `position` says where, if that is known.",
            &py.get_type::<PyValueError>(),
            &["position"],
        )?;
        let evaluation =
            exception(py, "EvaluationError", "The expression has no value for these variables.", &core, &[])?;
        let named_tuple = py.import("collections")?.getattr("namedtuple")?;
        let tuple = |name: &str, fields: &[&str]| {
            let keywords = PyDict::new(py);
            keywords.set_item("module", PACKAGE)?;
            named_tuple.call((name, fields.to_vec()), Some(&keywords)).map(Bound::unbind)
        };
        Ok(Types {
            parse: exception(py, "ParseError", "The text is not an expression.", &core, &[])?.unbind(),
            unknown_name: exception(
                py,
                "UnknownNameError",
                "The expression names a variable or function that is not defined: `name`.",
                &evaluation,
                &["name"],
            )?
            .unbind(),
            conversion: exception(
                py,
                "ConversionError",
                "A variable, or the result, is of a type CEL does not have; `path` says which.",
                &core,
                &["path"],
            )?
            .unbind(),
            limit: exception(
                py,
                "LimitExceeded",
                "The expression costs more than is allowed: `limit` names what, `allowed` is how much.",
                &core,
                &["limit", "allowed"],
            )?
            .unbind(),
            internal: exception(
                py,
                "InternalError",
                "The evaluator failed; the expression may be right.",
                &core,
                &[],
            )?
            .unbind(),
            position: tuple("Position", &["line", "column", "offset"])?,
            cache_info: tuple("CacheInfo", &["hits", "misses", "maxsize", "currsize"])?,
            core: core.unbind(),
            evaluation: evaluation.unbind(),
        })
    }
}

/// An exception type whose attributes are `None` until they are set.
///
/// Made by a call of `type`: `PyErr::new_type` of PyO3 0.30 lets go of its dict before it uses it.
fn exception<'py>(
    py: Python<'py>,
    name: &str,
    doc: &str,
    base: &Bound<'py, PyType>,
    attributes: &[&str],
) -> PyResult<Bound<'py, PyType>> {
    let body = PyDict::new(py);
    body.set_item("__module__", PACKAGE)?;
    body.set_item("__doc__", doc)?;
    for attribute in attributes {
        body.set_item(attribute, py.None())?;
    }
    let made = py.get_type::<PyType>().call1((name, (base,), body))?;
    Ok(made.cast_into::<PyType>()?)
}

pub(super) fn add_types(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let types = Types::get(py)?;
    module.add("CoreError", &types.core)?;
    module.add("ParseError", &types.parse)?;
    module.add("EvaluationError", &types.evaluation)?;
    module.add("UnknownNameError", &types.unknown_name)?;
    module.add("ConversionError", &types.conversion)?;
    module.add("LimitExceeded", &types.limit)?;
    module.add("InternalError", &types.internal)?;
    module.add("Position", &types.position)?;
    module.add("CacheInfo", &types.cache_info)
}

pub(super) fn cache_info(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    Ok(Types::get(py)?.cache_info.bind(py))
}

/// The exception for `error`.
pub(super) fn raised(py: Python<'_>, error: Error) -> PyErr {
    build(py, error, None).unwrap_or_else(|failure| failure)
}

/// The exception for a value without a CEL type, at `path`.
pub(super) fn not_convertible(py: Python<'_>, message: String, path: &str) -> PyErr {
    build(py, Error::conversion(message), Some(path)).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, error: Error, path: Option<&str>) -> PyResult<PyErr> {
    let types = Types::get(py)?;
    let kind = match &error.kind {
        ErrorKind::Syntax => &types.parse,
        ErrorKind::Evaluation => &types.evaluation,
        ErrorKind::UnknownName(_) => &types.unknown_name,
        ErrorKind::Conversion => &types.conversion,
        ErrorKind::Limit { .. } => &types.limit,
        _ => &types.internal,
    };
    let exception = kind.bind(py).call1((error.to_string(),))?;
    if let Some(Position { line, column, offset }) = error.position {
        exception.setattr("position", types.position.bind(py).call1((line, column, offset))?)?;
    }
    match error.kind {
        ErrorKind::UnknownName(name) => exception.setattr("name", name)?,
        ErrorKind::Limit { name, allowed } => {
            exception.setattr("limit", name)?;
            exception.setattr("allowed", allowed)?;
        }
        _ => {}
    }
    if let Some(path) = path {
        exception.setattr("path", path)?;
    }
    Ok(PyErr::from_value(exception))
}

/// The text of an expression. Python strings may hold halves of surrogate pairs, which UTF-8 cannot.
pub(super) fn text<'a>(expression: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    expression.to_str().or_else(|_| {
        let py = expression.py();
        let types = Types::get(py)?;
        let message = "the expression is not Unicode text: it holds half of a surrogate pair";
        Err(PyErr::from_value(types.parse.bind(py).call1((message,))?))
    })
}
