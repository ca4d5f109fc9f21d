//! The places of the connections that there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::metrics::Metrics;

/// The place of one connection; there is room again once the last who holds it lets go. A
/// websocket holds it beyond the HTTP connection that it was.
pub struct Place {
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub fn taken(open: Arc<AtomicUsize>, metrics: Arc<Metrics>, permit: OwnedSemaphorePermit) -> Place {
        metrics.connections.inc();
        Place { open, metrics, permit: Some(permit) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before it is told: who sees that there is room is not turned away.
        drop(self.permit.take());
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}
