//! How many executions each exhaustive check explored when somebody last looked.
//!
//! A fall means that something is no longer explored and fails; a rise is reported. The file is
//! `pins.toml`, a table for each table, engine and bound with one line for each scenario.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Check, Row};

/// table → engine → bound → scenario → executions.
type Nested = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>>;

/// The pinned numbers of executions.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Pins {
    pinned: Nested,
}

/// Why pins cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{path}: {source}; write it anew with verify quick --write-pins")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: toml::de::Error,
    },
}

impl Pins {
    /// The file of this workspace.
    pub fn default_path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("pins.toml")
    }

    /// Reads a file; one that is missing pins nothing.
    pub fn read(path: &Path) -> Result<Self, PinsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(PinsError::Io { path: path.to_owned(), source });
            }
        };
        let pinned = toml::from_str(&text)
            .map_err(|source| PinsError::Format { path: path.to_owned(), source })?;
        Ok(Self { pinned })
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<(), PinsError> {
        let text = toml::to_string(&self.pinned).expect("tables of numbers have a text");
        let comment = "# Executions of each exhaustive check: table, engine, bound, scenario.\n\
                       # A fall fails. Written by verify quick --write-pins.\n\n";
        fs::write(path, format!("{comment}{text}"))
            .map_err(|source| PinsError::Io { path: path.to_owned(), source })
    }

    /// The pin of a check.
    pub fn get(&self, check: &Check) -> Option<u64> {
        let bounds = self.pinned.get(check.table.name())?.get(check.engine.name())?;
        bounds.get(&check.bound_name())?.get(&check.scenario_name()).copied()
    }

    /// Pins what a row explored, if that was everything within its bound.
    pub fn set(&mut self, row: &Row) {
        if !row.complete || row.failure.is_some() {
            return;
        }
        let engines = self.pinned.entry(row.table.clone()).or_default();
        let bounds = engines.entry(row.engine.clone()).or_default();
        let scenarios = bounds.entry(row.bound.clone()).or_default();
        scenarios.insert(row.scenario.clone(), row.executions);
    }
}
