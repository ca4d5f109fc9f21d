//! Tells at a glance what nearly every answer is: one that is in order as it came.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Fewer brackets than this cannot nest deeper than `serde_json` reads.
const BRACKETS: usize = 100;

/// Whether [`crate::normalise`], where no tools were offered, would leave a body as it is, and it has no `crown`.
/// In doubt it says no. What it does not look into is JSON all the same.
pub fn is_plain(body: &[u8]) -> bool {
    let opens = |byte: &&u8| matches!(**byte, b'[' | b'{');
    body.iter().filter(opens).count() < BRACKETS
        && serde_json::from_slice::<Object<Answer<'_>>>(body).is_ok_and(|answer| answer.0.plain())
}

/// What is written as an object: a structure alone would take a list of its members too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(Object(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<PhantomData<T>> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Cow<'a, str>,
    choices: Vec<Object<Choice<'a>>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    crown: bool,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Object<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    role: IgnoredAny,
    #[serde(default, deserialize_with = "present")]
    tool_calls: bool,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

impl Answer<'_> {
    fn plain(&self) -> bool {
        let says = |choice: &Object<Choice<'_>>| {
            let Message { content, tool_calls, role: IgnoredAny } = &choice.0.message.0;
            !tool_calls && !content.trim().is_empty()
        };
        self.object == "chat.completion"
            && self.error.is_none()
            && !self.crown
            && !self.choices.is_empty()
            && self.choices.iter().all(says)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::normalise;

    #[test]
    fn what_is_plain_is_left_as_it_is() {
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "a \"b\" <|x|>\n"}, "finish_reason": "stop"});
        let answer = json!({"id": "x", "object": "chat.completion", "choices": [choice, choice], "usage": {"n": 1}, "error": null});
        for body in
            [answer.to_string(), format!(" {answer}\n"), serde_json::to_string_pretty(&answer).unwrap()]
        {
            assert!(is_plain(body.as_bytes()), "{body}");
            assert_eq!(normalise(body.as_bytes(), false, &[]).unwrap(), answer);
        }
    }

    #[test]
    fn what_is_not() {
        let good = json!({"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "a"}}]});
        assert!(is_plain(good.to_string().as_bytes()));
        let with = |place: &str, value: Value| {
            let mut answer = good.clone();
            *answer.pointer_mut(place).unwrap() = value;
            answer.to_string()
        };
        let more = |name: &str, value: Value| {
            let mut answer = good.clone();
            answer[name] = value;
            answer.to_string()
        };
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for body in [
            String::new(),
            "[]".to_owned(),
            r#"["chat.completion",[[["a","assistant"]]]]"#.to_owned(),
            format!("{good}{good}"),
            good.to_string().replace("\"content\"", "\"content\":\"b\",\"content\""),
            good.to_string().replacen('{', &format!("{{\"deep\":{deep},"), 1),
            with("/object", json!("text_completion")),
            with("/choices", json!([])),
            with("/choices/0", json!([{"role": "assistant", "content": "a"}])),
            with("/choices/0/message", json!(["a", "assistant"])),
            with("/choices/0", json!({"text": "a"})),
            with("/choices/0/message", json!({"content": "a"})),
            with("/choices/0/message", json!({"role": "assistant"})),
            with("/choices/0/message", json!({"role": "assistant", "content": "a", "tool_calls": null})),
            with("/choices/0/message/content", json!(" \n")),
            with("/choices/0/message/content", json!([{"text": "a"}])),
            more("error", json!("no")),
            more("crown", Value::Null),
        ] {
            assert!(!is_plain(body.as_bytes()), "{body}");
        }
        assert!(!is_plain(
            b"{\"object\":\"chat.completion\",\"choices\":[{\"message\":{\"role\":1,\"content\":\"\xff\"}}]}"
        ));
        assert!(!is_plain(
            br#"{"object":"chat.completion","choices":[{"message":{"role":1,"content":"\ud800"}}]}"#
        ));
    }
}
