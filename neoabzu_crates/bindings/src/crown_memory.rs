//! The router's memory.

use std::sync::Arc;

use neoabzu_crown::{Recall, RecallSettings};

/// Opens what the router recalls from.
pub fn open(settings: &RecallSettings) -> Result<Option<Arc<dyn Recall>>, String> {
    match settings.path {
        None => Ok(None),
        Some(_) => Err("memory.path: this build has no memory bundle".to_owned()),
    }
}
