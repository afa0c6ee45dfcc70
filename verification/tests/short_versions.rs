//! A bucket version of few bits: it passes as long as it does not come round, and fails when it
//! does.
#![allow(missing_docs)]

use std::fmt;
use std::sync::Arc;

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
use shm_table::{CasBucket, Design, Entry, Insert, Table, TableOptions, TableShape};
use shm_verification::{
    Budget, CrashMemory, Engine, Execution, LoomEngine, Model, Outcome, ShuttleEngine, World,
};

const LIVE: u64 = (1 << 21) - 1;
const VERSION_SHIFT: u32 = 24;

/// A memory in which versions of bucket headers have so many bits. Known by what is done to them:
/// the next version, with other slots live, is exchanged for the one before.
#[derive(Clone)]
struct Short<M> {
    memory: M,
    bits: u32,
}

impl<M> Short<M> {
    /// A header as it would be with few bits of version, if the exchange is one of a header's.
    fn shortened(&self, current: u64, new: u64) -> Option<u64> {
        let next = current.wrapping_add(1 << VERSION_SHIFT);
        let is_header = (next ^ new) & !LIVE == 0 && current >> 21 & 7 != 0;
        let versions = (1 << self.bits) - 1;
        is_header.then_some(new & (versions << VERSION_SHIFT | ((1 << VERSION_SHIFT) - 1)))
    }
}

impl<M> fmt::Debug for Short<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Short({})", self.bits)
    }
}

impl<M: Memory> Memory for Short<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        self.memory.load(at, order)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.memory.store(at, value, order);
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        let new = self.shortened(current, new).unwrap_or(new);
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}

/// take ‖ (take; insert), so many times: no value is taken twice. Each turn of the second changes
/// the bucket twice.
struct TakeTakeInsert {
    bits: u32,
    turns: u64,
}

fn take<T: Table>(table: &T) -> Option<u64> {
    table.take(b"a", &mut Vec::new()).expect("no corruption")
}

impl Model for TakeTakeInsert {
    fn run<X: Execution>(&self, execution: &X) {
        let shape =
            TableShape { buckets: 1, slots: 3, slabs: 1, slab_units: 8, block_units_min: 1 };
        let options = TableOptions {
            processes: 3,
            lines: 3,
            hash_secret: Some([1, 2]),
            shape: Some(shape),
            ..TableOptions::default()
        };
        type Words<X> = Short<CrashMemory<<X as Execution>::Memory>>;
        let words = CasBucket::<Words<X>>::word_count(&options).expect("a tiny table");
        let world = World::new(execution, words);
        let bits = self.bits;
        let [home, first, second] = [0, 1, 2].map(|at| {
            let place = world.place(at);
            let memory = Short { memory: place.memory.clone(), bits };
            if at == 0 {
                CasBucket::create(memory, &options, &place.environment).expect("zeroed memory")
            } else {
                CasBucket::attach(memory, &place.environment).expect("a table is there")
            }
        });
        let insert = |table: &CasBucket<Words<X>>, mark: u64| {
            let entry = Entry { key: b"a", value: &[1; 8], metadata: mark };
            table.insert(entry, &mut Vec::new()) == Ok(Insert::Inserted)
        };
        assert!(insert(&home, 1));
        let turns = self.turns;
        let taker = world.spawn(&world.place(1), move || Vec::from_iter(take(&first)));
        let other = world.spawn(&world.place(2), move || {
            let turn = |turn| {
                let taken = take(&second);
                insert(&second, 2 + turn);
                taken
            };
            (0..turns).filter_map(turn).collect::<Vec<u64>>()
        });
        let taken = [taker.join(), other.join()].map(|taken| taken.finished().expect("alive"));
        let mut taken = taken.concat();
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0] != pair[1]), "taken twice: {taken:?}");
        assert!(home.audit().is_clean(), "{:?}", home.audit().findings);
    }
}

/// On loom up to one preemption, which is all that it takes, and under random schedules.
fn explore(bits: u32, turns: u64) -> [Outcome; 2] {
    let model = Arc::new(TakeTakeInsert { bits, turns });
    let outcomes = [
        LoomEngine.run(&model, &Budget::executions(4_000).preemptions(1)),
        ShuttleEngine::RANDOM.run(&model, &Budget::executions(1_000)),
    ];
    outcomes.iter().for_each(|outcome| println!("{bits} bits, {turns} turns: {outcome}"));
    outcomes
}

#[test]
fn a_version_that_does_not_come_round_during_a_take_takes_nothing_twice() {
    for (bits, turns) in [(2, 1), (3, 3), (40, 4)] {
        explore(bits, turns).iter().for_each(|outcome| outcome.expect_pass("too short to wrap"));
    }
}

#[test]
fn a_version_that_comes_round_during_a_take_is_caught() {
    for (bits, turns) in [(2, 2), (3, 4)] {
        let failed = explore(bits, turns).into_iter().filter_map(|outcome| outcome.failure);
        let found = failed.map(|failure| failure.message).collect::<Vec<_>>();
        assert!(found.iter().any(|found| found.contains("taken twice")), "{bits} bits: {found:?}");
    }
}
