//! What time it is, as a trait, so that models decide when something expires.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A clock that all participants of a segment agree on.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since a point that all participants share. Never goes back by design; a caller
    /// tolerates it when it does.
    fn now_ms(&self) -> u64;

    /// Nanoseconds by which two calls of one process differ, as finely as the clock tells.
    fn now_ns(&self) -> u64 {
        self.now_ms().saturating_mul(1_000_000)
    }
}

/// Milliseconds of the system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since the machine started, time asleep included: nobody sets this clock.
///
/// Linux shows another start in another time namespace; participants of a segment have to share
/// one. Systems without such a clock give their monotonic one, which may stand still while the
/// machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: ClockId = ClockId::Boottime;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

impl Clock for BootClock {
    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    fn now_ns(&self) -> u64 {
        let now = clock_gettime(SINCE_BOOT);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000) + u64::try_from(now.tv_nsec).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BootClock, Clock};

    #[test]
    #[cfg(target_os = "linux")]
    fn the_boot_clock_agrees_with_the_system_on_its_age() {
        let before = BootClock.now_ms();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let after = BootClock.now_ms();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let (low, high) = (before as f64 - 20.0, after as f64 + 20.0);
        assert!((low..=high).contains(&(seconds * 1000.0)), "{low} {seconds} {high}");
    }
}
