//! What can go wrong, in the caller's terms.

use std::path::Path;

use rusqlite::ffi;

/// The kinds a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is empty, too large, out of range or not text.
    InvalidInput,
    /// The bundle was closed.
    Closed,
    /// Another writer held the file for longer than the busy timeout.
    Busy,
    /// The time limit of a query ran out.
    Deadline,
    /// The file holds records of a newer (or not migratable) schema.
    Schema,
    /// The file is damaged, or is not a memory file at all.
    Corrupt,
    /// The file, its folder or its file system may not be written.
    ReadOnly,
    /// The disk, a quota or a file size limit is used up.
    Full,
    /// The process was forked while the file was open.
    Forked,
    /// Anything else the file system or SQLite reports.
    Storage,
}

/// An error and what to do about it. The text names the file's path but no record's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Says which file it is about, if it is about the file.
    pub(crate) fn locate(&mut self, path: &Path) {
        if !matches!(
            self.kind,
            ErrorKind::InvalidInput | ErrorKind::Closed | ErrorKind::Deadline | ErrorKind::Forked
        ) {
            self.message = format!("{}: {}", path.display(), self.message);
        }
    }

    /// Says what was being done: "cannot remember: ...".
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("cannot {what}: {}", self.message);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, ref detail) = error else {
            // A column of another type than the schema says: the file was changed by a stranger.
            return Self::new(
                ErrorKind::Corrupt,
                format!("the memory file holds something unexpected ({error})"),
            );
        };
        let detail = detail.clone().unwrap_or_else(|| code.to_string());
        let (kind, meaning) = match code.code {
            ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked => {
                (ErrorKind::Busy, "another process is writing to the memory file; try again")
            }
            ffi::ErrorCode::OperationInterrupted => (ErrorKind::Deadline, "the time limit was reached"),
            ffi::ErrorCode::DatabaseCorrupt => (
                ErrorKind::Corrupt,
                "the memory file is damaged; set it aside to start a new one, or save its records with `sqlite3 FILE .recover`",
            ),
            ffi::ErrorCode::NotADatabase => {
                (ErrorKind::Corrupt, "this is not a memory file; set it aside or name another path")
            }
            ffi::ErrorCode::ReadOnly => (ErrorKind::ReadOnly, "the memory file may not be written"),
            ffi::ErrorCode::DiskFull => {
                (ErrorKind::Full, "no space is left for the memory file; nothing was changed")
            }
            ffi::ErrorCode::CannotOpen => (ErrorKind::Storage, "the memory file cannot be opened"),
            ffi::ErrorCode::TooBig => (ErrorKind::InvalidInput, "the text is too large"),
            // How SQLite reports every failed write but a full disk, a file size limit or a quota among them.
            _ if code.extended_code == ffi::SQLITE_IOERR_WRITE => {
                let meaning = "the memory file could not be written (quota, file size limit or device); nothing was changed";
                (ErrorKind::Full, meaning)
            }
            _ => (ErrorKind::Storage, "the memory file could not be used"),
        };
        Self::new(kind, format!("{meaning} ({detail})"))
    }
}
