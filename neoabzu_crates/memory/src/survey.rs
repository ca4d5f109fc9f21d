//! How common the words of a query are in each layer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::Result;
use crate::layer::Layer;
use crate::{index_place, parts};

/// Words that take part in the ranking: the rarest ones.
pub(crate) const MAX_RANKED: usize = 8;
/// Records with a word that are counted at either end; beyond, their number is estimated from how dense they lie.
const SAMPLE: i64 = 256;
/// Word statistics of a layer that are kept from one query for the next.
const MAX_KNOWN: usize = 8192;

/// In how many records of a layer a word occurs, when the layer was as `part` says, in the file of that number.
#[derive(Clone, Copy)]
struct Known {
    occurs: i64,
    part: parts::Part,
    content: u64,
}

/// What is remembered from query to query; wrong figures cost time or a little of the order, never a record.
#[derive(Default)]
pub(crate) struct Statistics(Mutex<HashMap<Layer, HashMap<String, Known>>>);

impl Statistics {
    fn get(&self, layer: Layer, word: &str, part: &parts::Part, content: u64) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&layer)?.get(word).filter(|known| known.content == content)?;
        let holds = if known.occurs == 0 {
            // A word that was not there may have come with the least change.
            known.part == *part
        } else {
            (part.records - known.part.records).abs() <= known.part.records / 10
        };
        holds.then_some(known.occurs)
    }

    fn put(&self, layer: Layer, word: &str, known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = all.entry(layer).or_default();
        if layer.len() >= MAX_KNOWN {
            layer.clear();
        }
        layer.insert(word.to_owned(), known);
    }
}

/// One layer's figures for the words of a query.
pub(crate) struct Surveyed {
    pub layer: Layer,
    pub part: parts::Part,
    /// The place in the index of the newest record, at least.
    pub newest: i64,
    /// In how many records each word of the query occurs.
    pub occurs: Vec<i64>,
    /// The words (by their place in the query) that take part in this layer, the rarest first.
    pub order: Vec<usize>,
}

/// Looks up in how many records of a layer each word occurs; `content` is the number of the connection's file.
pub(crate) fn survey(
    connection: &Connection,
    statistics: &Statistics,
    content: u64,
    layer: Layer,
    words: &[String],
) -> Result<Surveyed> {
    let part = parts::part(connection, layer.name())?;
    let mut surveyed = Surveyed { layer, newest: 0, part, order: Vec::new(), occurs: vec![0; words.len()] };
    if part.records == 0 {
        return Ok(surveyed);
    }
    surveyed.newest = connection
        .prepare_cached(&format!("SELECT coalesce(max(id), 0) FROM {layer}"))?
        .query_row([], |row| Ok(index_place::first(row.get(0)?)))?;
    for (word, occurs) in words.iter().zip(&mut surveyed.occurs) {
        *occurs = match statistics.get(layer, word, &part, content) {
            Some(known) => known,
            None => {
                let occurs = occurrences(connection, layer, word)?.min(part.records);
                statistics.put(layer, word, Known { occurs, part, content });
                occurs
            }
        };
    }
    surveyed.order = (0..words.len()).filter(|&word| surveyed.occurs[word] > 0).collect();
    surveyed.order.sort_by_key(|&word| surveyed.occurs[word]);
    surveyed.order.truncate(MAX_RANKED);
    Ok(surveyed)
}

/// In how many records a word occurs: counted if they are few, else estimated from both ends of the list, so that
/// neither a word that came up lately nor one that went out of use looks common.
fn occurrences(connection: &Connection, layer: Layer, word: &str) -> Result<i64> {
    let sample = |direction: &str| -> Result<(i64, i64, i64)> {
        let sql = format!(
            "SELECT count(*), coalesce(min(rowid), 0), coalesce(max(rowid), 0) FROM
             (SELECT rowid FROM {layer}_index WHERE {layer}_index MATCH ?1 ORDER BY rowid {direction} LIMIT {SAMPLE})"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row([quoted(word)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    };
    let (seen, start, end) = sample("DESC")?;
    if seen < SAMPLE {
        return Ok(seen);
    }
    let (_, first, last) = sample("ASC")?;
    let between = start - last;
    if between <= 0 {
        // The two ends overlap: it is more than one of them and less than both.
        return Ok(SAMPLE * 3 / 2);
    }
    let density = SAMPLE as f64 / 2.0 * (1.0 / (end - start + 1) as f64 + 1.0 / (last - first + 1) as f64);
    Ok(2 * SAMPLE + (between as f64 * density) as i64)
}

/// In quotes nothing is an operator; words hold letters, digits and marks alone.
pub(crate) fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}
