//! The cache: sessions with an expiry and a domain, in any shared table.

use std::sync::Arc;

use shm_arena::Clock;
use shm_table::{Entry, Error, Put, RemoveIf, Table, Version};
use zeroize::Zeroizing;

use crate::counters::{Counters, Event, Tally};
use crate::domain::Domain;
use crate::key::Key;
use crate::metadata::{Metadata, TTL_MS_MAX};
use crate::options::{CacheOptions, OptionsError};
use crate::outcome::{Reason, Stored};
use crate::value::SessionValue;

/// A handle on TLS sessions that processes share through a table, in rustls' words.
///
/// Handles with equal [`Domain`]s on one table see the same sessions, in any process; handles with
/// other domains do not see them. All verbs take `&self` from any thread.
///
/// Progress: `put`, `get` and `take` are as the table's
/// [`capabilities`](Table::capabilities) say, plus one reading of the clock; none of them waits
/// for another process longer than the table's stated bound. A `put` that finds the table full may
/// sweep, which takes time in proportion to the table, about once in each
/// [`sweep_interval_ms`](CacheOptions::sweep_interval_ms).
///
/// Whatever goes wrong below is a miss or a [`Stored::Declined`], counted by reason: a cache costs
/// a full handshake at worst.
///
/// ```
/// use std::sync::Arc;
///
/// use shm_arena::{BootClock, MappingOptions};
/// use shm_session_cache::{CacheOptions, ClientAuth, Domain, DomainParts, SessionCache};
/// use shm_table::{Kind, SharedTable, TableOptions};
///
/// let (options, mapping) = (TableOptions::default(), MappingOptions::default());
/// let table = SharedTable::create_memfd("sessions", Kind::CasBucket, &options, &mapping)?;
/// let domain = Domain::new(
///     "my library 1",
///     &DomainParts {
///         protocol: "tls",
///         certificates: &[b"the certificate in DER"],
///         client_auth: ClientAuth::None,
///         application: b"",
///     },
/// );
/// let clock = Arc::new(BootClock);
/// let cache = SessionCache::new(Arc::new(table), clock, domain, CacheOptions::default())?;
///
/// assert!(cache.put(b"id", b"session").is_stored());
/// assert_eq!(cache.take(b"id").as_deref(), Some(&b"session"[..]));
/// assert_eq!(cache.take(b"id"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SessionCache {
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    domain: Domain,
    options: CacheOptions,
    tally: Tally,
}

impl SessionCache {
    /// Makes a handle on the sessions of a domain.
    ///
    /// All processes that share the table have to pass clocks that agree; the entries of the table
    /// have to be sessions alone. Fails if the options are out of range.
    pub fn new(
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        domain: Domain,
        options: CacheOptions,
    ) -> Result<Self, OptionsError> {
        if options.ttl_ms == 0 || options.ttl_ms > TTL_MS_MAX {
            return Err(OptionsError::Ttl { ttl_ms: options.ttl_ms });
        }
        Ok(Self { table, clock, domain, options, tally: Tally::new() })
    }

    /// Copies a session out and leaves it there.
    ///
    /// `None` if it is absent, expired, of another domain, or the table could not serve. What is
    /// given out was stored under this id by a server of this domain, and was live at a reading of
    /// the clock during the call.
    pub fn get(&self, id: &[u8]) -> Option<SessionValue> {
        self.look_up(
            id,
            |key, value| self.table.get(key.bytes(), value),
            |key| self.remove_expired(key),
        )
    }

    /// Removes a session and copies it out: a session is given to at most one caller, over all
    /// threads and processes.
    ///
    /// `None` as for [`get`](Self::get). An expired session is removed and not given out. After
    /// `Some` the session is gone, even if the caller dies at once.
    pub fn take(&self, id: &[u8]) -> Option<SessionValue> {
        self.look_up(id, |key, value| self.table.take(key.bytes(), value), |_| {})
    }

    /// Stores a session under an id, in place of one that is there.
    ///
    /// It expires [`ttl_ms`](CacheOptions::ttl_ms) after this call read the clock. Once the
    /// answer says stored, every process sees it.
    pub fn put(&self, id: &[u8], value: &[u8]) -> Stored {
        let stored = match Key::new(&self.domain, id) {
            Some(key) => self.store(&key, value),
            None => Stored::Declined(Reason::KeyLength),
        };
        self.tally.count(match stored {
            Stored::Inserted => Event::Inserted,
            Stored::Replaced => Event::Replaced,
            Stored::Declined(reason) => Event::Declined(reason),
        });
        stored
    }

    /// Removes expired sessions of all domains, at most [`SWEEP_SESSIONS_MAX`], and gives how many.
    ///
    /// Takes time in proportion to the table; others go on meanwhile. Sessions that nobody looks
    /// up again, which under TLS 1.3 are most, leave in this way only; a server with idle moments
    /// may sweep in them so that no `put` has to.
    pub fn sweep(&self) -> Result<u64, Error> {
        let now_ms = self.clock.now_ms();
        let mut dead: Vec<(Zeroizing<Vec<u8>>, Version)> = Vec::new();
        let mut cursor = self.table.cursor();
        while dead.len() < SWEEP_SESSIONS_MAX && !cursor.is_at_end() {
            self.table.scan(&mut cursor, &mut |entry, version| {
                if !Metadata::from_word(entry.metadata).is_live(now_ms) {
                    dead.push((Zeroizing::new(entry.key.to_vec()), version));
                }
            })?;
        }
        dead.truncate(SWEEP_SESSIONS_MAX);
        let mut removed = 0;
        for (key, version) in &dead {
            // A session that was put under the same id meanwhile is another version, and stays.
            match self.table.remove_if(key, *version) {
                Ok(RemoveIf::Removed) => removed += 1,
                Ok(RemoveIf::Changed | RemoveIf::Absent) => {}
                Err(error) => {
                    self.tally.count_swept(removed);
                    return Err(error);
                }
            }
        }
        self.tally.count_swept(removed);
        Ok(removed)
    }

    /// What this handle has done.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// Who may resume through this handle.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The table below.
    pub fn table(&self) -> &Arc<dyn Table> {
        &self.table
    }

    /// Removes a session if it is expired, and not one that is put under its id meanwhile. Whether
    /// this removes it, finds it gone or fails, the answer is a miss.
    fn remove_expired(&self, key: &Key) {
        let mut value = SessionValue::default();
        if let Ok(Some(seen)) = self.table.look_up(key.bytes(), value.buffer())
            && !Metadata::from_word(seen.metadata).is_live(self.clock.now_ms())
        {
            let _ = self.table.remove_if(key.bytes(), seen.version);
        }
    }

    /// Finds, judges and counts; `bury` deals with an entry that was found expired.
    fn look_up(
        &self,
        id: &[u8],
        find: impl FnOnce(&Key, &mut Vec<u8>) -> Result<Option<u64>, Error>,
        bury: impl FnOnce(&Key),
    ) -> Option<SessionValue> {
        let Some(key) = Key::new(&self.domain, id) else {
            return self.miss(Some(Event::Unanswered(Reason::KeyLength)));
        };
        let mut value = SessionValue::default();
        match find(&key, value.buffer()) {
            Ok(Some(word)) if Metadata::from_word(word).is_live(self.clock.now_ms()) => {
                self.tally.count(Event::Hit);
                Some(value)
            }
            Ok(Some(_)) => {
                bury(&key);
                self.miss(Some(Event::Expired))
            }
            Ok(None) => self.miss(None),
            Err(error) => self.miss(Some(Event::Unanswered(error.into()))),
        }
    }

    fn miss(&self, cause: Option<Event>) -> Option<SessionValue> {
        self.tally.count(Event::Miss);
        if let Some(cause) = cause {
            self.tally.count(cause);
        }
        None
    }

    fn store(&self, key: &Key, value: &[u8]) -> Stored {
        let now_ms = self.clock.now_ms();
        let metadata = Metadata::new(now_ms.saturating_add(self.options.ttl_ms), self.domain.tag());
        let entry = Entry { key: key.bytes(), value, metadata: metadata.word() };
        let mut put = self.table.put(entry).map_err(Reason::from);
        if put == Err(Reason::Full) && self.make_room(now_ms) {
            put = self.table.put(entry).map_err(Reason::from);
        }
        match put {
            Ok(Put::Inserted) => Stored::Inserted,
            Ok(Put::Replaced) => Stored::Replaced,
            Err(reason) => Stored::Declined(reason),
        }
    }

    /// Sweeps a full table unless this handle did so lately; whether that removed anything.
    fn make_room(&self, now_ms: u64) -> bool {
        let Some(interval_ms) = self.options.sweep_interval_ms else {
            return false;
        };
        if !self.tally.claim_sweep(now_ms, interval_ms) {
            return false;
        }
        let swept = self.sweep();
        if swept == Ok(SWEEP_SESSIONS_MAX as u64) {
            self.tally.reopen_sweep();
        }
        swept != Ok(0)
    }
}

/// Most sessions that one sweep removes: bounds its memory to about a megabyte.
pub const SWEEP_SESSIONS_MAX: usize = 4096;
