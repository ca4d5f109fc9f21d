//! A request as it comes in: checked before anything else looks at it.

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::trace::Trace;

/// Names by which a client leaves the choice of the model to the router.
pub const ROUTED: [&str; 2] = ["crown", "auto"];

/// A chat completion that is asked for.
#[derive(Debug)]
pub struct Request {
    /// What goes to the servant, but for its `model`.
    pub body: Map<String, Value>,
    /// The last message of the user: what rules look at.
    pub text: String,
    /// All text of the request: what policies look at.
    pub whole: String,
    pub context: Value,
    /// The servant or model asked for; `None` leaves it to the rules.
    pub model: Option<String>,
    pub stream: bool,
    /// Where it stands in its trace.
    pub trace: Trace,
}

impl Request {
    /// Makes a request of one text.
    ///
    /// # Errors
    /// [`Fault::Invalid`] for blank text, text with a NUL, or more than `max_text` bytes of it.
    pub fn of_text(text: &str, context: Value, max_text: usize) -> Result<Request, Fault> {
        let body = json!({"messages": [{"role": "user", "content": text}]});
        Self::of_body(body, max_text).and_then(|request| request.within(context))
    }

    /// Takes apart the body of a `POST /v1/chat/completions`. `context` is ours and is not passed on;
    /// without it the standard `metadata` is the context.
    ///
    /// # Errors
    /// [`Fault::Invalid`], which says what is wrong.
    pub fn of_body(body: Value, max_text: usize) -> Result<Request, Fault> {
        let Value::Object(mut body) = body else {
            return Err(Fault::invalid("the body is not a JSON object"));
        };
        let context =
            body.shift_remove("context").or_else(|| body.get("metadata").cloned()).unwrap_or(Value::Null);
        let model = match body.shift_remove("model") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name).filter(|name| !ROUTED.contains(&name.as_str())),
            Some(_) => return Err(Fault::invalid("model: expected text")),
        };
        let stream = match body.shift_remove("stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => stream,
            Some(_) => return Err(Fault::invalid("stream: expected true or false")),
        };
        if !matches!(body.get("tools"), None | Some(Value::Null | Value::Array(_))) {
            return Err(Fault::invalid("tools: expected a list"));
        }
        let (text, whole) = texts(body.get("messages"))?;
        if whole.len() > max_text {
            return Err(Fault::too_large(format!(
                "the text has {} bytes; at most {max_text} are routed",
                whole.len()
            )));
        }
        if whole.contains('\0') {
            return Err(Fault::invalid("the text holds a NUL character"));
        }
        Request { body, text, whole, context: Value::Null, model, stream, trace: Trace::default() }
            .within(context)
    }

    fn within(mut self, context: Value) -> Result<Request, Fault> {
        self.context = match context {
            Value::Null => json!({}),
            Value::Object(_) => context,
            _ => return Err(Fault::invalid("context: expected an object")),
        };
        Ok(self)
    }

    /// Notes the trace it belongs to.
    #[must_use]
    pub fn traced(self, trace: Trace) -> Request {
        Request { trace, ..self }
    }
}

/// The last text of the user, and all text.
fn texts(messages: Option<&Value>) -> Result<(String, String), Fault> {
    let messages = messages.ok_or_else(|| Fault::invalid("messages: is missing"))?;
    let messages = messages.as_array().ok_or_else(|| Fault::invalid("messages: expected a list"))?;
    if messages.is_empty() {
        return Err(Fault::invalid("messages: the list is empty"));
    }
    let mut last = String::new();
    let mut whole = String::new();
    let mut something = false;
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str);
        let Some(role) = role.filter(|role| !role.is_empty()) else {
            return Err(Fault::invalid(format!("messages[{at}]: expected an object with a role")));
        };
        let (text, other) = text_of(message, at)?;
        something |= other || !text.trim().is_empty();
        whole.push_str(&text);
        whole.push('\n');
        if role == "user" || at == 0 {
            last = text;
        }
    }
    whole.pop();
    if !something {
        return Err(Fault::invalid("the text is empty"));
    }
    Ok((last, whole))
}

/// The text of a message, and whether it holds something besides.
fn text_of(message: &Value, at: usize) -> Result<(String, bool), Fault> {
    let calls = message.get("tool_calls").is_some_and(|calls| !calls.is_null());
    match message.get("content") {
        None | Some(Value::Null) => Ok((String::new(), calls)),
        Some(Value::String(text)) => Ok((text.clone(), calls)),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            Ok((texts.join("\n"), calls || texts.len() < parts.len()))
        }
        Some(_) => Err(Fault::invalid(format!("messages[{at}].content: expected text or a list of parts"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> Result<Request, Fault> {
        Request::of_body(body, 1000)
    }

    #[test]
    fn what_rules_and_policies_look_at() {
        let request = request(json!({
            "model": "crown", "metadata": {"emotion": "joy"}, "stream": true,
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image_url"}]},
                {"role": "assistant", "content": null, "tool_calls": []},
                {"role": "tool", "content": "result"},
            ],
        }))
        .unwrap();
        assert_eq!((request.text.as_str(), request.whole.as_str()), ("one", "be kind\none\n\nresult"));
        assert_eq!((request.model, request.stream, request.context), (None, true, json!({"emotion": "joy"})));
        assert!(request.body.contains_key("metadata") && !request.body.contains_key("stream"));
    }

    #[test]
    fn what_is_refused() {
        let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        for body in [
            json!([]),
            json!({}),
            json!({"messages": 1}),
            json!({"messages": []}),
            json!({"messages": [1]}),
            json!({"messages": [{"content": "x"}]}),
            user(json!("")),
            user(json!(" \n\u{3000}")),
            user(json!([])),
            user(json!(7)),
            user(json!("a\u{0}b")),
            json!({"messages": [{"role": "user", "content": "x"}], "model": 7}),
            json!({"messages": [{"role": "user", "content": "x"}], "stream": "yes"}),
            json!({"messages": [{"role": "user", "content": "x"}], "context": []}),
            json!({"messages": [{"role": "user", "content": "x"}], "tools": {}}),
        ] {
            assert_eq!(request(body.clone()).unwrap_err().status(), 400, "{body}");
        }
        assert_eq!(request(user(json!("x".repeat(1001)))).unwrap_err().status(), 413);
    }
}
