//! A memory in which one ordering is weaker than the source says.
//!
//! A call site is the place in the source that called a method of [`Memory`], as the compiler
//! reports it through every wrapper. A first run with nothing weakened finds the sites; each gives
//! one or more mutations. A model that does not fail under a mutation does not need the ordering,
//! or does not notice.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

use crate::engine::{Execution, Model, Participant};

/// What a call site does, with the order that its source gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Ordered {
    /// A load.
    Load(Strength),
    /// A store.
    Store(Strength),
    /// An addition or a bit operation.
    Rmw(Strength),
    /// A compare-exchange that succeeds.
    ExchangeSuccess(Strength),
    /// A compare-exchange that fails.
    ExchangeFailure(Strength),
    /// A fence; relaxed means that it is removed.
    Fence(Strength),
}

/// Strength of an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Strength {
    /// None, or no fence.
    Relaxed,
    /// Acquire.
    Acquire,
    /// Release.
    Release,
    /// Both.
    AcqRel,
    /// Both, and one order of all such fences.
    Sequential,
}

/// A place in the source with an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Site {
    /// File, as the compiler names it.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What it does.
    pub ordered: Ordered,
}

/// One ordering weakened at one site.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Mutation {
    /// Where.
    pub site: Site,
    /// The order in its place.
    pub weaker: Strength,
}

/// What is weakened, and the sites that were seen.
#[derive(Clone, Default, Debug)]
pub struct Weakening {
    mutations: Vec<Mutation>,
    sites: Arc<Mutex<BTreeSet<Site>>>,
}

/// A model that runs over weakened memory.
#[derive(Debug)]
pub struct Weakened<P> {
    model: Arc<P>,
    weakening: Weakening,
}

/// An execution whose memory is weakened.
#[derive(Clone, Debug)]
pub struct WeakenExecution<X> {
    execution: X,
    weakening: Weakening,
}

/// A memory in which one ordering is weaker than the source says.
#[derive(Clone)]
pub struct WeakenMemory<M> {
    memory: M,
    weakening: Option<Weakening>,
}

impl Weakening {
    /// Nothing weakened: finds the sites.
    pub fn none() -> Self {
        Self::default()
    }

    /// One mutation.
    pub fn of(mutation: Mutation) -> Self {
        Self::all(&[mutation])
    }

    /// Several mutations at once: for orderings of which each makes the others redundant.
    pub fn all(mutations: &[Mutation]) -> Self {
        Self { mutations: mutations.to_vec(), ..Self::default() }
    }

    /// The sites seen so far in files whose path contains this text.
    pub fn sites(&self, within: &str) -> Vec<Site> {
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.iter().filter(|site| site.file.contains(within)).copied().collect()
    }

    /// The order to use at the caller's place.
    #[track_caller]
    fn strength(&self, kind: fn(Strength) -> Ordered, strength: Strength) -> Strength {
        let place = Location::caller();
        let (file, line, column) = (place.file(), place.line(), place.column());
        let site = Site { file, line, column, ordered: kind(strength) };
        if self.mutations.is_empty() {
            self.sites.lock().unwrap_or_else(PoisonError::into_inner).insert(site);
        }
        let mutation = self.mutations.iter().find(|mutation| mutation.site == site);
        mutation.map_or(strength, |mutation| mutation.weaker)
    }
}

impl Site {
    /// Every mutation of this site: each one a step weaker.
    pub fn mutations(&self) -> Vec<Mutation> {
        let (Ordered::Load(strength)
        | Ordered::Store(strength)
        | Ordered::Rmw(strength)
        | Ordered::ExchangeSuccess(strength)
        | Ordered::ExchangeFailure(strength)
        | Ordered::Fence(strength)) = self.ordered;
        let weaker: &[Strength] = match strength {
            Strength::Relaxed => &[],
            Strength::Acquire | Strength::Release => &[Strength::Relaxed],
            Strength::AcqRel => &[Strength::Acquire, Strength::Release],
            Strength::Sequential => &[Strength::AcqRel, Strength::Relaxed],
        };
        weaker.iter().map(|&weaker| Mutation { site: *self, weaker }).collect()
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Site { file, line, column, ordered } = self.site;
        write!(formatter, "{file}:{line}:{column} {ordered:?} -> {:?}", self.weaker)
    }
}

impl<P> Weakened<P> {
    /// The model over memory weakened like this.
    pub fn new(model: &Arc<P>, weakening: &Weakening) -> Self {
        Self { model: Arc::clone(model), weakening: weakening.clone() }
    }
}

impl<P: Model> Model for Weakened<P> {
    fn run<X: Execution>(&self, execution: &X) {
        let weakening = self.weakening.clone();
        self.model.run(&WeakenExecution { execution: execution.clone(), weakening });
    }

    fn name(&self) -> String {
        self.model.name()
    }
}

impl<X: Execution> Execution for WeakenExecution<X> {
    type Memory = WeakenMemory<X::Memory>;

    fn memory(&self, words: u64) -> Self::Memory {
        WeakenMemory::new(self.execution.memory(words), Some(&self.weakening))
    }

    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.execution.spawn(body)
    }

    fn current(&self) -> u32 {
        self.execution.current()
    }

    fn mark_kill(&self, unreleased_stores: u32) {
        self.execution.mark_kill(unreleased_stores);
    }

    fn mark(&self) -> Option<Vec<u32>> {
        self.execution.mark()
    }
}

impl<M: fmt::Debug> fmt::Debug for WeakenMemory<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WeakenMemory").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl<M: Memory> WeakenMemory<M> {
    /// The memory weakened like this, or as it is.
    ///
    /// Around a [`CrashMemory`](crate::CrashMemory) a weakened release also keeps no store from
    /// being lost; beneath one it would.
    pub fn new(memory: M, weakening: Option<&Weakening>) -> Self {
        Self { memory, weakening: weakening.cloned() }
    }

    /// The order to use at the caller's place.
    #[track_caller]
    fn strength(&self, kind: fn(Strength) -> Ordered, strength: Strength) -> Strength {
        match &self.weakening {
            Some(weakening) => weakening.strength(kind, strength),
            None => strength,
        }
    }

    #[track_caller]
    fn rmw(&self, order: Rmw) -> Rmw {
        to_rmw(self.strength(Ordered::Rmw, from_rmw(order)))
    }
}

impl<M: Memory> Memory for WeakenMemory<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let order = to_load(self.strength(Ordered::Load, from_load(order)));
        self.memory.load(at, order)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        let strength = match order {
            Store::Relaxed => Strength::Relaxed,
            Store::Release => Strength::Release,
        };
        let order = match self.strength(Ordered::Store, strength) {
            Strength::Relaxed => Store::Relaxed,
            _ => Store::Release,
        };
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
        let success = self.strength(Ordered::ExchangeSuccess, from_rmw(success));
        let failure = self.strength(Ordered::ExchangeFailure, from_load(failure));
        self.memory.compare_exchange(at, current, new, to_rmw(success), to_load(failure))
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let order = self.rmw(order);
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let order = self.rmw(order);
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let order = self.rmw(order);
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        let strength = match order {
            Fence::Acquire => Strength::Acquire,
            Fence::Release => Strength::Release,
            Fence::AcqRel => Strength::AcqRel,
            Fence::SeqCst => Strength::Sequential,
        };
        match self.strength(Ordered::Fence, strength) {
            Strength::Relaxed => {}
            Strength::Acquire => self.memory.fence(Fence::Acquire),
            Strength::Release => self.memory.fence(Fence::Release),
            Strength::AcqRel => self.memory.fence(Fence::AcqRel),
            Strength::Sequential => self.memory.fence(Fence::SeqCst),
        }
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}

const fn from_load(order: Load) -> Strength {
    match order {
        Load::Relaxed => Strength::Relaxed,
        Load::Acquire => Strength::Acquire,
    }
}

const fn to_load(strength: Strength) -> Load {
    match strength {
        Strength::Relaxed => Load::Relaxed,
        _ => Load::Acquire,
    }
}

const fn from_rmw(order: Rmw) -> Strength {
    match order {
        Rmw::Relaxed => Strength::Relaxed,
        Rmw::Acquire => Strength::Acquire,
        Rmw::Release => Strength::Release,
        Rmw::AcqRel => Strength::AcqRel,
    }
}

const fn to_rmw(strength: Strength) -> Rmw {
    match strength {
        Strength::Relaxed => Rmw::Relaxed,
        Strength::Acquire => Rmw::Acquire,
        Strength::Release => Rmw::Release,
        Strength::AcqRel | Strength::Sequential => Rmw::AcqRel,
    }
}
