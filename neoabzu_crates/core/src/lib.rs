//! CEL evaluation with a compiled-program cache and hard limits.
//!
//! The language is the Common Expression Language, <https://cel.dev>, evaluated by the `cel` crate. That
//! crate bounds neither its stack nor its work; this one does, so that an expression from a file or
//! from the network can be evaluated: it ends, within [`Limits`], with a value or an [`Error`].
//!
//! ```
//! use neoabzu_core::{Program, Value, Variables};
//!
//! let program = Program::compile("layer == 'crown' && env.MODE.startsWith('prod')").unwrap();
//! let variables: Variables = [
//!     ("layer", Value::from("crown")),
//!     ("env", Value::from([("MODE", "production")])),
//! ]
//! .into_iter()
//! .collect();
//! assert_eq!(program.evaluate(&variables), Ok(Value::Bool(true)));
//! ```

mod cache;
mod charges;
mod cost;
mod environment;
mod error;
mod explain;
mod instrument;
mod limits;
mod meter;
mod program;
mod regex;
mod scan;
mod shape;
mod stack;
mod value;
mod walk;

pub use cache::{Cache, CacheInfo};
pub use chrono;
pub use error::{Error, ErrorKind, Position};
pub use limits::Limits;
pub use program::Program;
pub use shape::{Part, Shape};
pub use value::{Key, Value, Variables};
