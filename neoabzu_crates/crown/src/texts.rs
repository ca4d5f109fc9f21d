//! What is said in a conversation.

use crate::fault::Fault;
use crate::members::{Members, check, items, parsed};

pub const EMPTY: &str = "the text is empty";

/// Members of messages and their parts whose texts are no words: names of kinds and calls, addresses, bytes.
const NO_WORDS: [&str; 6] = ["role", "type", "id", "tool_call_id", "data", "file_data"];

/// The last text of the user, and all that is said anywhere in the messages: what servants read differs, and a
/// policy has to see what any of them may.
///
/// # Errors
/// [`Fault::Invalid`] for what is no list of messages, and for one that says nothing.
pub fn texts(messages: &str) -> Result<(String, String), Fault> {
    let messages = items(messages).ok_or_else(|| Fault::invalid("messages: expected a list"))?;
    let mut messages = messages.enumerate().peekable();
    if messages.peek().is_none() {
        return Err(Fault::invalid("messages: the list is empty"));
    }
    let mut last = String::new();
    let mut whole = String::new();
    let mut something = false;
    for (at, message) in messages {
        let place = format!("messages[{at}].");
        let message = Members::of(message)?.unwrap_or_default();
        let role = message.one("role", &place)?.map_or(Ok(None), text)?.filter(|role| !role.is_empty());
        let Some(role) = role else {
            return Err(Fault::invalid(format!("messages[{at}]: expected an object with a role")));
        };
        let content = message.one("content", &place)?;
        let content = content.map_or_else(|| Ok(Content::default()), |content| read(content, &place))?;
        something |=
            content.more || message.one("tool_calls", &place)?.is_some() || !content.text.trim().is_empty();
        whole.push_str(&content.text);
        whole.push_str(&content.besides);
        for (name, value) in message.0.iter().filter(|(name, _)| name != "content") {
            gather(name, value, &mut whole)?;
        }
        whole.push('\n');
        if role == "user" || at == 0 {
            last = content.text;
        }
    }
    whole.pop();
    if !something {
        return Err(Fault::invalid(EMPTY));
    }
    Ok((last, whole))
}

/// What a message says.
#[derive(Default)]
struct Content {
    text: String,
    /// What its parts say in other ways, each on a line of its own.
    besides: String,
    /// Whether it has parts that are no text.
    more: bool,
}

fn read(content: &str, place: &str) -> Result<Content, Fault> {
    if let Some(text) = text(content)? {
        return Ok(Content { text, ..Content::default() });
    }
    let parts = items(content);
    let parts =
        parts.ok_or_else(|| Fault::invalid(format!("{place}content: expected text or a list of parts")))?;
    let (mut texts, mut besides, mut more) = (Vec::new(), String::new(), false);
    for (at, part) in parts.enumerate() {
        if let Some(text) = text(part)? {
            texts.push(text);
            continue;
        }
        let Some(part) = Members::of(part)? else {
            return Err(Fault::invalid(format!("{place}content[{at}]: expected text or an object")));
        };
        match part.one("text", &format!("{place}content[{at}]."))?.map(text).transpose()? {
            Some(Some(text)) => texts.push(text),
            Some(None) => return Err(Fault::invalid(format!("{place}content[{at}].text: expected text"))),
            None => more = true,
        }
        for (name, value) in part.0.iter().filter(|(name, _)| name != "text") {
            gather(name, value, &mut besides)?;
        }
    }
    Ok(Content { text: texts.join("\n"), besides, more })
}

/// Adds every text in a value, each on a line of its own.
fn gather(name: &str, value: &str, whole: &mut String) -> Result<(), Fault> {
    if value.starts_with('"') && (NO_WORDS.contains(&name) || name.ends_with("url")) {
        return Ok(());
    }
    if let Some(text) = text(value)? {
        whole.push('\n');
        whole.push_str(&text);
        // The arguments of a call are JSON in a text: servants read what its escapes stand for.
        if name == "arguments" && text.contains('\\') && check(&text).is_ok() {
            gather("", text.trim(), whole)?;
        }
    } else if let Some(members) = Members::of(value)? {
        for (name, value) in &members.0 {
            gather(name, value, whole)?;
        }
    } else if let Some(items) = items(value) {
        for item in items {
            gather(name, item, whole)?;
        }
    }
    Ok(())
}

fn text(json: &str) -> Result<Option<String>, Fault> {
    json.starts_with('"').then(|| parsed(json)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(messages: &Value) -> Result<(String, String), String> {
        texts(&messages.to_string()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn policies_see_whatever_a_servant_may_read() {
        let call = |arguments: &str| json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}});
        for message in [
            json!({"content": "secret"}),
            json!({"content": ["secret"]}),
            json!({"content": [{"type": "text", "text": "secret"}]}),
            json!({"content": [{"type": "refusal", "refusal": "secret"}]}),
            json!({"content": [{"type": "text", "text": "x", "content": [["secret"]]}]}),
            json!({"content": "x", "name": "secret"}),
            json!({"content": "x", "reasoning_content": "secret"}),
            json!({"content": null, "tool_calls": [call(r#"{"a": "secret"}"#)]}),
            json!({"content": null, "tool_calls": [call(r#" {"a": ["\u0073ecret"]}"#)]}),
        ] {
            let mut said = message;
            said["role"] = "assistant".into();
            let (last, whole) = read(&json!([said, {"role": "user", "content": "hello"}])).unwrap();
            assert_eq!(last, "hello");
            assert!(whole.contains("secret") && whole.ends_with("\nhello"), "{said}: {whole}");
        }
    }

    #[test]
    fn addresses_and_bytes_are_no_words() {
        let parts = json!([
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ]);
        let (last, whole) = read(&json!([{"role": "user", "content": parts}])).unwrap();
        assert_eq!((last.as_str(), whole.as_str()), ("", "\nwav"));
    }

    #[test]
    fn parts_that_can_be_read_in_several_ways_are_refused() {
        for part in
            [json!([["x"]]), json!([1]), json!([null]), json!([{"text": ["x"]}]), json!([{"text": 1}])]
        {
            let fault = read(&json!([{"role": "user", "content": part}])).unwrap_err();
            assert!(fault.contains("messages[0].content[0]") && fault.contains("expected text"), "{fault}");
        }
    }
}
