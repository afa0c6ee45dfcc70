//! A bucket of two slots into which two participants insert one key.

use shm_arena::{Load, Memory, Offset, Rmw};

use crate::engine::{Execution, Model};

/// Keys in two slots; 0 is empty.
#[derive(Clone, Debug)]
pub struct Bucket<M> {
    memory: M,
    /// Whether both slots are one word, so that membership changes at one place.
    one_word: bool,
}

/// Attempts of one verb.
const ATTEMPTS: u32 = 16;

impl<M: Memory> Bucket<M> {
    /// A bucket in the first two words. With `one_word`, both slots are in the first.
    pub fn new(memory: M, one_word: bool) -> Self {
        Self { memory, one_word }
    }

    /// Adds a key below 256 unless it is there; says whether it was added.
    pub fn insert(&self, key: u64) -> bool {
        self.change(|slots| {
            let free = slots.iter().position(|&slot| slot == 0)?;
            (!slots.contains(&key)).then_some((free, key))
        })
    }

    /// Removes a key; says whether it was there.
    pub fn remove(&self, key: u64) -> bool {
        self.change(|slots| Some((slots.iter().position(|&slot| slot == key)?, 0)))
    }

    /// The keys that are there.
    pub fn keys(&self) -> Vec<u64> {
        self.slots().into_iter().filter(|&key| key != 0).collect()
    }

    fn slots(&self) -> [u64; 2] {
        let first = self.memory.load(Offset::new(0), Load::Acquire);
        if self.one_word {
            [first & 0xff, first >> 8 & 0xff]
        } else {
            [first, self.memory.load(Offset::new(1), Load::Acquire)]
        }
    }

    /// Puts into a slot what `decide` says of the slots seen, as long as nobody else changed it.
    fn change(&self, decide: impl Fn([u64; 2]) -> Option<(usize, u64)>) -> bool {
        for _ in 0..ATTEMPTS {
            let slots = self.slots();
            let Some((slot, key)) = decide(slots) else {
                return false;
            };
            let (at, current, new) = if self.one_word {
                let mut changed = slots;
                changed[slot] = key;
                (0, pack(slots), pack(changed))
            } else {
                (slot as u64, slots[slot], key)
            };
            let at = Offset::new(at);
            if self.memory.compare_exchange(at, current, new, Rmw::AcqRel, Load::Relaxed).is_ok() {
                return true;
            }
        }
        false
    }
}

const fn pack(slots: [u64; 2]) -> u64 {
    slots[0] | slots[1] << 8
}

/// `insert b` beside `remove a; insert b`: with a word a slot, each scans, finds no `b`, and puts
/// one into a different slot.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateInsert {
    /// Whether membership changes at one place.
    pub one_word: bool,
}

impl Model for DuplicateInsert {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(2);
        let one_word = self.one_word;
        let bucket = Bucket::new(memory.clone(), one_word);
        assert!(bucket.insert(1), "there is room for the first key");
        let (one, other) = (bucket.clone(), bucket.clone());
        let inserting = execution.spawn(move || one.insert(2));
        let replacing = execution.spawn(move || {
            assert!(other.remove(1), "nobody else removes it");
            other.insert(2)
        });
        let inserted = [inserting.join(), replacing.join()];
        assert_eq!(bucket.keys(), [2], "one key is there once: inserted {inserted:?}");
    }
}
