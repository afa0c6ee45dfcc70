//! One trait for every engine, one for what an engine gives to a model, one for the model.

mod depth_first;
mod ledger;
mod lockstep;
mod loom;
mod outcome;
mod panics;
mod participant;
mod shuttle;
mod supervise;
mod view;

use std::fmt;
use std::sync::Arc;

use shm_arena::Memory;

pub use depth_first::DepthFirstEngine;
pub(crate) use ledger::{Access, Ledger, mix};
pub(crate) use lockstep::{Shared, Step};
pub use loom::{LoomEngine, LoomExecution};
pub use outcome::{Budget, Coverage, Failure, FailureKind, Outcome, Replay};
pub use participant::Participant;
pub use shuttle::{Shuttle, ShuttleEngine, ShuttleExecution};
pub use view::{Scheduling, ViewEngine, ViewExecution};

/// A concurrent program to explore.
///
/// An engine calls [`run`](Model::run) once per execution, always from the start. What it does must
/// depend on nothing but the values that the execution's memory gives: no time of day, process id,
/// thread-local, randomised hash map or state kept from an earlier execution.
///
/// A model that fails panics (an `assert!` is the usual way) in any participant or in `run` itself.
pub trait Model: Send + Sync + 'static {
    /// One execution, from fresh memory to the final check. Every participant has to be joined.
    fn run<X: Execution>(&self, execution: &X);

    /// Name for reports. Default: the type's name.
    fn name(&self) -> String {
        let path = std::any::type_name::<Self>();
        path.rsplit("::").next().unwrap_or(path).to_owned()
    }
}

/// What a model can do in one execution. Cloned freely into participants.
pub trait Execution: Clone + fmt::Debug + Send + Sync + 'static {
    /// The engine's shared words.
    type Memory: Memory + Clone + 'static;

    /// Fresh zeroed words. All participants that hold a clone share them.
    fn memory(&self, words: u64) -> Self::Memory;

    /// Starts a participant. They are numbered from 1 in the order in which they are started; 0 is
    /// the model's own thread. What precedes the call is visible to the participant.
    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;

    /// Index of the participant that is running.
    fn current(&self) -> u32;

    /// Records that this execution killed a participant, for [`Outcome::kills`], and how many of
    /// the dead one's stores could have been lost.
    fn mark_kill(&self, unreleased_stores: u32);

    /// Remarks on what the running participant has just done, for the trace of a failing execution.
    /// Nothing comes of it elsewhere.
    fn note(&self, _remark: impl FnOnce() -> String) {}

    /// Marks a point in the running participant's program; gives how many marks of each
    /// participant happen before it, by index (missing entries are 0). `None` on engines that do
    /// not keep happens-before.
    fn mark(&self) -> Option<Vec<u32>> {
        None
    }
}

/// Explores executions of a model.
pub trait Engine: Clone + fmt::Debug + Send + 'static {
    /// Name for reports, with the engine's own parameters.
    fn name(&self) -> String;

    /// Explores until a failure, until everything within the bounds is explored, or until the
    /// budget is spent, whichever comes first. Never hangs and never panics: whatever goes wrong in
    /// the model is the outcome's failure.
    fn run<P: Model>(&self, model: &Arc<P>, budget: &Budget) -> Outcome;

    /// Repeats the execution that a failure names, with the budget that found it.
    fn replay<P: Model>(&self, model: &Arc<P>, budget: &Budget, replay: &Replay) -> Outcome;
}
