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
use std::ops::ControlFlow;

use shm_arena::{Backoff, Environment, Load, Memory, Offset, Rmw, SegmentError, Store};
use shm_table::{
    Audit, Capabilities, Design, Entry, Error, Insert, Kind, Progress, Put, Recovery, Remove,
    Replace, Stats, Table, TableOptions,
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

static CAPABILITIES: Capabilities = Capabilities {
    reads: Progress::LockFree,
    writes: Progress::LockFree,
    invisible_reads: true,
    bounded_buckets: true,
};

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

    /// Stores a value where the key is present (`true`) or absent (`false`), if it is.
    fn store(&self, entry: Entry<'_>, wanted: impl Fn(bool) -> bool) -> Option<bool> {
        let number = self.claim(entry);
        let stored = loop {
            let found = self.state(entry.key);
            let present = found != 0;
            if !wanted(present) {
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

    fn unlink(&self, key: &[u8], out: &mut Vec<u8>) -> Option<u64> {
        loop {
            let number = self.state(key);
            if number == 0 {
                return None;
            }
            self.copy(number, out);
            if self.exchange(key, number, 0, FAULT == Fault::TAKE_STORES) {
                return Some(number);
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
}

impl<M: Memory, const FAULT: u8> Table for ToyTable<M, FAULT> {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        let mut number = self.state(key);
        if FAULT == Fault::READS_STALE && !self.is_creator {
            let older = self.memory.load(before(key), Load::Acquire);
            number = if older == 0 { number } else { older };
        }
        Ok((number != 0).then(|| self.copy(number, value)))
    }

    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        _is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        loop {
            if self.store(entry, |present| !present).is_some() {
                return Ok(Insert::Inserted);
            }
            let number = self.state(entry.key);
            if number != 0 {
                return Ok(Insert::Exists { metadata: self.copy(number, existing) });
            }
        }
    }

    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        if FAULT == Fault::BUSY {
            return Err(Error::Busy { owner: 0, waited_ms: 0 });
        }
        if FAULT == Fault::WAITS_FOR_DEAD {
            self.lock();
        }
        let replaced = self.store(entry, |_| true) == Some(true);
        if FAULT == Fault::WAITS_FOR_DEAD {
            self.memory.store(LOCK, 0, Store::Release);
        }
        Ok(if replaced { Put::Replaced } else { Put::Inserted })
    }

    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        let replaced = self.store(entry, |present| present).is_some();
        Ok(if replaced { Replace::Replaced } else { Replace::Absent })
    }

    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        let removed = self.unlink(key, &mut Vec::new()).is_some();
        Ok(if removed { Remove::Removed } else { Remove::Absent })
    }

    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        Ok(self.unlink(key, value))
    }

    fn len(&self) -> u64 {
        (b'a'..b'e').filter(|key| self.state(&[*key]) != 0).count() as u64
    }

    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut value = Vec::new();
        for key in b'a'..b'e' {
            if let Some(metadata) = self.get(&[key], &mut value)?
                && visit(Entry { key: &[key], value: &value, metadata }).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<u64, Error> {
        let unlink = |key: u8| self.unlink(&[key], &mut Vec::new());
        Ok((b'a'..b'e').filter_map(unlink).count() as u64)
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
