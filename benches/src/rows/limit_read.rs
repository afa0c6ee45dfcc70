//! The limit of reads: the two dependent misses and the copy that no shared table can avoid.
//!
//! The index is perfect: the driver knows where an entry is. A look-up reads one word in a bucket
//! line, then the entry that it names, and copies the value. Nothing is hashed, compared, checked.
//! A batch of look-ups reads the index words of all, asks for the lines of all entries, and copies.

use std::path::Path;

use shm_table::Lookup;

use crate::fault::Fault;
use crate::keys::Key;
use crate::row::{Place, Row, Site};
use crate::stream::Call;
use crate::sys::{FrozenRegion, Region, prefetch};
use crate::workload::MANY;

/// A filled region: bucket lines of `ENTRIES_OF_A_LINE` entries each, then the entries.
#[derive(Debug)]
pub struct LimitRead {
    bytes: Bytes,
    index_bytes: usize,
    entry_bytes: usize,
    stored: usize,
}

#[derive(Debug)]
enum Bytes {
    Filling(Region),
    Frozen(FrozenRegion),
}

/// Entries that share a bucket line: half of what a line of eight words could name, which is about
/// what a table with buckets of a line has when it is as full as a table should be.
const ENTRIES_OF_A_LINE: usize = 4;

/// In front of a value: its length, and as much as a key.
const ENTRY_HEADER_BYTES: usize = 40;

impl LimitRead {
    fn with_bytes(
        site: &Site,
        bytes: impl FnOnce(usize) -> Result<Bytes, Fault>,
    ) -> Result<Self, Fault> {
        let entries = to_index(site.entries);
        let index_bytes = entries.div_ceil(ENTRIES_OF_A_LINE) * 64;
        let entry_bytes =
            (ENTRY_HEADER_BYTES + to_index(site.value_bytes_max)).next_multiple_of(64);
        let bytes = bytes(index_bytes + entries * entry_bytes)?;
        Ok(Self { bytes, index_bytes, entry_bytes, stored: 0 })
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Filling(region) => region.bytes(),
            Bytes::Frozen(region) => region.bytes(),
        }
    }

    /// Where the index names the entry of a place.
    #[inline(always)]
    fn slot(place: u64) -> usize {
        let place = to_index(place);
        place / ENTRIES_OF_A_LINE * 64 + place % ENTRIES_OF_A_LINE * 8
    }

    fn refused(verb: &'static str) -> Fault {
        Fault::verb(Self::NAME, verb, "this limit is for reads only")
    }
}

impl Row for LimitRead {
    const NAME: &'static str = "limit_read";
    const PLACE: Place = Place::Processes;

    fn create(site: &Site) -> Result<Self, Fault> {
        Self::with_bytes(site, |bytes| {
            Region::create(site.shared_file(Self::NAME).as_deref(), bytes)
                .map(Bytes::Filling)
                .map_err(|error| Fault::setup(Self::NAME, "create", error))
        })
    }

    fn address(&self) -> String {
        match &self.bytes {
            Bytes::Filling(region) => region.address().display().to_string(),
            Bytes::Frozen(_) => String::new(),
        }
    }

    fn join(site: &Site, address: &str) -> Result<Self, Fault> {
        Self::with_bytes(site, |_| {
            FrozenRegion::open(Path::new(address))
                .map(Bytes::Frozen)
                .map_err(|error| Fault::setup(Self::NAME, "join", error))
        })
    }

    fn share(&self) -> Option<Self> {
        let region = FrozenRegion::open(Path::new(&self.address())).ok()?;
        let (index_bytes, entry_bytes) = (self.index_bytes, self.entry_bytes);
        Some(Self { bytes: Bytes::Frozen(region), index_bytes, entry_bytes, stored: 0 })
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        let bytes = self.bytes();
        let entry = to_index(word(bytes, Self::slot(call.place)));
        // All its lines at once: the copy must not wait for the length in the first.
        prefetch(&bytes[entry..entry + self.entry_bytes]);
        copy_out(bytes, entry, value);
        Ok(true)
    }

    #[inline(always)]
    fn get_many(&mut self, calls: &[Call], found: &mut Vec<Lookup>) -> Result<(), Fault> {
        found.resize_with(calls.len(), Lookup::default);
        let bytes = self.bytes();
        let mut entries = [0; MANY];
        for (entry, call) in entries.iter_mut().zip(calls) {
            *entry = to_index(word(bytes, Self::slot(call.place)));
        }
        for &entry in &entries[..calls.len()] {
            prefetch(&bytes[entry..entry + self.entry_bytes]);
        }
        for ((call, lookup), entry) in calls.iter().zip(found).zip(entries) {
            copy_out(bytes, entry, &mut lookup.value);
            lookup.metadata = Some(call.number);
        }
        Ok(())
    }

    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        let entry = self.index_bytes + self.stored * self.entry_bytes;
        self.stored += 1;
        let slot = Self::slot(call.place);
        let Bytes::Filling(region) = &mut self.bytes else {
            return Err(Self::refused("put"));
        };
        let bytes = region.bytes_mut();
        bytes[slot..slot + 8].copy_from_slice(&(entry as u64).to_ne_bytes());
        bytes[entry..entry + 8].copy_from_slice(&(value.len() as u64).to_ne_bytes());
        bytes[entry + 8..entry + ENTRY_HEADER_BYTES].copy_from_slice(&call.key);
        let start = entry + ENTRY_HEADER_BYTES;
        bytes[start..start + value.len()].copy_from_slice(value);
        Ok(())
    }

    fn take(&mut self, _call: &Call, _value: &mut Vec<u8>) -> Result<bool, Fault> {
        Err(Self::refused("take"))
    }

    fn remove(&mut self, _key: &Key) -> Result<bool, Fault> {
        Err(Self::refused("remove"))
    }
}

#[inline(always)]
fn copy_out(bytes: &[u8], entry: usize, value: &mut Vec<u8>) {
    let length = to_index(word(bytes, entry));
    let start = entry + ENTRY_HEADER_BYTES;
    value.clear();
    value.extend_from_slice(&bytes[start..start + length]);
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "benches run on 64-bit machines alone")]
fn to_index(word: u64) -> usize {
    word as usize
}
