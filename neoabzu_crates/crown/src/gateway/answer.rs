//! A whole answer on its way through.

use bytes::Bytes;
use neoabzu_kimicho::{Error, Secret, is_plain, normalise};
use serde_json::Value;

use crate::trail::Envelope;

/// A `chat.completion`.
#[derive(Debug)]
pub enum Answer {
    /// It is in order as it came.
    Plain(Bytes),
    /// It had to be put in order.
    Settled(Value),
}

impl Answer {
    /// Reads what a servant has sent; with `marked`, tool calls may be written as text in it.
    ///
    /// # Errors
    /// Those of [`normalise`].
    pub fn read(body: Bytes, marked: bool, secrets: &[&Secret]) -> Result<Answer, Error> {
        if !marked && is_plain(&body) {
            return Ok(Answer::Plain(body));
        }
        normalise(&body, marked, secrets).map(Answer::Settled)
    }

    /// The answer with its `crown` object, as JSON. Writing to memory does not fail.
    pub fn told(self, crown: &Envelope<'_>) -> Vec<u8> {
        match self {
            Answer::Plain(body) => {
                let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
                let mut text = Vec::with_capacity(end + 512);
                text.extend_from_slice(&body[..end]);
                text.extend_from_slice(b",\"crown\":");
                let _ = serde_json::to_writer(&mut text, crown);
                text.push(b'}');
                text
            }
            settled => serde_json::to_vec(&settled.with(crown)).unwrap_or_default(),
        }
    }

    /// The same as a value.
    pub fn with(self, crown: &Envelope<'_>) -> Value {
        let mut answer = match self {
            Answer::Plain(body) => serde_json::from_slice(&body).unwrap_or_default(),
            Answer::Settled(answer) => answer,
        };
        answer["crown"] = serde_json::to_value(crown).unwrap_or_default();
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_tell_the_same() {
        let message = json!({"role": "assistant", "content": "}\n"});
        let answer = json!({"object": "chat.completion", "choices": [{"message": message}], "usage": {}});
        let crown = Envelope {
            servant: "a\"",
            model: "m",
            source: "servant",
            reason: "r",
            rule: None,
            trail: &[],
            memory: None,
            latency_seconds: Duration::from_nanos(1_234_567),
        };
        let body = Bytes::from(format!("{answer} \n"));
        let plain = Answer::read(body.clone(), false, &[]).unwrap();
        assert!(matches!(plain, Answer::Plain(_)));
        let settled = Answer::read(body, true, &[]).unwrap();
        assert!(matches!(settled, Answer::Settled(_)));
        let told: Value = serde_json::from_slice(&plain.told(&crown)).unwrap();
        assert_eq!(told, settled.with(&crown));
        assert_eq!(
            (&told["crown"]["servant"], &told["crown"]["latency_seconds"]),
            (&json!("a\""), &json!(0.001_235))
        );
        assert_eq!(told["choices"], answer["choices"]);
    }
}
