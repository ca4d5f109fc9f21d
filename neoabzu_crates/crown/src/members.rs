//! JSON taken apart without looking into its values, which stay text.
//!
//! `serde_json` has this as `RawValue`; but with it, wherever in a program, text in an object of a certain name is
//! parsed as JSON again, and a request could nest as deep as it likes.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fault::Fault;

/// How deep lists and objects may be nested, as in `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// The names and values of an object, in their order; a name may come twice.
#[derive(Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a str)>);

/// Checks that a text is JSON and not too deep.
///
/// # Errors
/// [`Fault::Invalid`], which says what is wrong.
pub fn check(json: &str) -> Result<(), Fault> {
    if too_deep(json) {
        return Err(Fault::invalid(format!("the body nests more than {MAX_DEPTH} lists and objects")));
    }
    parsed::<IgnoredAny>(json).map(|_| ())
}

/// Parses a value.
///
/// # Errors
/// [`Fault::Invalid`] for what is no JSON.
pub fn parsed<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|why| Fault::invalid(format!("the body is not JSON: {why}")))
}

impl<'a> Members<'a> {
    /// Takes an object apart, if it is one. `json` has been checked.
    ///
    /// # Errors
    /// [`Fault::Invalid`] for a name with half of a surrogate pair.
    pub fn of(json: &'a str) -> Result<Option<Members<'a>>, Fault> {
        if !json.starts_with('{') {
            return Ok(None);
        }
        let mut members = Vec::with_capacity(8);
        let mut parts = parts(json);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let plain = name.trim_matches('"');
            let name = if name.contains('\\') { parsed(name)? } else { Cow::Borrowed(plain) };
            members.push((name, value));
        }
        Ok(Some(Members(members)))
    }

    /// The value of the one member of a name, unless it is null; `place` is where the object stands.
    ///
    /// # Errors
    /// [`Fault::Invalid`] if there are two, or if it is spelled in a way that some servants take for the same: they
    /// might read another one than we do.
    pub fn one(&self, name: &str, place: &str) -> Result<Option<&'a str>, Fault> {
        let mut found = self.0.iter().filter(|(told, _)| folded(told).eq(name.chars()));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((told, value)), None) if told == name => Ok(Some(*value).filter(|value| *value != "null")),
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

/// The values of a list, if it is one; of an object its names and values. `json` has been checked.
pub fn items(json: &str) -> Option<impl Iterator<Item = &str>> {
    json.starts_with('[').then(|| parts(json))
}

fn parts(json: &str) -> impl Iterator<Item = &str> {
    let bytes = json.as_bytes();
    let mut at = 1;
    std::iter::from_fn(move || {
        let between = |byte: &u8| matches!(byte, b',' | b':') || byte.is_ascii_whitespace();
        let begin = at + bytes.get(at..)?.iter().position(|byte| !between(byte))?;
        at = end_of(bytes, begin);
        (begin < at).then(|| &json[begin..at])
    })
}

/// Where the value ends that begins at a place; the place itself if what ends there is what it stands in.
fn end_of(bytes: &[u8], begin: usize) -> usize {
    let (mut at, mut depth) = (begin, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(bytes, at + 1);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth < 2 => return at + depth,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => return at,
            _ if depth == 0 && byte.is_ascii_whitespace() => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where the text ends of which this is the first character.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

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
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_object_is_taken_apart() {
        let text = r#"{"a": [1, {"b": "]\\"}] , "\u0062" :"x\"," ,"a":null,"":-1.5e3 ,"\\":{ }}"#;
        check(text).unwrap();
        let members = Members::of(text).unwrap().unwrap().0;
        let told: Vec<(&str, &str)> = members.iter().map(|(name, value)| (&**name, *value)).collect();
        let list = r#"[1, {"b": "]\\"}]"#;
        assert_eq!(told, [("a", list), ("b", r#""x\",""#), ("a", "null"), ("", "-1.5e3"), ("\\", "{ }")]);
        assert_eq!(items(list).unwrap().collect::<Vec<_>>(), ["1", r#"{"b": "]\\"}"#]);
        for (list, count) in [("[]", 0), ("[ ]", 0), ("[[],[]]", 2), ("[\"é\" , true]", 2)] {
            assert_eq!(items(list).unwrap().count(), count, "{list}");
        }
        assert!(items("{}").is_none() && Members::of("[]").unwrap().is_none());
        for text in ["", "{\"a\": 01}", "{\"a\": \"\n\"}", "{} {}", "[1,]"] {
            check(text).unwrap_err();
        }
    }

    #[test]
    fn what_is_taken_apart_is_what_was_put_together() {
        let pieces = ["{", "}", "[", "]", "\\", "\"", ",", ":", " ", "null", "é", "\u{0}", "1", "\n"];
        let mut random = 1_u64;
        for _ in 0..2000 {
            let mut text = || -> String {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (0..8).map(|n| pieces[(random >> (8 + 6 * n)) as usize % pieces.len()]).collect()
            };
            let (name, value) = (text(), text());
            let object = json!({(&name): value, "list": [value, {(&value): 1.5}], "last": null});
            for written in [object.to_string(), serde_json::to_string_pretty(&object).unwrap()] {
                let members = Members::of(&written).unwrap().unwrap().0;
                let again = members.iter().map(|(name, json)| (name.to_string(), parsed(json).unwrap()));
                assert_eq!(Value::Object(again.collect()), object);
                let list: Vec<Value> =
                    items(members[1].1).unwrap().map(|json| parsed(json).unwrap()).collect();
                assert_eq!(Value::Array(list), object["list"]);
            }
        }
    }

    #[test]
    fn one_of_a_name() {
        let text = r#"{"stream": true, "role": 1, "to\u212aen": 2, "\u017feed": 3, "n": null, "twice": 4, "Twice": 5}"#;
        let members = Members::of(text).unwrap().unwrap();
        let one = |name: &str| members.one(name, "at.");
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
