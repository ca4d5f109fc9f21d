//! The body of a request for a chat completion, written out once however many are asked.

use serde_json::{Map, Value};

/// All of a body but what differs from one who is asked to the next: the model, unless it is given, and `stream`.
#[derive(Clone, Debug)]
pub struct Body {
    messages: String,
    /// `,"name":value` of every other member.
    others: String,
    model: Option<String>,
    /// It goes with a stream only.
    stream_options: Option<String>,
    tools: bool,
}

impl Body {
    /// `messages` is the JSON of a list.
    pub fn new(messages: String) -> Body {
        Body { messages, others: String::new(), model: None, stream_options: None, tools: false }
    }

    /// Adds another member than the messages, with its JSON.
    pub fn add(&mut self, name: &str, json: &str) {
        match name {
            "model" => self.model = Some(json.to_owned()),
            "stream" => {}
            "stream_options" => self.stream_options = Some(json.to_owned()),
            _ => {
                let filled = |list: &str| !list.trim_start().starts_with(']');
                self.tools |= name == "tools" && json.strip_prefix('[').is_some_and(filled);
                push(&mut self.others, name, json);
            }
        }
    }

    /// Whether it offers any tools.
    pub fn offers_tools(&self) -> bool {
        self.tools
    }

    /// The same with a message before the others.
    #[must_use]
    pub fn after(&self, message: &Value) -> Body {
        let rest = self.messages.trim_start();
        let rest = rest.strip_prefix('[').unwrap_or(rest);
        let comma = if rest.trim_start().starts_with(']') { "" } else { "," };
        Body { messages: format!("[{message}{comma}{rest}"), ..self.clone() }
    }

    /// What is sent. `model` is asked for unless the body names one.
    pub fn text(&self, model: Option<&str>, stream: bool) -> String {
        let mut text = String::with_capacity(self.messages.len() + self.others.len() + 128);
        text.push('{');
        text.push_str("\"messages\":");
        text.push_str(&self.messages);
        text.push_str(&self.others);
        match (&self.model, model) {
            (Some(json), _) => push(&mut text, "model", json),
            (None, Some(name)) => push(&mut text, "model", &quoted(name)),
            (None, None) => {}
        }
        if stream {
            if let Some(json) = &self.stream_options {
                push(&mut text, "stream_options", json);
            }
            push(&mut text, "stream", "true");
        }
        text.push('}');
        text
    }
}

/// Without `messages` there are none.
impl From<&Map<String, Value>> for Body {
    fn from(fields: &Map<String, Value>) -> Body {
        let mut body = Body::new(fields.get("messages").map_or_else(|| "[]".to_owned(), Value::to_string));
        for (name, value) in fields.iter().filter(|(name, _)| *name != "messages") {
            body.add(name, &value.to_string());
        }
        body
    }
}

fn push(text: &mut String, name: &str, json: &str) {
    text.push(',');
    text.push_str(&quoted(name));
    text.push(':');
    text.push_str(json);
}

/// A text as JSON. Writing to memory does not fail.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(fields: &Value, model: Option<&str>, stream: bool) -> Value {
        serde_json::from_str(&Body::from(fields.as_object().unwrap()).text(model, stream)).unwrap()
    }

    #[test]
    fn what_is_sent() {
        let messages = json!([{"role": "user", "content": "\"a\nb"}]);
        let fields = json!({"n\"": 1, "messages": messages, "stream": "?", "stream_options": {"x": 1}});
        assert_eq!(sent(&fields, Some("m"), false), json!({"messages": messages, "n\"": 1, "model": "m"}));
        assert_eq!(
            sent(&fields, None, true),
            json!({"messages": messages, "n\"": 1, "stream_options": {"x": 1}, "stream": true})
        );
        assert_eq!(sent(&json!({"model": "own"}), Some("m"), false), json!({"messages": [], "model": "own"}));
    }

    #[test]
    fn a_message_before_the_others() {
        let system = json!({"role": "system", "content": "]"});
        for list in ["[]", "[ ]", "[1,[2]]", "[[2]]", " [ \"]\" ]"] {
            let mut expected: Vec<Value> = serde_json::from_str(list).unwrap();
            expected.insert(0, system.clone());
            let body = Body::new(list.to_owned()).after(&system).text(None, false);
            assert_eq!(
                serde_json::from_str::<Value>(&body).unwrap(),
                json!({"messages": expected}),
                "{list}"
            );
        }
    }

    #[test]
    fn tools_that_are_offered() {
        for (json, offered) in [("null", false), ("[]", false), ("[ \n]", false), ("[{}]", true)] {
            let mut body = Body::new("[]".to_owned());
            body.add("tools", json);
            assert_eq!(body.offers_tools(), offered, "{json}");
        }
    }
}
