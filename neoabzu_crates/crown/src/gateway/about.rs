//! What the gateway tells of itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value, json};

use super::Shared;
use super::reply::{error, json as reply};
use crate::request::ROUTED;

/// `GET /v1/models`.
pub async fn models(State(shared): State<Arc<Shared>>) -> Response {
    reply(200, &json!({"object": "list", "data": entries(&shared)}))
}

/// `GET /v1/models/NAME`.
pub async fn model(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    match entries(&shared).into_iter().find(|entry| entry["id"] == name.as_str()) {
        Some(entry) => reply(200, &entry),
        None => error(404, "model_not_found", "there is no model of this name; /v1/models lists them"),
    }
}

fn entries(shared: &Shared) -> Vec<Value> {
    let config = shared.router.config();
    let servants = config.servants.iter().map(|servant| (servant.name.as_str(), "servant"));
    let kimicho = config.kimicho.iter().map(|_| ("kimicho", "kimicho"));
    let routed = ROUTED[..1].iter().map(|name| (*name, "crown"));
    let entry =
        |(id, owner)| json!({"id": id, "object": "model", "created": shared.started, "owned_by": owner});
    routed.chain(servants).chain(kimicho).map(entry).collect()
}

/// `GET /healthz`: this process answers.
pub async fn healthz() -> Response {
    reply(200, &json!({"status": "ok"}))
}

/// `GET /readyz`: there is somebody to ask. A servant has to have been heard for that, by a look or a request.
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let servants = shared.router.config().servants.iter().enumerate();
    let ready = |index| shared.router.health(index).ready();
    let health: Map<String, Value> =
        servants.map(|(index, servant)| (servant.name.clone(), ready(index).into())).collect();
    let kimicho = shared.router.kimicho().is_some();
    let ready = kimicho || health.values().any(|healthy| *healthy == Value::Bool(true));
    let status = if ready { "ready" } else { "no servant is healthy" };
    reply(if ready { 200 } else { 503 }, &json!({"status": status, "servants": health, "kimicho": kimicho}))
}

/// `GET /metrics`.
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(text) = shared.metrics.text(&shared.router) else {
        return error(500, "internal", "the metrics cannot be written");
    };
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub async fn nothing_here() -> Response {
    error(404, "not_found", "there is nothing at this path")
}

pub async fn not_this_way() -> Response {
    error(405, "method", "this path is not asked with this method")
}
