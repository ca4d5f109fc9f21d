//! What is told of the way of a request, in an answer and in a failure alike.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// One who was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    pub servant: String,
    pub outcome: &'static str,
    #[serde(serialize_with = "seconds")]
    pub seconds: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// The `crown` object of an answer.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    pub servant: &'a str,
    pub model: &'a str,
    pub source: &'static str,
    pub reason: &'a str,
    pub rule: Option<&'a str>,
    pub trail: &'a [Tried],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Recalled<'a>>,
    #[serde(serialize_with = "seconds")]
    pub latency_seconds: Duration,
}

/// What the memory gave, in short.
#[derive(Debug, Serialize)]
pub struct Recalled<'a> {
    pub hits: usize,
    pub failed_layers: Option<&'a Value>,
}

/// Seconds, to the microsecond.
pub fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*time))
}
