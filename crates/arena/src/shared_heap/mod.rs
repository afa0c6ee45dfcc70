//! A heap that processes share: `malloc` and `free` over offsets, with an owner for every block.
//!
//! # Idea
//!
//! MM's heap of 1999 kept its bookkeeping inside the pool, under one lock, in raw pointers: one
//! killed process or one overrun left it torn for everybody. Here blocks come from the arena, and
//! what the heap knows of a block lies in words of its own, which no write to a block reaches. Each
//! block has an owner: the process that allocated it, until it is freed, kept, or hung under a
//! named root. What a dead process owned is freed; what was kept or hung stays.
//!
//! # Layout
//!
//! ```text
//! index word 0      root header   version 40 │ live 24
//!            8 …    roots of 8 words: 0 claimer   1 generation 32 │ block + 1   2-7 name
//!            then   2 words a block word: owner, size (see word.rs)
//!            then   for each record: swept, and a bit a slab (see touched.rs)
//! ```
//!
//! # Operations
//!
//! `allocate` claims a block, which is zero, writes its size, and then its owner word: that is the
//! allocation. `free` exchanges the owner word for *nobody*: of several, one wins. `keep` and
//! `take` exchange the owner alone. `hang` claims a root whose live bit is clear, writes name and
//! block there, says in the owner word that the block is moving there, and sets the live bit by one
//! exchange of the root header: that is the hanging. `unhang` is the same backwards.
//!
//! # Invariants
//!
//! - I1: a block whose owner word says *nobody* in its present life is nobody's allocation.
//! - I2: an owner word and a block word of one generation speak of the same life.
//! - I3: a block that is *moving* is under the root if the root is live and names it, and its
//!   mover's otherwise.
//! - I4: a root whose live bit is clear belongs to its claimer, while that is alive.
//! - I5: a block that a process owns, or is moving, lies in a slab that its record's bits name.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker |
//! |---|---|---|---|---|
//! | H1 | owner word of an allocation | release | H2 | who sees the owner sees the size and a block of zeros |
//! | H2 | owner word read | acquire | H1, H3 | likewise |
//! | H3 | owner word exchanged | acquire-release | each other | a taker sees what the keeper wrote |
//! | H4 | root header exchanged | acquire-release | H5 | the name is there before the root is |
//! | H5 | root header read; fence before it is read again | acquire | H4 | a name read belongs to the header |
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | the claim, before the owner word | a claimed block named by its line | nothing | the line is settled: freed |
//! | the owner word | an allocation of a dead process | an allocation | recovery frees it |
//! | freeing's exchange | a block named by its line, of nobody | nothing | the line is settled: freed |
//! | *moving*, root not live | a block of the dead | an allocation | recovery frees it; the root goes to the next claimer |
//! | *moving*, root live | a block under the root | the root | recovery says so in the owner word |
//!
//! # Limits
//!
//! Nothing waits: every call ends within a bounded number of its own steps, or says that it is
//! contended. One block has at most [`maximum`](SharedHeap::maximum) bytes. Recovery looks at the
//! records, the lines, and for each dead process at one word for 64 slabs and at the owner words of
//! the slabs in which it ever owned a block: at most 1024 in each, whatever the size of the heap. A
//! block that one process frees while another writes to it may spoil the content of its next life:
//! the heap's own words it cannot reach.
//!
//! # Source
//!
//! papers/mm.md: each function of the OSSP MM library, and what became of it.

mod error;
#[cfg(unix)]
mod file;
mod inspect;
mod options;
mod roots;
mod sweep;
mod touched;
mod word;

pub use error::{Allocation, HeapError};
pub use inspect::{ClassUse, HeapState, RootUse};
pub use options::HeapOptions;
pub use sweep::HeapRecovered;
pub use word::{Holder, ROOTS_MAX};

#[cfg(test)]
pub(crate) use word::bits as counter_bits;
use word::{OwnerWord, SizeWord};

use crate::arena::Arena;
use crate::block::{Block, SizeClass, UNIT_WORDS};
use crate::environment::Environment;
use crate::error::SegmentError;
use crate::lease::{Claimed, Lease};
use crate::liveness::RecordIndex;
use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store};

/// A process's handle on a heap in shared words. Threads share it by reference. A forked child
/// reads and writes through one that it inherited, as any process may; whatever speaks in the
/// parent's name is refused there with [`LeaseError::Forked`](crate::LeaseError::Forked), and the
/// child attaches anew.
///
/// Dropping it writes nothing: the process then looks dead to the others, who free what it owned.
#[derive(Debug)]
pub struct SharedHeap<M: Memory> {
    arena: Arena<M>,
    blocks: u32,
    roots: u32,
    tag: u32,
}

/// Words before the owner and size words of the blocks.
const fn before_blocks(roots: u32) -> u64 {
    8 + roots as u64 * roots::ROOT_WORDS
}

impl<M: Memory> SharedHeap<M> {
    /// Words that a heap with these options takes.
    pub fn word_count(options: &HeapOptions) -> Result<u64, SegmentError> {
        Ok(options.layout()?.word_count())
    }

    /// Makes an empty heap in a zeroed memory of [`word_count`](Self::word_count) words that nobody
    /// else reaches yet, and attaches.
    pub fn create(
        memory: M,
        options: &HeapOptions,
        environment: &Environment,
    ) -> Result<Self, SegmentError> {
        let arena = Arena::create(memory, &options.arena(environment)?, environment)?;
        Self::over(arena)
    }

    /// Joins the heap that a memory holds, frees what an earlier process left under the record that
    /// this one gets, and recovers if it [notices that somebody died](Arena::notices_dead).
    ///
    /// Costs a look at each record and a question to the kernel after each of 32 processes at most;
    /// where one is dead, a [`recover`](Self::recover) besides.
    pub fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError> {
        let heap =
            Self::over(Arena::attach(memory, &options::expected(environment), environment)?)?;
        heap.begin();
        if heap.arena.notices_dead() {
            // What cannot be recovered here waits for the next who tries.
            let _ = heap.recover();
        }
        Ok(heap)
    }

    fn over(arena: Arena<M>) -> Result<Self, SegmentError> {
        // A number that differs between heaps; which one is secret is not.
        let tag = (arena.hasher().hash(b"shared heap") >> 32) as u32;
        let (roots, blocks) = (options::roots(&arena)?, arena.layout().block_word_count());
        Ok(Self { arena, blocks, roots, tag })
    }

    /// The shared words: an allocation's are at [`words_of`](Self::words_of).
    pub const fn memory(&self) -> &M {
        self.arena.memory()
    }

    /// The arena beneath.
    pub const fn arena(&self) -> &Arena<M> {
        &self.arena
    }

    /// A lease on a line in order. `None`: see [`Arena::lease_error`].
    #[inline(always)]
    fn try_lease(&self) -> Option<Lease<'_, M>> {
        let lease = self.arena.try_lease()?;
        if lease.is_unsettled() { self.settled(lease) } else { Some(lease) }
    }

    fn lease(&self) -> Result<Lease<'_, M>, HeapError> {
        self.try_lease().ok_or_else(|| self.arena.lease_error().into())
    }

    /// Puts the line of a lessee that unwound in order. The heap's index always answers.
    #[cold]
    fn settled<'a>(&'a self, lease: Lease<'a, M>) -> Option<Lease<'a, M>> {
        lease.settle_own(self).then_some(lease)
    }

    /// This process's record.
    fn me(&self) -> Result<RecordIndex, HeapError> {
        Ok(self.arena.acting_identity()?.record)
    }

    /// Allocates at least this many bytes, all zero, for this process.
    ///
    /// # Errors
    ///
    /// [`HeapError::TooLarge`], [`HeapError::NoMemory`] after a recovery found nothing either.
    pub fn allocate(&self, bytes: u64) -> Result<Allocation, HeapError> {
        let Some(class) = self.arena.class_for(bytes.div_ceil(8)) else {
            return Err(HeapError::TooLarge { bytes, bytes_max: self.maximum() });
        };
        let Some(lease) = self.try_lease() else {
            return Err(self.arena.lease_error().into());
        };
        let claimed = match lease.claim(class) {
            Ok(claimed) => claimed,
            Err(_) => self.claim_after_recovery(class, bytes, &lease)?,
        };
        Ok(self.own(claimed, bytes, &lease))
    }

    #[cold]
    fn claim_after_recovery<'a>(
        &'a self,
        class: SizeClass,
        bytes: u64,
        lease: &Lease<'a, M>,
    ) -> Result<Claimed, HeapError> {
        let freed = self.recover_with(lease).blocks;
        let claimed = if freed == 0 { None } else { lease.claim(class).ok() };
        claimed.ok_or_else(|| HeapError::NoMemory { bytes, available: self.available() })
    }

    /// The step by which a claimed block is this process's allocation.
    #[inline(always)]
    fn own(&self, claimed: Claimed, bytes: u64, lease: &Lease<'_, M>) -> Allocation {
        let number = self.arena.layout().granule(claimed.block()).unwrap_or(u32::MAX);
        let (generation, me) = (claimed.generation(), lease.record());
        let owner = OwnerWord::new(generation, Holder::Process(me));
        self.touch(me, number);
        let size = SizeWord::new(generation, bytes);
        self.memory().store(self.size_at(number), size.bits(), Store::Relaxed);
        // ORDERING(H1): release, pairs with H2. A plain store: whoever exchanged this word before
        // freed the block afterwards, and a stale exchange fails on the generation.
        self.memory().store(self.owner_at(number), owner.bits(), Store::Release);
        lease.published(claimed);
        Allocation { number, heap: self.tag, generation }
    }

    /// Allocates `count` times `size` bytes, all zero, as every allocation here is.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate); a product that no number holds is too large.
    pub fn allocate_zeroed(&self, count: u64, size: u64) -> Result<Allocation, HeapError> {
        self.allocate(count.saturating_mul(size))
    }

    /// Allocates a copy of these bytes.
    pub fn duplicate(&self, bytes: &[u8]) -> Result<Allocation, HeapError> {
        let copy = self.allocate(bytes.len() as u64)?;
        self.write(copy, 0, bytes)?;
        Ok(copy)
    }

    /// Frees an allocation of this process, or one that is kept. Its bytes are wiped.
    ///
    /// # Errors
    ///
    /// [`HeapError::Freed`] if that was done already, by anybody; of several that try at once one
    /// succeeds. [`HeapError::NotOwner`], [`HeapError::Kept`] for one under a root.
    pub fn free(&self, allocation: Allocation) -> Result<(), HeapError> {
        let owner = match self.mine(allocation) {
            Some(owner) => owner,
            None => self.owner_to_free(allocation)?,
        };
        let Some(lease) = self.try_lease() else {
            return Err(self.arena.lease_error().into());
        };
        if self.release(allocation.number, owner, &lease) {
            return Ok(());
        }
        Err(HeapError::Freed { allocation })
    }

    /// The owner word of an allocation that is this process's, whoever asks: a forked child gets no
    /// lease.
    #[inline(always)]
    fn mine(&self, allocation: Allocation) -> Option<OwnerWord> {
        let me = self.arena.identity()?.record;
        let is_here = allocation.heap == self.tag && allocation.number < self.blocks;
        let owner = is_here.then(|| self.owner(allocation.number))?;
        owner.is_of(allocation.generation, me).then_some(owner)
    }

    /// The owner word of an allocation that may be freed though it is not this process's.
    #[cold]
    fn owner_to_free(&self, allocation: Allocation) -> Result<OwnerWord, HeapError> {
        let owner = self.owner_of(allocation)?;
        if owner.holder() != Holder::Kept {
            self.check_mine(allocation, owner)?;
        }
        Ok(owner)
    }

    /// Takes a block from its owner and retires it. `false`: another hand was quicker.
    #[inline(always)]
    fn release(&self, number: u32, owner: OwnerWord, lease: &Lease<'_, M>) -> bool {
        let is_owned = || self.owner(number) == owner;
        let located = lease.locate_number(number);
        let Some(intended) = located.and_then(|located| lease.intend(located, is_owned)) else {
            return false;
        };
        if !self.exchange_owner(number, owner, Holder::Nobody) {
            lease.withdraw();
            return false;
        }
        if let Some(retired) = lease.retire(intended) {
            lease.reclaim(retired, u64::MAX);
        }
        true
    }

    /// Changes the size of an allocation of this process: where it is if its block holds so much,
    /// else in a new block with the same content. New bytes are zero.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate) and [`free`](Self::free); [`HeapError::Kept`] for one that
    /// is not this process's. The old allocation is as it was then.
    pub fn resize(&self, allocation: Allocation, bytes: u64) -> Result<Allocation, HeapError> {
        self.check_mine(allocation, self.owner_of(allocation)?)?;
        let size = self.size_word(allocation)?;
        let (block, class) = self.block_of(allocation)?;
        if self.arena.class_for(bytes.div_ceil(8)) == Some(class) {
            if bytes < size.bytes() {
                self.zero_tail(block, bytes, size.bytes());
            }
            let resized = SizeWord::new(allocation.generation, bytes);
            let _ = self.memory().compare_exchange(
                self.size_at(allocation.number),
                size.bits(),
                resized.bits(),
                Rmw::Release,
                Load::Relaxed,
            );
            return Ok(allocation);
        }
        let moved = self.allocate(bytes)?;
        let mut content = vec![0; usize::try_from(bytes.min(size.bytes())).unwrap_or(0)];
        let copied = self.read(allocation, 0, &mut content);
        let outcome = copied.and_then(|()| self.write(moved, 0, &content));
        if let Err(error) = outcome.and_then(|()| self.free(allocation)) {
            let _ = self.free(moved);
            return Err(error);
        }
        Ok(moved)
    }

    /// Keeps an allocation of this process beyond its end: from here on anybody may free or take
    /// it.
    pub fn keep(&self, allocation: Allocation) -> Result<(), HeapError> {
        let owner = self.owner_of(allocation)?;
        self.check_mine(allocation, owner)?;
        self.hand_over(allocation, owner, Holder::Kept)
    }

    /// Makes a kept allocation this process's.
    ///
    /// # Errors
    ///
    /// [`HeapError::NotOwner`] for one that a process has; [`HeapError::Kept`] for one under a
    /// root.
    pub fn take(&self, allocation: Allocation) -> Result<(), HeapError> {
        let owner = self.owner_of(allocation)?;
        let me = self.me()?;
        match owner.holder() {
            Holder::Kept => {
                self.touch(me, allocation.number);
                self.hand_over(allocation, owner, Holder::Process(me))
            }
            _ => self.check_mine(allocation, owner),
        }
    }

    fn hand_over(
        &self,
        allocation: Allocation,
        owner: OwnerWord,
        to: Holder,
    ) -> Result<(), HeapError> {
        if self.exchange_owner(allocation.number, owner, to) {
            return Ok(());
        }
        // Somebody else moved it meanwhile: what it is by now says why.
        self.check_mine(allocation, self.owner_of(allocation)?)?;
        Err(HeapError::Freed { allocation })
    }

    /// Bytes of an allocation, as they were asked for.
    pub fn size_of(&self, allocation: Allocation) -> Result<u64, HeapError> {
        self.owner_of(allocation)?;
        Ok(self.size_word(allocation)?.bytes())
    }

    /// Copies bytes out, from a place that is a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`HeapError::Freed`] also if it is freed meanwhile: then what was copied means nothing.
    pub fn read(&self, allocation: Allocation, at: u64, out: &mut [u8]) -> Result<(), HeapError> {
        let from = self.place(allocation, at, out.len() as u64)?;
        self.memory().read_bytes(from, out);
        // ORDERING(H2): acquire fence, pairs with the arena's B2 and B5.
        self.memory().fence(Fence::Acquire);
        self.owner_of(allocation).map(drop)
    }

    /// Copies bytes in, to a place that is a multiple of 8. Bytes beside them stay; whoever writes
    /// to the same word at once may lose.
    pub fn write(&self, allocation: Allocation, at: u64, bytes: &[u8]) -> Result<(), HeapError> {
        let to = self.place(allocation, at, bytes.len() as u64)?;
        let whole = bytes.len() / 8 * 8;
        self.memory().write_bytes(to, &bytes[..whole]);
        let rest = &bytes[whole..];
        if !rest.is_empty() {
            let last = to + whole as u64 / 8;
            let mut word = self.memory().load(last, Load::Relaxed).to_ne_bytes();
            word[..rest.len()].copy_from_slice(rest);
            self.memory().store(last, u64::from_ne_bytes(word), Store::Relaxed);
        }
        Ok(())
    }

    /// First word of an allocation and how many whole words it has: for structures of one's own,
    /// through [`memory`](Self::memory).
    pub fn words_of(&self, allocation: Allocation) -> Result<(Offset, u64), HeapError> {
        let bytes = self.size_of(allocation)?;
        Ok((self.place(allocation, 0, bytes)?, bytes / 8))
    }

    /// Gives back everything of this process: what it owns, its lines, its record.
    ///
    /// A handle cannot be used afterwards:
    ///
    /// ```compile_fail,E0382
    /// fn after<M: shm_arena::Memory>(heap: shm_arena::SharedHeap<M>) {
    ///     heap.detach();
    ///     let _ = heap.allocate(8);
    /// }
    /// ```
    pub fn detach(self) {
        self.end();
        self.arena.detach();
    }

    fn zero_tail(&self, block: Block, from: u64, to: u64) {
        let (first, end) = (from / 8, to.div_ceil(8));
        let mut whole = first;
        if !from.is_multiple_of(8) {
            let mut word = self.memory().load(block.offset() + first, Load::Relaxed).to_ne_bytes();
            word[(from % 8) as usize..].fill(0);
            self.memory().store(block.offset() + first, u64::from_ne_bytes(word), Store::Relaxed);
            whole += 1;
        }
        self.memory().write_zeros(block.offset() + whole, end.saturating_sub(whole));
    }

    /// Range-checks bytes of an allocation.
    fn place(&self, allocation: Allocation, at: u64, bytes: u64) -> Result<Offset, HeapError> {
        self.owner_of(allocation)?;
        let size = self.size_word(allocation)?.bytes();
        let (block, class) = self.block_of(allocation)?;
        let end = at.saturating_add(bytes);
        if end > size || size > u64::from(class.units()) * UNIT_WORDS * 8 {
            return Err(HeapError::Outside { at, end, size });
        }
        if !at.is_multiple_of(8) {
            return Err(HeapError::Unaligned { at });
        }
        Ok(block.offset() + at / 8)
    }

    /// The owner word of an allocation that is one.
    fn owner_of(&self, allocation: Allocation) -> Result<OwnerWord, HeapError> {
        if allocation.heap != self.tag || allocation.number >= self.blocks {
            return Err(HeapError::OtherHeap { allocation });
        }
        let owner = self.owner(allocation.number);
        if owner.generation() != allocation.generation || owner.holder() == Holder::Nobody {
            return Err(HeapError::Freed { allocation });
        }
        Ok(owner)
    }

    fn check_mine(&self, allocation: Allocation, owner: OwnerWord) -> Result<(), HeapError> {
        let me = self.me()?;
        match owner.holder() {
            Holder::Process(record) if record == me => Ok(()),
            Holder::Process(record) | Holder::Moving(record, _) => {
                Err(HeapError::NotOwner { allocation, record: record.0 })
            }
            Holder::Root(_) | Holder::Kept => Err(HeapError::Kept { allocation }),
            Holder::Nobody => Err(HeapError::Freed { allocation }),
            Holder::Damaged => {
                Err(HeapError::Corrupt { what: "owner word", number: allocation.number })
            }
        }
    }

    fn size_word(&self, allocation: Allocation) -> Result<SizeWord, HeapError> {
        let size = self.memory().load(self.size_at(allocation.number), Load::Relaxed);
        let size = SizeWord::from_bits(size);
        if size.generation() != allocation.generation {
            return Err(HeapError::Freed { allocation });
        }
        Ok(size)
    }

    fn block_of(&self, allocation: Allocation) -> Result<(Block, SizeClass), HeapError> {
        self.block(allocation.number).ok_or(HeapError::Freed { allocation })
    }

    /// The block with this number, as its slab is divided.
    fn block(&self, number: u32) -> Option<(Block, SizeClass)> {
        self.arena.numbered_block(number)
    }

    #[inline(always)]
    fn owner(&self, number: u32) -> OwnerWord {
        // ORDERING(H2): acquire, pairs with H1 and H3.
        OwnerWord::from_bits(self.memory().load(self.owner_at(number), Load::Acquire))
    }

    #[inline(always)]
    fn exchange_owner(&self, number: u32, owner: OwnerWord, to: Holder) -> bool {
        // ORDERING(H3): acquire-release, pairs with H2.
        self.memory()
            .compare_exchange(
                self.owner_at(number),
                owner.bits(),
                owner.held_by(to).bits(),
                Rmw::AcqRel,
                Load::Relaxed,
            )
            .is_ok()
    }

    #[inline(always)]
    fn owner_at(&self, number: u32) -> Offset {
        self.arena.layout().index() + (before_blocks(self.roots) + 2 * u64::from(number))
    }

    #[inline(always)]
    fn size_at(&self, number: u32) -> Offset {
        self.owner_at(number) + 1
    }
}
