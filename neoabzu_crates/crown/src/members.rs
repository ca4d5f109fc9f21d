//! A JSON object taken apart without looking into its values.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::Fault;

/// How deep lists and objects may be nested, as in `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// The names and values of an object, in their order; a name may come twice.
#[derive(Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of the one member of a name, unless it is null; `place` is where the object stands.
    ///
    /// # Errors
    /// [`Fault::Invalid`] if there are two, or if it is spelled in a way that some servants take for the same: they
    /// might read another one than we do.
    pub fn one(&self, name: &str, place: &str) -> Result<Option<&'a RawValue>, Fault> {
        let mut found = self.0.iter().filter(|(told, _)| folded(told).eq(name.chars()));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((told, value)), None) if told == name => {
                Ok(Some(*value).filter(|value| value.get() != "null"))
            }
            (Some((told, _)), None) => Err(Fault::invalid(format!("{place}{name}: is spelled {told:?}"))),
            (Some(_), Some(_)) => Err(Fault::invalid(format!("{place}{name}: is given twice"))),
        }
    }
}

/// A name as Go's `encoding/json` compares it: the long s and the sign of the kelvin are letters too.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(Taking)
    }
}

struct Taking;

impl<'de> Visitor<'de> for Taking {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// A name, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether a JSON text nests lists and objects deeper than [`MAX_DEPTH`].
pub fn too_deep(json: &str) -> bool {
    let opens = |byte: &&u8| matches!(**byte, b'[' | b'{');
    if json.as_bytes().iter().filter(opens).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_taken_apart() {
        let text = r#" {"a": [1, {"b": 2}] , "\u0062": "x", "a": null} "#;
        let members = serde_json::from_str::<Members<'_>>(text).unwrap().0;
        let told: Vec<(&str, &str)> = members.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(told, [("a", r#"[1, {"b": 2}]"#), ("b", "\"x\""), ("a", "null")]);
        for text in ["[]", "[[\"a\", 1]]", "1", "{\"a\": 01}", "{\"a\": \"\n\"}", "{} {}"] {
            assert!(serde_json::from_str::<Members<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_of_a_name() {
        let text = r#"{"stream": true, "role": 1, "to\u212aen": 2, "\u017feed": 3, "n": null, "twice": 4, "Twice": 5}"#;
        let members = serde_json::from_str::<Members<'_>>(text).unwrap();
        let one = |name: &str| members.one(name, "at.").map(|value| value.map(RawValue::get));
        assert_eq!((one("role"), one("n"), one("model")), (Ok(Some("1")), Ok(None), Ok(None)));
        for (name, told) in [("token", "to\u{212a}en"), ("seed", "\u{17f}eed")] {
            assert_eq!(one(name).unwrap_err().to_string(), format!("at.{name}: is spelled {told:?}"));
        }
        assert_eq!(one("twice").unwrap_err().to_string(), "at.twice: is given twice");
    }

    #[test]
    fn depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!too_deep(&nested(MAX_DEPTH)) && too_deep(&nested(MAX_DEPTH + 1)));
        assert!(!too_deep(&format!("[\"\\\"{}\",[{}]]", "[".repeat(500), "[],".repeat(500))));
        assert!(too_deep(&format!("{{\"a\\\\\":{}}}", nested(MAX_DEPTH))));
    }
}
