//! Which files a connection has open: the file itself and what SQLite keeps beside it, its write-ahead log and the
//! index of that. Somebody may remove or replace them meanwhile, of which SQLite takes no notice.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A device and a number on it. It is not given to another file as long as somebody has this one open.
pub(crate) type Inode = (u64, u64);

/// How the files of a connection are, compared with what is at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Same,
    /// The file is gone, or another one is in its place.
    OtherFile,
    /// The file is the same, but its log or the index of it is gone.
    LogRemoved,
    /// The file is the same, but its log or the index of it is another one: somebody else has opened it anew.
    OtherLog,
}

/// The files of one connection.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    pub(crate) file: Option<Inode>,
    companions: Vec<(PathBuf, Inode)>,
}

impl Files {
    /// The file that is about to be opened. If another one takes its place before that, it is noticed later.
    pub(crate) fn before_open(path: &Path) -> Self {
        Self { path: path.to_owned(), file: inode(path), companions: Vec::new() }
    }

    /// Notes the companions, which are there once something was read.
    pub(crate) fn opened(&mut self) {
        let beside = ["-wal", "-shm"].map(|end| {
            let mut name: OsString = self.path.clone().into();
            name.push(end);
            PathBuf::from(name)
        });
        self.companions =
            beside.into_iter().filter_map(|path| inode(&path).map(|inode| (path, inode))).collect();
    }

    /// Three looks into the file system, about a microsecond each.
    pub(crate) fn standing(&self) -> Standing {
        if self.file.is_none() || inode(&self.path) != self.file {
            return Standing::OtherFile;
        }
        let mut removed = false;
        for (path, known) in &self.companions {
            match inode(path) {
                Some(found) if found == *known => {}
                Some(_) => return Standing::OtherLog,
                None => removed = true,
            }
        }
        if removed { Standing::LogRemoved } else { Standing::Same }
    }
}

fn inode(path: &Path) -> Option<Inode> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
