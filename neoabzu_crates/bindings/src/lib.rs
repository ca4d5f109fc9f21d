//! The one extension module: the Python face of the neoabzu crates.
//!
//! Each crate has a submodule here, named as its Python package, and nothing else knows Python. To add one:
//! write `#[pymodule(submodule, name = "neoabzu_x")] pub mod module` in a
//! module of this crate, and name it among the exports below.

use pyo3::prelude::*;
use pyo3::types::PyModule;

mod core;
mod crown;
mod crown_memory;
mod entries;
mod environment;
mod face;
mod interrupt;
mod kimicho;
mod memory;
mod per_process;
mod spans;

#[pymodule(gil_used = true)]
mod _native {
    use super::{Bound, PyAnyMethods, PyModule, PyModuleMethods, PyResult};

    #[pymodule_export]
    use super::core::module;

    #[pymodule_export]
    use super::crown::module as crown;

    #[pymodule_export]
    use super::kimicho::module as kimicho;

    #[pymodule_export]
    use super::memory::module as memory;

    /// Submodules of an extension are attributes until `sys.modules` names them.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let modules = module.py().import("sys")?.getattr("modules")?;
        let name = module.name()?;
        for (attribute, value) in module.dict() {
            if value.is_instance_of::<PyModule>() {
                modules.set_item(format!("{name}.{attribute}"), value)?;
            }
        }
        Ok(())
    }
}
