//! The configuration: servants, rules, policies. Every fault is told at once, none with a secret.

use std::time::Duration;

use neoabzu_kimicho::Settings;
use serde_json::{Map, Value};

use crate::read::{Environ, Reader};
use crate::rules::{Choice, Policy, Rule, compile};
use crate::servants::{SERVANT_TIMEOUT, Servant, from_environment, servants};

/// Limit on the whole of a request, however many servants are tried.
const DEADLINE: Duration = Duration::from_secs(120);
const RECALL_DEADLINE: Duration = Duration::from_millis(250);
/// The largest text that is routed, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// What is recalled before the rules are asked.
#[derive(Clone, Debug)]
pub struct RecallSettings {
    /// The memory bundle's file; `None`: nothing is recalled.
    pub path: Option<String>,
    pub limit: usize,
    pub deadline: Duration,
    /// Whether what is recalled goes to the servant, as a system message.
    pub include: bool,
}

/// What the gateway says as a Crown.
#[derive(Clone, Debug, Default)]
pub struct CrownSettings {
    /// Offered besides the names, models and capabilities of the servants.
    pub capabilities: Vec<String>,
    /// The `downtime` object of the protocol.
    pub downtime: Map<String, Value>,
    /// Why every mission is refused.
    pub refuse: Option<String>,
}

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    pub servants: Vec<Servant>,
    pub rules: Vec<Rule>,
    pub policies: Vec<Policy>,
    pub recall: RecallSettings,
    pub kimicho: Option<Settings>,
    pub crown: CrownSettings,
    pub deadline: Duration,
    pub max_text: usize,
}

impl Config {
    /// Reads a configuration. Without `servants` they come from `SERVANT_MODELS` (`name=url,name=url`),
    /// without `kimicho` it comes from `KIMI2_ENDPOINT` and the variables beside it.
    ///
    /// # Errors
    /// All faults, each with its place.
    pub fn read(value: &Value, environ: Environ<'_>) -> Result<Config, Vec<String>> {
        let mut faults = Vec::new();
        let config = {
            let mut top = Reader::new(value, "", &mut faults);
            let servants = match top.take("servants") {
                Some(list) => servants(list, environ, top.faults()),
                None => from_environment(&environ("SERVANT_MODELS").unwrap_or_default(), top.faults()),
            };
            let names: Vec<&str> = servants.iter().map(|servant| servant.name.as_str()).collect();
            let rules = top
                .items("rules")
                .enumerate()
                .filter_map(|(at, v)| rule(v, at, &names, top.faults()))
                .collect();
            let policies =
                top.items("policies").enumerate().filter_map(|(at, v)| policy(v, at, top.faults())).collect();
            let recall = recall(top.take("memory"), top.faults());
            let kimicho = kimicho(top.take("kimicho"), environ, top.faults());
            let crown = crown(top.take("crown"), top.faults());
            let deadline = top.seconds("deadline", DEADLINE);
            let max_text = top.count("max_text", MAX_TEXT);
            top.end();
            Config { servants, rules, policies, recall, kimicho, crown, deadline, max_text }
        };
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

fn rule(value: &Value, at: usize, servants: &[&str], faults: &mut Vec<String>) -> Option<Rule> {
    let mut reader = Reader::new(value, &format!("rules[{at}]"), faults);
    let name = reader.text("name", false).unwrap_or_else(|| format!("rule {}", at + 1));
    let when = reader.text("when", false).map(|source| reader.program("when", &source));
    let names = reader.has("use").then(|| reader.texts("use"));
    let capability = reader.text("capability", false);
    let expression = reader.text("choose", false).map(|source| reader.program("choose", &source));
    let only = reader.flag("only");
    for name in names.iter().flatten().filter(|name| !servants.contains(&name.as_str())) {
        reader.fault("use", &format!("there is no servant {name:?}; there are {}", servants.join(", ")));
    }
    let choice = match (names, capability, expression) {
        (Some(names), None, None) => Some(Choice::Names(names)),
        (None, Some(capability), None) => Some(Choice::Capability(capability)),
        (None, None, Some(program)) => program.map(|program| Choice::Expression(Box::new(program))),
        _ => {
            reader.fault("", "expected exactly one of use, capability and choose");
            None
        }
    };
    reader.end();
    let when = match when {
        None => None,
        Some(program) => Some(program?),
    };
    Some(Rule { name, when, choice: choice?, only })
}

fn policy(value: &Value, at: usize, faults: &mut Vec<String>) -> Option<Policy> {
    let mut reader = Reader::new(value, &format!("policies[{at}]"), faults);
    let name = reader.text("name", false).unwrap_or_else(|| format!("policy {}", at + 1));
    let refuse = reader.text("refuse", true).and_then(|source| reader.program("refuse", &source));
    let reason = reader.text("reason", false).unwrap_or_else(|| "it is against a policy".to_owned());
    reader.end();
    Some(Policy { name, when: refuse?, reason })
}

impl Reader<'_, '_> {
    fn program(&mut self, key: &str, source: &str) -> Option<neoabzu_core::Program> {
        compile(source).map_err(|fault| self.fault(key, &fault)).ok()
    }
}

fn recall(value: Option<&Value>, faults: &mut Vec<String>) -> RecallSettings {
    let empty = Value::Object(Map::new());
    let mut reader = Reader::new(value.unwrap_or(&empty), "memory", faults);
    let settings = RecallSettings {
        path: reader.text("path", false),
        limit: reader.count("limit", 5),
        deadline: reader.seconds("deadline", RECALL_DEADLINE),
        include: reader.flag("include"),
    };
    reader.end();
    settings
}

fn kimicho(value: Option<&Value>, environ: Environ<'_>, faults: &mut Vec<String>) -> Option<Settings> {
    if value.is_some_and(|value| *value == Value::Bool(false)) {
        return None;
    }
    let empty = Value::Object(Map::new());
    let mut reader = Reader::new(value.unwrap_or(&empty), "kimicho", faults);
    let endpoint = reader.text("endpoint", false);
    let model = reader.text("model", false);
    let timeout = reader.seconds("timeout", SERVANT_TIMEOUT);
    let key = reader.text("api_key_env", false).and_then(|variable| environ(&variable));
    let configured =
        endpoint.is_some() || environ("KIMI2_ENDPOINT").or_else(|| environ("KIMI_K2_URL")).is_some();
    let settings = configured
        .then(|| Settings::for_k2(endpoint.as_deref(), key.as_deref(), model.as_deref(), timeout, environ))
        .and_then(|settings| settings.map_err(|error| reader.fault("", &error.message)).ok());
    if settings.as_ref().is_some_and(|s| s.key.as_ref().is_some_and(|key| !key.fits_header())) {
        reader.fault("", "the API key holds a character that an HTTP header cannot carry");
    }
    reader.end();
    settings
}

fn crown(value: Option<&Value>, faults: &mut Vec<String>) -> CrownSettings {
    let empty = Value::Object(Map::new());
    let mut reader = Reader::new(value.unwrap_or(&empty), "crown", faults);
    let capabilities = reader.texts("capabilities");
    let refuse = reader.text("refuse", false);
    let downtime = match reader.take("downtime") {
        None => Map::new(),
        Some(Value::Object(entries)) if entries.values().all(Value::is_object) => entries.clone(),
        Some(_) => {
            reader.fault("downtime", "expected an object of objects: {ID: {reason, until}}");
            Map::new()
        }
    };
    reader.end();
    CrownSettings { capabilities, downtime, refuse }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value, environ: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::read(value, &|name| environ.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn the_environment_is_enough() {
        let environ =
            [("SERVANT_MODELS", " glm=http://h:1 , kimi=http://u:pw@h:2/v1,"), ("KIMI_K2_URL", "http://k")];
        let config = read(&json!({}), &environ).unwrap();
        let names: Vec<&str> = config.servants.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["glm", "kimi"]);
        assert!(config.kimicho.is_some() && !format!("{config:?}").contains("pw"));
        assert!(read(&json!({"kimicho": false}), &environ).unwrap().kimicho.is_none());
    }

    #[test]
    fn every_fault_is_told_at_once_and_no_secret() {
        let faults = read(
            &json!({
                "servants": [
                    {"name": "a", "url": "http://user:pa55@", "weight": 0},
                    {"name": "b\r\nX: 1", "url": "http://h"},
                    {"name": "c", "url": "http://h", "timeout": -1, "wieght": 2},
                    {"name": "d", "url": "http://h"},
                    {"name": "d", "url": "http://h"},
                    {"name": "auto", "url": "http://h"},
                    7,
                ],
                "rules": [
                    {"when": "text.contains(", "use": ["d"]},
                    {"when": "txet == ''", "use": ["nobody"]},
                    {"use": ["d"], "capability": "x"},
                ],
                "policies": [{"name": "p"}],
                "sevrants": [],
                "deadline": "soon",
            }),
            &[],
        )
        .unwrap_err();
        let all = faults.join("\n");
        for words in [
            "servants[0].url: cannot be used",
            "servants[0].weight",
            "servants[1].name",
            "servants[2].timeout",
            "servants[2].wieght: unknown",
            "two servants are called d",
            "servants[5].name: crown, auto and kimicho",
            "servants[6]: expected an object",
            "rules[0].when: line 1",
            "rules[1].when",
            "nobody",
            "rules[2]: expected exactly one",
            "policies[0].refuse",
            "sevrants: unknown",
            "deadline",
        ] {
            assert!(all.contains(words), "{words} is not in\n{all}");
        }
        assert!(!all.contains("pa55"), "{all}");
    }
}
