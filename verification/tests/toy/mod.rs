//! A table of one state word for each of four keys, with a fault to choose.
//!
//! ```text
//! word 0          claims: bit n is set while value n is being stored
//!      1          lock, for the fault that has one
//!      8 + 2k     state of key k: number of its value, 0 = absent
//!      9 + 2k     number of the value before, for the fault that reads it
//!     16 + n      payload of value n
//! ```

use std::fmt;

use shm_arena::{Backoff, Block, Environment, Load, Memory, Offset, Rmw, SegmentError, Store};
use shm_table::{
    Audit, Capabilities, Cursor, Design, Effect, Entry, Error, Kind, Recovery, Rule, Seen, Stats,
    Table, TableOptions, Unlinked, Version,
};
use shm_verification::scenario::Subject;

/// What is wrong with the table.
pub(crate) struct Fault;

impl Fault {
    /// Nothing.
    pub(crate) const NONE: u8 = 0;
    /// Take stores absent instead of exchanging.
    pub(crate) const TAKE_STORES: u8 = 1;
    /// Insert stores instead of exchanging.
    pub(crate) const INSERT_STORES: u8 = 2;
    /// Replace stores instead of exchanging.
    pub(crate) const REPLACE_STORES: u8 = 3;
    /// A value is published without release.
    pub(crate) const PUBLISHES_RELAXED: u8 = 4;
    /// Put answers busy.
    pub(crate) const BUSY: u8 = 5;
    /// Recovery leaves claims of the dead.
    pub(crate) const FORGETS_CLAIM: u8 = 6;
    /// Put holds a lock that nobody takes over.
    pub(crate) const WAITS_FOR_DEAD: u8 = 7;
    /// Recovery stores value 1 again.
    pub(crate) const RECOVERY_RESURRECTS: u8 = 8;
    /// Get gives the value before the last replace, in all handles but the creator's.
    pub(crate) const READS_STALE: u8 = 9;
}

/// The subject with a fault.
pub(crate) struct Toy<const FAULT: u8>;

impl<const FAULT: u8> Subject for Toy<FAULT> {
    const NAME: &'static str = "toy";

    type Table<M: Memory + 'static> = ToyTable<M, FAULT>;
}

/// The table with a fault.
#[derive(Debug)]
pub(crate) struct ToyTable<M, const FAULT: u8> {
    memory: M,
    is_creator: bool,
}

const CLAIMS: Offset = Offset::new(0);
const LOCK: Offset = Offset::new(1);
const VALUES_MAX: u64 = 64;

static CAPABILITIES: Capabilities =
    Capabilities { bounded_buckets: true, ..Capabilities::LOCK_FREE };

/// A value is stored once: its number tells its life.
fn version(number: u64) -> Version {
    Version::new(0, Block::new(0), number)
}

fn state(key: &[u8]) -> Offset {
    Offset::new(8 + 2 * u64::from(key[0] - b'a'))
}

fn before(key: &[u8]) -> Offset {
    state(key) + 1
}

fn payload(number: u64) -> Offset {
    assert!(number < VALUES_MAX, "value {number} has no payload word");
    Offset::new(16 + number)
}

impl<M: Memory, const FAULT: u8> ToyTable<M, FAULT> {
    fn state(&self, key: &[u8]) -> u64 {
        self.memory.load(state(key), Load::Acquire)
    }

    fn exchange(&self, key: &[u8], from: u64, to: u64, by_store: bool) -> bool {
        let order = match FAULT {
            Fault::PUBLISHES_RELAXED => Rmw::Relaxed,
            _ => Rmw::AcqRel,
        };
        if by_store {
            self.memory.store(state(key), to, Store::Release);
            return true;
        }
        let exchanged = self.memory.compare_exchange(state(key), from, to, order, Load::Relaxed);
        exchanged.is_ok()
    }

    /// Copies a value out by its number.
    fn copy(&self, number: u64, out: &mut Vec<u8>) -> u64 {
        let complement = self.memory.load(payload(number), Load::Relaxed);
        out.clear();
        out.extend(number.to_le_bytes());
        out.extend(complement.to_le_bytes());
        number
    }

    /// Writes a value down where nobody looks yet.
    fn claim(&self, entry: Entry<'_>) -> u64 {
        let number = entry.metadata;
        self.memory.fetch_or(CLAIMS, 1 << number, Rmw::Relaxed);
        let complement = entry.value[8..].try_into().expect("values have 16 bytes");
        self.memory.store(payload(number), u64::from_le_bytes(complement), Store::Relaxed);
        number
    }

    fn settle(&self, number: u64) {
        self.memory.fetch_and(CLAIMS, !(1 << number), Rmw::Relaxed);
    }

    /// Stores a value where the state is wanted; says whether the key was present.
    fn store(&self, entry: Entry<'_>, wanted: impl Fn(u64) -> bool) -> Option<bool> {
        let number = self.claim(entry);
        let stored = loop {
            let found = self.state(entry.key);
            let present = found != 0;
            if !wanted(found) {
                break None;
            }
            if FAULT == Fault::READS_STALE && present {
                self.memory.store(before(entry.key), found, Store::Release);
            }
            let by_store = match FAULT {
                Fault::INSERT_STORES => !present,
                Fault::REPLACE_STORES => present,
                _ => false,
            };
            if self.exchange(entry.key, found, number, by_store) {
                break Some(present);
            }
        };
        self.settle(number);
        stored
    }

    fn take_out(&self, key: &[u8], only: Option<Version>, out: &mut Vec<u8>) -> Unlinked {
        loop {
            let number = self.state(key);
            if number == 0 {
                return Unlinked::Absent;
            }
            if only.is_some_and(|only| only != version(number)) {
                return Unlinked::Changed;
            }
            let metadata = self.copy(number, out);
            if self.exchange(key, number, 0, FAULT == Fault::TAKE_STORES) {
                return Unlinked::Removed { metadata };
            }
        }
    }

    fn lock(&self) {
        let backoff = Backoff::new();
        while self.memory.compare_exchange(LOCK, 0, 1, Rmw::Acquire, Load::Relaxed).is_err() {
            self.memory.spin(&backoff);
        }
    }
}

impl<M: Memory, const FAULT: u8> Design<M> for ToyTable<M, FAULT> {
    const KIND: Kind = Kind::CasBucket;

    fn word_count(_options: &TableOptions) -> Result<u64, SegmentError> {
        Ok(16 + VALUES_MAX)
    }

    fn create(
        memory: M,
        _options: &TableOptions,
        _environment: &Environment,
    ) -> Result<Self, SegmentError> {
        Ok(Self { memory, is_creator: true })
    }

    fn attach(memory: M, _environment: &Environment) -> Result<Self, SegmentError> {
        Ok(Self { memory, is_creator: false })
    }

    fn detach(self) {}
}

impl<M: Memory, const FAULT: u8> Table for ToyTable<M, FAULT> {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        0
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        let mut number = self.state(key);
        if FAULT == Fault::READS_STALE && !self.is_creator {
            let older = self.memory.load(before(key), Load::Acquire);
            number = if older == 0 { number } else { older };
        }
        Ok((number != 0)
            .then(|| Seen { metadata: self.copy(number, value), version: version(number) }))
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let mut out = Vec::new();
        Ok(match rule {
            Rule::Insert { existing, .. } => loop {
                if self.store(entry, |number| number == 0).is_some() {
                    break Effect::Added;
                }
                let number = self.state(entry.key);
                if number != 0 {
                    break Effect::Kept { metadata: self.copy(number, existing) };
                }
            },
            Rule::Put { .. } if FAULT == Fault::BUSY => {
                return Err(Error::Busy { owner: 0, waited_ms: 0 });
            }
            Rule::Put { .. } => {
                if FAULT == Fault::WAITS_FOR_DEAD {
                    self.lock();
                }
                let replaced = self.store(entry, |_| true) == Some(true);
                if FAULT == Fault::WAITS_FOR_DEAD {
                    self.memory.store(LOCK, 0, Store::Release);
                }
                if replaced { Effect::Replaced } else { Effect::Added }
            }
            Rule::Replace => match self.store(entry, |number| number != 0) {
                Some(_) => Effect::Replaced,
                None => Effect::Missing,
            },
            Rule::Exchange { version: only } => {
                let is_wanted = |number| number != 0 && version(number) == only;
                match (self.store(entry, is_wanted), self.look_up(entry.key, &mut out)?) {
                    (Some(_), _) => Effect::Replaced,
                    (None, Some(_)) => Effect::Changed,
                    (None, None) => Effect::Missing,
                }
            }
        })
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        Ok(self.take_out(key, only, value.unwrap_or(&mut Vec::new())))
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        cursor.move_to(None);
        let mut value = Vec::new();
        for key in b'a'..b'e' {
            if let Some(Seen { metadata, version }) = self.look_up(&[key], &mut value)? {
                visit(Entry { key: &[key], value: &value, metadata }, version);
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        (b'a'..b'e').filter(|key| self.state(&[*key]) != 0).count() as u64
    }

    fn stats(&self) -> Stats {
        Stats { entries: self.len(), ..Stats::default() }
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "{} entries", self.len())
    }

    fn audit(&self) -> Audit {
        let claims = self.memory.load(CLAIMS, Load::Acquire);
        Audit { entries: self.len(), lost_blocks: claims.count_ones().into(), ..Audit::default() }
    }

    fn recover(&self) -> Result<Recovery, Error> {
        if FAULT != Fault::FORGETS_CLAIM {
            self.memory.fetch_and(CLAIMS, 0, Rmw::AcqRel);
        }
        if FAULT == Fault::RECOVERY_RESURRECTS {
            self.exchange(b"a", 0, 1, false);
        }
        Ok(Recovery::default())
    }
}
