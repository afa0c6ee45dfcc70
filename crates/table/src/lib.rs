//! Interchangeable concurrent hash tables in inter-process shared memory, behind one trait.
#![forbid(unsafe_code)]

mod any;
mod cas_bucket;
mod chained;
mod contract;
mod entry;
mod file;
mod kind;
mod options;

pub use any::AnyTable;
pub use cas_bucket::CasBucket;
pub use chained::Chained;
pub use contract::{
    Audit, Design, Entry, Error, Insert, KEY_BYTES_MAX, Put, Recovery, Remove, Replace, Stats,
    Table,
};
pub use file::SharedTable;
pub use kind::{Capabilities, Kind, Progress};
pub use options::{TableOptions, TableShape};
pub use shm_arena::HashKind;
