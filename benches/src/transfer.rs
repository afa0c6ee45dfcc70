//! How long a cache line takes from the processor that wrote it to another one.
//!
//! A hypervisor moves the processors of its guest about: now they share a cache, now they lie far
//! apart, and what processes write in turn then takes twice as long. It is no property of a table,
//! so each cell of two processes says how far apart they were.

use std::hint::spin_loop;
use std::thread;

use serde::{Deserialize, Serialize};
use shm_arena::{HeapMemory, Load, Memory, Offset, Store};

use crate::clock::ClockRate;
use crate::sys;

/// Nanoseconds to fetch a line that the other processor wrote last, over a cell's measurements.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// The median.
    pub ns: f64,
    /// The least of the measurements, a few before, between and behind the cell's own.
    pub least_ns: f64,
    /// The most of them.
    pub most_ns: f64,
}

impl Transfer {
    /// Of some measurements; `None` of none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let ns = *sorted.get(sorted.len() / 2)?;
        Some(Self { ns, least_ns: sorted[0], most_ns: sorted[sorted.len() - 1] })
    }

    /// Whether the processors were about as far apart all the while, in both cells.
    pub fn is_like(self, other: Self) -> bool {
        let least = self.least_ns.min(other.least_ns);
        self.most_ns.max(other.most_ns) <= least * SAME_DISTANCE
    }
}

/// A line that takes so many times as long comes from elsewhere.
const SAME_DISTANCE: f64 = 1.6;

/// Lines of one round: what fits into the smallest of caches.
const LINES: u64 = 256;
/// Words from one line to the next: two lines, so that none is fetched beside another.
const STRIDE: u64 = 16;
const ROUNDS: u64 = 15;

/// Fetches lines that the other processor wrote last, one after the other; gives the median time
/// for one, in ns. `None` where there are no two processors to be had.
pub fn fetch_written_lines(rate: ClockRate) -> Option<f64> {
    let memory = &HeapMemory::new((LINES + 1) * STRIDE);
    thread::scope(|scope| {
        let writer = scope.spawn(move || write_rounds(memory));
        let reader = scope.spawn(move || read_rounds(memory));
        let (has_written, read) = (writer.join().ok()?, reader.join().ok()?);
        let mut rounds = read.filter(|_| has_written)?;
        rounds.sort_unstable();
        Some(rate.ns(rounds[rounds.len() / 2]) / LINES as f64)
    })
}

const TURN: Offset = Offset::new(LINES * STRIDE);

/// Each line names another one, all of them in one cycle: no fetch can begin before the last.
const fn successor(line: u64) -> u64 {
    (line * 101 + 37) % LINES
}

fn await_turn(memory: &HeapMemory, turn: u64) {
    while memory.load(TURN, Load::Acquire) != turn {
        spin_loop();
    }
}

/// Says whether it ran on the second processor; takes every turn all the same.
fn write_rounds(memory: &HeapMemory) -> bool {
    let is_pinned = sys::pin_to_processor(1);
    for round in 0..ROUNDS {
        await_turn(memory, 2 * round);
        for line in 0..LINES {
            memory.store(Offset::new(line * STRIDE), successor(line), Store::Relaxed);
        }
        memory.store(TURN, 2 * round + 1, Store::Release);
    }
    is_pinned
}

/// Ticks of each round, if it ran on the first processor and fetched all lines.
fn read_rounds(memory: &HeapMemory) -> Option<Vec<u64>> {
    let mut is_right = sys::pin_to_processor(0);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        await_turn(memory, 2 * round + 1);
        let begin = sys::ticks_fenced();
        let mut line = 0;
        for _ in 0..LINES {
            line = memory.load(Offset::new(line * STRIDE), Load::Relaxed);
        }
        rounds.push(sys::ticks_fenced().saturating_sub(begin));
        // A cycle ends where it began.
        is_right &= line == 0;
        memory.store(TURN, 2 * round + 2, Store::Release);
    }
    is_right.then_some(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_cycle() {
        let mut line = 0;
        for fetched in 1..=LINES {
            line = successor(line);
            assert_eq!(line == 0, fetched == LINES, "after {fetched} lines");
        }
    }

    #[test]
    fn a_line_takes_between_a_nanosecond_and_a_few_microseconds() {
        let ns = fetch_written_lines(ClockRate::measure());
        assert!(ns.is_none_or(|ns| (1.0..20_000.0).contains(&ns)), "{ns:?}");
    }

    #[test]
    fn processors_that_moved_are_told_from_those_that_stayed() {
        let near = Transfer::of(&[22.0, 21.0, 23.0]).unwrap();
        assert_eq!((near.ns, near.least_ns, near.most_ns), (22.0, 21.0, 23.0));
        let far = Transfer::of(&[150.0, 160.0]).unwrap();
        let moved = Transfer::of(&[21.0, 150.0]).unwrap();
        assert!(near.is_like(near) && far.is_like(far));
        assert!(!near.is_like(far) && !moved.is_like(near) && !moved.is_like(moved));
        assert_eq!(Transfer::of(&[]), None);
    }
}
