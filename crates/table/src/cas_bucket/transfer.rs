//! Moving what a bucket holds to where it belongs in the next size: every step by one exchange,
//! repeated by anyone, with the same outcome.

use shm_arena::{Load, Memory, Offset, Rmw};

use super::root::{Phase, Root};
use super::word::{Header, MODED_SLOTS_MAX, Mode, Slot, slots_of};
use super::{CasBucket, TURNS_MAX};
use crate::contract::Error;

/// What came of an attempt to help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Helped {
    /// It is done, by whomever.
    Done,
    /// The root has moved on: it was done long ago.
    Late,
}

/// The slots of an heir, in order, and how many are taken.
struct Inheritance {
    slots: [Slot; MODED_SLOTS_MAX as usize],
    count: usize,
}

impl<M: Memory> CasBucket<M> {
    /// Sees to it that what a bucket held is in its heirs and that they are open.
    ///
    /// `unit` is a bucket of the smaller of the two sizes. CRASH(transfer): each exchange is
    /// complete in itself, and whoever comes next does what is missing.
    pub(super) fn transfer(&self, root: Root, unit: u64) -> Result<Helped, Error> {
        let (epoch, present) = (root.epoch(), root.exponent());
        let Some(target) = root.target().filter(|&target| self.areas.has(target)) else {
            return Ok(Helped::Late);
        };
        let upper = unit | 1 << present.min(target);
        let (sources, heirs): (&[u64], &[u64]) = match root.phase() {
            Phase::Growing => (&[unit], &[unit, upper]),
            _ => (&[unit, upper], &[unit]),
        };
        let at = |bucket: u64, exponent: u32| self.areas.bucket_of(bucket, exponent, epoch).at;
        let mut frozen = [None; 2];
        for (&source, frozen) in sources.iter().zip(&mut frozen) {
            match self.freeze(root, at(source, present))? {
                Frozen::At(header) => *frozen = Some((at(source, present), header)),
                Frozen::Done => {}
                Frozen::Late => return Ok(Helped::Late),
            }
        }
        // Where one source is done, the heirs are open, and only the other's last step is missing.
        if frozen.iter().flatten().count() == sources.len() {
            for &heir in heirs {
                let Some(inheritance) = self.inherit(root, &frozen, heir) else {
                    let word = at(heir, target).word();
                    return Err(Error::Corrupt { what: "bucket too full to merge", word });
                };
                if self.open(root, at(heir, target), &inheritance)? == Helped::Late {
                    return Ok(Helped::Late);
                }
            }
        }
        for (at, header) in frozen.into_iter().flatten() {
            // ORDERING(G6): release, behind the opening of the heirs.
            let _ = self.step_header(at, header, header.with_mode(Mode::Done));
        }
        Ok(Helped::Done)
    }

    /// Fixes what a bucket holds.
    fn freeze(&self, root: Root, at: Offset) -> Result<Frozen, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let header = self.load_header(at);
            // Behind the load: a later life's header is never frozen for this one's sake.
            if !self.is_root(root) {
                return Ok(Frozen::Late);
            }
            if self.is_open(header) {
                let frozen = header.with_mode(Mode::Frozen);
                // ORDERING(G3): release, so that who goes on from it sees the entries.
                if self.step_header(at, header, frozen) {
                    return Ok(Frozen::At(frozen));
                }
                continue;
            }
            return match header.mode() {
                Mode::Frozen if self.slots.is_frozen(header) => Ok(Frozen::At(header)),
                Mode::Done => Ok(Frozen::Done),
                _ => Err(Error::Corrupt { what: "bucket header", word: at.word() }),
            };
        }
        Err(Error::Contended { bucket: self.areas.place_of(at).1, turns: TURNS_MAX })
    }

    /// What belongs in an heir, in the order of the sources' slots. `None`: more than it can hold,
    /// which caps exclude.
    fn inherit(
        &self,
        root: Root,
        sources: &[Option<(Offset, Header)>; 2],
        heir: u64,
    ) -> Option<Inheritance> {
        let is_growing = root.phase() == Phase::Growing;
        let bit = self.areas.tag_bit(root.exponent());
        let is_upper = heir >> root.exponent() & 1 == 1;
        let mut inheritance =
            Inheritance { slots: [Slot::FRESH; MODED_SLOTS_MAX as usize], count: 0 };
        for &(at, header) in sources.iter().flatten() {
            for number in slots_of(self.slots.live(header)) {
                // ORDERING(G7): acquire: should this be a word of the bucket's next life, the root
                // is seen to have moved on.
                let word = self.memory().load(self.areas.slot(at, number), Load::Acquire);
                let slot = Slot::from_bits(word);
                let belongs = (slot.tag(root.epoch()) & bit != 0) == is_upper;
                if !is_growing || belongs {
                    // A slot stays for replacements.
                    if inheritance.count + 1 >= self.slots.count as usize && !is_growing {
                        return None;
                    }
                    *inheritance.slots.get_mut(inheritance.count)? =
                        slot.in_next_epoch(root.epoch());
                    inheritance.count += 1;
                }
            }
        }
        Some(inheritance)
    }

    /// Sees to it that an heir holds its inheritance and is open.
    fn open(&self, root: Root, at: Offset, inheritance: &Inheritance) -> Result<Helped, Error> {
        let epoch = root.epoch().wrapping_add(1);
        // At most: cleaned, opened, seen open; each failed turn means that somebody did a step.
        for _ in 0..4 {
            let header = self.load_header(at);
            // Behind the load: a bucket that is done is so since an earlier life, and one that is
            // ready is so for this one.
            if !self.is_root(root) {
                return Ok(Helped::Late);
            }
            let vacant = match header.mode() {
                Mode::Fresh => Slot::FRESH,
                Mode::Ready => Slot::virgin(epoch),
                Mode::Done => {
                    self.clean(at, header, epoch);
                    // ORDERING(G4): release, behind the cleaning.
                    let ready = header.flipped(self.slots.live(header)).with_mode(Mode::Ready);
                    let _ = self.step_header(at, header, ready);
                    continue;
                }
                Mode::Open | Mode::Capped => return Ok(Helped::Done),
                Mode::Frozen => break,
            };
            for (number, slot) in (0..).zip(&inheritance.slots[..inheritance.count]) {
                // Fails where another helper was here, or its entry is gone already.
                // ORDERING(G7): release, pairs with `clean`.
                let _ = self.memory().compare_exchange(
                    self.areas.slot(at, number),
                    vacant.bits(),
                    slot.bits(),
                    Rmw::Release,
                    Load::Relaxed,
                );
            }
            let live = (1_u32 << inheritance.count) - 1;
            let opened = header.flipped(live ^ self.slots.live(header)).with_mode(Mode::Open);
            // ORDERING(G5): release, pairs with R1.
            if self.step_header(at, header, opened) {
                return Ok(Helped::Done);
            }
        }
        if self.is_root(root) {
            return Err(Error::Corrupt { what: "header of an heir", word: at.word() });
        }
        Ok(Helped::Late)
    }

    /// Empties every slot of a bucket that is done, for its next life.
    ///
    /// A claim or an emptying that overslept the bucket's last life may come in between, each
    /// once; once a slot is cleaned, nobody's word of an earlier life finds what it expects.
    fn clean(&self, at: Offset, done: Header, epoch: u32) {
        let virgin = Slot::virgin(epoch);
        for number in 0..self.slots.count {
            let slot = self.areas.slot(at, number);
            // ORDERING(G7): acquire, pairs with whoever wrote a word of the next life.
            let mut word = self.memory().load(slot, Load::Acquire);
            // Each failed turn means that somebody who overslept did his one step.
            for _ in 0..TURNS_MAX {
                if word == virgin.bits() {
                    break;
                }
                // Behind the load: what is there in the next life stays there.
                if self.memory().load(at, Load::Relaxed) != done.bits() {
                    return;
                }
                let cleaned = self.memory().compare_exchange(
                    slot,
                    word,
                    virgin.bits(),
                    // ORDERING(G7): release, pairs with `inherit`.
                    Rmw::Release,
                    Load::Acquire,
                );
                match cleaned {
                    Ok(_) => break,
                    Err(found) => word = found,
                }
            }
        }
    }

    /// One step of a header that anyone may take.
    #[track_caller]
    pub(super) fn step_header(&self, at: Offset, from: Header, to: Header) -> bool {
        self.memory()
            .compare_exchange(at, from.bits(), to.bits(), Rmw::Release, Load::Relaxed)
            .is_ok()
    }
}

/// What came of freezing a bucket.
#[derive(Clone, Copy, Debug)]
enum Frozen {
    /// Its header, which stays until its heirs are open.
    At(Header),
    /// Its heirs are open.
    Done,
    /// The root has moved on.
    Late,
}
