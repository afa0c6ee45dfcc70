//! What the checks run in: a table, a clock that is turned by hand, handles on both.

use std::sync::Arc;
use std::sync::Mutex;

use shm_arena::{Clock, Environment, HeapMemory};
use shm_session_cache::{CacheOptions, ClientAuth, Domain, DomainParts, SessionCache};
use shm_table::{AnyTable, Kind, Table, TableOptions};

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

/// A table, which each handle attaches to by itself if it can be attached to, and a clock.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) clock: Arc<HandClock>,
    memory: Option<Arc<HeapMemory>>,
}

impl World {
    /// A world with a double that holds this many entries.
    pub(crate) fn double(entries_max: usize, fault: Fault) -> Self {
        Self {
            name: "double",
            table: Arc::new(Double::new(entries_max, fault)),
            clock: clock(false),
            memory: None,
        }
    }

    /// A world with a roomy double that has this fault.
    pub(crate) fn with(fault: Fault) -> Self {
        Self::double(usize::MAX, fault)
    }

    /// A world in which time stands still.
    pub(crate) fn stuck() -> Self {
        Self { clock: clock(true), ..Self::with(Fault::None) }
    }

    /// One world for each table there is, each with room for about this many sessions.
    pub(crate) fn all(entries: u32) -> Vec<Self> {
        let options = TableOptions {
            entries: u64::from(entries),
            key_bytes: 48,
            value_bytes: 100,
            lines: 8,
            ..TableOptions::default()
        };
        let mut worlds = vec![Self::double(entries as usize, Fault::None)];
        worlds.extend(Kind::ALL.map(|kind| Self::real(kind, &options)));
        worlds
    }

    /// A world with a real table, on the heap.
    fn real(kind: Kind, options: &TableOptions) -> Self {
        let words = AnyTable::<Arc<HeapMemory>>::word_count(kind, options);
        let memory = Arc::new(HeapMemory::new(words.expect("a size that can be")));
        let environment = Environment::default();
        let table = AnyTable::create(kind, memory.clone(), options, &environment);
        Self {
            name: kind.name(),
            table: Arc::new(table.expect("a table on the heap")),
            clock: clock(false),
            memory: Some(memory),
        }
    }

    /// A handle on the table, as another process would have.
    pub(crate) fn attach(&self) -> Arc<dyn Table> {
        match &self.memory {
            None => self.table.clone(),
            Some(memory) => {
                let table = AnyTable::attach(memory.clone(), &Environment::default());
                Arc::new(table.expect("the segment was just made"))
            }
        }
    }

    /// A handle of the domain of this application.
    pub(crate) fn cache(&self, application: &[u8]) -> SessionCache {
        let options = CacheOptions { ttl_ms: TTL_MS, ..CacheOptions::default() };
        self.cache_with(application, options)
    }

    pub(crate) fn cache_with(&self, application: &[u8], options: CacheOptions) -> SessionCache {
        let domain = Domain::new("test 1", &parts(application));
        SessionCache::new(self.attach(), self.clock.clone(), domain, options)
            .expect("the options are in range")
    }
}

pub(crate) fn parts(application: &[u8]) -> DomainParts<'_> {
    DomainParts { protocol: "tls", certificates: &[], client_auth: ClientAuth::None, application }
}

fn clock(stuck: bool) -> Arc<HandClock> {
    Arc::new(HandClock { now_ms: Mutex::new(1_000_000), stuck })
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
    holds_on_every_table_of(1024, check);
}

/// Runs a check over every table, each with room for about this many sessions.
#[track_caller]
pub(crate) fn holds_on_every_table_of(entries: u32, check: impl Fn(&World) -> Verdict) {
    for world in World::all(entries) {
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
        Err(finding) => assert!(finding.contains(sentence), "noticed something else: {finding}"),
    }
}
