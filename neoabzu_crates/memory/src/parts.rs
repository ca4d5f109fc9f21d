//! What each part of a file says of itself: its schema, and how much is in it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::Layer;

/// The schema this program writes and reads. Each part of the file carries its own number.
pub const SCHEMA: i64 = 1;

/// The part that holds failures and repairs.
pub(crate) const REPAIRS: &str = "repairs";

/// Every part of a file: the four layers and the repairs.
pub(crate) const PARTS: [&str; 5] = ["working", "episodic", "semantic", "procedural", REPAIRS];

/// What a part says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub schema: i64,
    /// How many records there are, and of how many words in sum.
    pub records: i64,
    pub words: i64,
    /// Grows with every change.
    pub changes: i64,
}

/// Reads a part's row and refuses a part that a newer program wrote.
pub(crate) fn part(connection: &Connection, name: &str) -> Result<Part> {
    let mut statement =
        connection.prepare_cached("SELECT schema, records, words, changes FROM parts WHERE name = ?1")?;
    let part = statement
        .query_row([name], |row| {
            Ok(Part { schema: row.get(0)?, records: row.get(1)?, words: row.get(2)?, changes: row.get(3)? })
        })
        .optional()?
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the memory file has no part {name}")))?;
    if part.schema == SCHEMA {
        return Ok(part);
    }
    Err(Error::new(
        ErrorKind::Schema,
        format!(
            "{name} was written with schema {}, this version reads schema {SCHEMA}; \
             use the newer version, or another path",
            part.schema
        ),
    ))
}

/// Adds to the totals of a layer, and notes that it was changed.
pub(crate) fn add(transaction: &Connection, layer: Layer, records: i64, words: i64) -> Result<()> {
    transaction
        .prepare_cached("UPDATE parts SET records = records + ?2, words = words + ?3, changes = changes + 1 WHERE name = ?1")?
        .execute(params![layer.name(), records, words])?;
    Ok(())
}
