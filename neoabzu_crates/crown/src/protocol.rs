//! The frames of `razar.crown.v1`: checks a mission brief and makes the answer. No I/O.

use serde_json::{Map, Value, json};

use crate::config::CrownSettings;

/// The websocket subprotocol.
pub const SUBPROTOCOL: &str = "razar.crown.v1";
/// The largest frame, in bytes.
pub const MAX_FRAME: usize = 1 << 20;
/// Names beyond these limits make an answer malformed.
const MAX_CAPABILITIES: usize = 256;
const MAX_CAPABILITY: usize = 128;
/// How deep the JSON of a frame may be nested.
const MAX_DEPTH: usize = 64;

/// The answer to a text frame: an acknowledgement, or a refusal that says why.
pub fn answer(frame: &str, crown: &CrownSettings, capabilities: &[String]) -> Value {
    let version = concat!(env!("CARGO_PKG_VERSION"), "+gateway");
    let refusal =
        |why: &str| json!({"type": "ack", "status": "refused", "crown_version": version, "ack": why});
    let mission = match check(frame) {
        Ok(mission) => mission,
        Err(fault) => return refusal(&format!("not a mission brief: {fault}")),
    };
    if let Some(reason) = &crown.refuse {
        return refusal(reason);
    }
    json!({
        "type": "ack",
        "status": "ack",
        "crown_version": version,
        "ack": format!("mission {mission} acknowledged"),
        "capabilities": capabilities,
        "downtime": crown.downtime,
    })
}

/// What a Crown with these servants can offer: the given names without those no frame can hold.
pub fn capabilities<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names.filter(|name| !name.is_empty() && name.chars().count() <= MAX_CAPABILITY) {
        if kept.len() < MAX_CAPABILITIES && !kept.iter().any(|earlier| earlier == name) {
            kept.push(name.to_owned());
        }
    }
    kept
}

/// Checks a brief and returns its mission.
fn check(frame: &str) -> Result<String, String> {
    if frame.trim().is_empty() {
        return Err("the frame is empty".to_owned());
    }
    let value: Value =
        serde_json::from_str(frame).map_err(|error| format!("the frame is not JSON ({error})"))?;
    if depth(&value) > MAX_DEPTH {
        return Err(format!("the JSON is nested more than {MAX_DEPTH} deep"));
    }
    let Value::Object(brief) = value else {
        return Err(format!("the frame holds {} where an object was expected", kind(&value)));
    };
    if text(&brief, "type")? != "mission_brief" {
        return Err("type: expected mission_brief".to_owned());
    }
    if required(&brief, "version")?.as_i64() != Some(1) {
        return Err("version: expected 1".to_owned());
    }
    let mission = text(&brief, "mission")?;
    if !is_mission(mission) {
        return Err("mission: expected a name of a-z, 0-9, - and _, at most 63 characters".to_owned());
    }
    if !(1..=128).contains(&text(&brief, "boot_id")?.chars().count()) {
        return Err("boot_id: expected 1 to 128 characters".to_owned());
    }
    if text(&brief, "sent_at")?.chars().count() > 64 {
        return Err("sent_at: expected at most 64 characters".to_owned());
    }
    each(&brief, "priority_map", "whole numbers", |value| value.is_i64() || value.is_u64())?;
    each(&brief, "current_status", "texts", Value::is_string)?;
    issues(brief.get("open_issues"))?;
    match brief.get("objective") {
        None | Some(Value::Null | Value::String(_)) => Ok(mission.to_owned()),
        Some(_) => Err("objective: expected text".to_owned()),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn required<'b>(brief: &'b Map<String, Value>, key: &str) -> Result<&'b Value, String> {
    brief.get(key).ok_or_else(|| format!("missing required field {key}"))
}

fn text<'b>(brief: &'b Map<String, Value>, key: &str) -> Result<&'b str, String> {
    let value = required(brief, key)?;
    value.as_str().ok_or_else(|| format!("{key}: expected text, got {}", kind(value)))
}

fn is_mission(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(fits);
    first && name.len() <= 63 && name.bytes().all(|b| fits(b) || b == b'_' || b == b'-')
}

fn each(brief: &Map<String, Value>, key: &str, what: &str, fits: fn(&Value) -> bool) -> Result<(), String> {
    match brief.get(key) {
        None => Ok(()),
        Some(Value::Object(entries)) if entries.values().all(fits) => Ok(()),
        Some(_) => Err(format!("{key}: expected an object of {what}")),
    }
}

fn issues(issues: Option<&Value>) -> Result<(), String> {
    let is_text = |value: Option<&Value>| value.is_some_and(Value::is_string);
    let fits = |issue: &Value| {
        let detail = issue.get("detail");
        issue.is_string() || is_text(issue.get("id")) && (detail.is_none() || is_text(detail))
    };
    match issues {
        None => Ok(()),
        Some(Value::Array(items)) if items.iter().all(fits) => Ok(()),
        Some(_) => Err("open_issues: expected a list of texts or of objects with id and detail".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief() -> Value {
        json!({"type": "mission_brief", "version": 1, "mission": "demo", "boot_id": "b", "sent_at": "2025-09-21T00:00:05Z",
               "priority_map": {"a": 1}, "current_status": {"a": "pending"}, "open_issues": ["x", {"id": "a", "detail": "d"}],
               "objective": null, "more": [1]})
    }

    fn ask(frame: &str, crown: &CrownSettings) -> Value {
        answer(frame, crown, &["GLM-4.1V".to_owned()])
    }

    #[test]
    fn a_brief_is_acknowledged() {
        let answer = ask(&brief().to_string(), &CrownSettings::default());
        assert_eq!((&answer["status"], &answer["ack"]), (&json!("ack"), &json!("mission demo acknowledged")));
        assert_eq!((&answer["capabilities"], &answer["downtime"]), (&json!(["GLM-4.1V"]), &json!({})));
    }

    #[test]
    fn everything_else_is_refused() {
        let with = |key: &str, value: Value| {
            let mut brief = brief();
            brief[key] = value;
            brief.to_string()
        };
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(70), "]".repeat(70));
        let mut frames =
            vec!["".to_owned(), " ".to_owned(), "[]".into(), "{}".into(), "1".into(), "{".into(), deep];
        for (key, value) in [
            ("type", json!("ack")),
            ("version", json!(2)),
            ("version", json!(true)),
            ("mission", json!("../x")),
            ("mission", json!("")),
            ("boot_id", json!("")),
            ("sent_at", json!(5)),
            ("priority_map", json!({"a": "1"})),
            ("priority_map", json!([])),
            ("current_status", json!({"a": 1})),
            ("open_issues", json!([{"detail": "x"}])),
            ("open_issues", json!("x")),
            ("objective", json!(1)),
            ("sent_at", json!("x".repeat(65))),
        ] {
            frames.push(with(key, value));
        }
        for frame in frames {
            let answer = ask(&frame, &CrownSettings::default());
            assert_eq!(answer["status"], "refused", "{frame}");
            assert!(
                answer["ack"].as_str().unwrap().starts_with("not a mission brief: ")
                    && answer.get("capabilities").is_none()
            );
        }
        let crown = CrownSettings { refuse: Some("drydock".into()), ..CrownSettings::default() };
        assert_eq!(ask(&brief().to_string(), &crown)["ack"], "drydock");
    }

    #[test]
    fn names_no_frame_can_hold_are_not_offered() {
        let long = "x".repeat(129);
        assert_eq!(capabilities(["a", "", "a", long.as_str(), "b"].into_iter()), ["a", "b"]);
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(capabilities(many.iter().map(String::as_str)).len(), 256);
    }
}
