//! Responses, and who gets none: the checks before any request is looked at.

use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::Shared;
use crate::fault::Fault;

pub fn json(status: u16, value: &Value) -> Response {
    // Writing to memory does not fail.
    text(status, serde_json::to_vec(value).unwrap_or_default())
}

/// A response with JSON that is written out.
pub fn text(status: u16, json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error in the form of the OpenAI API.
pub fn error(status: u16, code: &str, message: &str) -> Response {
    let type_ = if status >= 500 { "server_error" } else { "invalid_request_error" };
    json(status, &json!({"error": {"message": message, "type": type_, "param": null, "code": code}}))
}

pub fn fault(fault: &Fault) -> Response {
    let mut response = json(fault.status(), &fault.body());
    if let Some(seconds) = fault.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Refuses what a web page could send (a foreign Host, any Origin) and who does not show the token.
pub fn refusal(shared: &Shared, headers: &HeaderMap, path: &str) -> Option<Response> {
    if shared.loopback && !headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_loopback)) {
        return Some(error(421, "host", "this server answers to its loopback address only"));
    }
    if headers.contains_key(ORIGIN) {
        return Some(error(403, "origin", "browsers are not served"));
    }
    let token = shared.settings.token.as_ref().filter(|_| !matches!(path, "/healthz" | "/readyz"))?;
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let right = match (shown.next().and_then(|value| bearer(value.as_bytes())), shown.next()) {
        (Some(shown), None) => bool::from(shown.ct_eq(token.expose().as_bytes())),
        _ => false,
    };
    if right {
        return None;
    }
    let mut response =
        error(401, "invalid_api_key", "a bearer token is needed, and it must be the right one");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

/// The token of bearer credentials. The name of the scheme may be written as one likes (RFC 9110, 11.1).
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii_start())
}

/// Whether a Host header names this machine: other names may have been bent to its address.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
