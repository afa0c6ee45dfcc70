//! Interchangeable concurrent hash tables in inter-process shared memory, behind one trait.
#![forbid(unsafe_code)]

mod contract;
mod kind;
mod options;

pub use contract::{
    Audit, Design, Entry, Error, Insert, KEY_BYTES_MAX, Put, Recovery, Remove, Replace, Stats,
    Table,
};
pub use kind::{Capabilities, Kind, Progress};
pub use options::{HashKind, TableOptions};
