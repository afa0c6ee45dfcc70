//! rustls 0.23 on top of the cache.

use std::sync::Arc;

use rustls::server::StoresServerSessions;
use shm_arena::Clock;
use shm_table::Table;
use zeroize::Zeroizing;

use crate::cache::SessionCache;
use crate::domain::{Domain, DomainParts};
use crate::options::{CacheOptions, OptionsError};

/// The session storage of a rustls 0.23 `ServerConfig`, shared by processes.
///
/// ```
/// # use std::sync::Arc;
/// # use shm_arena::BootClock;
/// # use shm_session_cache::{CacheOptions, ClientAuth, DomainParts, RustlsSessions};
/// # fn configure(
/// #     mut config: rustls::ServerConfig,
/// #     certificate: &[u8],
/// #     table: Arc<dyn shm_table::Table>,
/// # ) -> Result<rustls::ServerConfig, shm_session_cache::OptionsError> {
/// let may_resume = DomainParts {
///     protocol: "tls",
///     certificates: &[certificate],
///     client_auth: ClientAuth::None,
///     application: b"",
/// };
/// let clock = Arc::new(BootClock);
/// let sessions = RustlsSessions::new(table, clock, &may_resume, CacheOptions::default())?;
/// config.session_storage = Arc::new(sessions);
/// # Ok(config)
/// # }
/// ```
///
/// rustls keeps sessions here for TLS 1.2, and for TLS 1.3 unless the configuration has a ticketer.
/// Under TLS 1.3 it takes what a client presents, so that a ticket resumes once over all
/// processes; that is also its guard against replayed early data. It tells clients that such a
/// ticket lives for 24 hours and checks no age itself: the cache's
/// [`ttl_ms`](CacheOptions::ttl_ms) decides.
#[derive(Debug)]
pub struct RustlsSessions {
    cache: SessionCache,
}

impl RustlsSessions {
    /// Makes the storage for servers that have these parts in common. rustls' own encoding is
    /// added to them, so that another version of rustls shares nothing with this one.
    ///
    /// Fails if the options are out of range.
    pub fn new(
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        may_resume: &DomainParts<'_>,
        options: CacheOptions,
    ) -> Result<Self, OptionsError> {
        let domain = Domain::new("rustls 0.23", may_resume);
        Ok(Self { cache: SessionCache::new(table, clock, domain, options)? })
    }

    /// The cache below, for its counters and its sweep.
    pub fn cache(&self) -> &SessionCache {
        &self.cache
    }
}

impl StoresServerSessions for RustlsSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let (key, value) = (Zeroizing::new(key), Zeroizing::new(value));
        self.cache.put(&key, &value).is_stored()
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        Some(self.cache.get(key)?.into_vec())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        Some(self.cache.take(key)?.into_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}
