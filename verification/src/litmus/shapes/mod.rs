//! The shapes, as data.

mod buffering;
mod coherence;
mod propagation;
mod reuse;

use shm_arena::{Load, Store};

use super::Instruction::{self, Load as Read, Store as Write};
use super::Shape;
use super::Verdict::{self, Never, Shown};

/// All shapes.
pub fn shapes() -> impl Iterator<Item = &'static Shape> {
    [buffering::SHAPES, coherence::SHAPES, propagation::SHAPES, reuse::SHAPES].into_iter().flatten()
}

const X: u64 = 0;
const Y: u64 = 1;
const Z: u64 = 2;
const RLX: Load = Load::Relaxed;
const ACQ: Load = Load::Acquire;

/// A relaxed store.
const fn put(word: u64, value: u64) -> Instruction {
    Write(word, value, Store::Relaxed)
}

/// A releasing store.
const fn release(word: u64, value: u64) -> Instruction {
    Write(word, value, Store::Release)
}

/// A relaxed load.
const fn get(word: u64) -> Instruction {
    Read(word, RLX)
}

/// An acquiring load.
const fn acquire(word: u64) -> Instruction {
    Read(word, ACQ)
}

/// Every engine shows what C11 allows, but for shuttle, which interleaves and no more.
const WEAK: [Verdict; 4] = [Shown, Never, Shown, Shown];

/// Nobody shows it.
const NOBODY: [Verdict; 4] = [Never; 4];

/// Everybody shows it.
const EVERYBODY: [Verdict; 4] = [Shown; 4];

/// loom alone misses it.
const LOOM_MISSES: [Verdict; 4] = [Never, Shown, Shown, Shown];

/// loom alone shows it.
const LOOM_ALONE: [Verdict; 4] = [Shown, Never, Never, Never];

/// The machine alone shows it.
const MACHINE_ALONE: [Verdict; 4] = [Never, Never, Shown, Shown];
