//! Kimi K2 over OpenAI-style chat completions.
//!
//! [`Client`] asks an endpoint within limits on time and size, again where the table of errors says that
//! this may help, and not at all for a while once it has failed too often. What comes back has one form,
//! wherever the model has written its tool calls.

mod agent;
mod answer;
mod body;
mod breaker;
mod client;
mod endpoint;
mod error;
pub mod markers;
mod plain;
mod secret;
mod settings;
mod traceparent;

pub use answer::normalise;
pub use body::Body;
pub use breaker::{Breaker, Open};
pub use client::{Client, MAX_ANSWER, MAX_REQUEST};
pub use endpoint::Endpoint;
pub use error::{Error, Kind, explain, wait_asked_for};
pub use plain::is_plain;
pub use secret::{MASK, Secret, clean};
pub use serde_json;
pub use settings::{DEFAULT_MODEL, Settings};
pub use traceparent::is_traceparent;
