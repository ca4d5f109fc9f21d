//! The router's memory: what the bundle's file holds is looked up, and what fails is told, not raised.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use neoabzu_crown::{Recall, RecallSettings};
use neoabzu_kimicho::serde_json::{self, Map, Value, json};
use neoabzu_memory::{Answer, BUSY_TIMEOUT, Bundle, Layer, MAX_DEADLINE, MAX_LIMIT, MAX_TEXT, Query};

/// Prepares what the router recalls from; the file is opened when it is first asked, and need not be there yet.
pub fn open(settings: &RecallSettings) -> Result<Option<Arc<dyn Recall>>, String> {
    let Some(path) = &settings.path else { return Ok(None) };
    if !(1..=MAX_LIMIT).contains(&settings.limit) {
        return Err(format!("memory.limit: found {}, expected 1 to {MAX_LIMIT}", settings.limit));
    }
    if settings.deadline > MAX_DEADLINE {
        let most = MAX_DEADLINE.as_secs();
        return Err(format!(
            "memory.deadline: found {} s, expected at most {most} s",
            settings.deadline.as_secs_f64()
        ));
    }
    let bundle = Bundle::new(Path::new(path), BUSY_TIMEOUT);
    let bundle = bundle.map_err(|error| format!("memory.path: {}", error.message))?;
    Ok(Some(Arc::new(Memory(bundle))))
}

#[derive(Debug)]
struct Memory(Bundle);

impl Recall for Memory {
    fn recall(&self, text: &str, limit: usize, deadline: Duration) -> Value {
        let text = beginning(text);
        if text.trim().is_empty() {
            return told(&Answer::default());
        }
        if !self.0.path().exists() {
            // A query would make the file, and a wrong path would never be noticed.
            return failed(&format!("there is no memory file at {}", self.0.path().display()));
        }
        let query = Query { limit, deadline, ..Query::new(text) };
        match catch_unwind(AssertUnwindSafe(|| self.0.query(&query))) {
            Ok(Ok(answer)) => told(&answer),
            Ok(Err(error)) => failed(&error.message),
            Err(_) => failed("the memory failed; this is a defect of it, not of the request"),
        }
    }
}

/// As much of a text as a query may have.
fn beginning(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn told(answer: &Answer) -> Value {
    let hits = answer.hits.iter().map(|hit| {
        let metadata: Value = serde_json::from_str(&hit.metadata).unwrap_or(Value::Null);
        json!({
            "layer": hit.id.layer.name(), "id": hit.id.to_string(), "score": hit.score, "text": hit.text,
            "metadata": metadata, "created": hit.created,
        })
    });
    let failed = answer.failed_layers.iter();
    let failed: Map<String, Value> =
        failed.map(|(layer, error)| (layer.name().to_owned(), error.message.as_str().into())).collect();
    json!({
        "hits": hits.collect::<Vec<_>>(), "failed_layers": failed, "elapsed": answer.elapsed.as_secs_f64(),
    })
}

/// Nothing was found, in no layer, for one reason.
fn failed(reason: &str) -> Value {
    let layers: Map<String, Value> =
        Layer::ALL.into_iter().map(|layer| (layer.name().to_owned(), reason.into())).collect();
    json!({"hits": [], "failed_layers": layers, "elapsed": 0.0})
}
