//! The memories of the engines, and wrappers that kill, weaken and record.

mod checked;
mod crash;
mod loom;
mod machine;
mod shuttle;
mod trace;
mod view;
mod weaken;

pub use crash::{CrashMemory, Kill, Killed, Lost};
pub use loom::LoomMemory;
pub(crate) use machine::Machine;
pub use shuttle::ShuttleMemory;
pub use trace::{Names, TraceExecution, TraceMemory, explain};
pub use view::ViewMemory;
pub use weaken::{
    Mutation, Ordered, Site, Strength, WeakenExecution, WeakenMemory, Weakened, Weakening,
};

use shm_arena::Offset;

/// The index of the word at an offset, in a memory of this many words.
#[track_caller]
#[expect(clippy::cast_possible_truncation, reason = "checked against a length that fits")]
fn index(at: Offset, words: usize) -> usize {
    let word = at.word();
    assert!(word < words as u64, "offset {word} is outside a memory of {words} words");
    word as usize
}
