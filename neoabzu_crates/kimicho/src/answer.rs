//! What counts as an answer, and its one form: an OpenAI `chat.completion`.

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::markers;
use crate::secret::{Secret, clean};

/// The fields in which the markers of tool calls turn up.
const TEXTS: [&str; 3] = ["content", "reasoning_content", "reasoning"];

/// Checks a body and puts it into the one form: `choices[].message` is there, with `content` (text or
/// null) and, if tools are called, `tool_calls` whose `arguments` are text. Unknown fields stay.
///
/// With `marked`, calls written as text (see [`markers`]) become `tool_calls`.
///
/// # Errors
/// [`crate::Kind::Malformed`] for whatever is no answer, be it HTML, an error told with HTTP 200, or
/// an answer that says nothing.
pub fn normalise(body: &[u8], marked: bool, secrets: &[&Secret]) -> Result<Value, Error> {
    let mut answer: Value = serde_json::from_slice(body).map_err(|_| {
        Error::malformed(if body.is_empty() { "the answer is empty" } else { "the answer is not JSON" })
    })?;
    let Some(fields) = answer.as_object_mut() else {
        return Err(Error::malformed("the answer is not a JSON object"));
    };
    if let Some(error) = fields.get("error").filter(|error| !error.is_null()) {
        let said = error.get("message").unwrap_or(error).as_str().unwrap_or("no message");
        return Err(Error::malformed(format!("the answer is an error: {}", clean(said, 300, secrets))));
    }
    let Some(choices) = fields.get_mut("choices").and_then(Value::as_array_mut) else {
        return Err(Error::malformed("the answer has no choices"));
    };
    if choices.is_empty() {
        return Err(Error::malformed("the answer has no choices"));
    }
    for choice in choices {
        let choice = choice.as_object_mut().ok_or_else(|| Error::malformed("a choice is not an object"))?;
        settle(choice, marked)?;
    }
    fields.insert("object".into(), "chat.completion".into());
    Ok(answer)
}

fn settle(choice: &mut Map<String, Value>, marked: bool) -> Result<(), Error> {
    // A text completion: what came is the content.
    if !choice.contains_key("message")
        && let Some(text) = choice.shift_remove("text")
    {
        choice.insert("message".into(), json!({"role": "assistant", "content": text}));
    }
    let reason = choice.get("finish_reason").and_then(Value::as_str).unwrap_or("stop").to_owned();
    let Some(message) = choice.get_mut("message").and_then(Value::as_object_mut) else {
        return Err(Error::malformed("a choice has no message"));
    };
    if !matches!(message.get("content"), None | Some(Value::Null | Value::String(_) | Value::Array(_))) {
        return Err(Error::malformed("the content of a message is no text"));
    }
    check_calls(message)?;
    if marked {
        take_marked_calls(message)?;
    }
    let calls = message.contains_key("tool_calls");
    let says = |key: &str| match message.get(key) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        None | Some(Value::Null) => false,
        Some(_) => true,
    };
    let cut = matches!(reason.as_str(), "length" | "content_filter");
    if !calls && !cut && !["content", "refusal", "audio", "function_call"].into_iter().any(says) {
        return Err(Error::malformed("the answer says nothing"));
    }
    message.entry("content").or_insert(Value::Null);
    message.entry("role").or_insert_with(|| "assistant".into());
    if calls && reason == "stop" {
        choice.insert("finish_reason".into(), "tool_calls".into());
    }
    Ok(())
}

/// Checks `tool_calls`, and gives those without an id the one K2 would have given.
fn check_calls(message: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(calls) = message.get_mut("tool_calls") else { return Ok(()) };
    if calls.is_null() || calls.as_array().is_some_and(Vec::is_empty) {
        message.shift_remove("tool_calls");
        return Ok(());
    }
    let calls = calls.as_array_mut().ok_or_else(|| Error::malformed("tool_calls is not a list"))?;
    for (index, call) in calls.iter_mut().enumerate() {
        let call = call.as_object_mut().ok_or_else(|| Error::malformed("a tool call is not an object"))?;
        let function = call.get_mut("function").and_then(Value::as_object_mut);
        let function = function.ok_or_else(|| Error::malformed("a tool call names no function"))?;
        let name = function.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        if name.is_empty() {
            return Err(Error::malformed("a tool call names no function"));
        }
        match function.get("arguments") {
            Some(Value::String(_)) => {}
            Some(Value::Object(arguments)) => {
                let text = Value::Object(arguments.clone()).to_string();
                function.insert("arguments".into(), text.into());
            }
            None | Some(Value::Null) => {
                function.insert("arguments".into(), "{}".into());
            }
            Some(_) => return Err(Error::malformed("the arguments of a tool call are no text")),
        }
        if call.get("id").and_then(Value::as_str).is_none_or(str::is_empty) {
            call.insert("id".into(), format!("functions.{name}:{index}").into());
        }
        call.entry("type").or_insert_with(|| "function".into());
    }
    Ok(())
}

fn take_marked_calls(message: &mut Map<String, Value>) -> Result<(), Error> {
    // Where the server has found the calls, markers that are left are what leaked.
    let told = message.contains_key("tool_calls");
    let mut calls: Vec<Value> = Vec::new();
    for key in TEXTS {
        let Some(Value::String(text)) = message.get(key) else { continue };
        let left = if told {
            markers::cut(text)
        } else {
            markers::extract(text, calls.len())?.map(|found| {
                // Thought of first and then made, it is one call: two cannot have one id.
                let new = found.calls.into_iter().filter(|call| !calls.contains(call)).collect::<Vec<_>>();
                calls.extend(new);
                found.text
            })
        };
        if let Some(left) = left {
            message.insert(key.into(), if left.is_empty() { Value::Null } else { left.into() });
        }
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), Value::Array(calls));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: &str = "<|tool_calls_section_begin|><|tool_call_begin|>functions.fix:0<|tool_call_argument_begin|>{\"a\":1}<|tool_call_end|><|tool_calls_section_end|>";

    fn read(body: &Value) -> Result<Value, String> {
        normalise(body.to_string().as_bytes(), true, &[]).map_err(|e| e.message)
    }

    #[test]
    fn calls_are_found_wherever_they_stand() {
        for choice in [
            json!({"message": {"content": MARKED}}),
            json!({"text": MARKED, "finish_reason": "stop"}),
            json!({"message": {"content": "", "reasoning_content": format!("hm {MARKED}")}}),
            json!({"message": {"content": MARKED, "reasoning_content": format!("hm {MARKED}")}}),
            json!({"message": {"content": null, "tool_calls": [{"function": {"name": "fix", "arguments": {"a": 1}}}]}}),
            json!({"message": {"content": "so <|tool_calls_section_begin|>", "tool_calls": [{"id": "functions.fix:0", "function": {"name": "fix", "arguments": "{\"a\":1}"}}]}}),
            json!({"message": {"content": "so<|tool_call_section_end|>", "tool_calls": [{"id": "functions.fix:0", "function": {"name": "fix", "arguments": "{\"a\":1}"}}]}}),
            json!({"message": {"content": MARKED, "tool_calls": [{"id": "functions.fix:0", "function": {"name": "fix", "arguments": "{\"a\":1}"}}]}}),
        ] {
            let answer = read(&json!({"choices": [choice]})).unwrap();
            let message = &answer["choices"][0]["message"];
            let call = json!({"name": "fix", "arguments": "{\"a\":1}"});
            assert_eq!(message["tool_calls"][0]["function"], call, "{choice}");
            assert_eq!(message["tool_calls"][0]["id"], "functions.fix:0");
            assert_eq!(message["tool_calls"].as_array().unwrap().len(), 1);
            assert!(!answer.to_string().contains("<|"), "{answer}");
        }
    }

    #[test]
    fn what_is_no_answer() {
        for (body, words) in [
            (json!([]), "not a JSON object"),
            (json!({}), "no choices"),
            (json!({"choices": []}), "no choices"),
            (json!({"choices": [1]}), "not an object"),
            (json!({"choices": [{}]}), "no message"),
            (json!({"choices": [{"message": {"content": 1}}]}), "no text"),
            (json!({"choices": [{"message": {"content": " "}}]}), "says nothing"),
            (json!({"choices": [{"message": {"tool_calls": {}}}]}), "not a list"),
            (json!({"choices": [{"message": {"tool_calls": [{}]}}]}), "names no function"),
            (
                json!({"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": 1}}]}}]}),
                "no text",
            ),
            (json!({"error": {"message": "model is\nloading"}}), "error: model is loading"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
        assert_eq!(normalise(b"<html>", true, &[]).unwrap_err().message, "the answer is not JSON");
        assert_eq!(normalise(b"", true, &[]).unwrap_err().message, "the answer is empty");
        assert!(normalise(&b"[".repeat(1 << 20), true, &[]).is_err());
    }

    #[test]
    fn what_is_not_known_stays() {
        let body = json!({"id": "x", "choices": [{"message": {"content": "hi", "reasoning_content": "r"}}], "usage": {"z": 1}});
        let answer = read(&body).unwrap();
        assert_eq!(answer["usage"], json!({"z": 1}));
        assert_eq!(answer["choices"][0]["message"]["reasoning_content"], "r");
        assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
        let cut = json!({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]});
        assert!(read(&cut).is_ok(), "an answer that was cut off says so");
    }
}
