//! Routes text to servant models: validation, memory, rules, health; then the next servant, and Kimi K2
//! last. The gateway serves that over HTTP and speaks `razar.crown.v1`.

mod choose;
mod complete;
mod config;
mod fault;
pub mod gateway;
mod health;
mod ladder;
mod members;
mod protocol;
mod read;
mod request;
mod router;
mod rules;
mod servants;
mod tell;
mod texts;
mod trace;
mod trail;
mod variables;

pub use config::{Config, CrownSettings, RecallSettings};
pub use fault::Fault;
pub use health::Health;
pub use read::Environ;
pub use request::Request;
pub use router::{Decision, Recall, Router};
pub use servants::Servant;
pub use trace::{Attribute, Named, Role, Span, Trace, Tracer};
pub use trail::Tried;
