//! A memory whose user dies: a kill before the k-th shared access.
//!
//! A kill is an unwind that only [`CrashMemory::run`] catches. From then on the dead one's accesses
//! do nothing, so that destructors on the way cannot change what a real kill would have left: loads
//! give 0, stores vanish, a compare-exchange says that it succeeded.
//!
//! A compiler may move relaxed stores down past other accesses, up to the next release. So a kill
//! can also lose any subset of the relaxed stores since the last release-or-stronger write or
//! fence ([`Lost`]). Those are held back here until that release, visible to their own thread
//! alone, which is a behaviour that C11 allows at any time.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

/// The payload of a kill's unwind.
#[derive(Clone, Copy, Debug)]
pub struct Killed;

/// When to die.
///
/// A participant that makes `n` accesses can die in `n + 1` places: before each and after the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kill {
    /// Shared accesses that still happen; the next one does not.
    pub after_accesses: u64,
    /// Relaxed stores that are lost with it.
    pub lost: Lost,
}

/// Which relaxed stores a kill loses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// None: stores are in program order.
    Nothing,
    /// Bit `i mod 64` stands for the `i`-th relaxed store since the last release: the stores whose
    /// bits are set are held back, and lost if the kill comes first.
    Mask(u64),
}

/// A memory whose user can be killed. Clones share one fate.
#[derive(Clone)]
pub struct CrashMemory<M> {
    memory: M,
    fate: Option<Arc<Mutex<Fate>>>,
}

#[derive(Debug)]
struct Fate {
    kill: Kill,
    /// Accesses so far inside `run`.
    accesses: u64,
    phase: Phase,
    /// Relaxed stores since the last release.
    relaxed: u32,
    /// Stores held back, oldest first.
    held: Vec<(Offset, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Outside `run`: accesses are not counted.
    Idle,
    Running,
    Dead,
}

impl<M: Memory> CrashMemory<M> {
    /// A memory that never dies.
    pub fn immortal(memory: M) -> Self {
        Self { memory, fate: None }
    }

    /// A memory that dies as told, inside [`run`](CrashMemory::run).
    pub fn mortal(memory: M, kill: Kill) -> Self {
        let fate = Fate { kill, accesses: 0, phase: Phase::Idle, relaxed: 0, held: Vec::new() };
        Self { memory, fate: Some(Arc::new(Mutex::new(fate))) }
    }

    /// Runs what may die; gives `None` if it did. Accesses are counted from here.
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        if let Some(mut fate) = self.fate() {
            fate.phase = Phase::Running;
        }
        match panic::catch_unwind(AssertUnwindSafe(body)) {
            Ok(value) => self.survives().then_some(value),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// Whether a participant at its end does not die there.
    fn survives(&self) -> bool {
        if let Some(mut fate) = self.fate() {
            if fate.phase == Phase::Dead || fate.accesses == fate.kill.after_accesses {
                fate.die();
                return false;
            }
            fate.phase = Phase::Idle;
        }
        self.release();
        true
    }

    /// Accesses counted so far.
    pub fn accesses(&self) -> u64 {
        self.fate().map_or(0, |fate| fate.accesses)
    }

    /// Relaxed stores since the last release: what a kill could lose.
    pub fn relaxed_stores(&self) -> u32 {
        self.fate().map_or(0, |fate| fate.relaxed)
    }

    /// Never held across an access to the memory beneath, where the engine may switch.
    fn fate(&self) -> Option<MutexGuard<'_, Fate>> {
        let fate = self.fate.as_ref()?;
        Some(fate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts an access; dies if its time has come. `false`: already dead.
    fn step(&self) -> bool {
        let Some(mut fate) = self.fate() else {
            return true;
        };
        match fate.phase {
            Phase::Idle => true,
            Phase::Dead => false,
            Phase::Running if fate.accesses == fate.kill.after_accesses => {
                fate.die();
                drop(fate);
                panic::resume_unwind(Box::new(Killed));
            }
            Phase::Running => {
                fate.accesses += 1;
                true
            }
        }
    }

    /// What this thread sees in a word that it has stored to and holds back.
    fn held(&self, at: Offset) -> Option<u64> {
        let fate = self.fate()?;
        fate.held.iter().rev().find(|(held, _)| *held == at).map(|(_, value)| *value)
    }

    /// Whether a relaxed store is held back; then it is.
    fn hold(&self, at: Offset, value: u64) -> bool {
        let Some(mut fate) = self.fate() else {
            return false;
        };
        if fate.phase != Phase::Running {
            return false;
        }
        let bit = fate.relaxed % 64;
        fate.relaxed += 1;
        // A word keeps the order of its stores: one behind a held one is held too.
        let behind = fate.held.iter().any(|(held, _)| *held == at);
        let chosen = matches!(fate.kill.lost, Lost::Mask(mask) if mask >> bit & 1 == 1);
        if chosen || behind {
            fate.held.push((at, value));
        }
        chosen || behind
    }

    /// Lets go of every store that is held back, in program order: before anything that releases.
    #[track_caller]
    pub(crate) fn release(&self) {
        let Some(mut fate) = self.fate() else { return };
        fate.relaxed = 0;
        let held = std::mem::take(&mut fate.held);
        drop(fate);
        for (at, value) in held {
            self.memory.store(at, value, Store::Relaxed);
        }
    }

    /// Before a read-modify-write: all stores if it releases, else those to its word.
    #[track_caller]
    fn before_rmw(&self, at: Offset, order: Rmw) {
        if matches!(order, Rmw::Release | Rmw::AcqRel) {
            return self.release();
        }
        let Some(mut fate) = self.fate() else { return };
        let (now, later) = fate.held.drain(..).partition::<Vec<_>, _>(|(held, _)| *held == at);
        fate.held = later;
        drop(fate);
        for (at, value) in now {
            self.memory.store(at, value, Store::Relaxed);
        }
    }
}

impl Fate {
    fn die(&mut self) {
        self.phase = Phase::Dead;
        self.held.clear();
    }
}

impl<M: fmt::Debug> fmt::Debug for CrashMemory<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CrashMemory").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl<M: Memory> Memory for CrashMemory<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        if !self.step() {
            return 0;
        }
        match self.held(at) {
            Some(value) => value,
            None => self.memory.load(at, order),
        }
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        if !self.step() {
            return;
        }
        match order {
            Store::Release => self.release(),
            Store::Relaxed if self.hold(at, value) => return,
            Store::Relaxed => {}
        }
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
        if !self.step() {
            return Ok(current);
        }
        self.before_rmw(at, success);
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        if !self.step() {
            return 0;
        }
        self.before_rmw(at, order);
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        if !self.step() {
            return 0;
        }
        self.before_rmw(at, order);
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        if !self.step() {
            return 0;
        }
        self.before_rmw(at, order);
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        if !self.step() {
            return;
        }
        if order != Fence::Acquire {
            self.release();
        }
        self.memory.fence(order);
    }

    /// A turn of a wait is a place to die at as well; what others wait for is let go.
    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        if self.step() {
            self.release();
            self.memory.spin(backoff);
        }
    }
}
