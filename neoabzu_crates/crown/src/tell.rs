//! What is told without asking anybody: a decision, and how the servants do.

use std::time::Instant;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::request::Request;
use crate::router::Router;
use crate::servants::Servant;
use crate::trace::Trace;
use crate::trail::rounded;

impl Router {
    /// Decides for a text, and tells it: `{model, servant, reason, memory, core, latency_seconds}`.
    ///
    /// # Errors
    /// Those of [`Request::of_text`] and [`Router::decide`].
    pub fn route_decision(&self, text: &str, context: Value, trace: Trace) -> Result<Value, Fault> {
        let began = Instant::now();
        let request = trace.watch(Request::of_text(text, context, self.config().max_text))?.traced(trace);
        let decision = request.trace.watch(self.decide(&request))?;
        let picked = self.pick(&decision.first, began).or_else(|| self.pick(&decision.others, began));
        let (servant, model, reason) = match (picked, self.kimicho()) {
            (Some(index), _) => {
                let servant = &self.config().servants[index];
                let chosen = decision.first.contains(&index);
                let reason = if chosen {
                    decision.reason
                } else {
                    format!("{}, and none it chooses is healthy", decision.reason)
                };
                (json!(servant.name), json!(servant.model), reason)
            }
            (None, Some(client)) if decision.kimicho => {
                let reason = format!("{}, and no servant is healthy", decision.reason);
                (json!("kimicho"), json!(client.settings().model), reason)
            }
            _ => (Value::Null, Value::Null, format!("{}, and nobody is healthy", decision.reason)),
        };
        request.trace.set("crown.servant", servant.as_str().unwrap_or(""));
        Ok(json!({
            "model": model,
            "servant": servant,
            "reason": reason,
            "memory": decision.recalled,
            "core": {"rule": decision.rule, "errors": decision.errors, "seconds": rounded(decision.rules_time)},
            "latency_seconds": rounded(began.elapsed()),
        }))
    }

    /// How the servants do.
    pub fn status(&self) -> Value {
        let entry = |(index, servant): (usize, &Servant)| {
            let health = self.health(index);
            let (requests, errors) = health.counts();
            json!({
                "name": servant.name, "model": servant.model, "url": servant.endpoint.shown(),
                "capabilities": servant.capabilities, "weight": servant.weight, "healthy": health.healthy(),
                "latency_seconds": health.latency(), "under_way": health.under_way(),
                "requests": requests, "errors": errors,
            })
        };
        self.config().servants.iter().enumerate().map(entry).collect()
    }
}
