//! Records: what may be kept, writing one, replacing it by its key, forgetting it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Error, Result};
use crate::layer::{Layer, RecordId};
use crate::{index_place, parts, words};

/// Bytes of a record's text, or of an error or a query.
pub const MAX_TEXT: usize = 1 << 20;
/// Bytes of a record's metadata, or of a repair, as JSON.
pub const MAX_METADATA: usize = 64 << 10;
/// Bytes of a key, or of a component's or a class's name.
pub const MAX_NAME: usize = 512;
/// Records in one batch, and the bytes of all of them.
pub const MAX_BATCH: usize = 100_000;
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// A text to keep, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub text: String,
    /// A JSON object.
    pub metadata: String,
    /// A record of the same layer with the same key is replaced and keeps its id.
    pub key: Option<String>,
}

impl Record {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), metadata: "{}".to_owned(), key: None }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_text("text", &self.text)?;
        check_object("metadata", &self.metadata)?;
        self.key.as_deref().map_or(Ok(()), |key| check_name("key", key))
    }

    /// What it counts towards [`MAX_BATCH_BYTES`].
    pub fn bytes(&self) -> usize {
        self.text.len() + self.metadata.len() + self.key.as_ref().map_or(0, String::len)
    }
}

pub(crate) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("the {what} is empty")));
    }
    check_size(what, text, MAX_TEXT)
}

pub(crate) fn check_size(what: &str, text: &str, most: usize) -> Result<()> {
    if text.len() > most {
        return Err(Error::invalid(format!("the {what} has {} bytes, {most} are allowed", text.len())));
    }
    Ok(())
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("the {what} is empty")));
    }
    if name.contains('\0') {
        return Err(Error::invalid(format!("the {what} holds a NUL character")));
    }
    check_size(what, name, MAX_NAME)
}

pub(crate) fn check_object(what: &str, json: &str) -> Result<()> {
    check_size(what, json, MAX_METADATA)?;
    // The commonest first: most records carry nothing.
    if json == "{}" {
        return Ok(());
    }
    let is_object =
        json.trim_start().starts_with('{') && serde_json::from_str::<serde_json::Value>(json).is_ok();
    if is_object { Ok(()) } else { Err(Error::invalid(format!("the {what} is not a JSON object"))) }
}

/// Writes a record that was checked, to a layer that was. `created` in epoch seconds.
pub(crate) fn write(
    transaction: &Connection,
    layer: Layer,
    record: &Record,
    created: f64,
) -> Result<RecordId> {
    write_many(transaction, layer, std::slice::from_ref(record), created).map(|ids| ids[0])
}

/// Writes several; the totals of the layer are brought up to date once.
pub(crate) fn write_many(
    transaction: &Connection,
    layer: Layer,
    records: &[Record],
    created: f64,
) -> Result<Vec<RecordId>> {
    let mut totals = (0, 0);
    let ids = records.iter().map(|record| put(transaction, layer, record, created, &mut totals));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    parts::add(transaction, layer, totals.0, totals.1)?;
    Ok(ids)
}

/// Adds the records and words that have become more to the totals.
fn put(
    transaction: &Connection,
    layer: Layer,
    record: &Record,
    created: f64,
    totals: &mut (i64, i64),
) -> Result<RecordId> {
    let words = words::count(&record.text);
    let old: Option<(i64, i64)> = match &record.key {
        Some(key) => transaction
            .prepare_cached(&format!("SELECT id, words FROM {layer} WHERE key = ?1"))?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?,
        None => None,
    };
    let row = if let Some((row, before)) = old {
        transaction
            .prepare_cached(&format!(
                "UPDATE {layer} SET words = ?2, created = ?3, metadata = ?4, text = ?5 WHERE id = ?1"
            ))?
            .execute(params![row, words, created, record.metadata, record.text])?;
        remove_from_index(transaction, layer, row, before)?;
        row
    } else {
        transaction
            .prepare_cached(&format!(
                "INSERT INTO {layer}(words, created, key, metadata, text) VALUES(?1, ?2, ?3, ?4, ?5)"
            ))?
            .insert(params![words, created, record.key, record.metadata, record.text])?
    };
    transaction
        .prepare_cached(&format!("INSERT INTO {layer}_index(rowid, text) VALUES(?1, ?2)"))?
        .execute(params![index_place::of(row, words), record.text])?;
    let (fresh, before) = old.map_or((1, 0), |(_, words)| (0, words));
    *totals = (totals.0 + fresh, totals.1 + words - before);
    Ok(RecordId { layer, row })
}

/// Removes a record. False if there is none of that id.
pub(crate) fn forget(transaction: &Connection, id: RecordId) -> Result<bool> {
    let RecordId { layer, row } = id;
    let words: Option<i64> = transaction
        .prepare_cached(&format!("DELETE FROM {layer} WHERE id = ?1 RETURNING words"))?
        .query_row([row], |row| row.get(0))
        .optional()?;
    let Some(words) = words else { return Ok(false) };
    remove_from_index(transaction, layer, row, words)?;
    parts::add(transaction, layer, -1, -words)?;
    Ok(true)
}

fn remove_from_index(transaction: &Connection, layer: Layer, row: i64, words: i64) -> Result<()> {
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {layer}_index WHERE rowid = ?1"))?;
    delete.execute([index_place::of(row, words)])?;
    Ok(())
}
