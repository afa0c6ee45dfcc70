//! What a cache handle has done since it was made, counted per process.

use std::hash::{BuildHasher, RandomState};
use std::thread;

use shm_arena::{HeapMemory, Load, Memory, Offset, Rmw, Store};

use crate::outcome::Reason;

/// What one [`SessionCache`](crate::SessionCache) has done in this process since it was made.
///
/// Exact once all calls have returned; while others run, a sum in which each call is counted
/// wholly or not at all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Look-ups, `get` and `take`, that gave a session.
    pub hits: u64,
    /// Look-ups that gave none, [`expired`](Self::expired) and
    /// [`unanswered`](Self::unanswered) ones included.
    pub misses: u64,
    /// Misses because the session that was there had expired.
    pub expired: u64,
    /// Misses because the table could not serve, by reason.
    pub unanswered: Reasons,
    /// Sessions stored under an id that was absent.
    pub inserted: u64,
    /// Sessions stored in place of one with the same id.
    pub replaced: u64,
    /// Sessions that were offered and declined, by reason.
    pub declined: Reasons,
    /// Expired sessions that sweeps removed.
    pub swept: u64,
}

impl Counters {
    /// Sessions stored.
    pub const fn stores(&self) -> u64 {
        self.inserted + self.replaced
    }
}

/// A count for each [`Reason`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Reasons([u64; Reason::ALL.len()]);

impl Reasons {
    /// The count for one reason.
    pub const fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// The counts for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.0)
    }
}

/// Something worth counting.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Hit,
    Miss,
    Expired,
    Inserted,
    Replaced,
    Declined(Reason),
    Unanswered(Reason),
}

impl Event {
    const REASONS: u64 = Reason::ALL.len() as u64;
    const COUNT: u64 = 5 + 2 * Self::REASONS;

    const fn index(self) -> u64 {
        match self {
            Self::Hit => 0,
            Self::Miss => 1,
            Self::Expired => 2,
            Self::Inserted => 3,
            Self::Replaced => 4,
            Self::Declined(reason) => 5 + reason as u64,
            Self::Unanswered(reason) => 5 + Self::REASONS + reason as u64,
        }
    }
}

/// The counts, in stripes so that threads of a busy server rarely share a cache line.
///
/// The words live in a heap memory because the arena crate is the one place that names atomics.
/// All orders are relaxed: a count orders nothing else.
#[derive(Debug)]
pub(crate) struct Tally {
    words: HeapMemory,
}

impl Tally {
    const STRIPES: u64 = 16;
    const STRIPE_WORDS: u64 = 24;
    const SWEPT: Offset = Offset::new(Self::STRIPES * Self::STRIPE_WORDS);
    const SWEEP_AT: Offset = Offset::new(Self::STRIPES * Self::STRIPE_WORDS + 1);

    pub(crate) fn new() -> Self {
        const { assert!(Event::COUNT <= Self::STRIPE_WORDS) };
        Self { words: HeapMemory::new(Self::STRIPES * Self::STRIPE_WORDS + 2) }
    }

    /// Counts one event. Wait-free.
    pub(crate) fn count(&self, event: Event) {
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        let at = Offset::new(stripe * Self::STRIPE_WORDS + event.index());
        self.words.fetch_add(at, 1, Rmw::Relaxed);
    }

    /// Counts sessions that a sweep removed. Wait-free.
    pub(crate) fn count_swept(&self, sessions: u64) {
        self.words.fetch_add(Self::SWEPT, sessions, Rmw::Relaxed);
    }

    /// Whether the caller is to sweep: the first to ask in each interval. Wait-free.
    pub(crate) fn claim_sweep(&self, now_ms: u64, interval_ms: u64) -> bool {
        let next_ms = self.words.load(Self::SWEEP_AT, Load::Relaxed);
        now_ms >= next_ms
            && self
                .words
                .compare_exchange(
                    Self::SWEEP_AT,
                    next_ms,
                    now_ms.saturating_add(interval_ms),
                    Rmw::Relaxed,
                    Load::Relaxed,
                )
                .is_ok()
    }

    /// Lets the next caller of [`claim_sweep`](Self::claim_sweep) sweep at once.
    pub(crate) fn reopen_sweep(&self) {
        self.words.store(Self::SWEEP_AT, 0, Store::Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        let reasons =
            |event: fn(Reason) -> Event| Reasons(Reason::ALL.map(|reason| self.sum(event(reason))));
        Counters {
            hits: self.sum(Event::Hit),
            misses: self.sum(Event::Miss),
            expired: self.sum(Event::Expired),
            unanswered: reasons(Event::Unanswered),
            inserted: self.sum(Event::Inserted),
            replaced: self.sum(Event::Replaced),
            declined: reasons(Event::Declined),
            swept: self.words.load(Self::SWEPT, Load::Relaxed),
        }
    }

    fn sum(&self, event: Event) -> u64 {
        (0..Self::STRIPES)
            .map(|stripe| {
                let at = Offset::new(stripe * Self::STRIPE_WORDS + event.index());
                self.words.load(at, Load::Relaxed)
            })
            .sum()
    }
}

thread_local! {
    static STRIPE: u64 = RandomState::new().hash_one(thread::current().id()) % Tally::STRIPES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_word_of_its_own() {
        let mut events =
            vec![Event::Hit, Event::Miss, Event::Expired, Event::Inserted, Event::Replaced];
        events.extend(Reason::ALL.map(Event::Declined));
        events.extend(Reason::ALL.map(Event::Unanswered));
        let mut indices: Vec<u64> = events.into_iter().map(Event::index).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..Event::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn counts_of_many_threads_add_up() {
        let tally = Tally::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| tally.count(Event::Hit)));
            }
        });
        assert_eq!(tally.read(), Counters { hits: 4000, ..Counters::default() });
    }

    #[test]
    fn one_caller_sweeps_in_each_interval() {
        let tally = Tally::new();
        assert!(tally.claim_sweep(5_000, 100));
        assert!(!tally.claim_sweep(5_099, 100));
        assert!(tally.claim_sweep(5_100, 100));
    }
}
