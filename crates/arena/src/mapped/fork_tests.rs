//! Forked children and the handles that they inherit: refused by name, and harmless.

use std::time::{Duration, Instant};

use super::process_tests::{Place, attach, crowded, ends_well, fork};
use crate::{
    Allocation, AttachOptions, HeapError, HeapOptions, LeaseError, MappedMemory, Memory, SharedHeap,
};

type Heap = SharedHeap<MappedMemory>;

const FORKED: HeapError = HeapError::Lease(LeaseError::Forked);

/// Every word of a heap, to see that nobody wrote.
fn words(heap: &Heap) -> Vec<u8> {
    let words = usize::try_from(heap.memory().word_count()).unwrap();
    let mut bytes = vec![0; words * 8];
    heap.memory().read_bytes(crate::Offset::new(0), &mut bytes);
    bytes
}

/// What a child gets that tries everything through its parent's handle.
fn assert_refused(heap: &Heap, owned: Allocation, kept: Allocation) {
    let before = words(heap);
    assert_eq!(heap.allocate(8), Err(FORKED));
    assert_eq!(heap.allocate_zeroed(2, 8), Err(FORKED));
    assert_eq!(heap.duplicate(b"child"), Err(FORKED));
    for allocation in [owned, kept] {
        assert_eq!(heap.free(allocation), Err(FORKED));
        assert_eq!(heap.resize(allocation, 20), Err(FORKED));
        assert_eq!(heap.keep(allocation), Err(FORKED));
        assert_eq!(heap.take(allocation), Err(FORKED));
        assert_eq!(heap.hang("new", allocation), Err(FORKED));
    }
    assert_eq!(heap.unhang("root"), Err(FORKED));
    assert_eq!(heap.recover(), Err(FORKED));
    assert_eq!(heap.reset(), Err(FORKED));
    assert_eq!(heap.arena().lease().err(), Some(LeaseError::Forked));
    assert!(heap.arena().is_inherited());
    assert!(before == words(heap), "a refused call wrote");
    assert!(FORKED.to_string().contains("attach anew in the child"));
}

#[test]
fn a_forked_child_is_refused_what_speaks_for_its_parent_and_may_read() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let owned = heap.duplicate(&[7; 100]).unwrap();
    let kept = heap.duplicate(&[8; 100]).unwrap();
    heap.keep(kept).unwrap();
    let hung = heap.duplicate(&[9; 100]).unwrap();
    heap.hang("root", hung).unwrap();
    let child = fork(|| {
        assert_refused(&heap, owned, kept);
        assert_eq!(heap.root("root"), Ok(hung));
        let mut bytes = [0; 100];
        heap.read(owned, 0, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 100]);
        assert!(heap.audit().findings.is_empty());
        assert_eq!(heap.state().processes.len(), 1);
        heap.detach();
    });
    ends_well(child);
    // The child's `detach` gave nothing of this process back.
    let heap = attach(&place.path);
    let recovered = heap.arena().recoveries();
    assert_eq!((recovered.processes, recovered.blocks), (1, 1), "the handle that the closure took");
    assert_eq!(heap.size_of(kept), Ok(100));
}

#[test]
fn a_forked_child_attaches_anew_and_has_lines_of_its_own() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let owned = heap.duplicate(&[7; 100]).unwrap();
    let record = heap.arena().identity().unwrap().record;
    let child = fork(|| {
        // The same mapping and the same outside world serve the child.
        let own = Heap::attach(heap.memory().clone(), heap.arena().environment()).unwrap();
        assert_ne!(own.arena().identity().unwrap().record, record, "one record for two");
        assert_eq!(own.recover().unwrap().processes, 0, "the parent lives");
        let [mine, theirs] = [own.arena(), heap.arena()].map(|arena| arena.lease().err());
        assert_eq!((mine, theirs), (None, Some(LeaseError::Forked)));
        own.free(own.allocate(8).unwrap()).unwrap();
        let refused = HeapError::NotOwner { allocation: owned, record: record.0 };
        assert_eq!(own.free(owned), Err(refused));
        own.detach();
        attach(&place.path).allocate(8).unwrap();
    });
    ends_well(child);
    let recovered = heap.recover().unwrap();
    assert_eq!((recovered.processes, recovered.blocks), (1, 1), "the second handle's");
    heap.free(owned).unwrap();
    assert!(heap.audit().findings.is_empty());
}

/// A thread forks while it has a lease: its child may drop the lease, and nothing of the line
/// changes.
#[test]
fn a_lease_that_a_child_inherits_gives_nothing_back() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    heap.free(heap.allocate(8).unwrap()).unwrap();
    let lease = heap.arena().lease().unwrap();
    let class = heap.arena().class_for(1).unwrap();
    let claimed = lease.claim(class).unwrap();
    let before = words(&heap);
    let child = fork(|| {
        drop(lease);
        assert_eq!(heap.allocate(8), Err(FORKED));
    });
    ends_well(child);
    assert!(before == words(&heap), "a child wrote");
    // The block is this process's still: the line of the lease that went with the closure says so.
    let recovered = attach(&place.path).recover().unwrap();
    assert_eq!((recovered.processes, recovered.blocks), (0, 0), "it lives");
    let _ = claimed;
}

/// Threads are at work in the parent whenever it forks; each child tries the inherited handle,
/// attaches anew, works and is gone.
#[test]
fn children_forked_amid_the_work_of_threads_disturb_nothing() {
    let place = Place::new();
    let options = HeapOptions { lines: 64, ..crowded() };
    let heap = place.heap(&options);
    let until = Instant::now() + Duration::from_millis(600);
    let mut children = 0;
    std::thread::scope(|scope| {
        for mark in 1..4_u8 {
            let heap = &heap;
            scope.spawn(move || {
                while Instant::now() < until {
                    let mine = heap.duplicate(&[mark; 200]).unwrap();
                    let mut bytes = [0; 200];
                    heap.read(mine, 0, &mut bytes).unwrap();
                    assert_eq!(bytes, [mark; 200], "somebody else's bytes");
                    heap.free(mine).unwrap();
                }
            });
        }
        while Instant::now() < until {
            ends_well(fork(|| {
                for _ in 0..50 {
                    assert_eq!(heap.allocate(8), Err(FORKED));
                }
                let options = AttachOptions::default();
                let own = Heap::attach_file(&place.path, &options).unwrap();
                own.free(own.duplicate(&[9; 300]).unwrap()).unwrap();
            }));
            children += 1;
            assert_eq!(heap.recover().unwrap().processes, 1);
        }
    });
    println!("{children} children");
    assert!(children > 3);
    let audit = heap.audit();
    assert!(audit.findings.is_empty() && audit.lost == 0, "{:?}", audit.findings);
    assert!(heap.state().processes.is_empty());
}
