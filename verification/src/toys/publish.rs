//! Publication of a filled entry.

use shm_arena::{Load, Memory, Offset, Store};

use crate::engine::{Execution, Model};

/// When an entry is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FillOrder {
    /// After it was filled, with a release.
    FillThenPublish,
    /// After it was filled, with nothing.
    FillThenPublishRelaxed,
    /// Before.
    PublishThenFill,
}

/// One participant publishes an entry of two words, another reads it.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    /// In this order.
    pub order: FillOrder,
}

const READY: Offset = Offset::new(0);
const ENTRY: Offset = Offset::new(1);

impl Model for Publishing {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(3);
        let (writing, order) = (memory.clone(), self.order);
        let writer = execution.spawn(move || write(&writing, order));
        let reading = memory.clone();
        let reader = execution.spawn(move || {
            if reading.load(READY, Load::Acquire) == 1 {
                let first = reading.load(ENTRY, Load::Relaxed);
                let second = reading.load(ENTRY + 1, Load::Relaxed);
                assert_eq!([first, second], [7, 8], "a published entry is full");
            }
        });
        writer.join();
        reader.join();
    }
}

fn write<M: Memory>(memory: &M, order: FillOrder) {
    let release =
        if order == FillOrder::FillThenPublishRelaxed { Store::Relaxed } else { Store::Release };
    if order == FillOrder::PublishThenFill {
        memory.store(READY, 1, release);
    }
    memory.store(ENTRY, 7, Store::Relaxed);
    memory.store(ENTRY + 1, 8, Store::Relaxed);
    if order != FillOrder::PublishThenFill {
        memory.store(READY, 1, release);
    }
}
