//! Reads a configuration: JSON objects, noting every fault with its place, and environment variables.

use std::time::Duration;

use serde_json::{Map, Value};

/// Reads an environment variable.
pub type Environ<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The longest time that can be configured: a day.
const LONGEST: f64 = 86_400.0;

/// Reads one object. Values are never repeated in a fault: they may be secret.
pub struct Reader<'v, 'f> {
    fields: Option<&'v Map<String, Value>>,
    place: String,
    known: Vec<&'static str>,
    faults: &'f mut Vec<String>,
}

impl<'v, 'f> Reader<'v, 'f> {
    pub fn new(value: &'v Value, place: &str, faults: &'f mut Vec<String>) -> Self {
        if !value.is_object() {
            let place = if place.is_empty() { "the configuration" } else { place };
            faults.push(format!("{place}: expected an object"));
        }
        Reader { fields: value.as_object(), place: place.to_owned(), known: Vec::new(), faults }
    }

    pub fn faults(&mut self) -> &mut Vec<String> {
        self.faults
    }

    pub fn fault(&mut self, key: &str, what: &str) {
        let dot = if key.is_empty() || self.place.is_empty() { "" } else { "." };
        self.faults.push(format!("{}{dot}{key}: {what}", self.place));
    }

    pub fn has(&self, key: &str) -> bool {
        self.fields.is_some_and(|fields| fields.contains_key(key))
    }

    /// The value of a key, unless it is null.
    pub fn take(&mut self, key: &'static str) -> Option<&'v Value> {
        self.known.push(key);
        self.fields?.get(key).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, key: &'static str, required: bool) -> Option<String> {
        match self.take(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Some(_) => self.fault(key, "expected text"),
            None if required && self.fields.is_some() => self.fault(key, "is missing"),
            None => {}
        }
        None
    }

    pub fn fits(&mut self, key: &str, text: &str, check: fn(&str) -> bool) -> bool {
        let fits = check(text);
        if !fits {
            self.fault(key, "a name is letters, digits and . _ : / -, at most 128");
        }
        fits
    }

    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let texts = value.as_array().and_then(|items| {
            let texts = items.iter().map(|item| item.as_str().filter(|t| !t.is_empty() && t.len() <= 128));
            texts.map(|text| text.map(ToOwned::to_owned)).collect::<Option<Vec<String>>>()
        });
        if texts.is_none() {
            self.fault(key, "expected a list of texts of at most 128 bytes");
        }
        texts.unwrap_or_default()
    }

    /// The items of a list of any kind.
    pub fn items(&mut self, key: &'static str) -> std::slice::Iter<'v, Value> {
        match self.take(key) {
            None => [].iter(),
            Some(Value::Array(items)) => items.iter(),
            Some(_) => {
                self.fault(key, "expected a list");
                [].iter()
            }
        }
    }

    pub fn flag(&mut self, key: &'static str) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(key, "expected true or false");
                false
            }
        }
    }

    pub fn positive(&mut self, key: &'static str, default: f64) -> f64 {
        let Some(value) = self.take(key) else { return default };
        match value.as_f64().filter(|number| *number > 0.0 && *number <= 1e9) {
            Some(number) => number,
            None => {
                self.fault(key, "expected a number above 0");
                default
            }
        }
    }

    pub fn seconds(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(value) = self.take(key) else { return default };
        match value.as_f64().filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST) {
            Some(seconds) => Duration::from_secs_f64(seconds),
            None => {
                self.fault(key, "expected a number of seconds above 0, at most a day");
                default
            }
        }
    }

    pub fn count(&mut self, key: &'static str, default: usize) -> usize {
        let Some(value) = self.take(key) else { return default };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) {
            Some(number) => number,
            None => {
                self.fault(key, "expected a whole number above 0");
                default
            }
        }
    }

    /// Tells the keys nobody has asked for.
    pub fn end(mut self) {
        let Some(fields) = self.fields else { return };
        let unknown: Vec<&String> = fields.keys().filter(|key| !self.known.contains(&key.as_str())).collect();
        for key in unknown {
            let shown = neoabzu_kimicho::clean(key, 60, &[]);
            let known = self.known.join(", ");
            self.fault(&shown, &format!("unknown; known are {known}"));
        }
    }
}
