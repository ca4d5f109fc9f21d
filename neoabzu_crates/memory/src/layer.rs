//! The four layers and the names of their records.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// What this mission needs now.
    Working,
    /// What happened: failures, repairs and how they ended.
    Episodic,
    /// Documents and facts.
    Semantic,
    /// How things are done: repairs that held, runbooks.
    Procedural,
}

impl Layer {
    pub const ALL: [Self; 4] = [Self::Working, Self::Episodic, Self::Semantic, Self::Procedural];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Episodic => "episodic",
            Self::Semantic => "semantic",
            Self::Procedural => "procedural",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            Error::invalid(format!(
                "no layer {shown:?}: the layers are working, episodic, semantic and procedural"
            ))
        })
    }
}

/// The name of one record, written `episodic-12`. Never used again after the record was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    pub layer: Layer,
    pub row: i64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.layer, self.row)
    }
}

impl FromStr for RecordId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        let parsed = id.split_once('-').and_then(|(layer, row)| {
            // i64's parser also takes "+1" and "01", which name nothing.
            let row: i64 = row.parse().ok().filter(|n: &i64| *n > 0 && n.to_string() == row)?;
            Some(Self { layer: layer.parse().ok()?, row })
        });
        parsed.ok_or_else(|| {
            let shown: String = id.chars().take(40).collect();
            Error::invalid(format!("no record id {shown:?}: an id looks like \"episodic-12\""))
        })
    }
}
