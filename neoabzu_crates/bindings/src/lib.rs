//! The one extension module of the project.
use pyo3::prelude::*;
#[pymodule]
mod _native {}
