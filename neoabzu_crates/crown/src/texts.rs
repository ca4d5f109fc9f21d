//! The text of a conversation.

use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::members::Members;
use crate::request::parsed;

pub const EMPTY: &str = "the text is empty";

/// The last text of the user, and all text.
///
/// # Errors
/// [`Fault::Invalid`] for what is no list of messages, and for one that says nothing.
pub fn texts(messages: &RawValue) -> Result<(String, String), Fault> {
    if !messages.get().starts_with('[') {
        return Err(Fault::invalid("messages: expected a list"));
    }
    let messages: Vec<&RawValue> = parsed(messages)?;
    if messages.is_empty() {
        return Err(Fault::invalid("messages: the list is empty"));
    }
    let mut last = String::new();
    let mut whole = String::new();
    let mut something = false;
    for (at, message) in messages.into_iter().enumerate() {
        let place = format!("messages[{at}].");
        let message = object(message)?.unwrap_or_default();
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
fn text_of(content: &RawValue, place: &str) -> Result<(String, bool), Fault> {
    if let Some(text) = text(content)? {
        return Ok((text, false));
    }
    if !content.get().starts_with('[') {
        return Err(Fault::invalid(format!("{place}content: expected text or a list of parts")));
    }
    let parts: Vec<&RawValue> = parsed(content)?;
    let mut texts = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let part = object(part)?.unwrap_or_default();
        texts.extend(part_of(&part, "text", &format!("{place}content[{at}]."))?);
    }
    Ok((texts.join("\n"), texts.len() < parts.len()))
}

/// A member that is text.
fn part_of(members: &Members<'_>, name: &str, place: &str) -> Result<Option<String>, Fault> {
    members.one(name, place)?.map_or(Ok(None), text)
}

fn text(value: &RawValue) -> Result<Option<String>, Fault> {
    value.get().starts_with('"').then(|| parsed(value)).transpose()
}

/// A value that is an object.
fn object(value: &RawValue) -> Result<Option<Members<'_>>, Fault> {
    value.get().starts_with('{').then(|| parsed(value)).transpose()
}
