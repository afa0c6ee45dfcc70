//! Threads that unwind in the middle of a call, at every access of it: whoever calls next, through
//! the same handle, finds everything in order.
#![allow(missing_docs)]

mod fragile;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use fragile::Fragile;
use shm_arena::{Environment, HeapOptions, Liveness, RecordIndex, SharedHeap, Verdict};

/// Deaths as the test decides.
#[derive(Clone, Debug, Default)]
struct Deaths(Arc<Mutex<BTreeSet<RecordIndex>>>);

impl Liveness for Deaths {
    fn hold(&self, record: RecordIndex) -> bool {
        self.0.lock().unwrap().insert(record)
    }

    fn release(&self, record: RecordIndex) {
        self.0.lock().unwrap().remove(&record);
    }

    fn verdict(&self, record: RecordIndex) -> Verdict {
        let is_held = self.0.lock().unwrap().contains(&record);
        if is_held { Verdict::Alive } else { Verdict::Dead }
    }
}

type Heap = SharedHeap<Fragile>;

/// A call that may unwind.
type Call = fn(&Heap);

const CALLS: [(&str, Call); 5] = [
    ("allocate", |heap| drop(heap.allocate(8))),
    ("allocate and free", |heap| drop(heap.allocate(8).map(|mine| heap.free(mine)))),
    ("resize", |heap| drop(heap.allocate(8).map(|mine| heap.resize(mine, 100)))),
    ("another class", |heap| drop(heap.allocate(200))),
    ("recover", |heap| drop(heap.recover())),
];

/// Unwinds from a call after so many accesses. `false`: the call ended before.
fn unwinds(call: Call, accesses: u32) -> bool {
    let options = HeapOptions {
        bytes: 1024,
        block_bytes_max: Some(256),
        processes: 4,
        lines: 4,
        roots: 1,
        ..HeapOptions::default()
    };
    let words = Heap::word_count(&options).unwrap();
    let memory = Fragile::new(words);
    let deaths = Deaths::default();
    let environment = Environment { liveness: Arc::new(deaths.clone()), ..Environment::default() };
    let heap = Heap::create(memory.clone(), &options, &environment).unwrap();
    let dead = Heap::attach(memory.clone(), &environment).unwrap();
    for _ in 0..2 {
        let _ = dead.allocate(8).unwrap();
        dead.free(dead.allocate(8).unwrap()).unwrap();
    }
    deaths.release(dead.arena().identity().unwrap().record);
    memory.arm(Some(accesses));
    let unwound = catch_unwind(AssertUnwindSafe(|| call(&heap))).is_err();
    memory.arm(None);
    // The next calls of the same process put its line in order, and finish the recovery.
    let mine = heap.allocate(8).unwrap();
    let mut bytes = [1; 8];
    heap.read(mine, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8], "an allocation is not zero");
    heap.free(mine).unwrap();
    let _ = heap.recover().unwrap();
    let audit = heap.audit();
    assert!(audit.findings.is_empty() && audit.lost == 0, "{accesses}: {:?}", audit.findings);
    // Only this thread's line names a block, its spare: none that a reaper adopted is forgotten.
    assert!(heap.state().lines_in_use <= 1, "{accesses}: {}", heap.state());
    let me = heap.arena().identity().unwrap().record.0;
    assert!(heap.state().processes.keys().all(|&record| record == me), "{}", heap.state());
    unwound
}

#[test]
fn a_thread_that_unwinds_at_any_access_loses_nothing() {
    for (name, call) in CALLS {
        let points = (0..).take_while(|&accesses| unwinds(call, accesses)).count();
        println!("{name}: unwound at {points} accesses");
        assert!(points > 10, "{name}: {points} accesses");
    }
}
