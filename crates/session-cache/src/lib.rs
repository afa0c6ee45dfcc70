//! A TLS session cache that server processes share through any table of `shm-table`.
//!
//! A client that comes back to a server of many processes reaches a different one nearly every
//! time. With a cache in each process its session is found once in as many visits as there are
//! processes; with this cache it is found every time.
//!
//! [`SessionCache`] adds three things to a table: an absolute expiry, kept in the entry's
//! [`Metadata`] word; a [`Domain`], which begins every key and keeps apart the servers that must
//! not resume one another's sessions; and the manners of a cache, which answers *miss* or
//! *declined* where a table reports an error. [`RustlsSessions`] plugs it into rustls.
//!
//! # Promised
//!
//! - What [`put`](SessionCache::put) reports as stored is seen by every process from then on, until
//!   it is taken, replaced, removed or expired.
//! - [`take`](SessionCache::take) gives a session to at most one caller over all processes, and
//!   deletes it in the same step.
//! - A session is not given out after its expiry, nor to another domain, nor to a caller whose
//!   clock says that it would live longer than [`TTL_MS_MAX`].
//! - No verb panics or reports an error because of what a client sent or what another process wrote
//!   to the segment. Ids of any length may be looked up.
//! - What happens when a process is killed in the middle of a verb is the table's crash contract:
//!   the verb took effect wholly or not at all, and the others go on.
//! - Keys, and values that this crate holds, are wiped when dropped.
//!
//! # Not promised
//!
//! - That a session stays until it expires. A full table declines new ones; a session that is put
//!   under an id at the very moment at which its expired predecessor is removed may go with it.
//!   Both cost one full handshake.
//! - Forward secrecy within the life of a session: who reads the segment can decrypt what its
//!   sessions protect. Secrets leave the segment when the table wipes the entry, which is when it
//!   is taken, replaced or removed. Expiry alone wipes nothing; the look-up or the
//!   [`sweep`](SessionCache::sweep) that finds the entry expired does.
//! - That copies are wiped which the table makes inside a look-up, or which the TLS library keeps.
//! - Protection from processes that may write the segment: they can lose, replace or read sessions.
#![forbid(unsafe_code)]

mod cache;
mod counters;
mod domain;
mod key;
mod metadata;
mod options;
mod outcome;
#[cfg(feature = "rustls-0_23")]
mod rustls_0_23;
mod value;

pub use cache::{SWEEP_SESSIONS_MAX, SessionCache};
pub use counters::{Counters, Reasons};
pub use domain::{ClientAuth, DOMAIN_BYTES, Domain, DomainParts};
pub use key::SESSION_ID_BYTES_MAX;
pub use metadata::{Metadata, TTL_MS_MAX};
pub use options::{CacheOptions, OptionsError};
pub use outcome::{Reason, Stored};
#[cfg(feature = "rustls-0_23")]
pub use rustls_0_23::RustlsSessions;
pub use value::SessionValue;
