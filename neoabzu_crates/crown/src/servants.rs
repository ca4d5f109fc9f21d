//! The servants of a configuration, listed in it or named in `SERVANT_MODELS`.

use std::time::Duration;

use neoabzu_kimicho::{Endpoint, Secret, Settings};
use serde_json::Value;

use crate::read::{Environ, Reader};
use crate::request::ROUTED;

/// Limit on one request to a servant.
pub const SERVANT_TIMEOUT: Duration = Duration::from_secs(30);

/// A model server that speaks the OpenAI API.
#[derive(Clone, Debug)]
pub struct Servant {
    pub name: String,
    pub endpoint: Endpoint,
    /// What the server calls its model.
    pub model: String,
    pub capabilities: Vec<String>,
    pub weight: f64,
    pub timeout: Duration,
    pub key: Option<Secret>,
}

impl Servant {
    /// As a client's settings; retries are the router's.
    pub fn settings(&self) -> Settings {
        Settings {
            name: format!("servant {}", self.name),
            endpoint: self.endpoint.clone(),
            key: self.key.clone(),
            model: Some(self.model.clone()),
            timeout: self.timeout,
            retries: 0,
            marked: false,
        }
    }
}

pub fn servants(list: &Value, environ: Environ<'_>, faults: &mut Vec<String>) -> Vec<Servant> {
    let Some(list) = list.as_array() else {
        faults.push("servants: expected a list".to_owned());
        return Vec::new();
    };
    let read = |(at, value)| servant(value, &format!("servants[{at}]"), environ, faults);
    let servants: Vec<Servant> = list.iter().enumerate().filter_map(read).collect();
    tell_duplicates(&servants, "servants", faults);
    servants
}

fn servant(value: &Value, place: &str, environ: Environ<'_>, faults: &mut Vec<String>) -> Option<Servant> {
    let mut reader = Reader::new(value, place, faults);
    let name = reader.text("name", true).filter(|name| reader.fits("name", name, is_name));
    if name.as_deref().is_some_and(is_taken) {
        reader.fault("name", TAKEN);
    }
    let url = reader.text("url", true);
    let model = reader.text("model", false);
    let capabilities = reader.texts("capabilities");
    let weight = reader.positive("weight", 1.0);
    let timeout = reader.seconds("timeout", SERVANT_TIMEOUT);
    let key = reader.text("api_key_env", false).and_then(|variable| {
        let key = environ(&variable).map(|key| Secret::new(key.trim()));
        if !key.as_ref().is_some_and(Secret::fits_header) {
            reader.fault("api_key_env", "the environment variable it names holds no key");
        }
        key
    });
    let endpoint = url.and_then(|url| match Endpoint::parse(&url) {
        Ok(endpoint) => Some(endpoint),
        Err(fault) => {
            reader.fault("url", &format!("cannot be used: {fault}"));
            None
        }
    });
    reader.end();
    let (name, endpoint) = (name?, endpoint?);
    Some(Servant {
        model: model.unwrap_or_else(|| name.clone()),
        name,
        endpoint,
        capabilities,
        weight,
        timeout,
        key,
    })
}

/// Reads `SERVANT_MODELS`.
pub fn from_environment(text: &str, faults: &mut Vec<String>) -> Vec<Servant> {
    let mut servants = Vec::new();
    for (at, item) in text.split(',').map(str::trim).filter(|item| !item.is_empty()).enumerate() {
        let place = format!("SERVANT_MODELS, entry {}", at + 1);
        let Some((name, url)) = item.split_once('=') else {
            faults.push(format!("{place}: expected name=url"));
            continue;
        };
        let name = name.trim();
        if !is_name(name) {
            faults.push(format!("{place}: a name is letters, digits and . _ : / -, at most 128"));
            continue;
        }
        if is_taken(name) {
            faults.push(format!("{place}: {TAKEN}"));
            continue;
        }
        match Endpoint::parse(url) {
            Ok(endpoint) => servants.push(Servant {
                name: name.to_owned(),
                endpoint,
                model: name.to_owned(),
                capabilities: Vec::new(),
                weight: 1.0,
                timeout: SERVANT_TIMEOUT,
                key: None,
            }),
            Err(fault) => faults.push(format!("{place}: the URL of {name} cannot be used: {fault}")),
        }
    }
    tell_duplicates(&servants, "SERVANT_MODELS", faults);
    servants
}

fn tell_duplicates(servants: &[Servant], place: &str, faults: &mut Vec<String>) {
    for (at, servant) in servants.iter().enumerate() {
        if servants[..at].iter().any(|earlier| earlier.name == servant.name) {
            faults.push(format!("{place}: two servants are called {}", servant.name));
        }
    }
}

const TAKEN: &str = "crown, auto and kimicho mean something else where a request names its model";

/// Whether a request that names this model would not mean the servant.
fn is_taken(name: &str) -> bool {
    ROUTED.contains(&name) || name == "kimicho"
}

/// Names stand in headers, metrics and logs.
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-');
    name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.len() <= 128
        && name.bytes().all(fits)
}
