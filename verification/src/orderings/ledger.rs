//! What is on record of each ordering: the model that fails without it, or why none does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::battery::Trial;
use super::place::Place;

/// file → function → change → entry.
type Nested = BTreeMap<String, BTreeMap<String, BTreeMap<String, Entry>>>;

/// What is on record of one weakened access.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The rows of the module's table of orderings that speak of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The model that fails, as [`Trial`] writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_by: Option<String>,
    /// Executions up to the failing one when it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executions: Option<u64>,
    /// How it failed, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why no model fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives: Option<String>,
    /// The other places of which any makes this one redundant: `killed_by` fails when all are
    /// weakened at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This model fails, with about so many executions.
    Killed(Trial),
    /// Nothing fails, and why.
    Survives(String),
    /// Nothing fails unless these places, as [`Place`] writes them, are weaker too; then this does.
    Redundant(Vec<String>, Trial),
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not a ledger.
    #[error("{path}: {source}; verify weaken --write writes it anew")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// An entry says neither who kills it nor why it survives, or both.
    #[error(
        "{place}: say either killed_by with executions, or survives with a reason; or all three \
         and, in with, what else has to be weaker"
    )]
    Undecided {
        /// Whose entry.
        place: Place,
    },
    /// A model that cannot be read.
    #[error("{place}: {problem}")]
    Model {
        /// Whose entry.
        place: Place,
        /// What is wrong.
        problem: String,
    },
}

/// The record of every weakened access.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ledger {
    entries: Nested,
}

const HEAD: &str = "\
# Each order of the shipped tables and the arena, weakened by one step: the model that fails, or why
# none does. `verify weaken --write` looks for models and keeps the reasons, which people write.
# killed_by: table; scenario; bound; engine/seed.

";

impl Ledger {
    /// The file of this workspace.
    pub fn default_path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("orderings.toml")
    }

    /// Reads a file; one that is missing has no entries.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be read.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|source| LedgerError::Format { path: path.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(LedgerError::Io { path: path.to_owned(), source }),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// If it is no ledger.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        Ok(Self { entries: toml::from_str(text)? })
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), LedgerError> {
        let text = toml::to_string(&self.entries).expect("an entry has a text");
        fs::write(path, format!("{HEAD}{text}"))
            .map_err(|source| LedgerError::Io { path: path.to_owned(), source })
    }

    /// The entry of a weakened access.
    pub fn get(&self, place: &Place) -> Option<&Entry> {
        self.entries.get(&place.file)?.get(&place.function)?.get(&place.change)
    }

    /// The entry of an access, or else the one that its function had in another file and that no
    /// place of these has now: functions move.
    pub fn find(&self, place: &Place, places: &BTreeSet<Place>) -> Option<&Entry> {
        self.get(place).or_else(|| {
            let moved = |(other, _): &(Place, &Entry)| {
                other.function == place.function
                    && other.change == place.change
                    && !places.contains(other)
            };
            self.entries().find(moved).map(|(_, entry)| entry)
        })
    }

    /// Puts an entry in place of what there was.
    pub fn set(&mut self, place: &Place, entry: Entry) {
        let functions = self.entries.entry(place.file.clone()).or_default();
        let changes = functions.entry(place.function.clone()).or_default();
        changes.insert(place.change.clone(), entry);
    }

    /// Drops every entry whose place does not satisfy this.
    pub fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        let places: Vec<Place> = self.entries().map(|(place, _)| place).collect();
        for place in places.iter().filter(|place| !keep(place)) {
            if let Some(functions) = self.entries.get_mut(&place.file)
                && let Some(changes) = functions.get_mut(&place.function)
            {
                changes.remove(&place.change);
            }
        }
        for functions in self.entries.values_mut() {
            functions.retain(|_, changes| !changes.is_empty());
        }
        self.entries.retain(|_, functions| !functions.is_empty());
    }

    /// Every entry with its place.
    pub fn entries(&self) -> impl Iterator<Item = (Place, &Entry)> {
        self.entries.iter().flat_map(|(file, functions)| {
            functions.iter().flat_map(move |(function, changes)| {
                changes.iter().map(move |(change, entry)| {
                    let (file, function) = (file.clone(), function.clone());
                    (Place { file, function, change: change.clone() }, entry)
                })
            })
        })
    }
}

impl Entry {
    /// What the entry says.
    ///
    /// # Errors
    ///
    /// If it says nothing, two things, or names a model that cannot be read.
    pub fn verdict(&self, place: &Place) -> Result<Verdict, LedgerError> {
        let reason = self.survives.as_deref().filter(|reason| !reason.trim().is_empty());
        let trial = |text: &str, executions| {
            let problem = |problem| LedgerError::Model { place: place.clone(), problem };
            Trial::parse(text, executions).map_err(problem)
        };
        match (&self.killed_by, self.executions, reason, &self.with[..]) {
            (Some(text), Some(executions), None, []) => {
                Ok(Verdict::Killed(trial(text, executions)?))
            }
            (Some(text), Some(executions), Some(_), with @ [_, ..]) => {
                Ok(Verdict::Redundant(with.to_vec(), trial(text, executions)?))
            }
            (None, None, Some(reason), []) => Ok(Verdict::Survives(reason.to_owned())),
            _ => Err(LedgerError::Undecided { place: place.clone() }),
        }
    }
}
