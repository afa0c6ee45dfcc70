//! Walking the whole table: counts, invariants, recovery.

use std::collections::BTreeMap;
use std::fmt;

use shm_arena::{Block, Index, Load, Memory};

use super::Chained;
use super::head::Tag;
use super::lock::Chains;
use crate::contract::{Audit, Cursor, Error, Recovery, Resizing, Stats, Table};
use crate::entry::EntryView;

impl<M: Memory> Chained<M> {
    /// The `stats` of the contract.
    pub(super) fn count_all(&self) -> Stats {
        let mut chains = vec![0; 17];
        let mut probes = vec![0; 17];
        let mut cursor = self.cursor();
        let mut bucket_counts = |length: usize| {
            chains[length.min(16)] += 1;
            (1..=length).for_each(|place| probes[place.min(16)] += 1);
        };
        while let Ok(Some(position)) = cursor.position(self.identity) {
            // A bucket that is busy for too long counts as empty.
            let measured = self.under_lock(|_| {
                let (mut length, buckets) = (0, self.buckets());
                self.walk(Cursor::bucket(position, buckets), |_| {
                    length += 1;
                    Ok(())
                })?;
                Ok((length, buckets))
            });
            let (length, buckets) = measured.unwrap_or((0, self.buckets()));
            bucket_counts(length);
            cursor.move_to(Cursor::behind(position, buckets));
        }
        let geometry = self.arena.geometry();
        Stats {
            entries: self.len(),
            buckets: self.buckets(),
            buckets_max: 1 << self.exponent_max,
            resizing: self.resizing_now(),
            slots: 0,
            bucket_histogram: chains,
            probe_histogram: probes,
            segment_bytes: self.memory().word_count() * 8,
            block_bytes_used: self.arena.bytes_used(),
            block_bytes: u64::from(geometry.slabs) * u64::from(geometry.slab_units) * 64,
            recoveries: self.arena.recoveries(),
        }
    }

    /// The `resizing` of the contract. Under the lock nobody sees a change of size in the middle:
    /// what stands here is an owner's who works on it, or is dead.
    pub(super) fn resizing_now(&self) -> Option<Resizing> {
        let size = self.size();
        let resizing = Resizing { target: 1 << size.target, done: 0, steps: 1 };
        (!size.is_settled()).then_some(resizing)
    }

    /// The `dump` of the contract.
    pub(super) fn write_dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let stats = self.stats();
        writeln!(out, "chained: {} entries in {} buckets", stats.entries, stats.buckets)?;
        writeln!(out, "{:?}", self.arena)?;
        writeln!(out, "buckets by entries: {:?}", stats.bucket_histogram)?;
        let (used, all) = (stats.block_bytes_used, stats.block_bytes);
        writeln!(out, "block bytes: {used} of {all} in use")?;
        let lock = self.memory().load(self.lock_word(), Load::Relaxed);
        let (incarnation, record, line) = (lock >> 32, lock >> 16 & 0xffff, lock & 0xffff);
        writeln!(out, "lock: record {record} incarnation {incarnation} line + 1 {line} (0: free)")
    }

    /// The `audit` of the contract.
    pub(super) fn check_all(&self) -> Audit {
        let mut audit = Audit::default();
        let mut references: BTreeMap<Block, u64> = BTreeMap::new();
        if !self.size().is_settled() || self.moving() != 0 {
            audit.find(format!("{:?} while nobody adjusts", self.size()));
        }
        for bucket in self.buckets()..1 << self.exponent_max {
            if self.head_of(bucket).first != 0 {
                audit.find(format!("bucket {bucket} is none and has a chain"));
            }
        }
        for bucket in 0..self.buckets() {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let signature = self.head_of(bucket).signature;
            let walked = self.walk(bucket, |found| {
                audit.entries += 1;
                *references.entry(found.block).or_default() += 1;
                let mut key = Vec::new();
                found.entry.read_key(found.shape, &mut key);
                let hash = self.arena.hasher().hash(&key);
                if hash != found.entry.hash() || self.bucket(hash) != bucket {
                    audit.find(format!("bucket {bucket}: {:?} belongs elsewhere", found.block));
                }
                if found.node.tag != Tag::of(hash) {
                    audit.find(format!("bucket {bucket}: {:?} has another tag", found.block));
                }
                if !signature.may_have(Tag::of(hash)) {
                    audit.find(format!("bucket {bucket}: {signature:?} lacks {:?}", found.block));
                }
                if keys.contains(&key) {
                    audit.find(format!("bucket {bucket}: a key is there twice"));
                }
                keys.push(key);
                Ok(())
            });
            if let Err(error) = walked {
                audit.find(format!("bucket {bucket}: {error}"));
            }
        }
        let blocks = self.arena.audit_blocks(&references);
        audit.blocks = blocks.blocks;
        audit.lost_blocks = blocks.lost;
        for finding in blocks.findings {
            audit.find(finding);
        }
        audit
    }

    /// The `recover` of the contract.
    pub(super) fn recover_all(&self) -> Result<Recovery, Error> {
        self.under_lock(|locked| {
            let recovered = self.arena.recover(&locked.lease, &locked.chains);
            if recovered.processes > 0 {
                // A death between a change and its count leaves the count one off.
                let mut entries = 0;
                for bucket in 0..self.buckets() {
                    self.walk(bucket, |_| {
                        entries += 1;
                        Ok(())
                    })?;
                }
                self.set_count(entries);
            }
            Ok(recovered.into())
        })
    }
}

impl<M: Memory> Index for Chains<'_, M> {
    fn references(&self, block: Block) -> Option<bool> {
        let Some(entry) = EntryView::new(&self.0.arena, block) else {
            return Some(false);
        };
        let mut referenced = false;
        let walked = self.0.walk(self.0.bucket(entry.hash()), |found| {
            referenced |= found.block == block;
            Ok(())
        });
        walked.ok().map(|()| referenced)
    }

    fn forget(&self, _block: Block) {}
}
