//! What the checks run in: a table, a clock that is turned by hand, handles on both.

use std::sync::Arc;
use std::sync::Mutex;

use shm_arena::Clock;
use shm_session_cache::{CacheOptions, ClientAuth, Domain, DomainParts, SessionCache};
use shm_table::Table;

use crate::double::{Double, Fault};

pub(crate) const TTL_MS: u64 = 300_000;

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(crate) struct HandClock {
    now_ms: Mutex<u64>,
    stuck: bool,
}

impl HandClock {
    pub(crate) fn advance(&self, by_ms: u64) {
        if !self.stuck {
            *self.now_ms.lock().expect("no holder panics") += by_ms;
        }
    }

    pub(crate) fn set(&self, now_ms: u64) {
        *self.now_ms.lock().expect("no holder panics") = now_ms;
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        *self.now_ms.lock().expect("no holder panics")
    }
}

/// A table and a clock.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) clock: Arc<HandClock>,
}

impl World {
    pub(crate) fn new(name: &'static str, table: Arc<dyn Table>) -> Self {
        Self {
            name,
            table,
            clock: clock(false),
        }
    }

    /// A world with a double of unlimited size that has this fault.
    pub(crate) fn with(fault: Fault) -> Self {
        Self::new("double", Arc::new(Double::new(usize::MAX, fault)))
    }

    /// A world in which time stands still.
    pub(crate) fn stuck() -> Self {
        Self {
            clock: clock(true),
            ..Self::with(Fault::None)
        }
    }

    /// One world for each table there is, empty.
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::with(Fault::None)]
    }

    /// A handle of the domain of this application.
    pub(crate) fn cache(&self, application: &[u8]) -> SessionCache {
        self.cache_with(
            application,
            CacheOptions {
                ttl_ms: TTL_MS,
                ..CacheOptions::default()
            },
        )
    }

    pub(crate) fn cache_with(&self, application: &[u8], options: CacheOptions) -> SessionCache {
        let domain = Domain::new("test 1", &parts(application));
        SessionCache::new(self.table.clone(), self.clock.clone(), domain, options)
            .expect("the options are in range")
    }
}

pub(crate) fn parts(application: &[u8]) -> DomainParts<'_> {
    DomainParts {
        protocol: "tls",
        certificates: &[],
        client_auth: ClientAuth::None,
        application,
    }
}

fn clock(stuck: bool) -> Arc<HandClock> {
    Arc::new(HandClock {
        now_ms: Mutex::new(1_000_000),
        stuck,
    })
}

/// Ends a check with a sentence unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)+) => {
        if !$condition {
            return Err(format!($($sentence)+));
        }
    };
}
pub(crate) use ensure;

/// What a check finds: nothing, or a sentence.
pub(crate) type Verdict = Result<(), String>;

/// Runs a check over every table.
#[track_caller]
pub(crate) fn holds_on_every_table(check: impl Fn(&World) -> Verdict) {
    for world in World::all() {
        if let Err(finding) = check(&world) {
            panic!("{}: {finding}", world.name);
        }
    }
}

/// Asserts that a check notices a seeded fault, and for the right reason.
#[track_caller]
pub(crate) fn is_caught(verdict: Verdict, sentence: &str) {
    match verdict {
        Ok(()) => panic!("the seeded fault went unnoticed"),
        Err(finding) => assert!(
            finding.contains(sentence),
            "noticed something else: {finding}"
        ),
    }
}
