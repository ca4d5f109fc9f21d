//! A whole answer as the events of a stream.

use serde_json::{Map, Value, json};

/// Makes the events; with `usage`, the counts of tokens come last.
pub fn as_events(answer: &Value, usage: bool) -> String {
    let mut head = Map::new();
    for key in ["id", "created", "model"] {
        head.insert(key.into(), answer.get(key).cloned().unwrap_or(Value::Null));
    }
    head.insert("object".into(), "chat.completion.chunk".into());
    for key in ["system_fingerprint", "service_tier"] {
        if let Some(value) = answer.get(key) {
            head.insert(key.into(), value.clone());
        }
    }
    let event = |choices: Value, more: Option<(&str, &Value)>| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), choices);
        if let Some((key, value)) = more {
            chunk.insert(key.into(), value.clone());
        }
        format!("data: {}\n\n", Value::Object(chunk))
    };
    let mut events = String::new();
    for (place, choice) in answer.get("choices").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let index = choice.get("index").and_then(Value::as_u64).map_or_else(|| place.into(), Value::from);
        let mut delta = choice.get("message").cloned().unwrap_or_else(|| json!({}));
        for (index, call) in
            delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            call["index"] = index.into();
        }
        let reason = choice.get("finish_reason").filter(|reason| reason.is_string()).cloned();
        let mut begun = json!({"index": index, "delta": delta, "finish_reason": null});
        if let Some(logprobs) = choice.get("logprobs") {
            begun["logprobs"] = logprobs.clone();
        }
        events += &event(json!([begun]), answer.get("crown").map(|c| ("crown", c)));
        events += &event(
            json!([{"index": index, "delta": {}, "finish_reason": reason.unwrap_or_else(|| "stop".into())}]),
            None,
        );
    }
    if let Some(counts) = answer.get("usage").filter(|_| usage) {
        events += &event(json!([]), Some(("usage", counts)));
    }
    events + "data: [DONE]\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(answer: &Value) -> Vec<Value> {
        let events = as_events(answer, true);
        assert!(events.ends_with("data: [DONE]\n\n"));
        events.lines().filter_map(|l| serde_json::from_str(l.strip_prefix("data: ")?).ok()).collect()
    }

    #[test]
    fn an_answer_becomes_events() {
        let answer = json!({"id": "x", "choices": [{"message": {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c"}]},
                            "finish_reason": "tool_calls"}], "usage": {"n": 1}});
        let chunks = chunks(&answer);
        assert_eq!(chunks[0]["choices"][0]["delta"]["tool_calls"][0], json!({"id": "c", "index": 0}));
        assert_eq!(chunks[1]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((chunks.len(), &chunks[2]["usage"]), (3, &json!({"n": 1})));
    }

    #[test]
    fn what_clients_read_besides_the_text_is_kept() {
        let logprobs = json!({"content": []});
        let answer = json!({"system_fingerprint": "fp", "choices": [
            {"index": 1, "message": {"content": "ONE"}, "logprobs": logprobs},
            {"index": 0, "message": {"content": "ZERO"}},
            {"message": {"content": "TWO"}},
        ]});
        let chunks = chunks(&answer);
        let indices: Vec<u64> = chunks.iter().map(|c| c["choices"][0]["index"].as_u64().unwrap()).collect();
        assert_eq!(indices, [1, 1, 0, 0, 2, 2]);
        assert_eq!(
            (&chunks[0]["choices"][0]["logprobs"], &chunks[2]["choices"][0].get("logprobs")),
            (&logprobs, &None)
        );
        assert!(chunks.iter().all(|chunk| chunk["system_fingerprint"] == "fp"));
    }
}
