//! Walking the whole table: entries, counts, invariants.

use std::collections::BTreeMap;
use std::fmt;

use shm_arena::{Block, Load, Memory, Offset};

use super::search::Search;
use super::view::View;
use super::word::{Header, Slot, slots_of};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Audit, Cursor, Entry, Error, OwnedEntry, Stats, Table, Version};
use crate::entry::{EntryView, Near};

impl<M: Memory> CasBucket<M> {
    fn slot(&self, at: Offset, slot: u32) -> Slot {
        Slot::from_bits(self.memory().load(self.areas.slot(at, slot), Load::Relaxed))
    }

    /// What speaks for a position: a view, and of how many buckets it shows one. A frozen bucket
    /// speaks for that half of its entries alone whose heir is not open.
    fn view_at(&self, position: u64) -> Result<(View, u64), Error> {
        let view = self.view(Cursor::bucket(position, 1 << 63))?;
        let exponent = view.exponent(self.areas.place_of(view.bucket.at).0);
        Ok((view, 1 << exponent))
    }

    /// The live slots of a view that belong to a position's bucket, of so many.
    fn live_at(&self, view: &View, position: u64, buckets: u64) -> u32 {
        let (exponent, _) = self.areas.place_of(view.bucket.at);
        if 1 << exponent >= buckets {
            return self.slots.live(view.header);
        }
        let bit = self.areas.tag_bit(exponent);
        let wanted = self.areas.tag(Cursor::bucket(position, buckets)) & bit;
        let epoch = view.bucket.stamp.epoch();
        let belongs = |&slot: &u32| self.slot(view.bucket.at, slot).tag(epoch) & bit == wanted;
        let live = slots_of(self.slots.live(view.header));
        live.filter(belongs).fold(0, |live, slot| live | 1 << slot)
    }

    /// The entries of the bucket at a position, at one instant, and how many buckets there are. Of
    /// a merged bucket, those alone that the position is not behind.
    fn copy_bucket(&self, position: u64, copied: &mut Vec<OwnedEntry>) -> Result<u64, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            copied.clear();
            let (view, buckets) = self.view_at(position)?;
            let live = self.live_at(&view, position, buckets);
            let mut damaged = None;
            for slot in slots_of(live) {
                let block = self.slot(view.bucket.at, slot).block();
                let entry = EntryView::shaped(&self.arena, block);
                let (Some((entry, shape)), Some(version)) = (entry, self.version(block)) else {
                    damaged = Some(block.offset().word());
                    break;
                };
                if Cursor::place_of(entry.hash()) >= position {
                    copied.push(entry.copy_out(shape, version));
                }
            }
            if self.holds(&view) {
                return damaged.map_or(Ok(buckets), |word| {
                    Err(Error::Corrupt { what: "linked block", word })
                });
            }
        }
        Err(self.contended(Cursor::bucket(position, 1 << 63)))
    }

    /// The `scan` of the contract.
    pub(super) fn scan_bucket(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let Some(position) = cursor.position(self.identity)? else { return Ok(()) };
        let mut copied = Vec::new();
        let buckets = self.copy_bucket(position, &mut copied)?;
        cursor.move_to(Cursor::behind(position, buckets));
        for entry in &copied {
            visit(entry.entry(), entry.version);
        }
        Ok(())
    }

    /// Visits each bucket that speaks for something: what is there, which live slots count, and
    /// its position among how many. Exact on a quiescent table; ends where something is damaged.
    fn visit_buckets(&self, mut visit: impl FnMut(&View, u32)) -> Result<(), Error> {
        let mut next = Some(0);
        // Each turn leaves a bucket behind, of no more than there can be.
        while let Some(position) = next {
            let (view, buckets) = self.view_at(position)?;
            visit(&view, self.live_at(&view, position, buckets));
            next = Cursor::behind(position, buckets);
        }
        Ok(())
    }

    /// The `stats` of the contract.
    pub(super) fn count_all(&self) -> Stats {
        let mut histogram = vec![0; self.slots.count as usize + 1];
        let mut lines = vec![0; 4];
        let counted = self.visit_buckets(|_, live| {
            histogram[live.count_ones() as usize] += 1;
            for slot in slots_of(live) {
                lines[self.areas.line_of(slot)] += 1;
            }
        });
        // Of a damaged table, what was counted so far.
        let _ = counted;
        let geometry = self.arena.geometry();
        let buckets = self.buckets();
        Stats {
            entries: self.len(),
            buckets,
            buckets_max: 1 << self.areas.exponent_max(),
            resizing: self.resizing_now(),
            slots: self.areas.slots(buckets, self.slots.count),
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
        writeln!(out, "{:?}", self.root())?;
        let held = self.areas.headers().map(|(at, exponent)| {
            (at, exponent, Header::from_bits(self.memory().load(at, Load::Acquire)))
        });
        let holds = |header| self.is_open(header) && self.slots.live(header) != 0;
        let held = held.filter(|&(_, _, header)| holds(header));
        for (at, exponent, header) in held.take(BUCKETS_SHOWN) {
            let (_, bucket) = self.areas.place_of(at);
            writeln!(out, "bucket {bucket} of 2^{exponent}: {header:?}")?;
            for slot in slots_of(self.slots.live(header)) {
                writeln!(out, "  slot {slot}: {:?}", self.slot(at, slot))?;
            }
        }
        Ok(())
    }

    /// The `audit` of the contract.
    pub(super) fn check_all(&self) -> Audit {
        let mut audit = Audit::default();
        let mut references: BTreeMap<Block, u64> = BTreeMap::new();
        let checked = self.visit_buckets(|view, live| {
            self.check_bucket(view, live, &mut audit, &mut references);
        });
        if let Err(error) = checked {
            audit.find(error.to_string());
        }
        self.check_areas(&mut audit);
        let blocks = self.arena.audit_blocks(&references);
        audit.blocks = blocks.blocks;
        audit.lost_blocks = blocks.lost;
        for finding in blocks.findings {
            audit.find(finding);
        }
        audit
    }

    /// While nobody changes the size, the buckets of the present one are open, and no others.
    fn check_areas(&self, audit: &mut Audit) {
        let root = self.root();
        for (at, exponent) in self.areas.headers().filter(|_| root.is_settled()) {
            let is_open = self.is_open(self.load_header(at));
            if is_open != (exponent == root.exponent()) {
                let (bucket, used) = (self.areas.place_of(at).1, if is_open { "" } else { "not " });
                audit.find(format!("bucket {bucket} of 2^{exponent} is {used}in use: {root:?}"));
            }
        }
    }

    fn check_bucket(
        &self,
        view: &View,
        live: u32,
        audit: &mut Audit,
        references: &mut BTreeMap<Block, u64>,
    ) {
        let at = view.bucket.at;
        let (exponent, bucket) = self.areas.place_of(at);
        for number in slots_of(live) {
            let slot = self.slot(at, number);
            audit.entries += 1;
            *references.entry(slot.block()).or_default() += 1;
            let Some((entry, shape)) = EntryView::shaped(&self.arena, slot.block()) else {
                audit.find(format!("bucket {bucket} slot {number}: {slot:?} holds no entry"));
                continue;
            };
            let home = self.areas.bucket_of(entry.hash(), exponent, view.bucket.stamp.epoch());
            let mut key = Vec::new();
            entry.read_key(shape, &mut key);
            if home.at != at || home.stamp.tag() != slot.stamped_tag() {
                audit.find(format!("bucket {bucket} slot {number}: the entry belongs elsewhere"));
            } else if self.arena.hasher().hash(&key) != entry.hash() {
                audit.find(format!("bucket {bucket} slot {number}: the key has another hash"));
            } else if let (_, matches) = self.load_matches(home)
                && let Search::Found(first) = self.search(at, matches, &key, Near::ToRead)
                && first.named.number != number
            {
                audit.find(format!("bucket {bucket} slot {number}: the key is there twice"));
            }
        }
    }
}
