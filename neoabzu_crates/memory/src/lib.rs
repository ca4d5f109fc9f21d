//! What a mission remembers: layers of searchable records, and the repairs that held, in one crash-safe SQLite file.

mod blanks;
mod bundle;
mod companions;
mod connection;
mod error;
mod fingerprint;
mod index_place;
mod layer;
mod older;
mod parts;
mod probe;
mod process;
mod ranking;
mod record;
mod repair;
mod schema;
mod search;
mod store;
mod survey;
mod tiers;
mod times;
mod update;
mod word_counts;
mod words;

pub use blanks::normalise;
pub use bundle::{BUSY_TIMEOUT, Bundle, FILE_NAME, LayerStats, Stats};
pub use error::{Error, ErrorKind, Result};
pub use fingerprint::fingerprint;
pub use layer::{Layer, RecordId};
pub use parts::SCHEMA;
pub use record::{MAX_BATCH, MAX_BATCH_BYTES, MAX_METADATA, MAX_NAME, MAX_TEXT, Record};
pub use repair::Recalled;
pub use search::{Answer, Hit, MAX_DEADLINE, MAX_LIMIT, Query};
