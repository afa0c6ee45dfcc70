//! The world of a model: shared words, who is alive, what time it is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Clock, Environment, Liveness, Load, Memory, Offset, RecordIndex, Rmw, Verdict};

use crate::engine::{Execution, Participant};
use crate::memory::{CrashMemory, Kill};

/// Process records that a model's liveness knows.
const RECORDS: u64 = 32;

/// Memory, liveness and clock of one execution. Cloned freely.
///
/// Each participant plays a process: it gets its own memory handle and its own environment, and
/// when it is killed, the records that it holds become free after everything that it did.
#[derive(Clone)]
pub struct World<X: Execution> {
    execution: X,
    memory: X::Memory,
    outside: X::Memory,
    tick_ms: u64,
}

/// How a participant that could die ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Ended<T> {
    /// It returned.
    Finished(T),
    /// It was killed.
    Killed,
}

impl<T> Ended<T> {
    /// What it returned, or `None` if it was killed.
    pub fn finished(self) -> Option<T> {
        match self {
            Self::Finished(value) => Some(value),
            Self::Killed => None,
        }
    }
}

/// The beacons of one participant: engine words that only read-modify-writes touch.
///
/// A beacon is freed by a release after the last access of the dead one, and asked by an acquiring
/// read-modify-write, which never reads an old value: so a verdict of death is never early, and
/// whoever receives it sees all that the dead one stored.
pub struct ModelLiveness<M> {
    beacons: M,
    /// The participant's memory, whose stores are all made before a beacon changes.
    memory: CrashMemory<M>,
    participant: u32,
    held: Mutex<Vec<RecordIndex>>,
}

/// A clock that all participants agree on; every look moves it on by a fixed step, so that a
/// bounded wait in a model ends.
pub struct ModelClock<M> {
    words: M,
    tick_ms: u64,
}

/// One participant's place in the world.
#[derive(Clone)]
pub struct Place<X: Execution> {
    /// The shared words; those of a mortal participant die with it.
    pub memory: CrashMemory<X::Memory>,
    /// Liveness and clock as this participant sees them.
    pub environment: Environment,
    liveness: Arc<ModelLiveness<X::Memory>>,
}

impl<X: Execution> World<X> {
    /// A world with this many zeroed words, in which each look at the clock takes 1 ms.
    pub fn new(execution: &X, words: u64) -> Self {
        Self {
            execution: execution.clone(),
            memory: execution.memory(words),
            outside: execution.memory(RECORDS + 1),
            tick_ms: 1,
        }
    }

    /// The same with another step of the clock.
    #[must_use]
    pub fn tick_ms(self, tick_ms: u64) -> Self {
        Self { tick_ms, ..self }
    }

    /// The place of a participant that cannot die. `participant` is its name for the beacons;
    /// distinct participants take distinct ones.
    pub fn place(&self, participant: u32) -> Place<X> {
        self.place_in(participant, CrashMemory::immortal(self.memory.clone()))
    }

    /// The place of a participant that dies as told while it is inside [`World::spawn`].
    pub fn mortal_place(&self, participant: u32, kill: Kill) -> Place<X> {
        self.place_in(participant, CrashMemory::mortal(self.memory.clone(), kill))
    }

    fn place_in(&self, participant: u32, memory: CrashMemory<X::Memory>) -> Place<X> {
        let liveness = Arc::new(ModelLiveness {
            beacons: self.outside.clone(),
            memory: memory.clone(),
            participant,
            held: Mutex::default(),
        });
        let clock = ModelClock { words: self.outside.clone(), tick_ms: self.tick_ms };
        let environment = Environment {
            liveness: Arc::clone(&liveness) as _,
            clock: Arc::new(clock),
            boot: [0; 2],
        };
        Place { memory, environment, liveness }
    }

    /// Starts a participant in its place. If it dies there, its beacons are freed.
    pub fn spawn<T, F>(&self, place: &Place<X>, body: F) -> Participant<Ended<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (execution, place) = (self.execution.clone(), place.clone());
        self.execution.spawn(move || match place.memory.run(body) {
            Some(value) => Ended::Finished(value),
            None => {
                execution.mark_kill(place.memory.unreleased_stores());
                place.liveness.die();
                Ended::Killed
            }
        })
    }
}

impl<M: Memory> ModelLiveness<M> {
    /// Frees every beacon, after everything that the dead one did.
    fn die(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for record in held {
            self.free(record);
        }
    }

    fn free(&self, record: RecordIndex) {
        self.memory.release();
        self.beacons.fetch_and(beacon(record), 0, Rmw::Release);
    }
}

impl<M: Memory> Liveness for ModelLiveness<M> {
    fn hold(&self, record: RecordIndex) -> bool {
        let mine = u64::from(self.participant) + 1;
        self.memory.release();
        let taken = self
            .beacons
            .compare_exchange(beacon(record), 0, mine, Rmw::AcqRel, Load::Relaxed)
            .is_ok();
        if taken {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        }
        taken
    }

    /// A participant that unwinds keeps its beacons until it is dead: giving one back is an access,
    /// and others would run in the middle of the unwind.
    fn release(&self, record: RecordIndex) {
        if std::thread::panicking() {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = held.iter().position(|held| *held == record) else {
            return;
        };
        held.remove(index);
        drop(held);
        self.free(record);
    }

    fn verdict(&self, record: RecordIndex) -> Verdict {
        match self.beacons.fetch_or(beacon(record), 0, Rmw::Acquire) {
            0 => Verdict::Dead,
            _ => Verdict::Alive,
        }
    }
}

impl<M: Memory> Clock for ModelClock<M> {
    fn now_ms(&self) -> u64 {
        self.words.fetch_add(Offset::new(RECORDS), self.tick_ms, Rmw::Relaxed)
    }
}

fn beacon(record: RecordIndex) -> Offset {
    let record = u64::from(record.0);
    assert!(record < RECORDS, "a model has {RECORDS} process records, not one numbered {record}");
    Offset::new(record)
}

impl<M> fmt::Debug for ModelLiveness<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ModelLiveness of participant {}", self.participant)
    }
}

impl<M> fmt::Debug for ModelClock<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ModelClock of {} ms a look", self.tick_ms)
    }
}

impl<X: Execution> fmt::Debug for World<X> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl<X: Execution> fmt::Debug for Place<X> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Place").field("memory", &self.memory).finish_non_exhaustive()
    }
}
