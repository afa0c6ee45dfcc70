//! A tiny heap under an engine, and a memory that breaks its protocol in one named way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{
    Allocation, Backoff, Block, Fence, HeapError, HeapOptions, Load, Memory, Offset, Rmw,
    SharedHeap, Store,
};
use shm_verification::{CrashMemory, Ended, Execution, Participant, Place, World};

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Exchanges of owner words succeed whatever is there: two may free one block.
    BlindOwner,
    /// Exchanges of the root header apply their change to whatever header is there.
    BlindRoots,
    /// Right after a block word that says USED, a look at an owner word sees what the last saw.
    NoSecondLook,
    /// Nobody says in which slabs it owns blocks.
    NotTouched,
    /// Hints are not set by whoever settles what a dead line names.
    NoHint,
    /// A freed block is not wiped.
    NotWiped,
    /// A block is wiped before its owner word says that it is nobody's.
    WipedEarly,
    /// Whoever takes a block out of use takes it for its own, whether or not it got it.
    BlindReaper,
    /// What a slab serves is not looked at again after a block of it was claimed.
    NoClassCheck,
}

/// Where a fault remembers whether the last block word said USED: no word of a heap.
const USED_SEEN: Offset = Offset::new(u64::MAX);

/// Words of a heap that faults aim at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) index: u64,
    pub(crate) owners: u64,
    pub(crate) blocks: u64,
    pub(crate) slab_words: u64,
    pub(crate) hints: u64,
    pub(crate) slabs: u64,
    pub(crate) block_words: u64,
    pub(crate) touched: u64,
}

/// A memory through which one participant commits a fault.
#[derive(Clone)]
pub(crate) struct Tampered<M> {
    memory: M,
    fault: Fault,
    aim: Option<Aim>,
    seen: Arc<Mutex<BTreeMap<Offset, u64>>>,
}

impl<M> fmt::Debug for Tampered<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tampered({:?})", self.fault)
    }
}

impl<M: Memory> Tampered<M> {
    fn new(memory: M, fault: Fault, aim: Option<Aim>) -> Self {
        Self { memory, fault, aim, seen: Arc::default() }
    }

    fn is(&self, fault: Fault, matches: impl FnOnce(Aim) -> bool) -> bool {
        self.fault == fault && self.aim.is_some_and(matches)
    }

    /// Whatever is done next, no owner word is looked at right after a block word.
    fn forget_pending(&self) {
        if self.fault == Fault::NoSecondLook {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(USED_SEEN, 0);
        }
    }

    /// Wipes the first word of the block that an owner word speaks of.
    fn wipe_early(&self, owner: Offset) {
        if let Some(aim) = self.aim {
            let number = (owner.word() - aim.owners) / 2;
            self.memory.store(Offset::new(aim.slabs + 8 * number), 0, Store::Relaxed);
        }
    }

    /// Applies a change to whatever word is there.
    fn exchange_blindly(&self, at: Offset, current: u64, new: u64) -> Result<u64, u64> {
        for _ in 0..16 {
            let there = self.memory.load(at, Load::Acquire);
            let next = if self.fault == Fault::BlindRoots { there ^ current ^ new } else { new };
            if self.memory.compare_exchange(at, there, next, Rmw::AcqRel, Load::Relaxed).is_ok() {
                return Ok(current);
            }
        }
        Err(current)
    }
}

impl Aim {
    fn is_owner(self, at: Offset) -> bool {
        let within = at.word().wrapping_sub(self.owners);
        within < 2 * self.blocks && within.is_multiple_of(2)
    }

    fn is_block_word(self, at: Offset) -> bool {
        at.word().wrapping_sub(self.block_words) < self.blocks
    }
}

impl<M: Memory> Memory for Tampered<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let is_owner = self.is(Fault::NoSecondLook, |aim| aim.is_owner(at));
        let is_block = self.is(Fault::NoSecondLook, |aim| aim.is_block_word(at));
        let is_class = self.is(Fault::NoClassCheck, |aim| at.word() == aim.slab_words);
        if !is_owner && !is_block && !is_class {
            self.forget_pending();
            return self.memory.load(at, order);
        }
        let remembered =
            |at: Offset| self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied();
        let remember = |at: Offset, word: u64| {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(at, word);
        };
        if is_owner && remembered(USED_SEEN) == Some(1) {
            remember(USED_SEEN, 0);
            return remembered(at).unwrap_or(0);
        }
        // A virgin slab has no class to remember.
        if let Some(seen) = remembered(at).filter(|&seen| is_class && seen != 0) {
            return seen;
        }
        let word = self.memory.load(at, order);
        remember(at, word);
        if is_block {
            remember(USED_SEEN, u64::from(word >> 20 & 15 == 1));
        }
        word
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.forget_pending();
        self.memory.store(at, value, order);
    }

    #[track_caller]
    fn write_zeros(&self, at: Offset, words: u64) {
        if !self.is(Fault::NotWiped, |aim| at.word() >= aim.slabs) {
            self.memory.write_zeros(at, words);
        }
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        self.forget_pending();
        if self.is(Fault::BlindOwner, |aim| aim.is_owner(at))
            || self.is(Fault::BlindRoots, |aim| at.word() == aim.index)
        {
            return self.exchange_blindly(at, current, new);
        }
        if self.is(Fault::WipedEarly, |aim| aim.is_owner(at)) && new >> 20 & 15 == 0 {
            self.wipe_early(at);
        }
        let outcome = self.memory.compare_exchange(at, current, new, success, failure);
        let drains =
            self.is(Fault::BlindReaper, |aim| aim.is_block_word(at)) && new >> 20 & 15 == 2;
        if drains { Ok(current) } else { outcome }
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        if self.is(Fault::NoHint, |aim| at.word() == aim.hints) {
            return self.memory.load(at, Load::Relaxed);
        }
        if self.is(Fault::NotTouched, |aim| at.word() >= aim.touched && at.word() < aim.slabs) {
            return 0;
        }
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}

pub(crate) type Shared<X> = Tampered<CrashMemory<<X as Execution>::Memory>>;
pub(crate) type Heap<X> = SharedHeap<Shared<X>>;

/// One execution's world with a heap in it.
pub(crate) struct Stage<X: Execution> {
    pub(crate) world: World<X>,
    fault: Fault,
    aim: Aim,
    /// The model's own handle.
    pub(crate) heap: Heap<X>,
}

/// A heap of one slab of so many blocks of 64 bytes, and one root.
pub(crate) fn options(blocks: u32) -> HeapOptions {
    HeapOptions {
        bytes: u64::from(blocks) * 64,
        block_bytes_min: 64,
        block_bytes_max: Some(blocks * 64),
        processes: 4,
        lines: 4,
        roots: 1,
        hash_secret: Some([1, 2]),
    }
}

impl<X: Execution> Stage<X> {
    pub(crate) fn new(execution: &X, blocks: u32, fault: Fault) -> Self {
        let options = options(blocks);
        let words = Heap::<X>::word_count(&options).expect("a tiny heap");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = Tampered::new(place.memory.clone(), Fault::None, None);
        let heap = Heap::<X>::create(memory, &options, &place.environment).expect("zeroed memory");
        let layout = heap.arena().layout();
        let slabs = layout.word_count() - u64::from(blocks) * 8;
        let first = u32::try_from(slabs / 8).expect("a tiny heap");
        let aim = Aim {
            index: layout.index().word(),
            owners: layout.index().word() + 16,
            blocks: blocks.into(),
            slab_words: layout.slab_word(0).word(),
            hints: layout.slab_word(0).word() + 8,
            slabs,
            touched: layout.index().word() + 16 + 2 * u64::from(blocks),
            block_words: layout.block_word(Block::new(first)).expect("a block").word(),
        };
        Self { world, fault, aim, heap }
    }

    pub(crate) fn join_at(&self, place: &Place<X>) -> Heap<X> {
        self.joiner(place)()
    }

    /// Attaches when it is called, wherever that is.
    pub(crate) fn joiner(
        &self,
        place: &Place<X>,
    ) -> impl FnOnce() -> Heap<X> + Send + use<X> + 'static {
        let memory = Tampered::new(place.memory.clone(), self.fault, Some(self.aim));
        let environment = place.environment.clone();
        move || Heap::<X>::attach(memory, &environment).expect("a heap is there")
    }

    /// Starts a participant with a handle of its own.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        participant: u32,
        body: impl FnOnce(&Heap<X>) -> T + Send + 'static,
    ) -> Participant<Ended<T>> {
        let place = self.world.place(participant);
        let heap = self.join_at(&place);
        self.world.spawn(&place, move || body(&heap))
    }

    /// Nothing is lost, nothing is owned twice, nothing dirty is free.
    pub(crate) fn check(&self) {
        let audit = self.heap.audit();
        assert!(
            audit.findings.is_empty(),
            "the audit: {:?}\n{}",
            audit.findings,
            self.heap.state()
        );
        assert_eq!(audit.lost, 0, "the audit: blocks lost");
    }
}

/// Allocates 8 bytes and writes this mark; fails if they were not zero.
pub(crate) fn marked<M: Memory>(heap: &SharedHeap<M>, mark: u8) -> Result<Allocation, HeapError> {
    let allocation = heap.allocate(8)?;
    assert_eq!(mark_of(heap, allocation), Ok(0), "an allocation is not zero");
    heap.write(allocation, 0, &[mark; 8])?;
    Ok(allocation)
}

/// The mark of an allocation; fails on a torn one.
pub(crate) fn mark_of<M: Memory>(
    heap: &SharedHeap<M>,
    allocation: Allocation,
) -> Result<u8, HeapError> {
    let mut bytes = [0; 8];
    heap.read(allocation, 0, &mut bytes)?;
    assert!(bytes.iter().all(|&byte| byte == bytes[0]), "torn: {bytes:?}");
    Ok(bytes[0])
}

pub(crate) fn finished<T>(ended: Ended<T>) -> T {
    ended.finished().expect("nobody was killed")
}
