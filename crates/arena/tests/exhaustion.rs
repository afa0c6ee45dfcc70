//! What runs out and says so: classes and slabs, for a heap and for whoever leases lines of an
//! arena. Records, lines and roots are in `shared_heap.rs`.
#![allow(missing_docs)]

use shm_arena::{
    Arena, ArenaOptions, Block, Environment, Geometry, HashKind, HeapError, HeapMemory,
    HeapOptions, Layout, LeaseError, Load, Memory, NoBlock, Offset, SegmentHeader, SharedHeap,
    SizeClass, Store,
};

/// Slabs of 16 units; what is claimed is linked until it is unlinked.
fn arena(slabs: u32) -> Arena<HeapMemory> {
    arena_of(slabs, 1)
}

/// The same with lines that keep so many spares.
fn arena_of(slabs: u32, spares: u32) -> Arena<HeapMemory> {
    let geometry = Geometry {
        index_words: 8,
        records: 2,
        lines: 2,
        slabs,
        slab_units: 16,
        block_units_min: 1,
        side_words: 0,
        spares,
    };
    made(geometry)
}

fn made(geometry: Geometry) -> Arena<HeapMemory> {
    let header = SegmentHeader {
        table_kind: 1,
        table_fingerprint: 2,
        table_numbers: [0; 4],
        geometry,
        hash: HashKind::Rapid,
        created_ms: 0,
        boot: [0; 2],
    };
    let memory = HeapMemory::new(Layout::new(geometry).unwrap().word_count());
    let options = ArenaOptions { header, secret: None, wraps_after: None };
    Arena::create(memory, &options, &Environment::default()).unwrap()
}

fn class(units: u32) -> SizeClass {
    SizeClass::holding(units).unwrap()
}

/// Claims and publishes a block of this class.
fn link(arena: &Arena<HeapMemory>, class: SizeClass) -> Result<Block, NoBlock> {
    let lease = arena.lease().unwrap();
    let claimed = lease.claim(class)?;
    lease.published(claimed);
    Ok(claimed.block())
}

fn unlink(arena: &Arena<HeapMemory>, block: Block) {
    let lease = arena.lease().unwrap();
    let intended = lease.intend(lease.locate(block).unwrap(), || true).unwrap();
    let retired = lease.retire(intended).expect("nobody else retires");
    lease.reclaim(retired, 8);
}

#[test]
fn a_class_whose_blocks_are_all_in_use_is_named_and_comes_back() {
    let arena = arena(2);
    let wide = class(8);
    let blocks: Vec<Block> = (0..4).map(|_| link(&arena, wide).unwrap()).collect();
    assert_eq!(link(&arena, wide), Err(NoBlock { class: wide }));
    assert_eq!(link(&arena, class(1)), Err(NoBlock { class: class(1) }), "nor a smaller one");
    unlink(&arena, blocks[0]);
    assert!(link(&arena, wide).is_ok());
}

#[test]
fn slabs_that_all_serve_other_classes_are_named_while_one_block_of_each_is_in_use() {
    let arena = arena(3);
    let (small, whole) = (class(1), class(16));
    let blocks: Vec<Block> = (0..48).map(|_| link(&arena, small).unwrap()).collect();
    // All but one block of each slab come back, and no slab is empty.
    let (kept, back): (Vec<_>, Vec<_>) = (0..).zip(blocks).partition(|(at, _)| at % 16 == 0);
    back.into_iter().for_each(|(_, block)| unlink(&arena, block));
    assert_eq!(link(&arena, whole), Err(NoBlock { class: whole }));
    // One slab that is empty is enough, and it changes its class.
    unlink(&arena, kept[0].1);
    let block = link(&arena, whole).expect("an empty slab");
    assert_eq!(link(&arena, whole), Err(NoBlock { class: whole }));
    unlink(&arena, block);
    assert!(link(&arena, small).is_ok());
}

/// How many blocks lines keep back while these are linked, and how many are free.
fn kept_and_free(arena: &Arena<HeapMemory>, linked: &[Block]) -> (u64, u64) {
    let audit = arena.audit_blocks(&linked.iter().map(|&block| (block, 1)).collect());
    assert!(audit.findings.is_empty(), "{:?}", audit.findings);
    (audit.blocks - audit.free - linked.len() as u64, audit.free)
}

#[test]
fn a_line_keeps_as_many_blocks_as_it_may_and_serves_each_class_from_them() {
    let arena = arena_of(4, 3);
    let [narrow, wide] = [1, 2].map(class);
    let blocks = [narrow, wide, narrow, narrow, wide].map(|class| link(&arena, class).unwrap());
    blocks.into_iter().for_each(|block| unlink(&arena, block));
    let (kept, free) = kept_and_free(&arena, &[]);
    assert_eq!(kept, 3, "of five");
    // The first three that went out, in their order within a class.
    assert_eq!(link(&arena, wide), Ok(blocks[1]));
    assert_eq!(link(&arena, narrow), Ok(blocks[0]));
    assert_eq!(link(&arena, narrow), Ok(blocks[2]));
    assert_eq!(kept_and_free(&arena, &blocks[..3]), (0, free));
    // What is claimed in vain goes back to its place.
    unlink(&arena, blocks[0]);
    unlink(&arena, blocks[1]);
    let lease = arena.lease().unwrap();
    lease.abandon(lease.claim(wide).unwrap(), 1, || {});
    drop(lease);
    assert_eq!(kept_and_free(&arena, &blocks[2..3]), (2, free));
    assert_eq!(link(&arena, wide), Ok(blocks[1]));
    assert_eq!(link(&arena, narrow), Ok(blocks[0]));
}

#[test]
fn of_blocks_above_2_kib_a_line_keeps_one() {
    for (units, kept) in [(32, 3), (40, 1)] {
        let geometry = arena_of(4, 3).geometry();
        let arena = made(Geometry { slab_units: 128, ..geometry });
        let blocks: Vec<Block> = (0..4).map(|_| link(&arena, class(units)).unwrap()).collect();
        blocks.into_iter().for_each(|block| unlink(&arena, block));
        assert_eq!(kept_and_free(&arena, &[]).0, kept, "{units} units");
    }
}

#[test]
fn spares_go_back_when_another_class_needs_their_slab() {
    let arena = arena_of(1, 8);
    let blocks: Vec<Block> = (0..8).map(|_| link(&arena, class(2)).unwrap()).collect();
    blocks.into_iter().for_each(|block| unlink(&arena, block));
    assert_eq!(kept_and_free(&arena, &[]), (8, 0));
    let whole = link(&arena, class(16)).expect("the spares are this process's own");
    assert_eq!(kept_and_free(&arena, &[whole]), (0, 0));
}

#[test]
fn no_class_holds_more_than_a_slab_or_the_largest_block() {
    let arena = arena(1);
    assert_eq!(arena.class_for(16 * 8), Some(class(16)));
    assert_eq!(arena.class_for(16 * 8 + 1), None);
    assert_eq!(SizeClass::holding(SizeClass::UNITS_MAX + 1), None);
}

/// A heap says how much it was asked for, and how much is free in sizes that do not help.
#[test]
fn a_heap_whose_slabs_serve_other_sizes_says_how_much_is_free_in_those() {
    let options = HeapOptions { bytes: 1 << 14, processes: 2, lines: 4, ..HeapOptions::default() };
    let memory = HeapMemory::new(SharedHeap::<HeapMemory>::word_count(&options).unwrap());
    let heap = SharedHeap::create(memory, &options, &Environment::default()).unwrap();
    let mut held = Vec::new();
    while let Ok(allocation) = heap.allocate(64) {
        held.push(allocation);
    }
    // Half of the memory is free, and no slab is.
    let (freed, kept): (Vec<_>, Vec<_>) = (0..).zip(held).partition(|(at, _)| at % 2 == 0);
    freed.into_iter().for_each(|(_, allocation)| heap.free(allocation).unwrap());
    let refusal = heap.allocate(1000).unwrap_err();
    let HeapError::NoMemory { bytes: 1000, available } = refusal else { panic!("{refusal}") };
    assert!(available >= 1 << 12, "{available}");
    assert!(refusal.to_string().contains("1000 bytes"), "{refusal}");
    kept.into_iter().for_each(|(_, allocation)| heap.free(allocation).unwrap());
    heap.free(heap.allocate(1000).unwrap()).unwrap();
}

#[test]
fn who_was_taken_for_dead_by_mistake_is_told_and_changes_nothing() {
    let arena = arena(2);
    let small = class(1);
    let _ = link(&arena, small).unwrap();
    let record = arena.layout().record(arena.identity().unwrap().record.0);
    let before = arena.memory().load(record, Load::Relaxed);
    // Free, of the same incarnation, as whoever buries a process leaves its record.
    arena.memory().store(record, before & !0xf, Store::Relaxed);
    assert_eq!(arena.lease().map(drop), Err(LeaseError::Disowned));
    assert_eq!(arena.acting_identity(), Err(LeaseError::Disowned));
    let words = |arena: &Arena<HeapMemory>| -> Vec<u64> {
        let words = arena.memory().word_count();
        (0..words).map(|at| arena.memory().load(Offset::new(at), Load::Relaxed)).collect()
    };
    let found = words(&arena);
    arena.memory().store(record, before, Store::Relaxed);
    assert!(arena.lease().is_ok(), "the record is what refuses");
    arena.memory().store(record, before & !0xf, Store::Relaxed);
    assert_eq!(words(&arena), found, "a refused lease stores nothing");
    arena.detach();
}
