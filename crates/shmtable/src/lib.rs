//! Concurrent hash tables in inter-process shared memory, with a TLS session cache on top.
//!
//! This crate is the one dependency of a consumer. It holds nothing of its own:
//!
//! | module | crate | what is in it |
//! |---|---|---|
//! | [`table`] | `shm-table` | the [`Table`](table::Table) trait and its designs |
//! | [`arena`] | `shm-arena` | segments: files and memory descriptors that processes map |
//! | [`session_cache`] | `shm-session-cache` | TLS sessions with expiry and domain, for rustls |
//!
//! [`prelude`] has the names that a program needs which creates a table, attaches to it from other
//! processes, and keeps its TLS sessions there.
//!
//! ```
//! use shmtable::arena::MappingOptions;
//! use shmtable::prelude::*;
//!
//! // A file, for processes that know its path, is made by `create_file`; this one has no name.
//! let (options, mapping) = (TableOptions::default(), MappingOptions::default());
//! let table = SharedTable::create_memfd("words", Kind::CasBucket, &options, &mapping)?;
//!
//! let entry = Entry { key: b"key", value: b"value", metadata: 0 };
//! assert_eq!(table.put(entry)?, Put::Inserted);
//! let mut value = Vec::new();
//! assert_eq!(table.take(b"key", &mut value)?, Some(0));
//! assert_eq!(value, b"value");
//! table.detach();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Which table to use, what is promised when processes are killed, and what is not, is in the
//! repository's `README.md`; how it is built in `ARCHITECTURE.md`.
#![forbid(unsafe_code)]

pub use shm_arena as arena;
pub use shm_session_cache as session_cache;
pub use shm_table as table;

/// What most programs need, to be imported as a whole.
pub mod prelude {
    pub use shm_arena::{AttachOptions, BootClock, Clock, CreateOptions, SegmentError};
    #[cfg(feature = "rustls-0_23")]
    pub use shm_session_cache::RustlsSessions;
    pub use shm_session_cache::{CacheOptions, ClientAuth, Domain, DomainParts, SessionCache};
    pub use shm_table::{
        Entry, Insert, Kind, Put, Remove, Replace, SharedTable, Table, TableOptions,
    };
}

/// The repository's first page, so that its example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct FirstPage;
