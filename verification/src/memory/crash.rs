//! A memory whose user dies: a kill before the k-th shared access.
//!
//! A kill is an unwind that only [`CrashMemory::run`] catches. From then on the dead one's accesses
//! do nothing, so that destructors on the way cannot change what a real kill would have left: loads
//! give 0, stores vanish, a compare-exchange says that it succeeded.
//!
//! A compiler may move stores down past other accesses, up to the next release: a relaxed store to
//! where a releasing store, read-modify-write or fence is, a releasing store to where the next of
//! these is. So a kill can also lose any subset of these stores ([`Lost`]). They are held back here
//! until then, visible to their own thread alone, which is a behaviour that C11 allows at any time.

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
    /// Stores that are lost with it.
    pub lost: Lost,
}

/// Which stores a kill loses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// None: stores are in program order.
    Nothing,
    /// Bit `i mod 64` stands for the `i`-th store since the last releasing read-modify-write or
    /// fence: the stores whose bits are set are held back, and lost if the kill comes first. A
    /// releasing store whose bit is clear lets go of those before it.
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
    /// Stores since the last releasing read-modify-write or fence.
    unreleased: u32,
    /// Stores held back, oldest first.
    held: Vec<(Offset, u64, Store)>,
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
        let fate = Fate { kill, accesses: 0, phase: Phase::Idle, unreleased: 0, held: Vec::new() };
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

    /// Stores since the last releasing read-modify-write or fence: what a kill could lose.
    pub fn unreleased_stores(&self) -> u32 {
        self.fate().map_or(0, |fate| fate.unreleased)
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
        fate.held.iter().rev().find(|(held, ..)| *held == at).map(|(_, value, _)| *value)
    }

    /// Whether a store is held back; then it is. One that releases and is not lets go of the rest.
    #[track_caller]
    fn holds(&self, at: Offset, value: u64, order: Store) -> bool {
        let Some(mut fate) = self.fate() else {
            return false;
        };
        if fate.phase != Phase::Running {
            return false;
        }
        let bit = fate.unreleased % 64;
        fate.unreleased += 1;
        // A word keeps the order of its stores: one behind a held one is held too.
        let behind = fate.held.iter().any(|(held, ..)| *held == at);
        let chosen = matches!(fate.kill.lost, Lost::Mask(mask) if mask >> bit & 1 == 1);
        let releases = order == Store::Release;
        if chosen || (behind && !releases) {
            fate.held.push((at, value, order));
            return true;
        }
        drop(fate);
        if releases {
            self.let_go();
        }
        false
    }

    /// Lets go of every store that is held back, in program order.
    #[track_caller]
    fn let_go(&self) {
        let Some(mut fate) = self.fate() else { return };
        let held = std::mem::take(&mut fate.held);
        drop(fate);
        for (at, value, order) in held {
            self.memory.store(at, value, order);
        }
    }

    /// Before anything but a store that releases: from here on nothing before it can be lost.
    #[track_caller]
    pub(crate) fn release(&self) {
        if let Some(mut fate) = self.fate() {
            fate.unreleased = 0;
        }
        self.let_go();
    }

    /// Before a read-modify-write: all stores if it releases, else those to its word, and whatever
    /// one of these releases.
    #[track_caller]
    fn before_rmw(&self, at: Offset, order: Rmw) {
        if matches!(order, Rmw::Release | Rmw::AcqRel) {
            return self.release();
        }
        let Some(mut fate) = self.fate() else { return };
        let (now, later): (Vec<_>, Vec<_>) =
            fate.held.iter().copied().partition(|(held, ..)| *held == at);
        if now.iter().any(|(_, _, order)| *order == Store::Release) {
            drop(fate);
            return self.let_go();
        }
        fate.held = later;
        drop(fate);
        for (at, value, order) in now {
            self.memory.store(at, value, order);
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
        if !self.holds(at, value, order) {
            self.memory.store(at, value, order);
        }
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
