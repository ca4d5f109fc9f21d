//! What can go wrong, and which of it is worth another try.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::secret::{Secret, clean};

/// The kinds of failure, each of which a caller may want to treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No endpoint, a bad one, or a model that is not there.
    Configuration,
    /// The key is missing, wrong or not permitted.
    Authentication,
    /// The balance is used up. Never tried again.
    Quota,
    /// Too many requests, or no capacity.
    RateLimit,
    /// A time limit passed.
    Timeout,
    /// The request was refused: bad fields, too long, or filtered.
    Refused,
    /// The other side failed, or could not be reached.
    Upstream,
    /// An answer came and it is not one.
    Malformed,
}

impl Kind {
    /// The name used in trails and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Configuration => "configuration",
            Kind::Authentication => "authentication",
            Kind::Quota => "quota",
            Kind::RateLimit => "rate_limit",
            Kind::Timeout => "timeout",
            Kind::Refused => "refused",
            Kind::Upstream => "upstream",
            Kind::Malformed => "malformed",
        }
    }
}

/// A failure. The message is for people and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The type or code the other side gave its error.
    pub code: Option<String>,
    /// How long the other side asked to wait.
    pub retry_after: Option<Duration>,
    /// How many requests were made.
    pub attempts: u32,
    /// Whether the same request may succeed if it is made again.
    pub again: bool,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let again = matches!(kind, Kind::RateLimit);
        Error {
            kind,
            message: message.into(),
            status: None,
            code: None,
            retry_after: None,
            attempts: 0,
            again,
        }
    }

    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, message)
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, message)
    }

    /// Marks it as worth another try.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.again = true;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Types and codes by which services say that the balance is used up.
const QUOTA: [&str; 3] = ["exceeded_current_quota_error", "insufficient_quota", "billing_hard_limit_reached"];

/// Explains an answer whose status is not 2xx, after Moonshot's table of errors
/// (<https://platform.kimi.ai/docs/api/errors>), which other services share in the main.
///
/// `who` names the other side. `secrets` are masked in what it says.
pub fn explain(
    who: &str,
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
    secrets: &[&Secret],
) -> Error {
    let fault = serde_json::from_slice::<Value>(body).ok();
    // Some put it into a list.
    let fault = fault.as_ref().map(|value| value.get(0).unwrap_or(value));
    let fault = fault.map(|value| value.get("error").unwrap_or(value));
    let text = |key: &str| fault.and_then(|fault| fault.get(key)).and_then(Value::as_str);
    let said =
        text("message").or_else(|| fault.and_then(Value::as_str)).or_else(|| text("detail")).unwrap_or("");
    let names = [text("type").unwrap_or(""), text("code").unwrap_or("")];
    let used_up = names.iter().any(|name| QUOTA.contains(name));
    let (kind, what, again) = match status {
        403 | 429 if used_up => (Kind::Quota, "says that the quota is used up", false),
        300..=399 => (
            Kind::Configuration,
            "answered with a redirect, which is not followed: configure its target",
            false,
        ),
        401 => (Kind::Authentication, "does not accept the key", false),
        403 => (Kind::Authentication, "does not permit this with the key", false),
        402 => (Kind::Quota, "says that the balance is used up", false),
        404 => (Kind::Configuration, "does not know the model or the path", false),
        429 => (Kind::RateLimit, "has no capacity for more requests now", true),
        408 | 504 => (Kind::Timeout, "took too long, it says", true),
        400 | 405..=407 | 409..=428 | 430..=499 => (Kind::Refused, "refused the request", false),
        500..=599 => (Kind::Upstream, "failed", status != 501 && status != 505),
        _ => (Kind::Upstream, "answered with an unexpected status", false),
    };
    let said = clean(said, 300, secrets);
    let colon = if said.is_empty() { "" } else { ": " };
    let code = names.into_iter().find(|name| !name.is_empty()).map(|name| clean(name, 64, secrets));
    Error {
        message: format!("{who} {what} (HTTP {status}){colon}{said}"),
        status: Some(status),
        code,
        retry_after,
        again,
        ..Error::new(kind, "")
    }
}

/// The longest wait that is told.
const DAY: Duration = Duration::from_secs(86_400);

/// Reads `Retry-After` (RFC 9110, 10.2.3) or `X-RateLimit-Reset`; at most a day.
pub fn wait_asked_for<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<Duration> {
    wait_from(header, SystemTime::now())
}

fn wait_from<'h>(header: impl Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Duration> {
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
    if let Some(text) = header("retry-after").map(str::trim) {
        let date = || Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default());
        let wait = seconds(text).map(|s| Duration::from_secs_f64(s.min(DAY.as_secs_f64()))).or_else(date);
        if wait.is_some() {
            return wait.map(|wait| wait.min(DAY));
        }
    }
    // Some mean an instant by it, in epoch seconds.
    let wait = seconds(header("x-ratelimit-reset")?.trim())?;
    (wait <= DAY.as_secs_f64()).then(|| Duration::from_secs_f64(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> (Kind, bool) {
        let error = explain("K2", status, body.as_bytes(), None, &[]);
        (error.kind, error.again)
    }

    #[test]
    fn the_table_of_errors() {
        let typed = |name: &str| format!(r#"{{"error":{{"type":"{name}","message":"m"}}}}"#);
        assert_eq!(kind(400, &typed("content_filter")), (Kind::Refused, false));
        assert_eq!(kind(401, &typed("invalid_authentication_error")), (Kind::Authentication, false));
        assert_eq!(kind(403, &typed("permission_denied_error")), (Kind::Authentication, false));
        assert_eq!(kind(404, &typed("resource_not_found_error")), (Kind::Configuration, false));
        assert_eq!(kind(429, &typed("rate_limit_reached_error")), (Kind::RateLimit, true));
        assert_eq!(kind(429, &typed("engine_overloaded_error")), (Kind::RateLimit, true));
        assert_eq!(kind(429, &typed("exceeded_current_quota_error")), (Kind::Quota, false));
        assert_eq!(kind(429, r#"{"error":{"code":"insufficient_quota"}}"#), (Kind::Quota, false));
        assert_eq!(kind(403, &typed("exceeded_current_quota_error")), (Kind::Quota, false));
        assert_eq!(kind(429, &format!("[{}]", typed("insufficient_quota"))), (Kind::Quota, false));
        assert_eq!(kind(500, "<html>"), (Kind::Upstream, true));
        assert_eq!(kind(501, ""), (Kind::Upstream, false));
        assert_eq!(kind(302, ""), (Kind::Configuration, false));
    }

    #[test]
    fn what_the_other_side_says_is_told_without_the_key() {
        let key = Secret::new("sk-123456");
        let body = br#"{"error":{"type":"incorrect_api_key_error","message":"bad key sk-123456\nsee docs"}}"#;
        let error = explain("K2", 401, body, None, &[&key]);
        assert_eq!(error.message, "K2 does not accept the key (HTTP 401): bad key *** see docs");
        assert_eq!(error.code.as_deref(), Some("incorrect_api_key_error"));
        assert!(!format!("{error:?}").contains("123456"));
    }

    #[test]
    fn waits() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let instant = httpdate::parse_http_date(date).unwrap();
        let wait = |header: &'static str, value: &'static str, now| {
            wait_from(|name| (name == header).then_some(value), now)
        };
        let after = |value| wait("retry-after", value, instant);
        assert_eq!(after(" 1.5"), Some(Duration::from_millis(1500)));
        assert_eq!((after("999999999"), after("inf")), (Some(DAY), Some(DAY)));
        assert_eq!(wait("retry-after", date, instant - Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", date, instant + Duration::from_secs(7)), Some(Duration::ZERO));
        assert_eq!(wait("retry-after", date, SystemTime::UNIX_EPOCH), Some(DAY));
        for value in ["-1", "NaN", "", "soon", "Wed, 21 Oct"] {
            assert_eq!(after(value), None, "{value}");
        }
        assert_eq!(wait("x-ratelimit-reset", "2", instant), Some(Duration::from_secs(2)));
        assert_eq!(wait("x-ratelimit-reset", "1758412805", instant), None);
    }
}
