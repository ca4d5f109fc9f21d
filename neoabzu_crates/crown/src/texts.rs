//! The text of a conversation.

use crate::fault::Fault;
use crate::members::{Members, items, parsed};

pub const EMPTY: &str = "the text is empty";

/// The last text of the user, and all text.
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
        let Some(role) = part_of(&message, "role", &place)?.filter(|role| !role.is_empty()) else {
            return Err(Fault::invalid(format!("messages[{at}]: expected an object with a role")));
        };
        let content = message.one("content", &place)?;
        let (text, other) =
            content.map_or_else(|| Ok(Default::default()), |content| text_of(content, &place))?;
        something |= other || message.one("tool_calls", &place)?.is_some() || !text.trim().is_empty();
        whole.push_str(&text);
        whole.push('\n');
        if role == "user" || at == 0 {
            last = text;
        }
    }
    whole.pop();
    if !something {
        return Err(Fault::invalid(EMPTY));
    }
    Ok((last, whole))
}

/// The text of a message, and whether it holds something besides.
fn text_of(content: &str, place: &str) -> Result<(String, bool), Fault> {
    if let Some(text) = text(content)? {
        return Ok((text, false));
    }
    let parts = items(content);
    let parts =
        parts.ok_or_else(|| Fault::invalid(format!("{place}content: expected text or a list of parts")))?;
    let (mut texts, mut others) = (Vec::new(), false);
    for (at, part) in parts.enumerate() {
        let part = Members::of(part)?.unwrap_or_default();
        let text = part_of(&part, "text", &format!("{place}content[{at}]."))?;
        others |= text.is_none();
        texts.extend(text);
    }
    Ok((texts.join("\n"), others))
}

/// A member that is text.
fn part_of(members: &Members<'_>, name: &str, place: &str) -> Result<Option<String>, Fault> {
    members.one(name, place)?.map_or(Ok(None), text)
}

fn text(json: &str) -> Result<Option<String>, Fault> {
    json.starts_with('"').then(|| parsed(json)).transpose()
}
