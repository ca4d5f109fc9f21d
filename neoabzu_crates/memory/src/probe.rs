//! Whether a layer can be relied on: it is written to, searched and read back; and its index is put in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, params};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::Layer;
use crate::record::{self, Record};
use crate::{index_place, parts};

/// A row of each layer that is no record. Its `words` count how often it was written.
const ROW: i64 = 0;
/// Parts of an index that are left as they are; a query searches each of them.
const PARTS: i64 = 2;
/// Pages of 1,000 bytes that one merge writes at most, so that others do not wait long for the file.
const MERGED: i64 = 4000;

/// A record is written, found by its word and removed, which is then undone, for the index would keep a trace of it;
/// what is committed is a row without a place in the index. Gives how often that was written.
pub(crate) fn write(transaction: &mut Transaction<'_>, layer: Layer, word: &str, now: f64) -> Result<i64> {
    parts::part(transaction, layer.name())?;
    let attempt = transaction.savepoint()?;
    let id = record::write(&attempt, layer, &Record::new(word), now)?;
    let found: i64 = attempt
        .prepare_cached(&format!("SELECT rowid FROM {layer}_index WHERE {layer}_index MATCH ?1"))?
        .query_row([word], |row| row.get(0))?;
    if index_place::split(found).0 != id.row || !record::forget(&attempt, id)? {
        return Err(lost("what was written"));
    }
    attempt.finish()?;
    let row = format!(
        "INSERT INTO {layer}(id, words, created, metadata, text) VALUES({ROW}, 1, ?1, '{{}}', ?2)
         ON CONFLICT(id) DO UPDATE SET words = words + 1, created = excluded.created, text = excluded.text
         RETURNING words"
    );
    Ok(transaction.query_row(&row, params![now, word], |row| row.get(0))?)
}

/// Looks for what was committed: it is there, or somebody else has been here since.
pub(crate) fn read(connection: &Connection, layer: Layer, word: &str, written: i64) -> Result<()> {
    let sql = format!("SELECT words, text FROM {layer} WHERE id = {ROW}");
    let (found, text): (i64, String) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if found > written || (found == written && text == word) {
        return Ok(());
    }
    Err(lost("what was committed"))
}

/// Whether many small writes have left the index in many parts.
pub(crate) fn is_scattered(connection: &Connection, layer: Layer) -> Result<bool> {
    let sql = format!("SELECT count(DISTINCT segid) FROM {layer}_index_idx");
    let parts: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(parts > PARTS)
}

/// Merges the parts of the index, or goes on with it. <https://www.sqlite.org/fts5.html#the_merge_command>
pub(crate) fn merge(transaction: &Connection, layer: Layer) -> Result<()> {
    let sql = format!("INSERT INTO {layer}_index({layer}_index, rank) VALUES('merge', -{MERGED})");
    transaction.execute(&sql, [])?;
    Ok(())
}

pub(crate) fn lost(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} could not be read back"))
}

/// A word that no record holds.
pub(crate) fn word() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("probe{:x}x{call:x}x{nanoseconds:x}", std::process::id())
}
