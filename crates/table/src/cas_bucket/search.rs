//! Finding an entry, and reading it out.

use shm_arena::{Block, Fence, Index, Load, Memory, Offset, Rmw};

use super::word::{FIRST_SLOTS, Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::{EntryShape, EntryView, check_key};

/// An entry as a search saw it: true if the header is still the one that the search began with.
#[derive(Debug)]
pub(super) struct Found<'a, M> {
    /// Where its slot is.
    pub(super) at: Offset,
    /// Bit of its slot in the header.
    pub(super) live_bit: u32,
    pub(super) slot: Slot,
    /// What the entry claims, in the case of a damaged one more than there is.
    pub(super) shape: EntryShape,
    pub(super) entry: EntryView<'a, M>,
}

impl<M> Found<'_, M> {
    /// What is wrong with an entry whose value does not end inside the memory, and where.
    #[cold]
    pub(super) const fn damaged_lengths(&self) -> (&'static str, u64) {
        ("entry lengths", self.slot.block().offset().word())
    }
}

/// What a search saw.
#[derive(Debug)]
pub(super) enum Search<'a, M> {
    Found(Found<'a, M>),
    Absent,
    /// Something that no participant writes, if the header is still the same.
    Damaged {
        what: &'static str,
        word: u64,
    },
}

/// What one look at a bucket gave.
enum Look {
    /// The metadata of the entry, or that there is none, at one instant.
    Seen(Option<u64>),
    /// Somebody changed the bucket meanwhile.
    Changed,
}

/// A key's place: its hash, from which bucket and tag follow.
///
/// One word, on purpose: a look-up that passes more through memory, and reads back wider than it
/// wrote, waits there for everything before it, and successive look-ups no longer overlap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home(u64);

impl Home {
    #[inline(always)]
    pub(super) const fn new(hash: u64) -> Self {
        Self(hash)
    }

    #[inline(always)]
    pub(super) const fn hash(self) -> u64 {
        self.0
    }

    /// The upper half of the hash.
    #[inline(always)]
    pub(super) const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl<M: Memory> CasBucket<M> {
    /// Where the header of a key's bucket is.
    #[inline(always)]
    pub(super) fn at(&self, home: Home) -> Offset {
        self.bucket_at(home.hash())
    }

    /// Index of a key's bucket.
    #[inline(always)]
    pub(super) const fn bucket(&self, home: Home) -> u64 {
        home.hash() & self.bucket_mask
    }

    /// The bucket's header, if it is one.
    #[inline(always)]
    pub(super) fn load_header(&self, at: Offset) -> Result<Header, Error> {
        // ORDERING(R1): acquire, pairs with W2 and W3.
        let header = self.memory().load(at, Load::Acquire);
        self.sound_header(at, header)
    }

    #[inline(always)]
    fn sound_header(&self, at: Offset, header: u64) -> Result<Header, Error> {
        let header = Header::from_bits(header);
        if !header.is_sound(self.dead_bits) {
            return Err(Error::Corrupt { what: "bucket header", word: at.word() });
        }
        Ok(header)
    }

    /// Whether everything read since `header` was loaded was there at one instant.
    #[inline(always)]
    pub(super) fn is_unchanged(&self, at: Offset, header: Header) -> bool {
        // ORDERING(R2): acquire fence, pairs with W1 and with the arena's B2 and B5.
        self.memory().fence(Fence::Acquire);
        self.memory().load(at, Load::Relaxed) == header.bits()
    }

    /// The bucket's header, if it is one, and which slots are live in it and carry the tag: bit
    /// `i` speaks of slot `i`.
    #[inline(always)]
    pub(super) fn load_matches(&self, home: Home, at: Offset) -> Result<(Header, u32), Error> {
        if self.slots < FIRST_SLOTS {
            return self.load_matches_of_few(home);
        }
        // ORDERING(R1): acquire, pairs with W2 and W3.
        let (header, matches) = self.memory().load_and_match(at, home.tag());
        let header = self.sound_header(at, header)?;
        let live = header.live();
        let mut matches = matches >> 1;
        if live >> FIRST_SLOTS != 0 {
            matches |= self.matches_in_rest(home, live);
        }
        Ok((header, matches & live))
    }

    /// The same in a bucket that does not fill its line.
    #[cold]
    fn load_matches_of_few(&self, home: Home) -> Result<(Header, u32), Error> {
        let at = self.at(home);
        let header = self.load_header(at)?;
        let matches = self.memory().match_tags(at, home.tag(), self.slots + 1);
        Ok((header, matches >> 1 & header.live()))
    }

    /// The same for the slots of the second part.
    #[cold]
    fn matches_in_rest(&self, home: Home, live: u32) -> u32 {
        let at = self.rest_at(home.hash());
        let mut matches = self.memory().match_tags(at, home.tag(), 8) << FIRST_SLOTS;
        if live >> (FIRST_SLOTS + 8) != 0 {
            matches |= self.memory().match_tags(at + 8, home.tag(), 8) << (FIRST_SLOTS + 8);
        }
        matches
    }

    /// Looks for a key among the slots that are live and carry its tag.
    #[inline(always)]
    pub(super) fn search(&self, home: Home, at: Offset, matches: u32, key: &[u8]) -> Search<'_, M> {
        if matches == 0 {
            return Search::Absent;
        }
        let number = matches.trailing_zeros();
        match self.try_slot(self.slot_of(home, at, number), number, key) {
            Search::Absent => self.search_rest(home, matches & (matches - 1), key),
            seen => seen,
        }
    }

    /// Goes on after a tag that matched where the key does not: rare, and out of the way.
    #[cold]
    fn search_rest(&self, home: Home, mut matches: u32, key: &[u8]) -> Search<'_, M> {
        while matches != 0 {
            let number = matches.trailing_zeros();
            match self.try_slot(self.slot_at(home.hash(), number), number, key) {
                Search::Absent => matches &= matches - 1,
                seen => return seen,
            }
        }
        Search::Absent
    }

    /// The word of a slot of a key's bucket, whose header is at `at`.
    #[inline(always)]
    fn slot_of(&self, home: Home, at: Offset, number: u32) -> Offset {
        if number < FIRST_SLOTS {
            return at + u64::from(number + 1);
        }
        self.slot_of_rest(home, number)
    }

    #[cold]
    fn slot_of_rest(&self, home: Home, number: u32) -> Offset {
        self.slot_at(home.hash(), number)
    }

    /// Compares the key with that of the entry which one slot of the bucket names.
    #[inline(always)]
    fn try_slot(&self, at: Offset, number: u32, key: &[u8]) -> Search<'_, M> {
        let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
        let Some(entry) = EntryView::new(&self.arena, slot.block()) else {
            return Search::Damaged { what: "slot's block", word: at.word() };
        };
        entry.prefetch();
        let shape = entry.claimed_shape();
        if !entry.has_key(shape, key) {
            return Search::Absent;
        }
        // The same length, but known before the entry's first line has come: where the value starts
        // does not wait for it.
        let shape = EntryShape::new(key.len(), shape.value_bytes);
        Search::Found(Found { at, live_bit: 1 << number, slot, shape, entry })
    }

    /// The `get` of the contract.
    #[inline(always)]
    pub(super) fn read(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        check_key(key)?;
        let home = Home::new(self.arena.hasher().hash(key));
        match self.look_once(home, key, value) {
            Ok(Look::Changed) => self.look_again(home, key, value),
            Ok(Look::Seen(metadata)) => Ok(metadata),
            Err(error) => Err(error),
        }
    }

    /// Repeats a look at a bucket that changed. Apart from the first one, whose instructions are
    /// few enough for the next look-up's misses to overlap with this one's.
    #[cold]
    fn look_again(
        &self,
        home: Home,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<u64>, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            if let Look::Seen(metadata) = self.look_once(home, key, value)? {
                return Ok(metadata);
            }
        }
        Err(self.contended(home))
    }

    #[inline(always)]
    fn look_once(&self, home: Home, key: &[u8], value: &mut Vec<u8>) -> Result<Look, Error> {
        // Once, here: after each acquire the compiler would compute it anew.
        let at = self.at(home);
        let (header, matches) = self.load_matches(home, at)?;
        let mut seen = None;
        if matches == 0 {
            value.clear();
        } else if let number = matches.trailing_zeros()
            && let Search::Found(found) = self.try_slot(self.slot_of(home, at, number), number, key)
            && let metadata = found.entry.metadata()
            && found.entry.read_claimed_value(found.shape, value)
        {
            seen = Some(metadata);
        } else {
            return self.look_at_all(home, (header, matches), key, value);
        }
        let unchanged = self.is_unchanged(at, header);
        Ok(if unchanged { Look::Seen(seen) } else { Look::Changed })
    }

    /// The same after a first tag that matched where the key does not.
    #[cold]
    fn look_at_all(
        &self,
        home: Home,
        (header, matches): (Header, u32),
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Look, Error> {
        let mut seen = None;
        let damage = match self.search(home, self.at(home), matches, key) {
            Search::Found(found) => {
                seen = Some(found.entry.metadata());
                let is_whole = found.entry.read_claimed_value(found.shape, value);
                (!is_whole).then(|| found.damaged_lengths())
            }
            Search::Absent => {
                value.clear();
                None
            }
            Search::Damaged { what, word } => Some((what, word)),
        };
        match (self.is_unchanged(self.at(home), header), damage) {
            (true, Some((what, word))) => Err(Error::Corrupt { what, word }),
            (true, None) => Ok(Look::Seen(seen)),
            (false, _) => Ok(Look::Changed),
        }
    }

    pub(super) fn contended(&self, home: Home) -> Error {
        Error::Contended { bucket: self.bucket(home), turns: TURNS_MAX }
    }

    /// Empties a slot whose live bit is clear and whose block the caller owns.
    pub(super) fn empty_slot(&self, at: Offset, slot: Slot) {
        // ORDERING(W4): release, pairs with W1. Only the block's owner changes this word, so the
        // exchange fails only where it is empty already.
        let _ = self.memory().compare_exchange(
            at,
            slot.bits(),
            Slot::EMPTY.bits(),
            Rmw::Release,
            Load::Relaxed,
        );
    }

    /// The slots of a block's home bucket that name it: offset, word, live.
    fn slots_naming(&self, block: Block) -> Option<Vec<(Offset, Slot, bool)>> {
        let hash = EntryView::new(&self.arena, block)?.hash();
        let home = Home::new(hash);
        let at = self.at(home);
        for _ in 0..TURNS_MAX {
            let header = self.load_header(at).ok()?;
            let naming = (0..self.slots)
                .map(|slot| {
                    let at = self.slot_at(home.hash(), slot);
                    let word = Slot::from_bits(self.memory().load(at, Load::Acquire));
                    (at, word, header.live() >> slot & 1 == 1)
                })
                .filter(|(_, word, _)| word.block() == block)
                .collect();
            if self.is_unchanged(at, header) {
                return Some(naming);
            }
        }
        None
    }
}

impl<M: Memory> Index for CasBucket<M> {
    fn references(&self, block: Block) -> Option<bool> {
        // A block that is in no slab is in no bucket either.
        if EntryView::new(&self.arena, block).is_none() {
            return Some(false);
        }
        Some(self.slots_naming(block)?.iter().any(|&(_, _, live)| live))
    }

    fn forget(&self, block: Block) {
        for (at, slot, live) in self.slots_naming(block).unwrap_or_default() {
            if !live {
                self.empty_slot(at, slot);
            }
        }
    }
}
