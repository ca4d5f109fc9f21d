//! What is counted, in OpenMetrics.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::router::Router;

/// Upper bounds in seconds: from a small model on this machine to a long answer.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempt {
    servant: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Servant {
    servant: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handshake {
    status: &'static str,
}

/// The counters of one gateway.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    attempts: Family<Attempt, Counter>,
    seconds: Family<Servant, Histogram>,
    healthy: Family<Servant, Gauge>,
    under_way: Family<Servant, Gauge>,
    latency: Family<Servant, Gauge<f64, AtomicU64>>,
    handshakes: Family<Handshake, Counter>,
    pub connections: Gauge,
    pub turned_away: Counter,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("crown"),
            requests: Family::default(),
            attempts: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            healthy: Family::default(),
            under_way: Family::default(),
            latency: Family::default(),
            handshakes: Family::default(),
            connections: Gauge::default(),
            turned_away: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests answered, by path and status", metrics.requests.clone());
        registry.register("attempts", "Requests to servants, by outcome", metrics.attempts.clone());
        registry.register_with_unit(
            "attempt",
            "Time to an answer or its first event",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "servant_healthy",
            "1 if the servant was heard, as in /readyz, and is not left alone for its failures",
            metrics.healthy.clone(),
        );
        registry.register(
            "servant_under_way",
            "Requests to the servant under way",
            metrics.under_way.clone(),
        );
        registry.register_with_unit(
            "servant_latency",
            "Average latency of the servant",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("handshakes", "Mission briefs answered, by status", metrics.handshakes.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections closed for want of room",
            metrics.turned_away.clone(),
        );
        metrics
    }

    pub fn request(&self, path: &'static str, status: u16) {
        self.requests.get_or_create(&Request { path, status }).inc();
    }

    pub fn attempt(&self, servant: &str, outcome: &'static str, seconds: f64) {
        self.attempts.get_or_create(&Attempt { servant: servant.to_owned(), outcome }).inc();
        self.seconds.get_or_create(&Servant { servant: servant.to_owned() }).observe(seconds);
    }

    pub fn handshake(&self, status: &'static str) {
        self.handshakes.get_or_create(&Handshake { status }).inc();
    }

    /// The text of <https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0.0.
    ///
    /// # Errors
    /// Never, unless a label cannot be written.
    pub fn text(&self, router: &Router) -> Result<String, fmt::Error> {
        for (index, servant) in router.config().servants.iter().enumerate() {
            let label = Servant { servant: servant.name.clone() };
            let health = router.health(index);
            self.healthy.get_or_create(&label).set(i64::from(health.ready()));
            self.under_way.get_or_create(&label).set(i64::from(health.under_way()));
            if let Some(latency) = health.latency() {
                self.latency.get_or_create(&label).set(latency);
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
