//! What a row of the comparison is: a table, or a limit, that the driver can call.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shm_table::Lookup;

use crate::fault::Fault;
use crate::keys::Key;
use crate::stream::Call;

/// Where the workers of a row live, and what they share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// One process a worker; all share one table.
    Processes,
    /// One process, one thread a worker, one table: what cannot live in shared memory.
    Threads,
    /// One process a worker, each with a table of its own: a limit that needs no synchronisation.
    Private,
}

/// What a row is made for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// Tells the files of the row from those of its limit, which may be the same row.
    pub role: String,
    /// Sessions that it has to hold at any time, a margin for the run's fluctuation included.
    pub entries: u64,
    /// Mean bytes of a value.
    pub value_bytes: u64,
    /// Longest value.
    pub value_bytes_max: u64,
    /// A directory on tmpfs for files that all workers open, or `None` where there is too little
    /// room: then a row uses an unnamed file in memory.
    pub shared_directory: Option<PathBuf>,
    /// A directory on any local file system, for rows that need a path.
    pub directory: PathBuf,
}

impl Site {
    /// The path of a row's shared file, or `None` where an unnamed one has to do.
    pub fn shared_file(&self, name: &str) -> Option<PathBuf> {
        self.shared_directory.as_ref().map(|directory| self.path_in(directory, name))
    }

    /// A path for a row that has to have one.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path_in(self.shared_directory.as_ref().unwrap_or(&self.directory), name)
    }

    fn path_in(&self, directory: &Path, name: &str) -> PathBuf {
        directory.join(format!("{}-{name}", self.role))
    }
}

/// A table under test, or a limit: a worker's handle on it.
///
/// Answers are `true` for a hit. A value that is copied out replaces what the vector held.
pub trait Row: Sized + Send + 'static {
    /// Name in ids and records; rows that live in one process end with `*` in the report.
    const NAME: &'static str;
    /// Where its workers live.
    const PLACE: Place;

    /// Makes an empty table and the first handle on it.
    fn create(site: &Site) -> Result<Self, Fault>;

    /// What another worker needs to join: a path. Empty for private rows.
    fn address(&self) -> String;

    /// Joins the table that another process made.
    fn join(site: &Site, address: &str) -> Result<Self, Fault>;

    /// Another handle for another thread of this process, once the table is filled; `None` for rows
    /// that live in processes. A limit beside a row in threads needs it too.
    fn share(&self) -> Option<Self> {
        None
    }

    /// What a reader of the report should know: copy implementation, options in force, fallbacks.
    fn facts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Copies a value out.
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault>;

    /// Copies the values of up to [`MANY`](crate::workload::MANY) sessions out; answer `i` is for
    /// call `i`, and has some metadata word where the session was found.
    #[inline(always)]
    fn get_many(&mut self, calls: &[Call], found: &mut Vec<Lookup>) -> Result<(), Fault> {
        found.resize_with(calls.len(), Lookup::default);
        for (call, lookup) in calls.iter().zip(found) {
            lookup.metadata = self.get(call, &mut lookup.value)?.then_some(call.number);
        }
        Ok(())
    }

    /// Stores a session whose id is not there.
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault>;

    /// Stores a session whose id is there.
    #[inline(always)]
    fn replace(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        self.put(call, value)
    }

    /// Copies a value out and removes it.
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault>;

    /// Removes a session.
    fn remove(&mut self, key: &Key) -> Result<bool, Fault>;
}

/// Every row there is, by name. A new peer is a file in `rows/` and a line here.
macro_rules! rows {
    ($($variant:ident => $row:ty, $doc:literal;)*) => {
        /// Names of the rows.
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum RowName {
            $(#[doc = $doc] $variant,)*
        }

        impl RowName {
            /// Every row, in the order of the report.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in ids and records.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => <$row as Row>::NAME,)*
                }
            }

            /// One sentence for the report.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc,)*
                }
            }

            /// Where the row's workers live.
            pub const fn place(self) -> Place {
                match self {
                    $(Self::$variant => <$row as Row>::PLACE,)*
                }
            }

            /// Runs something for the type behind the name.
            pub fn visit<V: RowVisitor>(self, visitor: V) -> V::Output {
                match self {
                    $(Self::$variant => visitor.visit::<$row>(),)*
                }
            }
        }
    };
}

/// Something to do with a row's type.
pub trait RowVisitor {
    /// What comes of it.
    type Output;
    /// Does it.
    fn visit<R: Row>(self) -> Self::Output;
}

rows! {
    CasBucket => crate::rows::CasBucket,
        "ours: buckets of one cache line, no locks, a copy that is validated";
    RobinHood => crate::rows::RobinHood,
        "ours: pages in Robin Hood order at 75 % fill, updates that anyone finishes";
    Chained => crate::rows::Chained,
        "ours: chains as in 1999 under one lock that is taken over from the dead";
    MutexSlab => crate::rows::MutexSlab,
        "open addressing and a free list under one process-shared pthread mutex";
    Lmdb => crate::rows::Lmdb,
        "LMDB 0.9 through heed, WRITEMAP | NOSYNC | NOMETASYNC, one transaction a call";
    Papaya => crate::rows::Papaya,
        "papaya::HashMap in one process with threads: what one process could have";
    LimitRead => crate::rows::LimitRead,
        "limit of reads: perfect index, one bucket line, then the entry, no synchronisation";
    LimitProbe => crate::rows::LimitProbe,
        "limit of mixes: linear probing with free list, one private copy a process";
}

impl RowName {
    /// The row with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.name() == name)
    }

    /// The name as the report prints it: with `*` if it lives in one process only.
    pub fn label(self) -> String {
        let mark = if self.place() == Place::Threads { "*" } else { "" };
        format!("{}{mark}", self.name())
    }

    /// Our tables.
    pub const OURS: [Self; 3] = [Self::CasBucket, Self::RobinHood, Self::Chained];

    /// Whether it is one of our tables.
    pub fn is_ours(self) -> bool {
        Self::OURS.contains(&self)
    }

    /// Whether it is a limit and no table.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::LimitRead | Self::LimitProbe)
    }
}
