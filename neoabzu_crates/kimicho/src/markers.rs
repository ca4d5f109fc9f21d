//! Tool calls as Kimi writes them into text where the server does not take them out.
//!
//! `<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:IDX<|tool_call_argument_begin|>{…}
//! <|tool_call_end|><|tool_calls_section_end|>`, after MoonshotAI/Kimi-K2, docs/tool_call_guidance.md.
//! Some servers spell the section `tool_call_section`.

use serde_json::{Deserializer, Value, json};

use crate::error::Error;

const BEGIN: [&str; 2] = ["<|tool_calls_section_begin|>", "<|tool_call_section_begin|>"];
const END: [&str; 2] = ["<|tool_calls_section_end|>", "<|tool_call_section_end|>"];
const CALL: &str = "<|tool_call_begin|>";
const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
const CALL_END: &str = "<|tool_call_end|>";

/// Text without its sections of tool calls, and the calls.
#[derive(Debug, PartialEq)]
pub struct Marked {
    pub text: String,
    /// In the form of `message.tool_calls`.
    pub calls: Vec<Value>,
}

/// Takes the tool calls out of `text`; `None` if it has no section of them. `first` is the index of
/// the first call, for one that does not say its own.
///
/// # Errors
/// [`crate::Kind::Malformed`] for a section that is cut off or holds anything but calls.
pub fn extract(text: &str, first: usize) -> Result<Option<Marked>, Error> {
    let mut marked = Marked { text: String::new(), calls: Vec::new() };
    let mut rest = text;
    let mut found = false;
    while let Some((at, begin)) = BEGIN.iter().filter_map(|b| rest.find(b).map(|at| (at, b))).min() {
        found = true;
        marked.text.push_str(&rest[..at]);
        rest = section(&rest[at + begin.len()..], first, &mut marked.calls)?;
    }
    if !found {
        return Ok(None);
    }
    marked.text.push_str(rest);
    marked.text = marked.text.trim().to_owned();
    Ok(Some(marked))
}

/// Text without sections of tool calls, whole or not, for where their calls are known already; `None` if it has
/// none.
pub fn cut(text: &str) -> Option<String> {
    if !BEGIN.iter().chain(&END).any(|marker| text.contains(marker)) {
        return None;
    }
    let first = |text: &str, markers: [&'static str; 2]| {
        markers.iter().filter_map(|marker| text.find(marker).map(|at| (at, at + marker.len()))).min()
    };
    let mut left = String::new();
    let mut rest = text;
    while let Some((at, after)) = first(rest, BEGIN) {
        left.push_str(&rest[..at]);
        rest = first(&rest[after..], END).map_or("", |(_, end)| &rest[after + end..]);
    }
    left.push_str(rest);
    Some(END.iter().fold(left, |left, end| left.replace(end, "")).trim().to_owned())
}

/// Reads one section and returns what follows it.
fn section<'t>(text: &'t str, first: usize, calls: &mut Vec<Value>) -> Result<&'t str, Error> {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = END.iter().find_map(|end| rest.strip_prefix(end)) {
            return Ok(after);
        }
        let call = rest.strip_prefix(CALL).ok_or_else(|| broken("does not end"))?;
        let (id, after) =
            call.split_once(ARGUMENTS).ok_or_else(|| broken("holds a call without arguments"))?;
        let (name, index) = name_and_index(id.trim())?;
        // The arguments may hold a marker inside a text: let the JSON say where it ends.
        let mut values = Deserializer::from_str(after).into_iter::<Value>();
        let Some(Ok(Value::Object(_))) = values.next() else {
            return Err(broken("holds arguments that are no JSON object"));
        };
        let end = values.byte_offset();
        let index = index.unwrap_or(first + calls.len());
        calls.push(json!({
            "id": format!("functions.{name}:{index}"),
            "type": "function",
            "function": {"name": name, "arguments": after[..end].trim()},
        }));
        rest = after[end..]
            .trim_start()
            .strip_prefix(CALL_END)
            .ok_or_else(|| broken("holds a call that does not end"))?;
        rest = rest.trim_start();
    }
}

fn name_and_index(id: &str) -> Result<(&str, Option<usize>), Error> {
    let (name, index) = match id.rsplit_once(':') {
        Some((name, index)) => {
            (name, Some(index.parse().map_err(|_| broken("holds a call with a bad index"))?))
        }
        None => (id, None),
    };
    let name = name.strip_prefix("functions.").unwrap_or(name);
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err(broken("holds a call with a bad name"));
    }
    Ok((name, index))
}

fn broken(how: &str) -> Error {
    Error::malformed(format!("the answer's section of tool calls {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(section: &str, calls: &str) -> String {
        format!("before <|{section}_begin|>{calls}<|{section}_end|> after")
    }

    #[test]
    fn both_spellings() {
        let call = r#"<|tool_call_begin|>functions.propose:3<|tool_call_argument_begin|>{"a": "<|tool_call_end|>"}<|tool_call_end|>"#;
        for section in ["tool_calls_section", "tool_call_section"] {
            let found = extract(&marked(section, call), 0).unwrap().unwrap();
            assert_eq!(found.text, "before  after");
            assert_eq!(
                found.calls,
                [json!({"id": "functions.propose:3", "type": "function",
                        "function": {"name": "propose", "arguments": r#"{"a": "<|tool_call_end|>"}"#}})]
            );
        }
    }

    #[test]
    fn several_calls_and_sections() {
        let call = "<|tool_call_begin|>f<|tool_call_argument_begin|> {} <|tool_call_end|>\n";
        let text = marked("tool_calls_section", &call.repeat(2)) + &marked("tool_call_section", call);
        let ids: Vec<Value> =
            extract(&text, 1).unwrap().unwrap().calls.iter().map(|c| c["id"].clone()).collect();
        assert_eq!(ids, ["functions.f:1", "functions.f:2", "functions.f:3"]);
        assert_eq!(extract("nothing here", 0), Ok(None));
    }

    #[test]
    fn what_leaked_is_cut() {
        let call = format!("{CALL}f:0{ARGUMENTS}{{}}{CALL_END}");
        for (text, left) in [
            (marked("tool_calls_section", &call), "before  after".to_owned()),
            (format!("so {}", BEGIN[0]), "so".to_owned()),
            (format!("so {} {call}", BEGIN[1]), "so".to_owned()),
            (format!("so{} it is", END[1]), "so it is".to_owned()),
        ] {
            assert_eq!(cut(&text), Some(left));
        }
        assert_eq!(cut("plain"), None);
    }

    #[test]
    fn what_is_broken_is_refused() {
        let call = |id: &str, arguments: &str| format!("{CALL}{id}{ARGUMENTS}{arguments}{CALL_END}");
        for calls in [
            "text".to_owned(),
            format!("{CALL}f"),
            call("f:x", "{}"),
            call("../f:0", "{}"),
            call("", "{}"),
            call("f:0", "[]"),
            call("f:0", "{"),
            call("f:0", &"[".repeat(100_000)),
            format!("{CALL}f:0{ARGUMENTS}{{}}"),
        ] {
            assert!(extract(&marked("tool_calls_section", &calls), 0).is_err(), "{calls}");
        }
        assert!(extract(BEGIN[0], 0).is_err());
    }
}
