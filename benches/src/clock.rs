//! How fast the processor's clock runs and what it costs to read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::statistics::median_of_steps;
use crate::sys;

/// Rate of [`sys::ticks`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClockRate {
    /// Ticks in a nanosecond.
    pub ticks_per_ns: f64,
}

impl ClockRate {
    /// Compares with the system's clock for a twentieth of a second.
    pub fn measure() -> Self {
        let (start, ticks) = (Instant::now(), sys::ticks());
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let ns = start.elapsed().as_nanos() as f64;
        Self { ticks_per_ns: sys::ticks().wrapping_sub(ticks) as f64 / ns }
    }

    /// Nanoseconds of some ticks.
    #[inline]
    pub fn ns(self, ticks: u64) -> f64 {
        self.ns_of(ticks as f64)
    }

    /// Nanoseconds of a mean or a difference of ticks.
    #[inline]
    pub fn ns_of(self, ticks: f64) -> f64 {
        ticks / self.ticks_per_ns
    }

    /// Ticks of some nanoseconds.
    #[expect(clippy::cast_possible_truncation, reason = "windows are of milliseconds at most")]
    pub fn ticks(self, ns: f64) -> u64 {
        (ns * self.ticks_per_ns) as u64
    }
}

/// Median time between two fenced readings of the clock with nothing between, in ticks: what is
/// subtracted from a single operation.
pub fn overhead_ticks() -> f64 {
    let mut counts = BTreeMap::new();
    for _ in 0..10_001 {
        let begin = sys::ticks_fenced();
        *counts.entry(sys::ticks_fenced() - begin).or_insert(0) += 1;
    }
    let counts: Vec<(u64, u64)> = counts.into_iter().collect();
    median_of_steps(&counts).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_as_the_systems_does() {
        let rate = ClockRate::measure();
        let (start, ticks) = (Instant::now(), sys::ticks());
        std::thread::sleep(Duration::from_millis(20));
        let expected = start.elapsed().as_nanos() as f64;
        let measured = rate.ns(sys::ticks() - ticks);
        assert!((measured / expected - 1.0).abs() < 0.1, "{measured} for {expected} ns");
    }
}
