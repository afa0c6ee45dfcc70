//! Interchangeable concurrent hash tables in inter-process shared memory, behind one trait.
//!
//! [`Table`] is what every design does: byte-string keys of 1 to 255 bytes, byte-string values up
//! to the largest block, a metadata word beside each; every verb on a key linearizable. What a
//! design does beyond that, or less, is data: [`Capabilities`].
//!
//! | design | idea | reads | updates |
//! |---|---|---|---|
//! | [`CasBucket`] | a header decides what a bucket holds | lock-free, store nothing | lock-free |
//! | [`RobinHood`] | pages in Robin Hood order; updates that anyone finishes | lock-free, store nothing | lock-free |
//! | [`Chained`] | chains; one lock, taken over from the dead | under the lock | under the lock |
//!
//! [`SharedTable`] is a table of any design in a file or memory descriptor. [`Design`] makes one
//! over any [`Memory`](shm_arena::Memory), which is how models and tests run the same code:
//!
//! ```
//! use shm_arena::{Environment, HeapMemory};
//! use shm_table::{CasBucket, Design, Entry, Insert, Put, Table, TableOptions};
//!
//! let options = TableOptions { entries: 100, ..TableOptions::default() };
//! let memory = HeapMemory::new(CasBucket::<HeapMemory>::word_count(&options)?);
//! let table = CasBucket::create(memory, &options, &Environment::default())?;
//!
//! let mut value = Vec::new();
//! let first = Entry { key: b"key", value: b"first", metadata: 1 };
//! let second = Entry { key: b"key", value: b"second", metadata: 2 };
//! assert_eq!(table.insert(first, &mut value)?, Insert::Inserted);
//! assert_eq!(table.insert(second, &mut value)?, Insert::Exists { metadata: 1 });
//! assert_eq!(value, b"first");
//! assert_eq!(table.put(second)?, Put::Replaced);
//! assert_eq!(table.take(b"key", &mut value)?, Some(2));
//! assert_eq!(table.get(b"key", &mut value)?, None);
//! assert!(table.audit().is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Deaths
//!
//! Any process may be killed at any instruction: its operation took effect or did not, readers and
//! writers go on, and [`Table::recover`], called by anyone, returns what it held. An update that
//! finds no block, or none but withheld slots, recovers by itself, and so does whoever attaches and
//! [notices a death](shm_arena::Arena::notices_dead). A process that ends gives its places back
//! with [`AnyTable::detach`].
//!
//! # Not promised
//!
//! The segment's size is fixed at creation: *full* is an error that says of what. Within it
//! tables follow the number of entries with that of their buckets, as far as
//! [`TableOptions::buckets_min`] and [`buckets_max`](TableOptions::buckets_max) give them room, and
//! others go on meanwhile; those of [`Chained`] wait. Nothing is evicted. Verbs
//! over many keys ([`scan`](Table::scan), [`clear`](Table::clear), [`len`](Table::len) and what
//! rests on them) are not atomic. A segment does not outlive its boot; what [`save()`] writes does,
//! and [`load()`] reads it back. Verbs are not for signal handlers. A forked child that goes on
//! with its parent's handle may read; everything else is refused with [`Error::Forked`].
//!
//! What is finite, with the consequences, is in [`finite`].
#![forbid(unsafe_code)]

mod any;
mod capabilities;
mod cas_bucket;
mod chained;
mod contract;
mod entry;
mod file;
mod kind;
#[cfg(test)]
mod limits;
mod options;
mod robin_hood;
mod save;

pub use any::AnyTable;
pub use capabilities::{Capabilities, Progress, Verb};
pub use cas_bucket::CasBucket;
pub use chained::Chained;
pub use contract::{
    ArenaDesign, Audit, Copied, Cursor, Design, Effect, Entry, Error, Exchange, Insert,
    KEY_BYTES_MAX, Lookup, OwnedEntry, Put, Recovery, Remove, RemoveIf, Replace, Reservation,
    Resizing, Room, Rule, Seen, Stats, Table, Unlinked, Version, Walk,
};
pub use file::SharedTable;
#[doc = include_str!("limits.md")]
pub mod finite {}
pub use kind::Kind;
pub use options::{TableOptions, TableShape};
pub use robin_hood::RobinHood;
pub use save::{SaveError, load, load_file, save, save_file};
pub use shm_arena::HashKind;
