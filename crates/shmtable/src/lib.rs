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
