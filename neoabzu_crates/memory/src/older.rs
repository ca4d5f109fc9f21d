//! Files of the first arrangement: one table of records for all layers, without an index.

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, Result};
use crate::layer::Layer;
use crate::record::{self, Record};

/// The `user_version` of such a file.
pub(crate) const FORMAT: i32 = 1;
/// What is in it, in the order of the names.
pub(crate) const NAMES: [&str; 2] = ["record", "record_layer"];

/// Moves the records into their layers. One that cannot be kept stops it, for none may be lost on the way.
pub(crate) fn take_over(transaction: &Connection) -> Result<()> {
    let mut rows =
        transaction.prepare("SELECT id, layer, text, metadata, created FROM record ORDER BY id")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let (layer, created): (String, f64) = (row.get(1)?, row.get(4)?);
        let record = Record { text: row.get(2)?, metadata: row.get(3)?, key: None };
        let kept = layer.parse().and_then(|layer: Layer| {
            record.check()?;
            record::write(transaction, layer, &record, created)
        });
        kept.map_err(|error| {
            let told = format!(
                "record {id} of this older file cannot be taken over ({error}); nothing was changed, \
                 correct it or name another path"
            );
            Error::new(ErrorKind::Schema, told)
        })?;
    }
    drop(rows);
    transaction.execute_batch("DROP TABLE record")?;
    Ok(())
}
