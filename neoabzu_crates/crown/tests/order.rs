//! The order of a decision: validation, one memory query, the rules, health.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use neoabzu_crown::{Config, Fault, Recall, Request, Router, Trace};
use serde_json::{Value, json};

/// Remembers what it was asked.
#[derive(Debug, Default)]
struct Asked {
    texts: Mutex<Vec<String>>,
    limit: AtomicUsize,
}

impl Recall for Asked {
    fn recall(&self, text: &str, limit: usize, _: Duration) -> Value {
        self.texts.lock().unwrap().push(text.to_owned());
        self.limit.store(limit, Ordering::Relaxed);
        json!({"hits": [{"text": "it was the disk", "layer": "episodic"}], "failed_layers": {}, "elapsed": 0.0})
    }
}

fn router(extra: Value) -> (Arc<Router>, Arc<Asked>) {
    let memory = Arc::new(Asked::default());
    let mut config = json!({"servants": [{"name": "a", "url": "http://127.0.0.1:1"}], "kimicho": false});
    if let (Value::Object(config), Value::Object(extra)) = (&mut config, extra) {
        config.extend(extra);
    }
    let config = Config::read(&config, &|_| None).unwrap();
    (Arc::new(Router::new(config, Some(memory.clone())).unwrap()), memory)
}

#[test]
fn there_is_one_query_for_a_decision_and_it_is_told() {
    let rules = json!([{"when": "text == 'x'", "use": ["a"]}, {"use": ["a"]}]);
    let (router, memory) = router(json!({"rules": rules, "memory": {"limit": 7}}));
    let decision = router.route_decision("why is it slow?", Value::Null, Trace::default()).unwrap();
    assert_eq!(*memory.texts.lock().unwrap(), ["why is it slow?"]);
    assert_eq!(memory.limit.load(Ordering::Relaxed), 7);
    assert_eq!(decision["memory"]["hits"][0]["text"], "it was the disk");
    assert_eq!(decision["servant"], "a");
}

#[test]
fn what_validation_refuses_is_not_recalled() {
    let (router, memory) = router(json!({"policies": [{"refuse": "text.contains('secret')"}]}));
    for text in ["", "a\0b", "the secret plan"] {
        router.route_decision(text, Value::Null, Trace::default()).unwrap_err();
    }
    let body = json!({"messages": [{"role": "user", "content": "the secret plan"}]});
    let request = Request::of_body(&body.to_string(), 1000).unwrap();
    assert!(matches!(router.complete(&request), Err(Fault::Refused { status: 403, .. })));
    assert!(memory.texts.lock().unwrap().is_empty());
}

#[test]
fn a_rule_that_refuses_comes_after_the_query() {
    let (router, memory) = router(json!({"rules": [{"choose": "context.wanted", "only": true}]}));
    let refused = router.route_decision("hello", Value::Null, Trace::default()).unwrap_err();
    assert_eq!((refused.status(), refused.code()), (403, "rule"));
    assert_eq!(memory.texts.lock().unwrap().len(), 1);
}
