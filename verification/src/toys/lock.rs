//! A lock of ten lines.

use shm_arena::{Backoff, Load, Memory, Offset, Rmw, Store};

use crate::engine::{Execution, Model};

/// A lock in one word: 0 is free.
#[derive(Clone, Debug)]
pub struct Lock<M> {
    memory: M,
    word: Offset,
    defect: Option<LockDefect>,
}

/// What is wrong with a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockDefect {
    /// Taking it acquires nothing.
    TakesRelaxed,
    /// Giving it back releases nothing.
    GivesRelaxed,
    /// It is looked at and then taken, in two steps.
    LooksThenTakes,
}

impl<M: Memory> Lock<M> {
    /// A lock in this word.
    pub fn new(memory: M, word: Offset, defect: Option<LockDefect>) -> Self {
        Self { memory, word, defect }
    }

    /// Takes the lock; waits for whoever has it.
    pub fn take(&self) {
        let backoff = Backoff::new();
        while !self.try_take() {
            self.memory.spin(&backoff);
        }
    }

    fn try_take(&self) -> bool {
        let Self { memory, word, defect } = self;
        if *defect == Some(LockDefect::LooksThenTakes) {
            let free = memory.load(*word, Load::Acquire) == 0;
            if free {
                memory.store(*word, 1, Store::Relaxed);
            }
            return free;
        }
        let relaxed = *defect == Some(LockDefect::TakesRelaxed);
        let success = if relaxed { Rmw::Relaxed } else { Rmw::Acquire };
        memory.compare_exchange(*word, 0, 1, success, Load::Relaxed).is_ok()
    }

    /// Gives the lock back.
    pub fn give(&self) {
        let relaxed = self.defect == Some(LockDefect::GivesRelaxed);
        let order = if relaxed { Store::Relaxed } else { Store::Release };
        self.memory.store(self.word, 0, order);
    }
}

/// Participants that count under a lock; no count may be lost.
#[derive(Clone, Copy, Debug)]
pub struct Counting {
    /// How many.
    pub participants: u32,
    /// What is wrong with their lock.
    pub defect: Option<LockDefect>,
}

impl Model for Counting {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(2);
        let count = Offset::new(1);
        let defect = self.defect;
        let counting: Vec<_> = (0..self.participants)
            .map(|_| {
                let memory = memory.clone();
                execution.spawn(move || {
                    let lock = Lock::new(memory.clone(), Offset::new(0), defect);
                    lock.take();
                    let before = memory.load(count, Load::Relaxed);
                    memory.store(count, before + 1, Store::Relaxed);
                    lock.give();
                })
            })
            .collect();
        for participant in counting {
            participant.join();
        }
        let counted = memory.load(count, Load::Relaxed);
        assert_eq!(counted, u64::from(self.participants), "a count was lost");
    }
}
