//! Engines that check structures over shared words: loom, shuttle, a weak-memory machine, kills.
//!
//! A [`Model`] is a small concurrent program over an [`Execution`]: it asks for memory, starts
//! participants and states what must hold. The same source runs on every [`Engine`]. What an engine
//! can find and what it is blind to is on record in the litmus suite.
#![forbid(unsafe_code)]

pub mod engine;
pub mod faulty;
pub mod history;
pub mod litmus;
pub mod memory;
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
    CrashMemory, Kill, Killed, Lost, Mutation, Names, Site, Weakened, Weakening, explain,
};
pub use sweep::{Sweep, sweep};
pub use world::{Ended, ModelClock, ModelLiveness, Place, World};
