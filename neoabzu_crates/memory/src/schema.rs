//! The tables, their versions and how an older file becomes a current one.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::{Error, ErrorKind, Result};
use crate::older;
use crate::parts::{PARTS, REPAIRS, SCHEMA};

/// Marks the file as ours (SQLite's `application_id`): "Nbzu".
const APPLICATION_ID: i32 = 0x4e62_7a75;

/// The arrangement of the file (SQLite's `user_version`), which only a change of `parts` itself would raise.
const FORMAT: i32 = 2;

/// One step of migration: how a part of schema `from` becomes one of `from + 1`.
pub(crate) struct Step {
    pub from: i64,
    pub apply: fn(&Transaction<'_>, part: &str) -> rusqlite::Result<()>,
}

/// In order. Schema 0 is a part that is not there yet.
pub(crate) const STEPS: &[Step] = &[Step { from: 0, apply: create }];

fn create(transaction: &Transaction<'_>, part: &str) -> rusqlite::Result<()> {
    if part == REPAIRS {
        return transaction.execute_batch(
            "CREATE TABLE failures(
                fingerprint TEXT PRIMARY KEY, component TEXT NOT NULL, class TEXT NOT NULL, error TEXT NOT NULL,
                first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE repairs(
                fingerprint TEXT NOT NULL, digest TEXT NOT NULL, repair TEXT NOT NULL,
                held INTEGER NOT NULL, failed INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
                PRIMARY KEY(fingerprint, digest)) WITHOUT ROWID;",
        );
    }
    // The text comes last: what stands before it is read without touching the pages of a long one. AUTOINCREMENT:
    // the id of a forgotten record is never given again. The index keeps words and places, not the text, once more.
    transaction.execute_batch(&format!(
        "CREATE TABLE {part}(
            id INTEGER PRIMARY KEY AUTOINCREMENT, words INTEGER NOT NULL, created REAL NOT NULL, key TEXT,
            metadata TEXT NOT NULL, text TEXT NOT NULL);
         CREATE UNIQUE INDEX {part}_key ON {part}(key) WHERE key IS NOT NULL;
         CREATE VIRTUAL TABLE {part}_index USING fts5(
            text, content='', contentless_delete=1, tokenize='porter unicode61 remove_diacritics 2');
         INSERT INTO {part}_index({part}_index, rank) VALUES('automerge', 2);"
    ))
}

/// Makes the file ours and current. Parts of a newer schema are left as they are; using one is an error.
pub(crate) fn prepare(connection: &mut Connection) -> Result<()> {
    migrate(connection, STEPS, SCHEMA)
}

/// True if an older version made it and it has records, perhaps, that have to be moved.
pub(crate) fn is_older(connection: &Connection) -> Result<bool> {
    Ok(owner(connection)? != Owner::Nobody && !is_current(connection, SCHEMA)?)
}

/// Whose file it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody's yet: it is empty.
    Nobody,
    /// Ours, of the first arrangement.
    Older,
    Ours,
}

/// Refuses a file that another program made, or a newer version.
pub(crate) fn owner(connection: &Connection) -> Result<Owner> {
    // Read as of one instant: somebody may be making it at this moment.
    let _reading = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    let (application, format) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        if format <= FORMAT {
            return Ok(Owner::Ours);
        }
        let told = format!(
            "the file was written by a newer version (format {format}, this one reads {FORMAT}); \
             use the newer version, or another path"
        );
        return Err(Error::new(ErrorKind::Schema, told));
    }
    let mut names = connection.prepare("SELECT name FROM sqlite_schema ORDER BY name")?;
    let names = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    match (application, format) {
        (0, 0) if names.is_empty() => Ok(Owner::Nobody),
        (0, older::FORMAT) if names == older::NAMES => Ok(Owner::Older),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "this is a database of another program, not a memory file; nothing was changed in it",
        )),
    }
}

/// True if nothing is left to do.
fn is_current(connection: &Connection, target: i64) -> Result<bool> {
    if owner(connection)? != Owner::Ours {
        return Ok(false);
    }
    let mut rows = connection.prepare_cached("SELECT count(*) FROM parts WHERE schema >= ?1")?;
    let current: i64 = rows.query_row([target], |row| row.get(0))?;
    Ok(current >= PARTS.len() as i64)
}

/// All steps of all parts in one transaction: a crash or an error on the way leaves the older file as it was.
pub(crate) fn migrate(connection: &mut Connection, steps: &[Step], target: i64) -> Result<()> {
    if is_current(connection, target)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited for the lock.
    if is_current(&transaction, target)? {
        return Ok(());
    }
    let older = owner(&transaction)? == Owner::Older;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS parts(
            name TEXT PRIMARY KEY, schema INTEGER NOT NULL, records INTEGER NOT NULL, words INTEGER NOT NULL,
            changes INTEGER NOT NULL) WITHOUT ROWID",
    )?;
    for part in PARTS {
        let mut schema: i64 = transaction
            .query_row("SELECT schema FROM parts WHERE name = ?1", [part], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        while schema < target {
            let step = steps.iter().find(|step| step.from == schema).ok_or_else(|| {
                Error::new(
                    ErrorKind::Schema,
                    format!("{part} has schema {schema}, from which no step leads on"),
                )
            })?;
            (step.apply)(&transaction, part)?;
            schema += 1;
            transaction.execute(
                "INSERT INTO parts VALUES(?1, ?2, 0, 0, 0)
                 ON CONFLICT(name) DO UPDATE SET schema = excluded.schema",
                params![part, schema],
            )?;
        }
    }
    if older {
        older::take_over(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::part;

    fn filled() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        connection
            .execute(
                "INSERT INTO semantic(words, created, metadata, text) VALUES(2, 1.0, '{}', 'kept text')",
                [],
            )
            .unwrap();
        connection
    }

    fn schemas(connection: &Connection) -> Vec<i64> {
        let mut rows = connection.prepare("SELECT schema FROM parts ORDER BY name").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(|schema| schema.unwrap()).collect()
    }

    fn add_source(transaction: &Transaction<'_>, part: &str) -> rusqlite::Result<()> {
        transaction.execute_batch(&match part {
            REPAIRS => "ALTER TABLE repairs ADD COLUMN source TEXT".to_owned(),
            layer => format!("ALTER TABLE {layer} ADD COLUMN source TEXT"),
        })
    }

    fn fail_at_semantic(transaction: &Transaction<'_>, part: &str) -> rusqlite::Result<()> {
        add_source(transaction, part)?;
        transaction.execute_batch(if part == "semantic" { "SELECT * FROM nowhere" } else { "" })
    }

    #[test]
    fn an_older_file_is_migrated_and_keeps_its_records() {
        let mut connection = filled();
        let steps = [Step { from: 0, apply: create }, Step { from: 1, apply: add_source }];
        migrate(&mut connection, &steps, 2).unwrap();
        assert_eq!(schemas(&connection), [2; 5]);
        let (text, source): (String, Option<String>) = connection
            .query_row("SELECT text, source FROM semantic", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!((text.as_str(), source), ("kept text", None));
        migrate(&mut connection, &steps, 2).unwrap();
    }

    #[test]
    fn a_migration_that_fails_half_way_changes_nothing() {
        let mut connection = filled();
        let steps = [Step { from: 1, apply: fail_at_semantic }];
        migrate(&mut connection, &steps, 2).unwrap_err();
        assert_eq!(schemas(&connection), [1; 5]);
        assert!(
            connection.prepare("SELECT source FROM working").is_err(),
            "the earlier part was not rolled back"
        );
        part(&connection, "working").unwrap();
    }

    #[test]
    fn a_file_no_step_leads_from_is_refused() {
        let error = migrate(&mut filled(), STEPS, 2).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
    }

    #[test]
    fn a_newer_part_is_left_alone_and_refused() {
        let mut connection = filled();
        connection.execute("UPDATE parts SET schema = 7 WHERE name = 'semantic'", []).unwrap();
        prepare(&mut connection).unwrap();
        let error = part(&connection, "semantic").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
        assert!(error.message.contains("schema 7"), "{error}");
        part(&connection, "working").unwrap();
    }

    #[test]
    fn a_file_that_is_being_made_is_nobody_elses() {
        let folder = tempfile::TempDir::new().unwrap();
        for round in 0..100 {
            let path = folder.path().join(format!("{round}.db"));
            let mut maker = Connection::open(&path).unwrap();
            maker.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
            std::thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    let connection = Connection::open(&path).unwrap();
                    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                    while owner(&connection).unwrap() != Owner::Ours {}
                });
                prepare(&mut maker).unwrap();
                looking.join().unwrap();
            });
        }
    }

    #[test]
    fn a_database_of_another_program_is_left_untouched() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE stranger(x)").unwrap();
        assert_eq!(prepare(&mut connection).unwrap_err().kind, ErrorKind::Corrupt);
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }
}
