//! Named roots: where a newcomer finds what others keep.

use super::word::{Holder, OwnerWord, RootHeader};
use super::{Allocation, HeapError, SharedHeap};
use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store};
use crate::participant::Identity;

/// Words of a root.
pub(super) const ROOT_WORDS: u64 = 8;

/// Bytes of the longest name: six words, less one byte for its length.
const NAME_BYTES_MAX: usize = 47;

/// Attempts at a change of the roots; each that fails means that somebody else's succeeded.
const TURNS_MAX: u32 = 1 << 12;

/// A name as it lies in a root: its length and its bytes.
type NameBytes = [u8; NAME_BYTES_MAX + 1];

/// What looking a name up came to.
enum Search {
    /// No live root has the name.
    Absent,
    /// This root has it, and this block hangs there or is on its way.
    Found(u32, Allocation, OwnerWord),
    /// This root has it, and its block is gone: the heap was reset.
    Dangling(u32),
    /// The roots changed meanwhile.
    Changed,
}

impl<M: Memory> SharedHeap<M> {
    /// Hangs an allocation of this process under a new name. It stays until it is
    /// [unhung](Self::unhang), whoever lives, and any process finds it.
    ///
    /// # Errors
    ///
    /// [`HeapError::RootTaken`], [`HeapError::NoRoot`], [`HeapError::RootName`]; those of
    /// [`keep`](Self::keep).
    pub fn hang(&self, name: &str, allocation: Allocation) -> Result<(), HeapError> {
        let bytes = name_bytes(name)?;
        let owner = self.owner_of(allocation)?;
        self.check_mine(allocation, owner)?;
        let me = self.arena.acting_identity()?;
        let mut claimed = None;
        let hung = self.hang_claimed(name, &bytes, (allocation, owner), me, &mut claimed);
        if let (Err(_), Some(root)) = (&hung, claimed) {
            let moving = owner.held_by(Holder::Moving(me.record, root));
            self.exchange_owner(allocation.number, moving, owner.holder());
            self.unclaim(root);
        }
        hung
    }

    /// Repeats attempts; on return `claimed` is the root that was claimed.
    fn hang_claimed(
        &self,
        name: &str,
        bytes: &NameBytes,
        (allocation, owner): (Allocation, OwnerWord),
        me: Identity,
        claimed: &mut Option<u32>,
    ) -> Result<(), HeapError> {
        for _ in 0..TURNS_MAX {
            let header = self.root_header();
            match self.search(header, bytes) {
                Search::Absent => {}
                Search::Found(..) => return Err(HeapError::RootTaken { name: name.to_owned() }),
                Search::Dangling(root) => {
                    if self.exchange_roots(header, header.with(root, false)) {
                        self.unclaim(root);
                    }
                    continue;
                }
                Search::Changed => continue,
            }
            let root = match *claimed {
                Some(root) => root,
                None => {
                    let root = self.claim_root(header, me)?;
                    *claimed = Some(root);
                    self.write_root(root, allocation, bytes);
                    let moving = Holder::Moving(me.record, root);
                    if !self.exchange_owner(allocation.number, owner, moving) {
                        return Err(HeapError::Freed { allocation });
                    }
                    root
                }
            };
            if self.exchange_roots(header, header.with(root, true)) {
                let moving = owner.held_by(Holder::Moving(me.record, root));
                // Fails only where the heap was reset meanwhile.
                self.exchange_owner(allocation.number, moving, Holder::Root(root));
                return Ok(());
            }
        }
        Err(HeapError::Contended { turns: TURNS_MAX })
    }

    /// What hangs under a name.
    ///
    /// # Errors
    ///
    /// [`HeapError::UnknownRoot`].
    pub fn root(&self, name: &str) -> Result<Allocation, HeapError> {
        let bytes = name_bytes(name)?;
        for _ in 0..TURNS_MAX {
            match self.search(self.root_header(), &bytes) {
                Search::Found(_, allocation, _) => return Ok(allocation),
                Search::Absent | Search::Dangling(_) => {
                    return Err(HeapError::UnknownRoot { name: name.to_owned() });
                }
                Search::Changed => {}
            }
        }
        Err(HeapError::Contended { turns: TURNS_MAX })
    }

    /// Takes what hangs under a name; the name is gone and the allocation this process's.
    ///
    /// # Errors
    ///
    /// [`HeapError::UnknownRoot`]; [`HeapError::RootBusy`] while another process hangs or unhangs
    /// it.
    pub fn unhang(&self, name: &str) -> Result<Allocation, HeapError> {
        let bytes = name_bytes(name)?;
        let me = self.arena.acting_identity()?;
        for _ in 0..TURNS_MAX {
            let (root, allocation, owner) = match self.search(self.root_header(), &bytes) {
                Search::Found(root, allocation, owner) => (root, allocation, owner),
                Search::Absent | Search::Dangling(_) => {
                    return Err(HeapError::UnknownRoot { name: name.to_owned() });
                }
                Search::Changed => continue,
            };
            if let Holder::Moving(record, _) = owner.holder() {
                return Err(HeapError::RootBusy { name: name.to_owned(), record: record.0 });
            }
            let moving = Holder::Moving(me.record, root);
            self.touch(me.record, allocation.number);
            if self.exchange_owner(allocation.number, owner, moving) {
                self.take_down(root, me)?;
                let moving = owner.held_by(moving);
                self.exchange_owner(allocation.number, moving, Holder::Process(me.record));
                self.unclaim(root);
                return Ok(allocation);
            }
        }
        Err(HeapError::Contended { turns: TURNS_MAX })
    }

    /// Clears the live bit of a root whose block this process is moving, so nobody else does.
    ///
    /// CRASH(take down): the root is claimed by this process first, so that a death after the
    /// exchange leaves it to the next claimer.
    fn take_down(&self, root: u32, me: Identity) -> Result<(), HeapError> {
        self.memory().store(self.root_at(root), me.owner_word(), Store::Release);
        for _ in 0..TURNS_MAX {
            let header = self.root_header();
            if !header.is_live(root) || self.exchange_roots(header, header.with(root, false)) {
                return Ok(());
            }
        }
        Err(HeapError::Contended { turns: TURNS_MAX })
    }

    /// Claims a root that is not live: one that is nobody's, or a dead claimer's.
    fn claim_root(&self, header: RootHeader, me: Identity) -> Result<u32, HeapError> {
        for root in (0..self.roots).filter(|&root| !header.is_live(root)) {
            let at = self.root_at(root);
            let claimer = self.memory().load(at, Load::Acquire);
            let is_free = claimer == 0 || self.arena.is_gone(Identity::from_owner_word(claimer));
            let mine = me.owner_word();
            if is_free
                && self
                    .memory()
                    .compare_exchange(at, claimer, mine, Rmw::AcqRel, Load::Relaxed)
                    .is_ok()
            {
                return Ok(root);
            }
        }
        Err(HeapError::NoRoot { roots: self.roots })
    }

    pub(super) fn unclaim(&self, root: u32) {
        self.memory().store(self.root_at(root), 0, Store::Release);
    }

    fn write_root(&self, root: u32, allocation: Allocation, name: &NameBytes) {
        // ORDERING(H4): release, so that a reader that sees the new name sees that the root it
        // belonged to is gone.
        self.memory().fence(Fence::Release);
        let named = (allocation.generation << 32) | (u64::from(allocation.number) + 1);
        self.memory().store(self.root_at(root) + 1, named, Store::Relaxed);
        self.memory().write_bytes(self.root_at(root) + 2, name);
    }

    pub(super) fn root_header(&self) -> RootHeader {
        // ORDERING(H5): acquire, pairs with H4.
        RootHeader::from_bits(self.memory().load(self.roots_at(), Load::Acquire))
    }

    pub(super) fn exchange_roots(&self, from: RootHeader, to: RootHeader) -> bool {
        // ORDERING(H4): acquire-release, pairs with H5.
        self.memory()
            .compare_exchange(self.roots_at(), from.bits(), to.bits(), Rmw::AcqRel, Load::Relaxed)
            .is_ok()
    }

    fn search(&self, header: RootHeader, name: &NameBytes) -> Search {
        for root in (0..self.roots).filter(|&root| header.is_live(root)) {
            if !self.memory().equals(self.root_at(root) + 2, name) {
                continue;
            }
            let hanging = self.hanging(root);
            // ORDERING(H5): acquire fence, pairs with H4.
            self.memory().fence(Fence::Acquire);
            if self.memory().load(self.roots_at(), Load::Relaxed) != header.bits() {
                return Search::Changed;
            }
            return match hanging {
                Some((allocation, owner)) => Search::Found(root, allocation, owner),
                None => Search::Dangling(root),
            };
        }
        self.memory().fence(Fence::Acquire);
        match self.memory().load(self.roots_at(), Load::Relaxed) == header.bits() {
            true => Search::Absent,
            false => Search::Changed,
        }
    }

    /// The block that a root names, if it is there or on its way there or away.
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
    pub(super) fn hanging(&self, root: u32) -> Option<(Allocation, OwnerWord)> {
        let named = self.memory().load(self.root_at(root) + 1, Load::Relaxed);
        let number = (named as u32).checked_sub(1).filter(|&number| number < self.blocks)?;
        let owner = self.owner(number);
        let is_there = match owner.holder() {
            Holder::Root(at) | Holder::Moving(_, at) => at == root,
            _ => false,
        };
        let generation = owner.generation();
        let same_life = generation as u32 == (named >> 32) as u32;
        let allocation = Allocation { number, heap: self.tag, generation };
        (is_there && same_life).then_some((allocation, owner))
    }

    /// The name of a root, as far as it is one.
    pub(super) fn root_name(&self, root: u32) -> String {
        let mut bytes = [0; NAME_BYTES_MAX + 1];
        self.memory().read_bytes(self.root_at(root) + 2, &mut bytes);
        let length = usize::from(bytes[0]).min(NAME_BYTES_MAX);
        String::from_utf8_lossy(&bytes[1..=length]).into_owned()
    }

    fn roots_at(&self) -> Offset {
        self.arena.layout().index()
    }

    fn root_at(&self, root: u32) -> Offset {
        self.roots_at() + (8 + u64::from(root) * ROOT_WORDS)
    }
}

fn name_bytes(name: &str) -> Result<NameBytes, HeapError> {
    let length = name.len();
    let mut bytes = [0; NAME_BYTES_MAX + 1];
    match u8::try_from(length) {
        Ok(short) if (1..=NAME_BYTES_MAX).contains(&length) => bytes[0] = short,
        _ => return Err(HeapError::RootName { bytes: length, bytes_max: NAME_BYTES_MAX }),
    }
    bytes[1..=length].copy_from_slice(name.as_bytes());
    Ok(bytes)
}
