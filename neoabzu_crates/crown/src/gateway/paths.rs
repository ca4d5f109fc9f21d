//! The paths of the gateway, and the way of every request to one of them.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use axum::routing::{any, get};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::reply::refusal;
use super::{Shared, about, completions, socket};

const COMPLETIONS: &str = "/v1/chat/completions";
/// Where a websocket is spoken.
pub const SOCKET: &str = "/crown";

/// Where requests go, for one thread.
pub struct Paths {
    shared: Arc<Shared>,
    others: TowerToHyperService<axum::Router>,
}

impl Paths {
    pub fn new(shared: &Arc<Shared>) -> Paths {
        let others = axum::Router::new()
            .route(COMPLETIONS, any(about::not_this_way))
            .route("/v1/models", get(about::models))
            .route("/v1/models/{*name}", get(about::model))
            .route("/healthz", get(about::healthz))
            .route("/readyz", get(about::readyz))
            .route("/metrics", get(about::metrics))
            .route(SOCKET, get(socket::crown))
            .fallback(about::nothing_here)
            .method_not_allowed_fallback(about::not_this_way)
            .with_state(shared.clone());
        Paths { shared: shared.clone(), others: TowerToHyperService::new(others) }
    }

    /// Has a request answered. The path that nearly all of them take is not looked up in the table.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let path = known(request.uri().path());
        let response = match refusal(&self.shared, request.headers(), path) {
            Some(response) => response,
            None if path == COMPLETIONS && request.method() == Method::POST => {
                Box::pin(completions::complete(&self.shared, request)).await
            }
            None => {
                let Ok(response) = self.others.call(request.map(Body::new)).await;
                response
            }
        };
        self.shared.metrics.request(path, response.status().as_u16());
        response
    }
}

/// The path as it is counted: callers must not be able to make new series.
fn known(path: &str) -> &'static str {
    const PATHS: [&str; 6] = [COMPLETIONS, "/v1/models", "/healthz", "/readyz", "/metrics", SOCKET];
    PATHS.into_iter().find(|known| *known == path).unwrap_or("other")
}
