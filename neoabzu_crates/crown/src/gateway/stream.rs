//! Server-sent events on their way through: whole lines only, and an end that is told apart from a cut.
//!
//! The format is that of the OpenAI API: `data: {chunk}` per event, `data: [DONE]` last.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, unfold};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use neoabzu_kimicho::{Error, Kind, Secret, clean};
use serde_json::{Map, Value, json};

use crate::complete::UnderWay;
use crate::request::Request;

/// The longest line, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Cuts a byte stream into whole lines and watches for the end mark.
#[derive(Debug, Default)]
pub struct Lines {
    rest: BytesMut,
    done: bool,
}

impl Lines {
    /// Whether the end mark has come.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Takes bytes in and returns the whole lines there are.
    ///
    /// # Errors
    /// A line is too long.
    pub fn feed(&mut self, data: &Bytes) -> Result<Bytes, &'static str> {
        let whole = match data.iter().rposition(|byte| *byte == b'\n') {
            None => {
                self.rest.extend_from_slice(data);
                Bytes::new()
            }
            Some(last) => {
                let head = data.slice(..=last);
                let tail = data.slice(last + 1..);
                let whole = if self.rest.is_empty() {
                    head
                } else {
                    self.rest.extend_from_slice(&head);
                    self.rest.split().freeze()
                };
                self.rest.extend_from_slice(&tail);
                whole
            }
        };
        if self.rest.len() > MAX_LINE {
            return Err("a line of the stream is too long");
        }
        self.done |= whole.split(|byte| *byte == b'\n').any(|line| data_of(line) == Some(b"[DONE]"));
        Ok(whole)
    }
}

/// The contents of a `data:` line.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}

/// The message, without the secrets given, if the first event is an error.
pub fn error_in(lines: &[u8], secrets: &[&Secret]) -> Option<String> {
    let first = lines.split(|byte| *byte == b'\n').find_map(data_of)?;
    let event: Value = serde_json::from_slice(first).ok()?;
    let error = event.get("error").filter(|error| !error.is_null())?;
    let message = error.get("message").unwrap_or(error).as_str().unwrap_or("no message");
    Some(clean(message, 300, secrets))
}

/// An error as an event, after whatever came before it.
pub fn error_event(message: &str) -> Bytes {
    let error = json!({"error": {"message": message, "type": "server_error", "param": null, "code": "stream_broken"}});
    Bytes::from(format!("\ndata: {error}\n\n"))
}

/// A servant's stream that is being passed on.
pub struct Flow {
    pub name: String,
    pub first: Option<Bytes>,
    pub lines: Lines,
    pub body: Incoming,
    pub under_way: Option<UnderWay>,
    /// What it answers; its span ends with the stream.
    pub request: Arc<Request>,
    /// How long the servant may say nothing.
    pub idle: Duration,
}

impl Flow {
    /// The events as they come. A stream that ends without its end mark ends with an error event.
    pub fn events(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        unfold(Some(self), |flow| async move {
            let mut flow = flow?;
            if let Some(first) = flow.first.take() {
                return Some((Ok(first), Some(flow)));
            }
            loop {
                let frame = tokio::time::timeout(flow.idle, flow.body.frame()).await;
                let fault = match frame {
                    Ok(Some(Ok(frame))) => match frame.into_data().map(|data| flow.lines.feed(&data)) {
                        Ok(Ok(whole)) if !whole.is_empty() => return Some((Ok(whole), Some(flow))),
                        Ok(Ok(_)) | Err(_) => continue,
                        Ok(Err(fault)) => (Kind::Malformed, fault),
                    },
                    Ok(None | Some(Err(_))) => (Kind::Upstream, "the stream was cut"),
                    Err(_) => (Kind::Timeout, "the stream said nothing for too long"),
                };
                return flow.end(fault).map(|event| (Ok(event), None));
            }
        })
    }

    fn end(&mut self, (kind, fault): (Kind, &str)) -> Option<Bytes> {
        let message = format!("servant {}: {fault}", self.name);
        let outcome = if self.lines.done() { Ok(()) } else { Err(Error::new(kind, message)) };
        if let Some(under_way) = self.under_way.take() {
            under_way.settle(outcome.as_ref().copied());
        }
        self.request.trace.watch(outcome).err().map(|error| error_event(&error.message))
    }
}

/// A whole answer as the events of a stream.
pub fn as_events(answer: &Value, usage: bool) -> String {
    let mut head = Map::new();
    for key in ["id", "created", "model"] {
        head.insert(key.into(), answer.get(key).cloned().unwrap_or(Value::Null));
    }
    head.insert("object".into(), "chat.completion.chunk".into());
    let event = |choices: Value, more: Option<(&str, &Value)>| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), choices);
        if let Some((key, value)) = more {
            chunk.insert(key.into(), value.clone());
        }
        format!("data: {}\n\n", Value::Object(chunk))
    };
    let mut events = String::new();
    for (at, choice) in answer.get("choices").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let mut delta = choice.get("message").cloned().unwrap_or_else(|| json!({}));
        for (index, call) in
            delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            call["index"] = index.into();
        }
        let reason = choice.get("finish_reason").filter(|reason| reason.is_string()).cloned();
        events += &event(
            json!([{"index": at, "delta": delta, "finish_reason": null}]),
            answer.get("crown").map(|c| ("crown", c)),
        );
        events += &event(
            json!([{"index": at, "delta": {}, "finish_reason": reason.unwrap_or_else(|| "stop".into())}]),
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

    #[test]
    fn lines_are_passed_on_whole() {
        let text = b"data: {\"a\": 1}\n\ndata: [DONE]\n\n".as_slice();
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut passed = Vec::new();
            for chunk in text.chunks(size) {
                let whole = lines.feed(&Bytes::copy_from_slice(chunk)).unwrap();
                assert!(whole.is_empty() || whole.ends_with(b"\n"));
                passed.extend_from_slice(&whole);
            }
            assert_eq!((passed.as_slice(), lines.done()), (text, true), "{size}");
        }
        let mut lines = Lines::default();
        assert_eq!(
            lines.feed(&Bytes::from_static(b"data: {\"x\": \"[DONE]\"}\ndata: [DO")).unwrap().len(),
            22
        );
        assert!(!lines.done());
        assert!(Lines::default().feed(&Bytes::from(vec![b'x'; MAX_LINE + 1])).is_err());
    }

    #[test]
    fn a_stream_may_begin_with_an_error() {
        assert_eq!(
            error_in(
                b": hi\ndata: {\"error\": {\"message\": \"no\\nroom for sk-1\"}}\n\n",
                &[&Secret::new("sk-1")]
            )
            .as_deref(),
            Some("no room for ***")
        );
        assert_eq!(error_in(b"data: {\"choices\": []}\n\n", &[]), None);
        assert_eq!(error_in(b"data: [DONE]\n\n", &[]), None);
    }

    #[test]
    fn an_answer_becomes_events() {
        let answer = json!({"id": "x", "choices": [{"message": {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c"}]},
                            "finish_reason": "tool_calls"}], "usage": {"n": 1}});
        let events = as_events(&answer, true);
        let chunks: Vec<Value> =
            events.lines().filter_map(|l| serde_json::from_str(l.strip_prefix("data: ")?).ok()).collect();
        assert_eq!(chunks[0]["choices"][0]["delta"]["tool_calls"][0], json!({"id": "c", "index": 0}));
        assert_eq!(chunks[1]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((chunks.len(), &chunks[2]["usage"]), (3, &json!({"n": 1})));
        assert!(events.ends_with("data: [DONE]\n\n"));
    }
}
