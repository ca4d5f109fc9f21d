//! Failures by fingerprint, and what was done about them: which repairs held, and how often.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::{self, fingerprint, hex};
use crate::layer::Layer;
use crate::parts::{self, REPAIRS};
use crate::record::{self, Record, check_object};

/// Bytes of an error, or of a repair's words, that the layers show.
const SHOWN: usize = 4096;
/// Repairs of one failure that are given back.
const MAX_RECALLED: i64 = 100;

/// A repair that held at least once. Instants in epoch seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// A JSON object, as it was recorded.
    pub repair: String,
    pub held: i64,
    pub failed: i64,
    /// How much it can be relied on, 0 to 1: see `reliability()`.
    pub score: f64,
    pub first: f64,
    pub last: f64,
}

/// The lower end of the 95 % interval for the share of cases in which it will hold (Wilson, 1927). It ranks three
/// of three before one of one, and both before five of ten.
fn reliability(held: i64, failed: i64) -> f64 {
    const Z: f64 = 1.96;
    let (held, tried) = (held as f64, (held + failed) as f64);
    if tried == 0.0 {
        return 0.0;
    }
    let share = held / tried;
    let spread = Z * ((share * (1.0 - share) + Z * Z / (4.0 * tried)) / tried).sqrt();
    ((share + Z * Z / (2.0 * tried) - spread) / (1.0 + Z * Z / tried)).max(0.0)
}

/// The start of a text, cut at a character.
fn shown(text: &str) -> &str {
    let end = (0..=SHOWN.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Counts a failure and makes it findable in the episodic layer: one record per fingerprint. Gives the fingerprint.
pub(crate) fn record_failure(
    transaction: &Connection,
    component: &str,
    class: &str,
    error: &str,
    now: f64,
) -> Result<String> {
    let name = fingerprint(component, class, error)?;
    parts::part(transaction, REPAIRS)?;
    let (first, count): (f64, i64) = transaction
        .prepare_cached(
            "INSERT INTO failures VALUES(?1, ?2, ?3, ?4, ?5, ?5, 1)
             ON CONFLICT(fingerprint) DO UPDATE SET count = count + 1, last = excluded.last, error = excluded.error
             RETURNING first, count",
        )?
        .query_row(params![name, component, class, shown(error), now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let metadata = json!({
        "kind": "failure", "fingerprint": name, "component": component, "class": class,
        "count": count, "first": first, "last": now,
    });
    let text = format!("{component} failed ({class}): {}", shown(error));
    remember(transaction, Layer::Episodic, format!("failure:{name}"), text, &metadata, now)?;
    Ok(name)
}

/// Counts an outcome of a repair. Its story goes to the episodic layer, and to the procedural one once it held.
pub(crate) fn record_repair(
    transaction: &Connection,
    fingerprint: &str,
    repair: &str,
    held: bool,
    now: f64,
) -> Result<()> {
    let value: Map<String, Value> = parse(fingerprint, repair)?;
    parts::part(transaction, REPAIRS)?;
    let digest = digest(&value);
    let (held, failed): (i64, i64) = transaction
        .prepare_cached(
            "INSERT INTO repairs VALUES(?1, ?2, ?3, ?4, 1 - ?4, ?5, ?5)
             ON CONFLICT(fingerprint, digest) DO UPDATE SET
                held = held + excluded.held, failed = failed + excluded.failed, last = excluded.last
             RETURNING held, failed",
        )?
        .query_row(params![fingerprint, digest, repair, i64::from(held), now], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let failure: Option<String> = transaction
        .prepare_cached(
            "SELECT component || ' failed (' || class || '): ' || error FROM failures WHERE fingerprint = ?1",
        )?
        .query_row([fingerprint], |row| row.get(0))
        .optional()?;
    let metadata = json!({
        "kind": "repair", "fingerprint": fingerprint, "digest": digest, "held": held, "failed": failed, "last": now,
    });
    let mut told = String::new();
    tell(&Value::Object(value), &mut told);
    let text = format!(
        "Repair that held {held} and failed {failed} times. {}\n{}",
        shown(told.trim()),
        failure.as_deref().unwrap_or_default()
    );
    let key = format!("repair:{fingerprint}:{digest}");
    if held > 0 {
        remember(transaction, Layer::Procedural, key.clone(), text.clone(), &metadata, now)?;
    }
    remember(transaction, Layer::Episodic, key, text, &metadata, now)
}

/// The repairs that held, the most reliable first; among equals the latest.
pub(crate) fn recall_repair(connection: &Connection, fingerprint: &str) -> Result<Vec<Recalled>> {
    parts::part(connection, REPAIRS)?;
    let mut statement = connection.prepare_cached(
        "SELECT repair, held, failed, first, last FROM repairs WHERE fingerprint = ?1 AND held > 0
         ORDER BY last DESC",
    )?;
    let mut recalled = statement
        .query_map([fingerprint], |row| {
            let (held, failed) = (row.get(1)?, row.get(2)?);
            let score = reliability(held, failed);
            Ok(Recalled { repair: row.get(0)?, held, failed, score, first: row.get(3)?, last: row.get(4)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // The sort is stable: equals stay in the order of time.
    recalled.sort_by(|a, b| b.score.total_cmp(&a.score));
    recalled.truncate(MAX_RECALLED as usize);
    Ok(recalled)
}

/// Checks what `record_repair` is given.
pub(crate) fn parse(fingerprint: &str, repair: &str) -> Result<Map<String, Value>> {
    fingerprint::check(fingerprint)?;
    check_object("repair", repair)?;
    let value: Map<String, Value> = serde_json::from_str(repair).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("the repair is not a JSON object: {error}"))
    })?;
    if value.is_empty() {
        return Err(Error::invalid("the repair is empty"));
    }
    Ok(value)
}

fn remember(
    transaction: &Connection,
    layer: Layer,
    key: String,
    text: String,
    metadata: &Value,
    now: f64,
) -> Result<()> {
    parts::part(transaction, layer.name())?;
    let record = Record { text, metadata: metadata.to_string(), key: Some(key) };
    record::write(transaction, layer, &record, now).map(|_| ())
}

/// The same repair is one repair, in whatever order its keys were written.
fn digest(repair: &Map<String, Value>) -> String {
    let mut canonical = String::new();
    write_sorted(&Value::Object(repair.clone()), &mut canonical);
    hex(&Sha256::digest(canonical.as_bytes())[..16])
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// The words of a repair, for the search: every string in it, one a line.
fn tell(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| tell(item, out)),
        Value::Object(map) => map.values().for_each(|item| tell(item, out)),
        _ => {}
    }
}
