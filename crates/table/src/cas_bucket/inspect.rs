//! Walking the whole table: entries, counts, invariants.

use std::collections::BTreeMap;
use std::fmt;

use shm_arena::{Block, Lease, Load, Memory};

use super::search::{Found, Home, Search};
use super::word::{Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Audit, Cursor, Entry, Error, OwnedEntry, Stats, Table, Version};
use crate::entry::EntryView;

impl<M: Memory> CasBucket<M> {
    fn slot(&self, bucket: u64, slot: u32) -> Slot {
        Slot::from_bits(self.memory().load(self.slot_at(bucket, slot), Load::Relaxed))
    }

    /// The entries of one bucket at one instant.
    fn copy_bucket(&self, bucket: u64, copied: &mut Vec<OwnedEntry>) -> Result<(), Error> {
        let home = Home::new(bucket);
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            copied.clear();
            let header = self.load_header(self.at(home))?;
            let mut damaged = None;
            for slot in (0..self.slots).filter(|slot| header.live() >> slot & 1 == 1) {
                let block = self.slot(bucket, slot).block();
                let entry = EntryView::shaped(&self.arena, block);
                let (Some((entry, shape)), Some(version)) = (entry, self.version(block)) else {
                    damaged = Some(block.offset().word());
                    break;
                };
                copied.push(entry.copy_out(shape, version));
            }
            if self.is_unchanged(self.at(home), header) {
                return damaged
                    .map_or(Ok(()), |word| Err(Error::Corrupt { what: "linked block", word }));
            }
        }
        Err(self.contended(home))
    }

    /// The `scan` of the contract.
    pub(super) fn scan_bucket(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let Some(position) = cursor.position(self.identity)? else { return Ok(()) };
        let mut copied = Vec::new();
        self.copy_bucket(Cursor::bucket(position, self.buckets()), &mut copied)?;
        cursor.move_to(Cursor::behind(position, self.buckets()));
        for entry in &copied {
            visit(entry.entry(), entry.version);
        }
        Ok(())
    }

    /// The `clear` of the contract: unlinks each entry as `remove` does.
    pub(super) fn remove_all(&self) -> Result<u64, Error> {
        let lease = self.lease()?;
        let mut removed = 0;
        for bucket in 0..self.buckets() {
            let live = self.load_header(self.bucket_at(bucket))?.live();
            for number in (0..self.slots).filter(|slot| live >> slot & 1 == 1) {
                removed += u64::from(self.empty(Home::new(bucket), number, &lease)?);
            }
        }
        Ok(removed)
    }

    /// Unlinks what a slot holds, if it holds anything.
    fn empty<'a>(&'a self, home: Home, number: u32, lease: &Lease<'a, M>) -> Result<bool, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let header = self.load_header(self.at(home))?;
            if header.live() >> number & 1 == 0 {
                return Ok(false);
            }
            let at = self.slot_at(home.hash(), number);
            let slot = self.slot(home.hash(), number);
            let entry = EntryView::shaped(&self.arena, slot.block());
            let located = lease.locate(slot.block());
            let (Some((entry, shape)), Some(located)) = (entry, located) else {
                if self.is_unchanged(self.at(home), header) {
                    let word = slot.block().offset().word();
                    return Err(Error::Corrupt { what: "linked block", word });
                }
                continue;
            };
            let found = Found { at, live_bit: 1 << number, slot, shape, entry };
            if self.unlink_found(home, header, (&found, located), lease)? {
                return Ok(true);
            }
        }
        Err(self.contended(home))
    }

    /// The `stats` of the contract.
    pub(super) fn count_all(&self) -> Stats {
        let mut histogram = vec![0; self.slots as usize + 1];
        let mut lines = vec![0; 4];
        for bucket in 0..self.buckets() {
            let bits = self.memory().load(self.bucket_at(bucket), Load::Relaxed);
            let live = Header::from_bits(bits).live();
            histogram[live.count_ones().min(self.slots) as usize] += 1;
            // Slots 0 to 6 are in the first line, 7 to 14 in the second.
            for (line, slots) in [(1, 0..7), (2, 7..15), (3, 15..21)] {
                lines[line] += slots.map(|slot| u64::from(live >> slot & 1)).sum::<u64>();
            }
        }
        let geometry = self.arena.geometry();
        Stats {
            entries: self.len(),
            buckets: self.buckets(),
            buckets_max: self.buckets(),
            resizing: None,
            slots: self.buckets() * u64::from(self.slots),
            bucket_histogram: histogram,
            probe_histogram: lines,
            segment_bytes: self.memory().word_count() * 8,
            block_bytes_used: self.arena.bytes_used(),
            block_bytes: u64::from(geometry.slabs) * u64::from(geometry.slab_units) * 64,
            recoveries: self.arena.recoveries(),
        }
    }

    /// The `dump` of the contract: totals, then the first buckets that hold anything.
    pub(super) fn write_dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        const BUCKETS_SHOWN: usize = 64;
        let stats = self.count_all();
        writeln!(out, "cas_bucket: {} entries in {} buckets", stats.entries, stats.buckets)?;
        writeln!(out, "{:?}", self.arena)?;
        writeln!(out, "buckets by entries: {:?}", stats.bucket_histogram)?;
        let (used, all) = (stats.block_bytes_used, stats.block_bytes);
        writeln!(out, "block bytes: {used} of {all} in use")?;
        let held = (0..self.buckets()).filter(|&bucket| {
            Header::from_bits(self.memory().load(self.bucket_at(bucket), Load::Relaxed)).live() != 0
        });
        for bucket in held.take(BUCKETS_SHOWN) {
            let at = self.bucket_at(bucket);
            let header = Header::from_bits(self.memory().load(at, Load::Acquire));
            writeln!(out, "bucket {bucket}: {header:?}")?;
            for slot in (0..self.slots).filter(|slot| header.live() >> slot & 1 == 1) {
                writeln!(out, "  slot {slot}: {:?}", self.slot(bucket, slot))?;
            }
        }
        Ok(())
    }

    /// The `audit` of the contract.
    pub(super) fn check_all(&self) -> Audit {
        let mut audit = Audit::default();
        let mut references: BTreeMap<Block, u64> = BTreeMap::new();
        for bucket in 0..self.buckets() {
            self.check_bucket(bucket, &mut audit, &mut references);
        }
        let blocks = self.arena.audit_blocks(&references);
        audit.blocks = blocks.blocks;
        audit.lost_blocks = blocks.lost;
        for finding in blocks.findings {
            audit.find(finding);
        }
        audit
    }

    fn check_bucket(&self, bucket: u64, audit: &mut Audit, references: &mut BTreeMap<Block, u64>) {
        let at = self.bucket_at(bucket);
        let header = match self.load_header(at) {
            Ok(header) => header,
            Err(error) => return audit.find(format!("bucket {bucket}: {error}")),
        };
        for number in (0..self.slots).filter(|slot| header.live() >> slot & 1 == 1) {
            let slot = self.slot(bucket, number);
            audit.entries += 1;
            *references.entry(slot.block()).or_default() += 1;
            let Some((entry, shape)) = EntryView::shaped(&self.arena, slot.block()) else {
                audit.find(format!("bucket {bucket} slot {number}: {slot:?} holds no entry"));
                continue;
            };
            let home = Home::new(entry.hash());
            let mut key = Vec::new();
            entry.read_key(shape, &mut key);
            if self.bucket(home) != bucket || home.tag() != slot.tag() {
                audit.find(format!("bucket {bucket} slot {number}: the entry belongs elsewhere"));
            } else if self.arena.hasher().hash(&key) != entry.hash() {
                audit.find(format!("bucket {bucket} slot {number}: the key has another hash"));
            } else if let Ok((_, matches)) = self.load_matches(home, at)
                && let Search::Found(first) = self.search(home, at, matches & header.live(), &key)
                && first.live_bit != 1 << number
            {
                audit.find(format!("bucket {bucket} slot {number}: the key is there twice"));
            }
        }
    }
}
