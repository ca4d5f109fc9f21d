//! A request as it comes in: checked before anything else looks at it.

use neoabzu_kimicho::Body;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::members::{Members, check, parsed};
use crate::texts::{EMPTY, texts};
use crate::trace::Trace;

/// Names by which a client leaves the choice of the model to the router.
pub const ROUTED: [&str; 2] = ["crown", "auto"];

/// A chat completion that is asked for.
#[derive(Debug)]
pub struct Request {
    /// What goes to the servant.
    pub body: Body,
    /// The last message of the user: what rules look at.
    pub text: String,
    /// All text of the request: what policies look at.
    pub whole: String,
    pub context: Value,
    /// The servant or model asked for; `None` leaves it to the rules.
    pub model: Option<String>,
    pub stream: bool,
    /// Whether a stream is to end with the counts of tokens.
    pub usage: bool,
    /// Where it stands in its trace.
    pub trace: Trace,
}

impl Request {
    /// Makes a request of one text.
    ///
    /// # Errors
    /// [`Fault::Invalid`] for blank text, text with a NUL, or more than `max_text` bytes of it.
    pub fn of_text(text: &str, context: Value, max_text: usize) -> Result<Request, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::invalid(EMPTY));
        }
        let body = Body::new(json!([{"role": "user", "content": text}]).to_string());
        Request::new(body, text.to_owned(), text.to_owned(), max_text)?.within(context)
    }

    /// Takes apart the body of a `POST /v1/chat/completions`. `context` is ours and is not passed on;
    /// without it the standard `metadata` is the context. What nobody here needs is passed on as it came.
    ///
    /// # Errors
    /// [`Fault::Invalid`], which says what is wrong.
    pub fn of_body(body: &str, max_text: usize) -> Result<Request, Fault> {
        check(body)?;
        let members = Members::of(body.trim_start())?;
        let members = members.ok_or_else(|| Fault::invalid("the body is not a JSON object"))?;
        let one = |name: &str| members.one(name, "");
        let messages = one("messages")?.ok_or_else(|| Fault::invalid("messages: is missing"))?;
        let (text, whole) = texts(messages)?;
        let (model, stream) = (model(one("model")?)?, stream(one("stream")?)?);
        let usage = usage(one("stream_options")?)?;
        if one("tools")?.is_some_and(|tools| !tools.starts_with('[')) {
            return Err(Fault::invalid("tools: expected a list"));
        }
        let context = one("context")?.or(one("metadata")?).map_or(Ok(Value::Null), parsed)?;
        let mut body = Body::new(messages.to_owned());
        for (name, value) in &members.0 {
            if !matches!(&**name, "messages" | "model" | "stream" | "context") {
                body.add(name, value);
            }
        }
        Request { model, stream, usage, ..Request::new(body, text, whole, max_text)? }.within(context)
    }

    fn new(body: Body, text: String, whole: String, max_text: usize) -> Result<Request, Fault> {
        if whole.len() > max_text {
            return Err(Fault::too_large(format!(
                "the text has {} bytes; at most {max_text} are routed",
                whole.len()
            )));
        }
        if whole.contains('\0') {
            return Err(Fault::invalid("the text holds a NUL character"));
        }
        let (context, trace) = (Value::Null, Trace::default());
        Ok(Request { body, text, whole, context, model: None, stream: false, usage: false, trace })
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

fn model(json: Option<&str>) -> Result<Option<String>, Fault> {
    match json.map_or(Ok(Value::Null), parsed)? {
        Value::Null => Ok(None),
        Value::String(name) => Ok(Some(name).filter(|name| !ROUTED.contains(&name.as_str()))),
        _ => Err(Fault::invalid("model: expected text")),
    }
}

fn stream(json: Option<&str>) -> Result<bool, Fault> {
    match json {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Fault::invalid("stream: expected true or false")),
    }
}

fn usage(options: Option<&str>) -> Result<bool, Fault> {
    let options: Value = options.map_or(Ok(Value::Null), parsed)?;
    Ok(options.get("include_usage") == Some(&Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &Value) -> Result<Request, Fault> {
        Request::of_body(&body.to_string(), 1000)
    }

    #[test]
    fn what_rules_and_policies_look_at() {
        let request = request(&json!({
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
        let sent: Value = serde_json::from_str(&request.body.text(Some("m"), false)).unwrap();
        assert_eq!((&sent["metadata"]["emotion"], &sent["model"]), (&json!("joy"), &json!("m")));
        assert!(sent.get("stream").is_none() && sent.get("context").is_none());
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
            assert_eq!(request(&body).unwrap_err().status(), 400, "{body}");
        }
        assert_eq!(request(&user(json!("x".repeat(1001)))).unwrap_err().status(), 413);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let good = r#"{"messages":[{"role":"user","content":"x"}],"model":"crown","n":1,"n":2}"#;
        assert!(Request::of_body(good, 1000).is_ok());
        for (one, two) in [
            (r#""messages":"#, r#""messages":[],"messages":"#),
            (r#""model":"#, r#""mod\u0065l":"other","model":"#),
            (r#""content":"#, r#""content":"y","content":"#),
            (r#""role":"#, r#""role":"system","role":"#),
            (r#""content":"#, r#""Content":"y","content":"#),
            (r#""n":1"#, r#""MESSAGES":[]"#),
        ] {
            let body = good.replacen(one, two, 1);
            assert_ne!(body, good);
            assert_eq!(Request::of_body(&body, 1000).unwrap_err().status(), 400, "{body}");
        }
    }

    #[test]
    fn text_stays_text() {
        // With the feature `raw_value` of serde_json, whoever turns it on, this would be parsed.
        let context = r#"{"$serde_json::private::RawValue":"[1]"}"#;
        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"context":{context}}}"#);
        assert_eq!(Request::of_body(&body, 1000).unwrap().context.to_string(), context);
    }

    #[test]
    fn what_is_passed_on_is_not_changed() {
        let body = r#"{"seed": 123456789012345678901234567890, "messages": [ {"role": "user", "content": "\u00e9"} ], "t": 1.0}"#;
        let sent = Request::of_body(body, 1000).unwrap().body.text(None, false);
        assert!(
            sent.contains("123456789012345678901234567890")
                && sent.contains("\\u00e9")
                && sent.contains("1.0")
        );
    }
}
