//! The text of a conversation.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::request::parsed;

pub const EMPTY: &str = "the text is empty";

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

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
        let message: Option<Message<'_>> =
            object(message).map_err(|why| Fault::invalid(format!("messages[{at}]: {why}")))?;
        let role = message.as_ref().and_then(|message| message.role).map_or(Ok(None), text)?;
        let (Some(message), Some(role)) = (message, role.filter(|role| !role.is_empty())) else {
            return Err(Fault::invalid(format!("messages[{at}]: expected an object with a role")));
        };
        let (text, other) =
            message.content.map_or_else(|| Ok(Default::default()), |content| text_of(content, at))?;
        something |= other || message.tool_calls.is_some() || !text.trim().is_empty();
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
fn text_of(content: &RawValue, at: usize) -> Result<(String, bool), Fault> {
    if let Some(text) = text(content)? {
        return Ok((text, false));
    }
    let place = || format!("messages[{at}].content");
    if !content.get().starts_with('[') {
        return Err(Fault::invalid(format!("{}: expected text or a list of parts", place())));
    }
    let parts: Vec<&RawValue> = parsed(content)?;
    let mut texts = Vec::with_capacity(parts.len());
    for part in &parts {
        let part: Option<Part<'_>> =
            object(part).map_err(|why| Fault::invalid(format!("{}: {why}", place())))?;
        texts.extend(part.and_then(|part| part.text).map_or(Ok(None), text)?);
    }
    Ok((texts.join("\n"), texts.len() < parts.len()))
}

/// A value that is text.
fn text(value: &RawValue) -> Result<Option<String>, Fault> {
    value.get().starts_with('"').then(|| parsed(value)).transpose()
}

/// A value that is an object. It fails if a member that is read comes twice.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<Option<T>, serde_json::Error> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get())).transpose()
}
