//! Finding an entry, and reading it out.

use shm_arena::{Block, Fence, Index, Load, Memory, Offset, Rmw};

use super::word::{Header, SLOTS_MAX, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::{EntryShape, EntryView, check_key};

/// An entry as a search saw it: true if the header is still the one that the search began with.
#[derive(Debug)]
pub(super) struct Found<'a, M> {
    /// Bit of its slot in the header.
    pub(super) live_bit: u32,
    pub(super) slot: Slot,
    pub(super) shape: EntryShape,
    pub(super) entry: EntryView<'a, M>,
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

/// A key's place: everything that follows from its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    pub(super) at: Offset,
    pub(super) bucket: u64,
    pub(super) tag: u32,
}

impl<M: Memory> CasBucket<M> {
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> Home {
        let bucket = hash & self.bucket_mask;
        #[expect(clippy::cast_possible_truncation, reason = "the upper half has 32 bits")]
        let tag = (hash >> 32) as u32;
        Home { at: self.bucket_at(bucket), bucket, tag }
    }

    /// The bucket's header, if it is one.
    #[inline(always)]
    pub(super) fn load_header(&self, at: Offset) -> Result<Header, Error> {
        // ORDERING(R1): acquire, pairs with W2 and W3.
        let header = Header::from_bits(self.memory().load(at, Load::Acquire));
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

    /// Words of the bucket whose slot is live and carries the tag: bit `i` speaks of word `i`.
    #[inline(always)]
    fn matches(&self, home: Home, header: Header) -> u32 {
        let live_words = header.live() << 1;
        if self.slots != SLOTS_MAX {
            return self.matches_of_few(home, live_words);
        }
        let mut matches = self.memory().match_tags(home.at, home.tag, 8);
        if live_words > 0xff {
            matches |= self.memory().match_tags(home.at + 8, home.tag, 8) << 8;
        }
        matches & live_words
    }

    /// The same for buckets of other sizes than the ordinary one.
    #[cold]
    fn matches_of_few(&self, home: Home, live_words: u32) -> u32 {
        let words = self.slots + 1;
        let mut matches = self.memory().match_tags(home.at, home.tag, words.min(8));
        if live_words > 0xff {
            matches |= self.memory().match_tags(home.at + 8, home.tag, words - 8) << 8;
        }
        matches & live_words
    }

    /// Looks for a key among the slots that are live in `header`.
    #[inline(always)]
    pub(super) fn search(&self, home: Home, header: Header, key: &[u8]) -> Search<'_, M> {
        let matches = self.matches(home, header);
        if matches == 0 {
            return Search::Absent;
        }
        match self.try_word(home, matches.trailing_zeros(), key) {
            Search::Absent => self.search_rest(home, matches & (matches - 1), key),
            seen => seen,
        }
    }

    /// Goes on after a tag that matched where the key does not: rare, and out of the way.
    #[cold]
    fn search_rest(&self, home: Home, mut matches: u32, key: &[u8]) -> Search<'_, M> {
        while matches != 0 {
            match self.try_word(home, matches.trailing_zeros(), key) {
                Search::Absent => matches &= matches - 1,
                seen => return seen,
            }
        }
        Search::Absent
    }

    /// Compares the key with that of the entry which one word of the bucket names.
    #[inline(always)]
    fn try_word(&self, home: Home, word: u32, key: &[u8]) -> Search<'_, M> {
        let at = home.at + u64::from(word);
        let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
        let Some(entry) = EntryView::new(&self.arena, slot.block()) else {
            return Search::Damaged { what: "slot's block", word: at.word() };
        };
        let Some(shape) = entry.shape() else {
            let word = slot.block().offset().word();
            return Search::Damaged { what: "entry lengths", word };
        };
        if !entry.has_key(shape, key) {
            return Search::Absent;
        }
        Search::Found(Found { live_bit: 1 << (word - 1), slot, shape, entry })
    }

    /// The `get` of the contract.
    #[inline]
    pub(super) fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        check_key(key)?;
        let home = self.home(self.arena.hasher().hash(key));
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
        let header = self.load_header(home.at)?;
        let seen = match self.search(home, header, key) {
            Search::Found(found) => {
                let metadata = found.entry.metadata();
                found.entry.read_value(found.shape, value);
                Some(metadata)
            }
            Search::Absent => {
                value.clear();
                None
            }
            Search::Damaged { what, word } => {
                return if self.is_unchanged(home.at, header) {
                    Err(Error::Corrupt { what, word })
                } else {
                    Ok(Look::Changed)
                };
            }
        };
        let unchanged = self.is_unchanged(home.at, header);
        Ok(if unchanged { Look::Seen(seen) } else { Look::Changed })
    }

    pub(super) fn contended(&self, home: Home) -> Error {
        Error::Contended { bucket: home.bucket, turns: TURNS_MAX }
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
        let at = self.home(hash).at;
        for _ in 0..TURNS_MAX {
            let header = self.load_header(at).ok()?;
            let naming = (0..self.slots)
                .map(|slot| {
                    let at = at + (u64::from(slot) + 1);
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
