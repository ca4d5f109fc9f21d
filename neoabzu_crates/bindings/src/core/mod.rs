//! `neoabzu_core` for Python.

use std::sync::{Arc, LazyLock};

use neoabzu_core::{Cache, Program, Variables};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

mod errors;
mod held;
mod results;

use held::PyPart;

/// Programs kept, and the length of their sources together. A mission has a few per component.
const CACHE_CAPACITY: usize = 1024;
const CACHE_SOURCE_BYTES: usize = 512 * 1024;

static CACHE: LazyLock<Cache<Compiled>> = LazyLock::new(|| Cache::new(CACHE_CAPACITY, CACHE_SOURCE_BYTES));

/// A program, and the names it looks up as Python has them.
struct Compiled {
    program: Program,
    parts: Vec<PyPart>,
}

impl Compiled {
    fn of(py: Python<'_>, expression: &Bound<'_, PyString>) -> PyResult<Arc<Compiled>> {
        let source = errors::text(expression)?;
        if let Some(compiled) = CACHE.get(source) {
            return Ok(compiled);
        }
        let program = py.detach(|| Program::compile(source)).map_err(|error| errors::raised(py, error))?;
        let parts = program.shape().variables.iter().map(|part| PyPart::of(py, part)).collect();
        CACHE.insert(source, || Ok(Compiled { program, parts })).map_err(|error| errors::raised(py, error))
    }
}

fn evaluate<'py>(
    py: Python<'py>,
    expression: &Bound<'py, PyString>,
    variables: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let compiled = Compiled::of(py, expression)?;
    let (held, size) = match variables {
        Some(variables) => held::variables(variables, &compiled.parts)?,
        None => (Vec::new(), 0),
    };
    let work = || {
        let bound: Variables<'_> = held.iter().map(|(name, value)| (*name, value.value())).collect();
        compiled.program.evaluate(&bound)
    };
    let outcome = match compiled.program.is_brief(size) {
        true => work(),
        false => py.detach(work),
    };
    let value = outcome.map_err(|error| errors::raised(py, error))?;
    results::to_python(py, value)
}

#[pymodule(submodule, name = "neoabzu_core")]
pub mod module {
    use std::collections::HashSet;

    use neoabzu_core::Limits;
    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyMappingProxy, PyString};

    use super::{CACHE, Compiled, errors};

    /// Evaluate a CEL expression.
    #[pyfunction]
    #[pyo3(signature = (expression, variables=None))]
    fn evaluate_py<'py>(
        py: Python<'py>,
        expression: &Bound<'py, PyString>,
        variables: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        super::evaluate(py, expression, variables)
    }

    /// Find what is wrong with an expression without evaluating it.
    #[pyfunction]
    #[pyo3(signature = (expression, variables=None))]
    fn compile_check(
        py: Python<'_>,
        expression: &Bound<'_, PyString>,
        variables: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let compiled = Compiled::of(py, expression)?;
        let names =
            variables.map(|names| names.try_iter()?.map(|name| name?.extract()).collect()).transpose()?;
        let names: Option<HashSet<String>> = names;
        let outcome = py.detach(|| match &names {
            Some(names) => compiled.program.check(Some(&|name| names.contains(name))),
            None => compiled.program.check(None),
        });
        outcome.map_err(|error| errors::raised(py, error))
    }

    /// The names of the variables an expression reads, sorted.
    #[pyfunction]
    fn references(py: Python<'_>, expression: &Bound<'_, PyString>) -> PyResult<Vec<String>> {
        Ok(Compiled::of(py, expression)?.program.references().to_vec())
    }

    /// How the cache of compiled expressions is used, as `functools.lru_cache` tells it.
    #[pyfunction]
    fn cache_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let info = CACHE.info();
        errors::cache_info(py)?.call1((info.hits, info.misses, info.capacity, info.entries))
    }

    /// Forget every compiled expression, and the counts.
    #[pyfunction]
    fn cache_clear() {
        CACHE.clear();
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        errors::add_types(module)?;
        let limits = PyDict::new(py);
        for (name, value) in Limits::DEFAULT.named() {
            limits.set_item(name, value)?;
        }
        module.add("LIMITS", PyMappingProxy::new(py, limits.as_mapping()))
    }
}
