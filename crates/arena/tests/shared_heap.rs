//! The heap's verbs and its errors, in one process and over a file.
#![allow(missing_docs)]

use std::sync::Arc;

use proptest::prelude::*;
use shm_arena::{
    Allocation, AttachOptions, CreateOptions, Environment, HeapError, HeapMemory, HeapOptions,
    LeaseError, Memory, ROOTS_MAX, SharedHeap,
};

type Heap = SharedHeap<Arc<HeapMemory>>;

fn options(bytes: u64) -> HeapOptions {
    HeapOptions { bytes, processes: 4, lines: 8, ..HeapOptions::default() }
}

fn words(options: &HeapOptions) -> Arc<HeapMemory> {
    Arc::new(HeapMemory::new(Heap::word_count(options).unwrap()))
}

fn heap(bytes: u64) -> Heap {
    let options = options(bytes);
    Heap::create(words(&options), &options, &Environment::default()).unwrap()
}

/// Two processes' handles on one heap.
fn two() -> (Heap, Heap) {
    let options = options(1 << 16);
    let memory = words(&options);
    let first = Heap::create(Arc::clone(&memory), &options, &Environment::default()).unwrap();
    (first, Heap::attach(memory, &Environment::default()).unwrap())
}

#[track_caller]
fn assert_clean<M: Memory>(heap: &SharedHeap<M>) {
    let audit = heap.audit();
    assert!(audit.findings.is_empty() && audit.lost == 0, "{:?}", audit.findings);
}

fn content(heap: &Heap, allocation: Allocation) -> Vec<u8> {
    let mut bytes = vec![0xff; usize::try_from(heap.size_of(allocation).unwrap()).unwrap()];
    heap.read(allocation, 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn an_allocation_holds_what_was_written_and_is_zero_before() {
    let heap = heap(1 << 16);
    let one = heap.allocate(13).unwrap();
    assert_eq!(content(&heap, one), [0; 13]);
    heap.write(one, 0, b"hello, shared").unwrap();
    heap.write(one, 8, b"HA").unwrap();
    assert_eq!(content(&heap, one), b"hello, sHAred", "bytes beside those written stay");
    let copy = heap.duplicate(b"as it is").unwrap();
    assert_eq!(content(&heap, copy), b"as it is");
    assert_eq!(heap.allocate_zeroed(3, 5).map(|zeroed| heap.size_of(zeroed)), Ok(Ok(15)));
    assert_clean(&heap);
}

#[test]
fn what_is_freed_is_wiped_and_comes_again_under_another_generation() {
    let heap = heap(1 << 12);
    let first = heap.duplicate(&[7; 64]).unwrap();
    heap.free(first).unwrap();
    let second = heap.allocate(64).unwrap();
    assert_ne!(first, second);
    assert_eq!(content(&heap, second), [0; 64]);
    assert_clean(&heap);
}

#[test]
fn a_double_free_and_a_use_after_free_are_named() {
    let heap = heap(1 << 12);
    let gone = heap.allocate(8).unwrap();
    heap.free(gone).unwrap();
    let freed = HeapError::Freed { allocation: gone };
    assert_eq!(heap.free(gone), Err(freed.clone()));
    assert_eq!(heap.size_of(gone), Err(freed.clone()));
    assert_eq!(heap.read(gone, 0, &mut [0; 8]), Err(freed.clone()));
    assert_eq!(heap.write(gone, 0, &[1; 8]), Err(freed.clone()));
    // Somebody else has the block by now, and keeps it.
    let next = heap.duplicate(&[3; 8]).unwrap();
    assert_eq!(heap.free(gone), Err(freed.clone()));
    assert_eq!(heap.resize(gone, 4), Err(freed));
    assert_eq!(content(&heap, next), [3; 8]);
    assert_clean(&heap);
}

#[test]
fn an_allocation_of_another_heap_is_refused() {
    let (one, other) = (heap(1 << 12), heap(1 << 12));
    let foreign = one.allocate(8).unwrap();
    let refusal = HeapError::OtherHeap { allocation: foreign };
    assert_eq!(other.free(foreign), Err(refusal.clone()));
    assert_eq!(other.size_of(foreign), Err(refusal.clone()));
    assert_eq!(other.hang("root", foreign), Err(refusal));
    assert_eq!(Allocation::from_words(foreign.to_words()), foreign);
    for words in [[0, 0], [u64::MAX, u64::MAX], [u64::MAX, 0]] {
        assert!(one.free(Allocation::from_words(words)).is_err());
    }
}

#[test]
fn what_another_process_owns_can_be_read_and_not_freed() {
    let (one, other) = two();
    let mine = one.duplicate(b"mine").unwrap();
    assert_eq!(content(&other, mine), b"mine");
    let refusal = HeapError::NotOwner { allocation: mine, record: 0 };
    assert_eq!(other.free(mine), Err(refusal.clone()));
    assert_eq!(other.resize(mine, 8), Err(refusal.clone()));
    assert_eq!(other.keep(mine), Err(refusal.clone()));
    assert_eq!(other.take(mine), Err(refusal.clone()));
    assert_eq!(other.hang("root", mine), Err(refusal));
    one.keep(mine).unwrap();
    assert_eq!(one.resize(mine, 100), Err(HeapError::Kept { allocation: mine }));
    other.take(mine).unwrap();
    assert_eq!(one.free(mine), Err(HeapError::NotOwner { allocation: mine, record: 1 }));
    other.keep(mine).unwrap();
    one.free(mine).unwrap();
    assert_eq!(other.free(mine), Err(HeapError::Freed { allocation: mine }));
    assert_clean(&one);
}

#[test]
fn roots_are_found_by_name_and_by_every_process() {
    let (one, other) = two();
    let unknown = HeapError::UnknownRoot { name: "sessions".to_owned() };
    assert_eq!(other.root("sessions"), Err(unknown.clone()));
    assert_eq!(other.unhang("sessions"), Err(unknown.clone()));
    let hung = one.duplicate(b"a root").unwrap();
    one.hang("sessions", hung).unwrap();
    assert_eq!(other.root("sessions"), Ok(hung));
    assert_eq!(other.free(hung), Err(HeapError::Kept { allocation: hung }));
    let second = other.allocate(8).unwrap();
    let taken = HeapError::RootTaken { name: "sessions".to_owned() };
    assert_eq!(other.hang("sessions", second), Err(taken));
    // What was not hung is whose it was, and no root is lost to the attempt.
    other.free(second).unwrap();
    one.detach();
    assert_eq!(content(&other, hung), b"a root");
    assert_eq!(other.unhang("sessions"), Ok(hung));
    assert_eq!(other.root("sessions"), Err(unknown));
    other.free(hung).unwrap();
    assert_clean(&other);
}

#[test]
fn names_and_roots_run_out_with_an_error() {
    let heap = heap(1 << 16);
    let long = "n".repeat(48);
    for name in ["", long.as_str()] {
        let bytes = name.len();
        let refusal = HeapError::RootName { bytes, bytes_max: 47 };
        assert_eq!(heap.hang(name, heap.allocate(1).unwrap()), Err(refusal.clone()));
        assert_eq!(heap.root(name), Err(refusal));
    }
    for _ in 0..3 {
        for root in 0..ROOTS_MAX {
            heap.hang(&format!("root {root}"), heap.allocate(8).unwrap()).unwrap();
        }
        let more = heap.allocate(8).unwrap();
        assert_eq!(heap.hang("one more", more), Err(HeapError::NoRoot { roots: ROOTS_MAX }));
        assert_eq!(heap.state().roots.len(), 24);
        for root in 0..ROOTS_MAX {
            heap.free(heap.unhang(&format!("root {root}")).unwrap()).unwrap();
        }
        heap.hang(&long[1..], more).unwrap();
        assert_eq!(heap.unhang(&long[1..]), Ok(more));
    }
    assert_clean(&heap);
}

#[test]
fn reset_frees_everything_and_old_handles_say_so() {
    let (one, other) = two();
    let owned = one.allocate(8).unwrap();
    let kept = one.allocate(100).unwrap();
    one.keep(kept).unwrap();
    let hung = one.allocate(300).unwrap();
    one.hang("root", hung).unwrap();
    assert_eq!(other.reset(), Ok(3));
    for allocation in [owned, kept, hung] {
        assert_eq!(one.size_of(allocation), Err(HeapError::Freed { allocation }));
    }
    assert_eq!(one.root("root"), Err(HeapError::UnknownRoot { name: "root".to_owned() }));
    let again = one.allocate(8).unwrap();
    one.hang("root", again).unwrap();
    assert_eq!(other.root("root"), Ok(again));
    assert_clean(&one);
}

#[test]
fn detaching_frees_what_is_owned_and_leaves_what_is_kept() {
    let (one, other) = two();
    let owned = one.allocate(8).unwrap();
    let kept = one.allocate(8).unwrap();
    one.keep(kept).unwrap();
    one.detach();
    assert_eq!(other.size_of(owned), Err(HeapError::Freed { allocation: owned }));
    assert_eq!(other.size_of(kept), Ok(8));
    assert_eq!(other.state().processes.len(), 0);
    assert_clean(&other);
}

#[test]
fn sizes_and_places_out_of_range_are_named() {
    let heap = heap(1 << 16);
    let bytes_max = heap.maximum();
    for bytes in [bytes_max + 1, u64::MAX] {
        assert_eq!(heap.allocate(bytes), Err(HeapError::TooLarge { bytes, bytes_max }));
    }
    assert!(matches!(heap.allocate_zeroed(u64::MAX, 2), Err(HeapError::TooLarge { .. })));
    heap.free(heap.allocate(bytes_max).unwrap()).unwrap();
    let nothing = heap.allocate(0).unwrap();
    assert_eq!(heap.size_of(nothing), Ok(0));
    let block = heap.allocate(20).unwrap();
    let outside = HeapError::Outside { at: 16, end: 24, size: 20 };
    assert_eq!(heap.read(block, 16, &mut [0; 8]), Err(outside.clone()));
    assert_eq!(heap.write(block, 16, &[0; 8]), Err(outside));
    assert!(matches!(heap.read(block, u64::MAX, &mut [0; 8]), Err(HeapError::Outside { .. })));
    assert_eq!(heap.write(block, 3, &[1]), Err(HeapError::Unaligned { at: 3 }));
    heap.write(block, 16, &[1; 4]).unwrap();
}

#[test]
fn a_heap_that_is_full_says_so_and_takes_as_much_again() {
    let heap = heap(1 << 14);
    for _ in 0..3 {
        let mut held = Vec::new();
        let refusal = loop {
            match heap.allocate(1000) {
                Ok(allocation) => held.push(allocation),
                Err(refusal) => break refusal,
            }
        };
        assert!(matches!(refusal, HeapError::NoMemory { bytes: 1000, .. }), "{refusal}");
        assert!(held.len() >= 12, "{}", held.len());
        held.into_iter().for_each(|allocation| heap.free(allocation).unwrap());
    }
    assert_clean(&heap);
}

/// Fills a heap with one size after the other, each time after everything was freed.
#[test]
fn a_change_of_sizes_never_ends_in_no_memory_while_memory_is_free() {
    let heap = heap(1 << 18);
    for bytes in [100, 5000, 64, 16_000, 700, 1, 3000, 100] {
        let mut held = Vec::new();
        while let Ok(allocation) = heap.allocate(bytes) {
            held.push(allocation);
        }
        let used: u64 = held.len() as u64 * bytes.max(64);
        assert!(used * 4 >= (1 << 18) * 3, "{bytes} bytes: {} of them", held.len());
        assert_clean(&heap);
        held.into_iter().for_each(|allocation| heap.free(allocation).unwrap());
        assert_clean(&heap);
    }
}

#[test]
fn a_larger_block_serves_when_no_slab_is_empty() {
    let heap = heap(1 << 12);
    // One block of each slab is in use, so no slab can change its class.
    let mut held = Vec::new();
    while let Ok(allocation) = heap.allocate(128) {
        held.push(allocation);
    }
    let spared: Vec<_> = held.iter().copied().step_by(2).collect();
    spared.iter().for_each(|&allocation| heap.free(allocation).unwrap());
    let small: Vec<_> = spared.iter().map(|_| heap.allocate(10)).collect();
    assert!(small.iter().all(Result::is_ok), "{small:?}");
    assert_clean(&heap);
}

#[test]
fn the_display_accounts_for_every_byte() {
    let heap = heap(1 << 16);
    let empty = heap.available();
    assert_eq!(empty, 1 << 16);
    let small = heap.allocate(100).unwrap();
    let large = heap.allocate(2000).unwrap();
    heap.hang("large", large).unwrap();
    let state = heap.state();
    assert_eq!(state.available, empty - 128 - 2048);
    assert_eq!(state.processes[&0], (1, 100));
    assert_eq!(state.roots[0].bytes, 2000);
    let text = state.to_string();
    for part in ["root \"large\": allocation", "2000 bytes", "blocks of 128 bytes", "record 0"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    heap.free(small).unwrap();
    assert_eq!(heap.state().processes.len(), 0);
}

#[test]
fn threads_allocate_and_free_through_one_handle() {
    let heap = heap(1 << 20);
    let heap = &heap;
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..2000_u64 {
                    let size = (turn * 37 + u64::from(thread)) % 700;
                    let bytes = vec![thread; usize::try_from(size).unwrap()];
                    held.push((heap.duplicate(&bytes).unwrap(), bytes));
                    if held.len() > 20 {
                        let (allocation, bytes) = held.swap_remove(usize::from(thread));
                        let mut read = vec![0; bytes.len()];
                        heap.read(allocation, 0, &mut read).unwrap();
                        assert_eq!(read, bytes);
                        heap.free(allocation).unwrap();
                    }
                }
            });
        }
    });
    assert_clean(heap);
}

#[test]
fn heaps_in_files_and_descriptors_are_joined() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("heap");
    let one = SharedHeap::create_file(&path, &options(1 << 16), &CreateOptions::default()).unwrap();
    let hung = one.duplicate(b"in a file").unwrap();
    one.hang("here", hung).unwrap();
    let other = SharedHeap::attach_file(&path, &AttachOptions::default()).unwrap();
    assert_eq!(other.root("here"), Ok(hung));
    let descriptor = one.memory().descriptor().unwrap().try_clone_to_owned().unwrap();
    let third = SharedHeap::attach_descriptor(descriptor, &AttachOptions::default()).unwrap();
    assert_eq!(third.root("here"), Ok(hung));
    let memfd = SharedHeap::create_memfd("heap", &options(1 << 16), &Default::default()).unwrap();
    memfd.free(memfd.allocate(8).unwrap()).unwrap();
    assert_clean(&memfd);
    assert_clean(&third);
}

/// One call on a heap.
#[derive(Clone, Debug)]
enum Call {
    Allocate(u64),
    Free(usize),
    Resize(usize, u64),
    Write(usize, u8),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (0..3000_u64).prop_map(Call::Allocate),
        any::<usize>().prop_map(Call::Free),
        (any::<usize>(), 0..3000_u64).prop_map(|(index, bytes)| Call::Resize(index, bytes)),
        (any::<usize>(), any::<u8>()).prop_map(|(index, byte)| Call::Write(index, byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_heap_agrees_with_a_list_of_vectors(calls in prop::collection::vec(call(), 1..200)) {
        let heap = heap(1 << 17);
        let mut model: Vec<(Allocation, Vec<u8>)> = Vec::new();
        for call in calls {
            let pick = |index: usize| index % model.len().max(1);
            match call {
                Call::Allocate(bytes) => if let Ok(allocation) = heap.allocate(bytes) {
                    model.push((allocation, vec![0; usize::try_from(bytes).unwrap()]));
                },
                _ if model.is_empty() => {}
                Call::Free(index) => {
                    let (allocation, _) = model.swap_remove(pick(index));
                    heap.free(allocation).unwrap();
                }
                Call::Resize(index, bytes) => {
                    let index = pick(index);
                    let (allocation, content) = &mut model[index];
                    if let Ok(resized) = heap.resize(*allocation, bytes) {
                        *allocation = resized;
                        content.resize(usize::try_from(bytes).unwrap(), 0);
                    }
                }
                Call::Write(index, byte) => {
                    let index = pick(index);
                    let (allocation, content) = &mut model[index];
                    content.fill(byte);
                    heap.write(*allocation, 0, content).unwrap();
                }
            }
            for (allocation, expected) in &model {
                prop_assert_eq!(&content(&heap, *allocation), expected);
            }
        }
        let audit = heap.audit();
        prop_assert!(audit.findings.is_empty(), "{:?}", audit.findings);
        prop_assert_eq!(audit.lost, 0);
    }
}

#[test]
fn records_and_lines_that_run_out_are_named_and_come_back() {
    let small = HeapOptions { processes: 3, lines: 1, ..options(1 << 14) };
    let memory = words(&small);
    let environment = Environment::default();
    let one = Heap::create(memory.clone(), &small, &environment).unwrap();
    let two = Heap::attach(memory.clone(), &environment).unwrap();
    // The segment's only line is the first handle's from its first call on.
    let held = one.allocate(8).unwrap();
    let none = HeapError::Lease(LeaseError::NoLine { lines: 1 });
    assert_eq!(two.allocate(8), Err(none));
    let three = Heap::attach(memory.clone(), &environment).unwrap();
    let refusal = Heap::attach(memory.clone(), &environment).unwrap_err();
    assert_eq!(refusal.to_string(), "full: all 3 process records are taken");
    three.detach();
    one.free(held).unwrap();
    one.detach();
    two.free(two.allocate(8).unwrap()).unwrap();
    Heap::attach(memory, &environment).unwrap().detach();
    assert_clean(&two);
}

/// A line and a handle are bound to no thread: a lease may end on another one than it began on.
#[test]
fn handles_and_leases_go_from_thread_to_thread() {
    let heap = heap(1 << 16);
    let lease = heap.arena().lease().unwrap();
    let class = heap.arena().class_for(8).unwrap();
    let claimed = lease.claim(class).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || lease.abandon(claimed, 8, || {}));
    });
    let sent = std::thread::spawn(move || {
        let mine = heap.duplicate(b"from another thread").unwrap();
        (heap, mine)
    });
    let (heap, mine) = sent.join().unwrap();
    assert_eq!(content(&heap, mine), b"from another thread");
    heap.free(mine).unwrap();
    assert_clean(&heap);
}

/// What a call gives once a line is free: it waits a bounded time for one, and says so.
fn in_turn<T>(call: impl Fn() -> Result<T, HeapError>) -> T {
    loop {
        match call() {
            Err(HeapError::Lease(LeaseError::NoLine { .. })) => {}
            done => return done.unwrap(),
        }
    }
}

/// Two thousand threads on a process's few lines: they take turns, and each call ends.
#[test]
fn thousands_of_threads_take_turns_on_few_lines() {
    let few = HeapOptions { processes: 2, lines: 4, ..options(1 << 20) };
    let memory = words(&few);
    let heap = Heap::create(memory, &few, &Environment::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2000_u64 {
            let heap = &heap;
            let body = move || {
                for turn in 0..5_u64 {
                    let mark = thread * 5 + turn;
                    let mine = in_turn(|| heap.duplicate(&mark.to_le_bytes()));
                    assert_eq!(content(heap, mine), mark.to_le_bytes(), "somebody else's");
                    in_turn(|| heap.free(mine));
                }
            };
            std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, body).unwrap();
        }
    });
    assert_eq!(heap.state().lines_in_use, 2, "its share of the lines");
    assert_clean(&heap);
}

#[test]
fn any_bit_pattern_is_refused_as_an_allocation() {
    let heap = heap(1 << 16);
    let mine = heap.allocate(8).unwrap();
    let [place, generation] = mine.to_words();
    for words in [
        [0, 0],
        [u64::MAX, u64::MAX],
        [place, generation + 1],
        [place + 1, generation],
        [place ^ 1 << 63, generation],
        [place | u64::from(u32::MAX), generation],
    ] {
        let wrong = Allocation::from_words(words);
        for refusal in [heap.free(wrong), heap.keep(wrong), heap.write(wrong, 0, &[1; 8])] {
            let named =
                matches!(refusal, Err(HeapError::OtherHeap { .. } | HeapError::Freed { .. }));
            assert!(named, "{words:?}: {refusal:?}");
        }
    }
    heap.free(mine).unwrap();
    assert_clean(&heap);
}
