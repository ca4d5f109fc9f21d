//! Why there is no answer, told once for Python, HTTP and logs alike.

use std::fmt;
use std::time::Duration;

use neoabzu_kimicho::Kind;
use serde_json::{Value, json};

use crate::trail::Tried;

/// A failure of a request. The messages hold no secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The request is not one that can be answered; `status` is the HTTP status that says so.
    Invalid { status: u16, code: &'static str, message: String },
    /// A policy, or a servant, refused the request.
    Refused { status: u16, code: String, message: String },
    /// Everybody who could be asked failed. `wait` is the shortest time after which one of them said to come again.
    Exhausted { kind: Kind, message: String, trail: Vec<Tried>, wait: Option<Duration> },
}

impl Fault {
    pub(crate) fn invalid(message: impl Into<String>) -> Fault {
        Fault::Invalid { status: 400, code: "invalid_request", message: message.into() }
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Fault {
        Fault::Invalid { status: 413, code: "too_large", message: message.into() }
    }

    /// The HTTP status (RFC 9110) for it.
    pub fn status(&self) -> u16 {
        match self {
            Fault::Invalid { status, .. } | Fault::Refused { status, .. } => *status,
            Fault::Exhausted { kind, trail, .. } => match kind {
                _ if trail.is_empty() => 503,
                Kind::RateLimit | Kind::Quota => 429,
                Kind::Timeout => 504,
                _ => 502,
            },
        }
    }

    /// After how many seconds it may be worth while to ask again, if it may be at all (`Retry-After`).
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Fault::Exhausted { wait, .. } if matches!(self.status(), 429 | 503) => {
                Some(wait.map_or(1, |wait| wait.as_secs_f64().ceil().max(1.0) as u64))
            }
            _ => None,
        }
    }

    /// The code by which programs tell it from others.
    pub fn code(&self) -> &str {
        match self {
            Fault::Invalid { code, .. } => code,
            Fault::Refused { code, .. } => code,
            Fault::Exhausted { .. } => "no_servant_answered",
        }
    }

    /// What was tried, in order.
    pub fn trail(&self) -> &[Tried] {
        match self {
            Fault::Exhausted { trail, .. } => trail,
            _ => &[],
        }
    }

    /// The error body of the OpenAI API, with the trail.
    pub fn body(&self) -> Value {
        let type_ = match self {
            Fault::Invalid { .. } | Fault::Refused { .. } => "invalid_request_error",
            Fault::Exhausted { kind: Kind::RateLimit | Kind::Quota, .. } => "rate_limit_error",
            Fault::Exhausted { .. } => "server_error",
        };
        let mut error =
            json!({"message": self.to_string(), "type": type_, "param": null, "code": self.code()});
        if let Fault::Exhausted { trail, .. } = self {
            error["trail"] = json!(trail);
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Invalid { message, .. }
            | Fault::Refused { message, .. }
            | Fault::Exhausted { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}
