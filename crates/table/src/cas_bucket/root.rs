//! The root word: how many buckets there are, and what is being done about it.

use std::fmt;

/// What is being done about the number of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nothing.
    Settled,
    /// Each bucket's entries move to two buckets of the next size.
    Growing,
    /// Each bucket is bound to half of what a bucket may hold, before anything moves; may be called
    /// off.
    Capping,
    /// Two buckets' entries move to one of the size before.
    Merging,
}

/// How many buckets there are, how often that has changed, and what is being done about it.
///
/// ```text
/// 63           32 31        7 6     5 4      0
/// ┌──────────────┬───────────┬───────┬────────┐
/// │ epoch (32)   │ step (25) │ phase │ now    │   2^now buckets
/// └──────────────┴───────────┴───────┴────────┘
/// ```
///
/// The epoch counts finished changes of size: it tells the lives of an area apart. The step counts
/// changes of this word, so that none of its values comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Root(u64);

impl Root {
    /// Exponents that the word can hold.
    pub(super) const EXPONENT_MAX: u32 = 31;
    const PHASE_SHIFT: u32 = 5;
    const STEP_SHIFT: u32 = 7;
    const STEP_MASK: u64 = (1 << 25) - 1;

    /// The first word of a table.
    pub(super) const fn first(exponent: u32) -> Self {
        Self(1 << 32 | exponent as u64)
    }

    /// The same, so many changes before epoch and step wrap.
    pub(super) const fn before_wrap(exponent: u32, changes: u64) -> Self {
        let back = changes.wrapping_neg();
        Self(back << 32 | (back & Self::STEP_MASK) << Self::STEP_SHIFT | exponent as u64)
    }

    #[inline(always)]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// Which life the area of the present size is in, modulo 2^32.
    #[inline(always)]
    pub(super) const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How often the word has changed, modulo 2^25.
    pub(super) const fn step(self) -> u64 {
        self.0 >> Self::STEP_SHIFT & Self::STEP_MASK
    }

    /// The exponent of the present number of buckets.
    #[inline(always)]
    pub(super) const fn exponent(self) -> u32 {
        (self.0 & 31) as u32
    }

    /// What is being done.
    pub(super) const fn phase(self) -> Phase {
        match self.0 >> Self::PHASE_SHIFT & 3 {
            0 => Phase::Settled,
            1 => Phase::Growing,
            2 => Phase::Capping,
            _ => Phase::Merging,
        }
    }

    /// Whether nobody changes the size.
    #[inline(always)]
    pub(super) const fn is_settled(self) -> bool {
        self.0 & 3 << Self::PHASE_SHIFT == 0
    }

    /// The exponent that entries move to, if they move.
    pub(super) const fn target(self) -> Option<u32> {
        match self.phase() {
            Phase::Growing => Some(self.exponent() + 1),
            Phase::Merging => self.exponent().checked_sub(1),
            Phase::Settled | Phase::Capping => None,
        }
    }

    /// The next step in this phase, of the same size.
    pub(super) const fn with_phase(self, phase: Phase) -> Self {
        let phase = match phase {
            Phase::Settled => 0,
            Phase::Growing => 1,
            Phase::Capping => 2,
            Phase::Merging => 3,
        };
        Self::pack(self.epoch(), self.step() + 1, phase, self.exponent())
    }

    /// The next step, in the next epoch, of the size that all entries have moved to.
    pub(super) const fn finished(self) -> Self {
        let exponent = match self.target() {
            Some(target) => target & 31,
            None => self.exponent(),
        };
        Self::pack(self.epoch().wrapping_add(1), self.step() + 1, 0, exponent)
    }

    const fn pack(epoch: u32, step: u64, phase: u64, exponent: u32) -> Self {
        let step = (step & Self::STEP_MASK) << Self::STEP_SHIFT;
        Self((epoch as u64) << 32 | step | phase << Self::PHASE_SHIFT | exponent as u64)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epoch, step) = (self.epoch(), self.step());
        write!(formatter, "2^{} buckets, {:?}", self.exponent(), self.phase())?;
        write!(formatter, ", epoch {epoch}, step {step}")
    }
}

/// How far one step of the root has got: buckets before this one are seen to.
///
/// ```text
/// 63       39 38            0
/// ┌──────────┬───────────────┐
/// │ step (25)│ buckets (39)  │   of another step: none
/// └──────────┴───────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress(u64);

impl Progress {
    const STEP_SHIFT: u32 = 39;

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn new(root: Root, buckets: u64) -> Self {
        Self(root.step() << Self::STEP_SHIFT | buckets & ((1 << Self::STEP_SHIFT) - 1))
    }

    /// Buckets seen to in this step of the root.
    pub(super) const fn of(self, root: Root) -> u64 {
        if self.0 >> Self::STEP_SHIFT == root.step() {
            self.0 & ((1 << Self::STEP_SHIFT) - 1)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_root_keeps_its_fields_and_never_comes_back(
            epoch in any::<u32>(), step in 0..(1_u64 << 25), exponent in 1..31_u32,
        ) {
            let root = Root::pack(epoch, step, 0, exponent);
            prop_assert_eq!((root.epoch(), root.step()), (epoch, step));
            prop_assert_eq!((root.exponent(), root.target()), (exponent, None));
            for (phase, target) in [
                (Phase::Settled, None),
                (Phase::Growing, Some(exponent + 1)),
                (Phase::Capping, None),
                (Phase::Merging, Some(exponent - 1)),
            ] {
                let next = root.with_phase(phase);
                prop_assert_eq!((next.phase(), next.target()), (phase, target));
                prop_assert_eq!(next.step(), (step + 1) % (1 << 25));
                prop_assert_eq!((next.epoch(), next.exponent()), (epoch, exponent));
                prop_assert_eq!(next.is_settled(), phase == Phase::Settled);
                let finished = next.finished();
                prop_assert_eq!(finished.epoch(), epoch.wrapping_add(1));
                prop_assert_eq!(finished.exponent(), target.unwrap_or(exponent));
                prop_assert!(finished.is_settled() && finished.step() != next.step());
            }
        }

        #[test]
        fn progress_is_of_one_step(
            step in 0..(1_u64 << 25), other in 0..(1_u64 << 25), buckets in 0..(1_u64 << 33),
        ) {
            let (root, others) = (Root::pack(1, step, 1, 4), Root::pack(2, other, 1, 5));
            let progress = Progress::from_bits(Progress::new(root, buckets).bits());
            prop_assert_eq!(progress.of(root), buckets);
            prop_assert_eq!(progress.of(others), if step == other { buckets } else { 0 });
        }
    }
}
