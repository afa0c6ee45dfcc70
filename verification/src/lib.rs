//! Engines that check structures over shared words: loom, shuttle, a weak-memory machine, kills.
//!
//! A [`Model`] is a small concurrent program over an [`Execution`]: it asks for memory, starts
//! participants and states what must hold. The same source runs on every [`Engine`]. What an engine
//! can find and what it is blind to is on record in the litmus suite ([`litmus::Table`]).
//!
//! # Which engine
//!
//! - [`LoomEngine`] explores all executions of at most four participants beside the model, within a
//!   bound on preemptions. Blind to load buffering and stale failed exchanges; misses a few
//!   executions and shows a few impossible ones.
//! - [`ShuttleEngine`] explores random sequentially consistent executions with any number of
//!   participants. Blind to every ordering.
//! - [`ViewEngine`] explores random executions of the weak-memory machine with any number of
//!   participants. Blind to load buffering.
//! - [`DepthFirstEngine`] explores all executions of the same machine, within a bound if there is
//!   one. Blind to load buffering and to useless turns of a wait.
//!
//! # Checking a lock of your own
//!
//! ```
//! use std::sync::Arc;
//!
//! use shm_arena::{Backoff, Load, Memory, Offset, Rmw, Store};
//! use shm_verification::{
//!     Budget, DepthFirstEngine, Engine, Execution, LoomEngine, Model, ViewEngine,
//! };
//!
//! const LOCK: Offset = Offset::new(0);
//! const COUNT: Offset = Offset::new(1);
//!
//! fn locked<M: Memory>(memory: &M, work: impl FnOnce()) {
//!     let backoff = Backoff::new();
//!     while memory.compare_exchange(LOCK, 0, 1, Rmw::Acquire, Load::Relaxed).is_err() {
//!         memory.spin(&backoff);
//!     }
//!     work();
//!     memory.store(LOCK, 0, Store::Release);
//! }
//!
//! struct TwoCounters;
//!
//! impl Model for TwoCounters {
//!     fn run<X: Execution>(&self, execution: &X) {
//!         let memory = execution.memory(2);
//!         let counters = [memory.clone(), memory.clone()].map(|memory| {
//!             execution.spawn(move || {
//!                 locked(&memory, || {
//!                     let count = memory.load(COUNT, Load::Relaxed);
//!                     memory.store(COUNT, count + 1, Store::Relaxed);
//!                 });
//!             })
//!         });
//!         for counter in counters {
//!             counter.join();
//!         }
//!         assert_eq!(memory.load(COUNT, Load::Relaxed), 2);
//!     }
//! }
//!
//! let model = Arc::new(TwoCounters);
//! for outcome in [
//!     LoomEngine.run(&model, &Budget::default()),
//!     DepthFirstEngine.run(&model, &Budget::default()),
//!     ViewEngine::default().run(&model, &Budget::executions(1_000)),
//! ] {
//!     println!("{outcome}");
//!     outcome.expect_pass("two counters");
//! }
//! ```
//!
//! A failure says how to have it again; [`explain`] prints it as a table of accesses. Kills are in
//! [`World`] and [`sweep`](sweep()), ordering mutants in [`Weakened`].
#![forbid(unsafe_code)]

pub mod engine;
pub mod faulty;
pub mod faulty_pages;
pub mod faulty_resizing;
pub mod history;
pub mod kelly;
pub mod litmus;
pub mod memory;
pub mod orderings;
pub mod scenario;
pub mod spec;
pub mod suite;
mod sweep;
pub mod toys;
mod world;

pub use engine::{
    Budget, Coverage, DepthFirstEngine, Engine, Execution, Failure, FailureKind, LoomEngine, Model,
    Outcome, Participant, Replay, Scheduling, Shuttle, ShuttleEngine, ViewEngine,
};
pub use memory::{
    CrashMemory, Kill, Killed, Lost, Mutation, Names, Ordered, Site, Strength, Weakened, Weakening,
    explain,
};
pub(crate) use sweep::subsets;
pub use sweep::{Sweep, sweep};
pub use world::{Ended, ModelClock, ModelLiveness, Place, World};

/// The page that explains this package, whose example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
