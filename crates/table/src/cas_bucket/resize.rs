//! Growing and shrinking: who begins it, who goes on with it, and when it is over.

use shm_arena::{Load, Memory, Offset, Rmw};

use super::areas::Bucket;
use super::root::{Phase, Progress, Root};
use super::transfer::Helped;
use super::word::{FIRST_SLOTS, Header, Mode};
use super::{CasBucket, ENTRIES_PER_BUCKET, TURNS_MAX};
use crate::contract::{Error, Resizing};

/// Entries a bucket, on average, above which a table grows by itself.
const GROWS_ABOVE: u64 = 5;
/// Entries a bucket, on average, below which it shrinks by itself.
const SHRINKS_BELOW: u64 = 1;
/// Changes of membership between two looks at how full the table is, at most.
const LOOKS_EVERY: u64 = 256;
/// Buckets that an update moves, beside its own work, while the table changes its size.
const BUCKETS_PER_UPDATE: u64 = 2;
/// Buckets that are capped in the time in which one is moved, about.
const CAPPED_PER_MOVED: u64 = 4;
/// Buckets that somebody looks at, at most, to see how many are done in a row.
const LOOKED_AT: u64 = 64;

impl<M: Memory> CasBucket<M> {
    pub(super) fn root_word(&self) -> Offset {
        self.arena.layout().control()
    }

    /// How many buckets are done in a row; a line away from the root, which everybody reads.
    fn done_word(&self) -> Offset {
        self.arena.layout().control() + 8
    }

    /// How many buckets somebody has set out to move: a hint, by which helpers keep apart.
    fn given_word(&self) -> Offset {
        self.arena.layout().control() + 9
    }

    /// One change of the root.
    fn step_root(&self, from: Root, to: Root) -> bool {
        // ORDERING(G2): release, pairs with G1; behind everything that makes it true, and behind
        // the acquiring load of what it replaces.
        self.memory()
            .compare_exchange(self.root_word(), from.bits(), to.bits(), Rmw::Release, Load::Relaxed)
            .is_ok()
    }

    fn progress(&self, at: Offset, root: Root) -> (Progress, u64) {
        let word = Progress::from_bits(self.memory().load(at, Load::Acquire));
        (word, word.of(root))
    }

    fn set_progress(&self, at: Offset, from: Progress, root: Root, buckets: u64) -> bool {
        let to = Progress::new(root, buckets);
        // ORDERING(G2): release, likewise: who sees that all are done sees them done.
        self.memory()
            .compare_exchange(at, from.bits(), to.bits(), Rmw::Release, Load::Relaxed)
            .is_ok()
    }

    /// After a change of membership, once in a while: begins to grow or to shrink, if the table is
    /// fuller or emptier than it should be.
    #[inline(always)]
    pub(super) fn follow_load(&self, bucket: Bucket, header: Header) {
        if self.adjusts && (header.version() + (bucket.at.word() >> 3)) & self.look_mask == 0 {
            self.begin_if_due();
        }
    }

    #[cold]
    fn begin_if_due(&self) {
        let root = self.root();
        if !root.is_settled() || !self.areas.has(root.exponent()) {
            return;
        }
        let (entries, exponent) = (self.arena.balance(), root.exponent());
        let phase = if entries > GROWS_ABOVE << exponent && exponent < self.areas.exponent_max() {
            Phase::Growing
        } else if entries < SHRINKS_BELOW << exponent && exponent > self.areas.exponent_min() {
            Phase::Capping
        } else {
            return;
        };
        // Who fails was forestalled.
        let _ = self.step_root(root, root.with_phase(phase));
    }

    /// How often an update looks how full the table is, for a table that may be so small.
    pub(super) const fn look_mask(exponent_min: u32) -> u64 {
        let buckets = 1 << exponent_min;
        (if buckets < LOOKS_EVERY { buckets } else { LOOKS_EVERY }) - 1
    }

    /// Beside an update's own work: a bounded part of the change of size that is under way.
    #[cold]
    pub(super) fn help_along(&self) -> Result<(), Error> {
        self.help(BUCKETS_PER_UPDATE)
    }

    /// The root, if there is an area of the size that it says.
    fn sound_root(&self) -> Result<Root, Error> {
        let root = self.root();
        self.areas.bucket(0, root).map(|_| root)
    }

    /// Goes on with a change of size, by so many buckets.
    fn help(&self, buckets: u64) -> Result<(), Error> {
        let root = self.sound_root()?;
        match root.phase() {
            Phase::Settled => Ok(()),
            Phase::Capping => self.cap(root, CAPPED_PER_MOVED * buckets),
            Phase::Growing | Phase::Merging => self.move_on(root, buckets),
        }
    }

    /// Binds buckets to half of what they may hold, so that any two fit in one; calls it off where
    /// one holds more.
    ///
    /// Each bucket's header is changed anew, under this step of the root, whether it is capped or
    /// not: who is about to exceed an older cap finds the header changed.
    fn cap(&self, root: Root, buckets: u64) -> Result<(), Error> {
        let all = 1 << root.exponent();
        let (seen, capped) = self.progress(self.done_word(), root);
        let next = (capped + buckets).min(all);
        for bucket in capped..next {
            let at = self.areas.bucket_of(bucket, root.exponent(), root.epoch()).at;
            // Each failed turn means that somebody changed this bucket.
            for turn in 0..=TURNS_MAX {
                let header = self.load_header(at);
                if !self.is_root(root) {
                    return Ok(());
                }
                if !self.is_open(header) {
                    return Err(Error::Corrupt { what: "bucket header", word: at.word() });
                }
                if self.slots.live(header).count_ones() > self.cap || turn == TURNS_MAX {
                    let _ = self.step_root(root, root.with_phase(Phase::Settled));
                    return Ok(());
                }
                // ORDERING(G8): release, behind the look at the root.
                if self.step_header(at, header, header.with_mode(Mode::Capped)) {
                    break;
                }
            }
        }
        if self.is_root(root)
            && (next == capped || self.set_progress(self.done_word(), seen, root, next))
            && next == all
        {
            let _ = self.step_root(root, root.with_phase(Phase::Merging));
        }
        Ok(())
    }

    /// Moves what some buckets hold, and looks whether all have moved.
    fn move_on(&self, root: Root, buckets: u64) -> Result<(), Error> {
        let all = self.units(root);
        let (word, given) = self.progress(self.given_word(), root);
        if given < all && self.is_root(root) {
            let next = (given + buckets).min(all);
            if self.set_progress(self.given_word(), word, root, next) {
                self.bring_units(root, next);
                for unit in given..next {
                    if self.transfer(root, unit)? == Helped::Late {
                        return Ok(());
                    }
                }
            }
        }
        let (word, done) = self.progress(self.done_word(), root);
        let mut next = done;
        while next < all && next < done + LOOKED_AT && self.is_moved(root, next) {
            next += 1;
        }
        if next == done && given >= all && next < all {
            // Whoever set out to move this one is slow, or dead.
            if self.transfer(root, next)? == Helped::Late {
                return Ok(());
            }
            next += 1;
        }
        if !self.is_root(root) {
            return Ok(());
        }
        if (next == done || self.set_progress(self.done_word(), word, root, next)) && next == all {
            let _ = self.step_root(root, root.finished());
        }
        Ok(())
    }

    /// Asks for the first lines of the next units and of their heirs, for writing: a hint for
    /// whoever moves them.
    fn bring_units(&self, root: Root, unit: u64) {
        let (present, target) = (root.exponent(), root.target().unwrap_or(root.exponent()));
        let upper = unit | self.units(root);
        let words = BUCKETS_PER_UPDATE * u64::from(FIRST_SLOTS + 1);
        for (bucket, exponent) in [(unit, present), (unit, target), (upper, present.max(target))] {
            let at = self.areas.bucket_of(bucket, exponent, root.epoch()).at;
            self.memory().prefetch_to_write(at, words);
        }
    }

    /// Buckets of the smaller of the two sizes.
    fn units(&self, root: Root) -> u64 {
        1 << root.target().map_or(root.exponent(), |target| target.min(root.exponent()))
    }

    /// Whether everything that belongs to a unit has moved; true if the root is still this one.
    fn is_moved(&self, root: Root, unit: u64) -> bool {
        let is_done = |bucket| {
            let at = self.areas.bucket_of(bucket, root.exponent(), root.epoch()).at;
            self.load_header(at).mode() == Mode::Done
        };
        is_done(unit) && (root.phase() == Phase::Growing || is_done(unit | self.units(root)))
    }

    /// The bucket in which updates of a hash take place; moves what is there first, if it must.
    pub(super) fn governing(&self, hash: u64) -> Result<Bucket, Error> {
        // Each failed turn means that the table changed its size meanwhile.
        for _ in 0..TURNS_MAX {
            let root = self.root();
            let bucket = self.areas.bucket(hash, root)?;
            if self.areas.is_fixed() {
                return Ok(bucket);
            }
            let header = self.load_header(bucket.at);
            if self.is_open(header) {
                return Ok(bucket);
            }
            if root.target().is_some() {
                if self.transfer(root, hash & (self.units(root) - 1))? == Helped::Done {
                    return self.areas.heir(hash, root);
                }
            } else if self.root() == root && self.load_header(bucket.at) == header {
                return Err(Error::Corrupt { what: "bucket header", word: bucket.at.word() });
            }
        }
        Err(self.contended(hash))
    }

    /// Where an insertion found its bucket full: grows, or has done so already. `false`: the table
    /// is as large as it can be, or does not grow by itself.
    pub(super) fn make_room(&self, hash: u64, bucket: Bucket) -> Result<bool, Error> {
        if self.areas.is_fixed() {
            return Ok(false);
        }
        let root = self.sound_root()?;
        let is_present = root.epoch() == bucket.stamp.epoch();
        match root.phase() {
            Phase::Settled if is_present => {
                let is_largest = root.exponent() >= self.areas.exponent_max();
                if is_largest || !self.adjusts {
                    return Ok(false);
                }
                let _ = self.step_root(root, root.with_phase(Phase::Growing));
            }
            Phase::Settled => {}
            Phase::Capping => {
                let _ = self.step_root(root, root.with_phase(Phase::Settled));
            }
            Phase::Growing | Phase::Merging if is_present => {
                let _ = self.transfer(root, hash & (self.units(root) - 1))?;
            }
            // An heir is full before all have moved: the next change of size has to wait for that.
            Phase::Growing | Phase::Merging => self.help(self.units(root))?,
        }
        Ok(true)
    }

    /// Where an insertion would exceed a bucket's cap: calls shrinking off, or has the bucket
    /// merged, or lifts the cap of a shrinking that was called off.
    pub(super) fn lift_cap(&self, hash: u64, bucket: Bucket) -> Result<(), Error> {
        let header = self.load_header(bucket.at);
        if !self.is_open(header) || !header.is_capped() {
            return Ok(());
        }
        // Behind the load of the header: if it was capped for the shrinking that is under way, the
        // root says so; if for an earlier one, that one is over.
        let root = self.sound_root()?;
        match root.phase() {
            Phase::Capping => {
                let _ = self.step_root(root, root.with_phase(Phase::Settled));
            }
            Phase::Merging => {
                let _ = self.transfer(root, hash & (self.units(root) - 1))?;
            }
            Phase::Settled | Phase::Growing => {
                let _ = self.step_header(bucket.at, header, header.with_mode(Mode::Open));
            }
        }
        Ok(())
    }

    /// The `adjust` of the contract.
    pub(super) fn adjust_to(&self, buckets: Option<u64>) -> Result<u64, Error> {
        let _permission = self.lease()?;
        let wanted = buckets.unwrap_or_else(|| self.arena.balance().div_ceil(ENTRIES_PER_BUCKET));
        let wanted = wanted.clamp(1, 1 << Root::EXPONENT_MAX).next_power_of_two().ilog2();
        let wanted = wanted.clamp(self.areas.exponent_min(), self.areas.exponent_max());
        let mut sizes_left = 2 * Root::EXPONENT_MAX;
        loop {
            let root = self.finish_resizing()?;
            let phase = match root.exponent() {
                now if now < wanted => Phase::Growing,
                now if now > wanted => Phase::Capping,
                now => return Ok(1 << now),
            };
            // Others may begin to change the size as well, or a bucket hold too much to shrink.
            if sizes_left == 0 {
                return Ok(1 << root.exponent());
            }
            sizes_left -= 1;
            let _ = self.step_root(root, root.with_phase(phase));
            let after = self.finish_resizing()?;
            if phase == Phase::Capping && after.exponent() >= root.exponent() {
                return Ok(1 << after.exponent());
            }
        }
    }

    /// Goes on until nothing is under way; gives the root.
    fn finish_resizing(&self) -> Result<Root, Error> {
        let mut root = self.sound_root()?;
        // Each turn sees to some buckets of the change that is under way, or finds that others do.
        // Others may begin the next one.
        for _ in 0..=4 * self.units(root) + u64::from(TURNS_MAX) {
            if root.is_settled() {
                break;
            }
            self.help(LOOKED_AT)?;
            root = self.sound_root()?;
        }
        Ok(root)
    }

    /// The `resizing` of the contract.
    pub(super) fn resizing_now(&self) -> Option<Resizing> {
        let root = self.root();
        if root.is_settled() || !self.areas.has(root.exponent()) {
            return None;
        }
        let (_, done) = self.progress(self.done_word(), root);
        let present = 1 << root.exponent();
        Some(match root.phase() {
            Phase::Capping => Resizing { target: present / 2, done, steps: present + present / 2 },
            Phase::Merging => {
                Resizing { target: present / 2, done: present + done, steps: present + present / 2 }
            }
            Phase::Growing | Phase::Settled => {
                Resizing { target: 2 * present, done, steps: present }
            }
        })
    }
}
