//! The bundle: everything a caller does with a memory file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Layer, RecordId};
use crate::parts::{self, REPAIRS};
use crate::probe;
use crate::record::{self, MAX_BATCH, MAX_BATCH_BYTES, Record};
use crate::repair::{self, Recalled};
use crate::search::{self, Answer, Query};
use crate::store::Store;
use crate::survey::Statistics;

/// The name of the file in the logs folder.
pub const FILE_NAME: &str = "razar_memory.db";
/// How long a writer waits for another one.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait that may be asked for.
const MAX_BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// The time limit of what reads but is no query.
const READ_TIME: Duration = Duration::from_secs(5);

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    pub path: PathBuf,
    /// Of the file and its write-ahead log.
    pub bytes: u64,
    pub layers: Vec<(Layer, LayerStats)>,
    /// Different failures, and different repairs of them.
    pub failures: i64,
    pub repairs: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerStats {
    pub records: i64,
    pub words: i64,
    pub schema: i64,
}

/// A mission's memory in one file. Threads may share it; several processes may read the file while one writes.
/// Nothing is opened before the first call that needs it.
pub struct Bundle {
    store: Store,
    statistics: Statistics,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// The bundle in the file at `path`, which is made at first use.
    pub fn new(path: &Path, busy_timeout: Duration) -> Result<Self> {
        if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::invalid("the path is empty or holds a NUL character"));
        }
        if busy_timeout > MAX_BUSY_TIMEOUT {
            let most = MAX_BUSY_TIMEOUT.as_secs();
            return Err(Error::invalid(format!(
                "the busy timeout is {busy_timeout:?}, it may be up to {most} s"
            )));
        }
        // Absolute: neither a change of the working folder nor a name like ":memory:" leads elsewhere.
        let path =
            std::path::absolute(path).map_err(|error| Error::new(ErrorKind::Storage, error.to_string()))?;
        Ok(Self { store: Store::new(path, busy_timeout), statistics: Statistics::default() })
    }

    /// `razar_memory.db` in the folder `$RAZAR_LOGS`, else in `logs` of the working folder.
    pub fn default_path() -> PathBuf {
        let logs = std::env::var_os("RAZAR_LOGS").filter(|folder| !folder.is_empty());
        PathBuf::from(logs.unwrap_or_else(|| "logs".into())).join(FILE_NAME)
    }

    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Writes a record to each layer, finds it, reads it, removes it, and reads what was committed back through
    /// another connection. What cannot do all of that is not ready. Indexes in many parts are merged, a part at a time.
    pub fn initialize(&self) -> Vec<(Layer, Result<()>)> {
        let word = probe::word();
        let written =
            self.probe(&word).unwrap_or_else(|error| Layer::ALL.map(|layer| (layer, Err(error.clone()))));
        let read = |(layer, written): (Layer, Result<i64>)| {
            (layer, written.and_then(|written| self.read_probe(layer, &word, written)))
        };
        written.into_iter().map(read).collect()
    }

    fn read_probe(&self, layer: Layer, word: &str, written: i64) -> Result<()> {
        let scattered = self.read("read back", |connection| {
            probe::read(connection, layer, word, written)?;
            probe::is_scattered(connection, layer)
        })?;
        if scattered {
            let merged = self.write("merge the index", |transaction| probe::merge(transaction, layer));
            // Whatever else stands in its way, the layer works as it is.
            merged.or_else(|error| if error.kind == ErrorKind::Corrupt { Err(error) } else { Ok(()) })?;
        }
        Ok(())
    }

    fn probe(&self, word: &str) -> Result<[(Layer, Result<i64>); 4]> {
        self.write("initialise", |transaction| {
            let mut outcome = Layer::ALL.map(|layer| (layer, Ok(0)));
            for (layer, result) in &mut outcome {
                *result = probe::write(transaction, *layer, word, now());
                if transaction.is_autocommit() {
                    // An error that SQLite answers by undoing the whole transaction concerns every layer.
                    return Err(result.clone().err().unwrap_or_else(|| probe::lost("the transaction")));
                }
                if let Err(error) = result {
                    error.locate(self.path());
                }
            }
            Ok(outcome)
        })
    }

    /// Keeps a record. Once this returns, the death of the process does not lose it.
    pub fn remember(&self, layer: Layer, record: &Record) -> Result<RecordId> {
        record.check()?;
        self.write("remember", |transaction| {
            parts::part(transaction, layer.name())?;
            record::write(transaction, layer, record, now())
        })
    }

    /// Keeps all of the records or none.
    pub fn remember_many(&self, layer: Layer, records: &[Record]) -> Result<Vec<RecordId>> {
        if records.len() > MAX_BATCH {
            let found = records.len();
            return Err(Error::invalid(format!("the batch has {found} records, {MAX_BATCH} are allowed")));
        }
        let bytes: usize = records.iter().map(Record::bytes).sum();
        if bytes > MAX_BATCH_BYTES {
            return Err(Error::invalid(format!(
                "the batch has {bytes} bytes, {MAX_BATCH_BYTES} are allowed"
            )));
        }
        for (place, record) in records.iter().enumerate() {
            record
                .check()
                .map_err(|error| error.while_doing(&format!("remember record {place} of the batch")))?;
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.write("remember", |transaction| {
            parts::part(transaction, layer.name())?;
            record::write_many(transaction, layer, records, now())
        })
    }

    /// Searches the layers for the words of a text. What a layer or the file cannot do is said in the answer; an
    /// error is only what the caller did wrong.
    pub fn query(&self, query: &Query<'_>) -> Result<Answer> {
        search::query(&self.store, &self.statistics, query)
    }

    /// Removes a record; false if there was none.
    pub fn forget(&self, id: RecordId) -> Result<bool> {
        self.write("forget", |transaction| {
            parts::part(transaction, id.layer.name())?;
            record::forget(transaction, id)
        })
    }

    pub fn stats(&self) -> Result<Stats> {
        self.read("count", |connection| {
            let layers = Layer::ALL.into_iter().map(|layer| {
                let part = parts::part(connection, layer.name())?;
                Ok((layer, LayerStats { records: part.records, words: part.words, schema: part.schema }))
            });
            let layers = layers.collect::<Result<Vec<_>>>()?;
            parts::part(connection, REPAIRS)?;
            let count = |table: &str| {
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            };
            let bytes = ["", "-wal"].into_iter().map(|end| {
                let mut path = self.path().as_os_str().to_owned();
                path.push(end);
                std::fs::metadata(path).map_or(0, |file| file.len())
            });
            Ok(Stats {
                path: self.path().to_owned(),
                bytes: bytes.sum(),
                layers,
                failures: count("failures")?,
                repairs: count("repairs")?,
            })
        })
    }

    /// Records a failure by its fingerprint, which it gives back.
    pub fn record_failure(&self, component: &str, class: &str, error: &str) -> Result<String> {
        // Before the file is touched: what is wrong with the arguments needs no file to be found.
        crate::fingerprint::fingerprint(component, class, error)?;
        self.write("record a failure", |transaction| {
            repair::record_failure(transaction, component, class, error, now())
        })
    }

    /// Records that a repair (a JSON object) of a failure held, or did not.
    pub fn record_repair(&self, fingerprint: &str, repair: &str, held: bool) -> Result<()> {
        repair::parse(fingerprint, repair)?;
        self.write("record a repair", |transaction| {
            repair::record_repair(transaction, fingerprint, repair, held, now())
        })
    }

    /// The repairs of a failure that held at least once, the most reliable first.
    pub fn recall_repair(&self, fingerprint: &str) -> Result<Vec<Recalled>> {
        crate::fingerprint::check(fingerprint)?;
        self.read("recall repairs", |connection| repair::recall_repair(connection, fingerprint))
    }

    /// Ends the use of the file. Every later call fails with `ErrorKind::Closed`, except another `close()`.
    pub fn close(&self) {
        self.store.close();
    }

    fn write<T>(&self, what: &str, work: impl FnOnce(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let attempt = || {
            let mut lease = self.store.writer()?;
            let mut transaction = lease.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&mut transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        attempt().map_err(|error| self.told(error, what))
    }

    fn told(&self, mut error: Error, what: &str) -> Error {
        error.locate(self.path());
        error.while_doing(what)
    }

    fn read<T>(&self, what: &str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let attempt = || {
            let mut lease = self.store.reader(Instant::now() + READ_TIME)?;
            let transaction = lease.transaction()?;
            work(&transaction)
        };
        attempt().map_err(|error| self.told(error, what))
    }
}

/// Epoch seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
