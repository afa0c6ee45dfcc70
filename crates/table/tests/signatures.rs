//! The signatures of the chained table: what they spare, what they may get wrong, how they heal.

use std::sync::Arc;

use shm_arena::{CountingMemory, Environment, HeapMemory};
use shm_table::{Chained, Design, Entry, Put, Remove, Table, TableOptions, TableShape};

type Counted = Arc<CountingMemory<HeapMemory>>;

/// A table of one bucket that may have two, and the keys by what the signature makes of them.
struct Stage {
    memory: Counted,
    table: Chained<Counted>,
}

/// Loads of a look-up that touches no entry: line and lock are read-modify-writes or private, and
/// the head is looked at ahead of the lock and under it.
const LOADS_WITHOUT_ENTRY: u64 = 6;

impl Stage {
    fn new() -> Self {
        let shape =
            TableShape { buckets: 1, slots: 2, slabs: 8, slab_units: 64, block_units_min: 1 };
        let options = TableOptions {
            processes: 1,
            lines: 2,
            shape: Some(shape),
            adjusts: false,
            buckets_max: Some(2),
            hash_secret: Some([1, 2]),
            ..TableOptions::default()
        };
        let words = Chained::<Counted>::word_count(&options).unwrap();
        let memory = Arc::new(CountingMemory::new(HeapMemory::new(words)));
        let table = Chained::create(memory.clone(), &options, &Environment::default()).unwrap();
        // The line's first lease is not like the others.
        let _ = table.remove(b"nobody");
        Self { memory, table }
    }

    fn put(&self, key: u64) {
        let entry = Entry { key: &key.to_le_bytes(), value: b"value", metadata: key };
        assert_eq!(self.table.put(entry), Ok(Put::Inserted));
    }

    fn remove(&self, key: u64) {
        assert_eq!(self.table.remove(&key.to_le_bytes()), Ok(Remove::Removed));
    }

    /// Whether a look-up of an absent key is spared the chain.
    fn is_ruled_out(&self, absent: u64) -> bool {
        self.memory.reset();
        assert_eq!(self.table.get(&absent.to_le_bytes(), &mut Vec::new()), Ok(None));
        self.memory.snapshot().loads == LOADS_WITHOUT_ENTRY
    }

    fn hash(&self, key: u64) -> u64 {
        self.table.arena().hasher().hash(&key.to_le_bytes())
    }

    /// The bits of a key, as the module of the table describes them.
    fn bits(&self, key: u64) -> u32 {
        let hash = self.hash(key);
        1 << (hash >> 59) | 1 << (hash >> 54 & 31)
    }

    /// The first key from a number on that is as wanted.
    fn key(&self, from: u64, is_wanted: impl Fn(u64) -> bool) -> u64 {
        (from..from + 1_000_000).find(|&key| is_wanted(key)).expect("keys enough")
    }

    fn is_sound(&self) {
        let audit = self.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
    }
}

#[test]
fn a_look_up_whose_bits_are_not_there_touches_no_entry() {
    let stage = Stage::new();
    assert!(stage.is_ruled_out(1), "the chain is empty");
    stage.put(1);
    let other = stage.key(2, |key| stage.bits(key) & stage.bits(1) == 0);
    let half = stage.key(2, |key| (stage.bits(key) & stage.bits(1)).count_ones() == 1);
    assert!(stage.is_ruled_out(other) && stage.is_ruled_out(half));
    stage.is_sound();
}

#[test]
fn a_key_that_has_the_bits_of_another_is_absent_until_it_is_put() {
    let stage = Stage::new();
    stage.put(1);
    let twin = stage.key(2, |key| stage.bits(key) == stage.bits(1));
    assert!(!stage.is_ruled_out(twin), "its bits are there");
    assert_eq!(stage.table.remove(&twin.to_le_bytes()), Ok(Remove::Absent));
    stage.put(twin);
    assert_eq!(stage.table.len(), 2);
    stage.remove(1);
    assert_eq!(stage.table.get(&twin.to_le_bytes(), &mut Vec::new()), Ok(Some(twin)));
    stage.is_sound();
}

#[test]
fn a_chain_that_is_empty_again_begins_a_new_signature() {
    let stage = Stage::new();
    stage.put(1);
    stage.remove(1);
    assert!(stage.is_ruled_out(1));
    let other = stage.key(2, |key| stage.bits(key) & stage.bits(1) == 0);
    stage.put(other);
    assert!(stage.is_ruled_out(1), "nothing is left of it");
    stage.is_sound();
}

#[test]
fn bits_of_the_removed_stay_until_an_insertion_has_walked_in_vain() {
    let stage = Stage::new();
    stage.put(1);
    let other = stage.key(2, |key| stage.bits(key) & stage.bits(1) == 0);
    stage.put(other);
    stage.remove(1);
    assert!(!stage.is_ruled_out(1), "its bits stay, since they could be the other's");
    let apart = stage.key(2, |key| stage.bits(key) & (stage.bits(1) | stage.bits(other)) == 0);
    stage.put(apart);
    assert!(!stage.is_ruled_out(1), "this insertion saw no entry");
    // One bit of each: an insertion that is not ruled out, and walks.
    let mixed = stage.key(2, |key| {
        (stage.bits(key) & stage.bits(1)).count_ones() == 1
            && (stage.bits(key) & stage.bits(other)).count_ones() == 1
    });
    stage.put(mixed);
    assert!(stage.is_ruled_out(1), "the signature is exact again");
    stage.is_sound();
    for key in [other, apart, mixed] {
        assert_eq!(stage.table.get(&key.to_le_bytes(), &mut Vec::new()), Ok(Some(key)));
    }
}

#[test]
fn an_entry_that_moves_takes_its_bits_along() {
    let stage = Stage::new();
    let (stays, moves) = (
        stage.key(1, |key| stage.hash(key).is_multiple_of(2)),
        stage.key(1, |key| !stage.hash(key).is_multiple_of(2)),
    );
    stage.put(stays);
    stage.put(moves);
    let like = |key: u64, other: u64, odd: u64| {
        stage.bits(key) == stage.bits(other) && stage.hash(key) % 2 == odd
    };
    let free_of = |key: u64, other: u64| stage.bits(key) & !stage.bits(other) != 0;
    assert!(free_of(moves, stays) && free_of(stays, moves));
    let (left_behind, gone_along) =
        (stage.key(1_000, |key| like(key, moves, 0)), stage.key(1_000, |key| like(key, moves, 1)));
    assert!(!stage.is_ruled_out(left_behind));
    assert_eq!(stage.table.adjust(Some(2)), Ok(2));
    assert!(stage.is_ruled_out(left_behind), "the bits have left the old chain");
    assert!(!stage.is_ruled_out(gone_along), "and are in the new one");
    stage.is_sound();
    assert_eq!(stage.table.adjust(Some(1)), Ok(1));
    assert!(!stage.is_ruled_out(left_behind));
    stage.is_sound();
}
