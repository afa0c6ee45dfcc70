//! The words that all workers of a cell share: a barrier, an abort flag, and how far each lane is.
//!
//! # Layout
//!
//! ```text
//! word 0    arrivals at the barrier, ever        word 16 + 16 l   published  ] written by the
//! word 8    abort: 1 once a worker has failed    word 17 + 16 l   horizon    ] lane's owner
//! word 12   finished: round of the last window   word 24 + 16 l   taken        claimed by anyone
//! ```
//!
//! Sessions of lane `l` are numbered from 0. Those below `published` have been stored, those below
//! `horizon` may have been evicted, and the first `taken` of those that will be resumed have been
//! claimed by a worker that resumes them.

use std::time::Duration;

use shm_arena::{Backoff, Load, Memory, Offset, Rmw, Store};

use crate::fault::Fault;
use crate::sys;

/// Lanes that the words have room for.
pub const LANES_MAX: u32 = 32;

/// Words that a control needs.
pub const CONTROL_WORDS: u64 = 16 + 16 * LANES_MAX as u64;

const ARRIVALS: Offset = Offset::new(0);
const ABORT: Offset = Offset::new(8);
const FINISHED: Offset = Offset::new(12);

/// How a worker waits for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Awake, to start at the same instant as the others.
    Spinning,
    /// In the kernel, to leave the others a machine on which nobody waits: where two processors
    /// share a core, one that spins takes its part.
    Asleep,
}

/// Longest sleep between two looks at the barrier. The kernel adds its timer's slack.
const SLEEP: Duration = Duration::from_micros(20);

/// Handle on the shared words of a cell.
#[derive(Debug)]
pub struct Control<M> {
    memory: M,
}

impl<M: Memory> Control<M> {
    /// A handle on zeroed words, or on those of a cell that runs.
    pub fn new(memory: M) -> Self {
        assert!(memory.word_count() >= CONTROL_WORDS, "a control has {CONTROL_WORDS} words");
        Self { memory }
    }

    /// Waits until all slots have come here `round` times; an error if one has failed or is late.
    pub fn meet(&self, round: u64, slots: u32, ticks_max: u64, wait: Wait) -> Result<(), Fault> {
        self.memory.fetch_add(ARRIVALS, 1, Rmw::AcqRel);
        let all = round * u64::from(slots);
        let start = sys::ticks();
        let backoff = Backoff::new();
        while self.memory.load(ARRIVALS, Load::Acquire) < all {
            if self.is_aborted() {
                return Err(Fault::Aborted);
            }
            if sys::ticks().wrapping_sub(start) > ticks_max {
                return Err(Fault::PeerMissing);
            }
            match wait {
                Wait::Spinning => self.memory.spin(&backoff),
                Wait::Asleep => std::thread::sleep(SLEEP),
            }
        }
        Ok(())
    }

    /// Makes every slot that waits, or comes to wait, give up.
    pub fn abort(&self) {
        self.memory.store(ABORT, 1, Store::Relaxed);
    }

    /// Whether a slot has failed.
    #[inline]
    pub fn is_aborted(&self) -> bool {
        self.memory.load(ABORT, Load::Relaxed) != 0
    }

    /// Tells whoever writes beside a measured window that this one, of a round, is over.
    pub fn finish(&self, round: u64) {
        self.memory.store(FINISHED, round, Store::Release);
    }

    /// The round of the last window that was finished so.
    #[inline]
    pub fn finished(&self) -> u64 {
        self.memory.load(FINISHED, Load::Acquire)
    }

    /// Sessions of a lane that are stored.
    #[inline]
    pub fn published(&self, lane: u32) -> u64 {
        self.memory.load(line(lane), Load::Acquire)
    }

    /// Tells that the sessions of a lane below a number are stored. By the lane's owner.
    #[inline]
    pub fn publish(&self, lane: u32, number: u64) {
        self.memory.store(line(lane), number, Store::Release);
    }

    /// Sessions of a lane below this number may be gone.
    #[inline]
    pub fn horizon(&self, lane: u32) -> u64 {
        self.memory.load(line(lane) + 1, Load::Acquire)
    }

    /// Tells, before it happens, which sessions of a lane may be evicted. By the lane's owner.
    #[inline]
    pub fn announce_horizon(&self, lane: u32, number: u64) {
        self.memory.store(line(lane) + 1, number, Store::Release);
    }

    /// How many resumptions of a lane's sessions have been claimed.
    #[inline]
    pub fn taken(&self, lane: u32) -> u64 {
        self.memory.load(line(lane) + 8, Load::Acquire)
    }

    /// Sets the claims of a lane before anybody claims.
    pub fn start_taking_at(&self, lane: u32, taken: u64) {
        self.memory.store(line(lane) + 8, taken, Store::Release);
    }

    /// Claims up to `count` resumptions below `limit`; gives the first and how many.
    ///
    /// Each failed turn means that another worker has claimed; there are at most `limit` claims.
    pub fn claim(&self, lane: u32, count: u64, limit: u64) -> (u64, u64) {
        let mut taken = self.taken(lane);
        loop {
            let count = count.min(limit.saturating_sub(taken));
            if count == 0 {
                return (taken, 0);
            }
            match self.memory.compare_exchange(
                line(lane) + 8,
                taken,
                taken + count,
                Rmw::AcqRel,
                Load::Acquire,
            ) {
                Ok(first) => return (first, count),
                Err(newer) => taken = newer,
            }
        }
    }
}

fn line(lane: u32) -> Offset {
    Offset::new(16 + 16 * u64::from(lane))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shm_arena::HeapMemory;

    use super::*;

    #[test]
    fn every_resumption_is_claimed_once() {
        let control = Arc::new(Control::new(HeapMemory::new(CONTROL_WORDS)));
        let claimers: Vec<_> = (0..2)
            .map(|_| {
                let control = Arc::clone(&control);
                std::thread::spawn(move || {
                    let mut claimed = Vec::new();
                    loop {
                        let (first, count) = control.claim(3, 7, 10_000);
                        if count == 0 {
                            return claimed;
                        }
                        claimed.extend(first..first + count);
                    }
                })
            })
            .collect();
        let mut all: Vec<u64> =
            claimers.into_iter().flat_map(|claimer| claimer.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_missing_worker_is_an_error_within_the_limit() {
        for wait in [Wait::Spinning, Wait::Asleep] {
            let control = Control::new(HeapMemory::new(CONTROL_WORDS));
            let met = control.meet(1, 2, 1_000_000, wait);
            assert!(matches!(met, Err(Fault::PeerMissing)));
        }
    }

    #[test]
    fn an_abort_ends_the_wait_at_once() {
        let control = Control::new(HeapMemory::new(CONTROL_WORDS));
        control.abort();
        for wait in [Wait::Spinning, Wait::Asleep] {
            let met = control.meet(1, 3, u64::MAX, wait);
            assert!(matches!(met, Err(Fault::Aborted)));
        }
    }
}
