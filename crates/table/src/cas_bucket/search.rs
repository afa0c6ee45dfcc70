//! Finding an entry, and reading it out.

use shm_arena::{Block, Fence, Index, Line, Load, Memory, Offset, Rmw, Store};

use super::areas::Bucket;
use super::root::Root;
use super::view::View;
use super::word::{FIRST_SLOTS, Header, Slot, slots_of};
use super::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::{EntryLine, EntryShape, EntryView, Near, check_key};

/// An entry as a search saw it: true if the header is still the one that the search began with.
#[derive(Debug)]
pub(super) struct Found<'a, M> {
    pub(super) named: Named,
    /// What the entry claims, in the case of a damaged one more than there is.
    pub(super) shape: EntryShape,
    pub(super) entry: EntryView<'a, M>,
}

impl<M> Found<'_, M> {
    /// What is wrong with an entry whose value does not end inside the memory, and where.
    pub(super) const fn damaged_lengths(&self) -> (&'static str, u64) {
        ("entry lengths", self.named.slot.block().offset().word())
    }
}

/// A slot of a bucket, as it was read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    /// Where it is.
    pub(super) at: Offset,
    pub(super) number: u32,
    pub(super) slot: Slot,
}

impl Named {
    /// Its bit in the header.
    #[inline(always)]
    pub(super) const fn live_bit(self) -> u32 {
        1 << self.number
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

/// The slots of a bucket that name a block.
struct Naming {
    /// Offset, word, whether it is live.
    slots: Vec<(Offset, Slot, bool)>,
    /// The epoch of the bucket's life; `None` if it is being moved.
    epoch: Option<u32>,
}

/// What one look at a bucket gave.
enum Look {
    /// The metadata of the entry, or that there is none, at one instant.
    Seen(Option<u64>),
    /// That it takes another look.
    Unclear,
}

impl<M: Memory> CasBucket<M> {
    /// The root word: of a table that has one size, always the same.
    #[inline(always)]
    pub(super) fn root(&self) -> Root {
        if self.areas.is_fixed() {
            return Root::first(self.areas.exponent_min());
        }
        // ORDERING(G1): acquire, pairs with G2.
        Root::from_bits(self.memory().load(self.root_word(), Load::Acquire))
    }

    /// The bucket that most likely speaks for a hash.
    #[inline(always)]
    pub(super) fn likely_bucket(&self, hash: u64) -> Result<Bucket, Error> {
        if self.areas.is_fixed() {
            return Ok(self.areas.bucket_of_smallest(hash));
        }
        self.areas.bucket(hash, self.root())
    }

    /// Whether a bucket, whose header was found open before, was then in the life that its stamp
    /// speaks of.
    #[inline(always)]
    pub(super) fn is_current(&self, bucket: Bucket) -> bool {
        self.areas.is_fixed() || self.is_current_life(bucket.stamp.epoch())
    }

    fn is_current_life(&self, epoch: u32) -> bool {
        // Behind the acquiring load of a header, so never older than the root that opened it.
        let root = Root::from_bits(self.memory().load(self.root_word(), Load::Relaxed));
        let is_heir = || root.target().is_some() && root.epoch().wrapping_add(1) == epoch;
        root.epoch() == epoch || is_heir()
    }

    /// The bucket's header, whatever it says.
    #[inline(always)]
    pub(super) fn load_header(&self, at: Offset) -> Header {
        // ORDERING(R1): acquire, pairs with W2 and W3.
        Header::from_bits(self.memory().load(at, Load::Acquire))
    }

    /// Whether a bucket is in use and its header is one.
    #[inline(always)]
    pub(super) fn is_open(&self, header: Header) -> bool {
        self.slots.is_open(header)
    }

    /// Whether everything read since `header` was loaded was there at one instant.
    #[inline(always)]
    pub(super) fn is_unchanged(&self, at: Offset, header: Header) -> bool {
        Self::is_line_unchanged(Line::by_words(self.memory(), at), header)
    }

    /// The same of a bucket whose first line, or what there is of it, is this one.
    #[inline(always)]
    pub(super) fn is_line_unchanged(line: Line<'_, M>, header: Header) -> bool {
        // ORDERING(R2): acquire fence, pairs with W1 and with the arena's B2 and B5.
        line.memory().fence(Fence::Acquire);
        line.load(0, Load::Relaxed) == header.bits()
    }

    /// The bucket's header, and which slots are live in it and carry the tag: bit `i` speaks of
    /// slot `i`. Means nothing if the bucket is not open.
    #[inline(always)]
    pub(super) fn load_matches(&self, bucket: Bucket) -> (Header, u32) {
        let (header, matches) = self.load_matches_of_first(bucket);
        (header, self.with_rest(bucket, header, matches))
    }

    /// The same slots, and those of the rest.
    #[inline(always)]
    pub(super) fn with_rest(&self, bucket: Bucket, header: Header, matches: u32) -> u32 {
        match self.has_rest(header) {
            true => matches | self.matches_in_rest(bucket, self.slots.live(header)),
            false => matches,
        }
    }

    /// The same for the slots of the first line alone.
    #[inline(always)]
    fn load_matches_of_first(&self, bucket: Bucket) -> (Header, u32) {
        if self.has_few_slots() || self.memory().line(bucket.at).is_none() {
            return self.load_matches_of_few(bucket);
        }
        // ORDERING(R1): acquire, pairs with W2 and W3.
        let (header, matches) = self.memory().load_and_match(bucket.at, bucket.stamp.tag());
        let header = Header::from_bits(header);
        (header, matches >> 1 & self.slots.live(header) & ((1 << FIRST_SLOTS) - 1))
    }

    /// Whether buckets do not fill their line: only in tables that are made so.
    #[inline(always)]
    pub(super) fn has_few_slots(&self) -> bool {
        self.slots.count < FIRST_SLOTS
    }

    /// A look at the first line of a bucket, for an update: its header, and which of its words are
    /// live and carry the tag. `None`: the bucket is not in use, or its line is none.
    #[inline(always)]
    pub(super) fn look_at_line(
        &self,
        bucket: Bucket,
        is_of_few: bool,
    ) -> Option<(Line<'_, M>, Header, u32)> {
        let (line, header, named) = match is_of_few {
            true => {
                let (header, matches) = self.load_matches_of_few(bucket);
                (Line::by_words(self.memory(), bucket.at), header, matches << 1)
            }
            false => {
                let line = self.memory().line(bucket.at)?;
                // ORDERING(R1): acquire, pairs with W2 and W3.
                let (header, matches) = self.memory().load_and_match(bucket.at, bucket.stamp.tag());
                let header = Header::from_bits(header);
                (line, header, matches & header.live_words())
            }
        };
        (self.is_open(header) && self.is_current(bucket)).then_some((line, header, named))
    }

    /// Whether any slot beyond the first line is live.
    #[inline(always)]
    pub(super) fn has_rest(&self, header: Header) -> bool {
        self.slots.live(header) >> FIRST_SLOTS != 0
    }

    /// The same in a bucket that does not fill its line, or whose line is none.
    #[cold]
    fn load_matches_of_few(&self, bucket: Bucket) -> (Header, u32) {
        let header = self.load_header(bucket.at);
        let words = self.slots.count.min(FIRST_SLOTS) + 1;
        let matches = self.memory().match_tags(bucket.at, bucket.stamp.tag(), words);
        (header, matches >> 1 & self.slots.live(header))
    }

    /// The same for the slots of the second part.
    #[cold]
    fn matches_in_rest(&self, bucket: Bucket, live: u32) -> u32 {
        let in_rest = slots_of(live >> FIRST_SLOTS << FIRST_SLOTS);
        in_rest.fold(0, |matches, number| {
            let Named { slot, .. } = self.named(self.areas.slot(bucket.at, number), number);
            matches | u32::from(slot.stamped_tag() == bucket.stamp.tag()) << number
        })
    }

    /// Looks for a key among the slots that are live and carry its tag.
    #[inline(always)]
    pub(super) fn search(&self, at: Offset, matches: u32, key: &[u8], near: Near) -> Search<'_, M> {
        if matches == 0 {
            return Search::Absent;
        }
        let named = self.first_named(at, matches);
        near.bring_entry(self.memory(), named.slot.block());
        match self.try_slot(named, key) {
            Search::Absent => self.search_rest(at, matches & (matches - 1), key, near),
            seen => seen,
        }
    }

    /// What the first of these slots names: almost always the one.
    #[inline(always)]
    fn first_named(&self, at: Offset, matches: u32) -> Named {
        let number = matches.trailing_zeros();
        self.named(self.slot_of(at, number), number)
    }

    #[inline(always)]
    fn named(&self, at: Offset, number: u32) -> Named {
        let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
        Named { at, number, slot }
    }

    /// Goes on after a tag that matched where the key does not: rare, and out of the way.
    #[cold]
    fn search_rest(&self, at: Offset, matches: u32, key: &[u8], near: Near) -> Search<'_, M> {
        for number in slots_of(matches) {
            let named = self.named(self.areas.slot(at, number), number);
            near.bring_entry(self.memory(), named.slot.block());
            match self.try_slot(named, key) {
                Search::Absent => {}
                seen => return seen,
            }
        }
        Search::Absent
    }

    /// The word of a slot of the bucket whose header is at `at`.
    #[inline(always)]
    fn slot_of(&self, at: Offset, number: u32) -> Offset {
        if number < FIRST_SLOTS {
            return at + u64::from(number + 1);
        }
        self.slot_of_rest(at, number)
    }

    #[cold]
    fn slot_of_rest(&self, at: Offset, number: u32) -> Offset {
        self.areas.slot(at, number)
    }

    /// Compares the key with that of the entry which one slot of the bucket names, and which has
    /// been asked for.
    #[inline(always)]
    fn try_slot(&self, named: Named, key: &[u8]) -> Search<'_, M> {
        let Some(entry) = EntryView::new(&self.arena, named.slot.block()) else {
            return Search::Damaged { what: "slot's block", word: named.at.word() };
        };
        let shape = entry.claimed_shape();
        if !entry.has_key(shape, key) {
            return Search::Absent;
        }
        // The same length, but known before the entry's first line has come: where the value starts
        // does not wait for it.
        let shape = EntryShape::new(key.len(), shape.value_bytes);
        Search::Found(Found { named, shape, entry })
    }

    /// The `get` of the contract.
    #[inline(always)]
    pub(super) fn read(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        check_key(key)?;
        let hash = self.arena.hasher().hash(key);
        match self.look_once(hash, key, value)? {
            Look::Seen(metadata) => Ok(metadata),
            Look::Unclear => self.look_again(hash, key, value),
        }
    }

    /// One look at the bucket that most likely has the key. Apart from what follows if it does not
    /// settle the matter: its instructions are few enough for the next look-up's misses to overlap
    /// with this one's.
    #[inline(always)]
    fn look_once(&self, hash: u64, key: &[u8], value: &mut Vec<u8>) -> Result<Look, Error> {
        if !self.is_plain {
            return self.look_once_at_any(hash, key, value);
        }
        let Bucket { at, stamp } = self.areas.bucket_of_smallest(hash);
        let Some(line) = self.memory().line(at) else { return Ok(Look::Unclear) };
        // ORDERING(R1): acquire, pairs with W2 and W3.
        let (header, matches) = self.memory().load_and_match(at, stamp.tag());
        let header = Header::from_bits(header);
        let named = matches & header.live_words();
        Ok(match named {
            0 if self.has_rest(header) => Look::Unclear,
            0 => Self::look_for_nothing(line, header, value),
            _ => self.look_at(line, header, named, key, value),
        })
    }

    /// The same where a bucket may be out of use, or does not fill its line.
    fn look_once_at_any(&self, hash: u64, key: &[u8], value: &mut Vec<u8>) -> Result<Look, Error> {
        let bucket = self.likely_bucket(hash)?;
        let line = match self.has_few_slots() {
            true => Some(Line::by_words(self.memory(), bucket.at)),
            false => self.memory().line(bucket.at),
        };
        let Some(line) = line else { return Ok(Look::Unclear) };
        let (header, matches) = self.load_matches_of_first(bucket);
        if !self.is_open(header) || matches == 0 && self.has_rest(header) {
            return Ok(Look::Unclear);
        }
        Ok(match matches {
            0 => match Self::look_for_nothing(line, header, value) {
                Look::Seen(_) if !self.is_current(bucket) => Look::Unclear,
                look => look,
            },
            _ => self.look_at(line, header, matches << 1, key, value),
        })
    }

    /// What follows of a bucket in use without a slot that carries the tag.
    #[inline(always)]
    fn look_for_nothing(line: Line<'_, M>, header: Header, value: &mut Vec<u8>) -> Look {
        value.clear();
        if Self::is_line_unchanged(line, header) { Look::Seen(None) } else { Look::Unclear }
    }

    /// What follows of the first line of a bucket in use, of which these words carry the tag: bit
    /// `i` speaks of word `i`.
    #[inline(always)]
    fn look_at(
        &self,
        line: Line<'_, M>,
        header: Header,
        named: u32,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Look {
        let slot = Slot::from_bits(line.load(named.trailing_zeros(), Load::Relaxed));
        Near::ToRead.bring_entry(self.memory(), slot.block());
        // What is in no block is no entry, and for a closer look to say.
        if let Some(entry) = EntryLine::new(self.memory(), slot.block())
            && let Some(shape) = entry.shape_if(key)
            && let metadata = entry.metadata()
            && entry.read_value(shape, value)
            && Self::is_line_unchanged(line, header)
        {
            return Look::Seen(Some(metadata));
        }
        Look::Unclear
    }

    /// Looks until the answer is sure: after a change of the bucket, or a first tag that matched
    /// where the key does not, and wherever the bucket is while the table changes its size.
    #[cold]
    fn look_again(&self, hash: u64, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let view = self.view(hash)?;
            let mut seen = None;
            let damage = match self.search_view(&view, key) {
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
            if self.holds(&view) {
                return match damage {
                    Some((what, word)) => Err(Error::Corrupt { what, word }),
                    None => Ok(seen),
                };
            }
        }
        Err(self.contended(hash))
    }

    /// Looks for a key in what a view shows.
    pub(super) fn search_view(&self, view: &View, key: &[u8]) -> Search<'_, M> {
        self.search(view.bucket.at, view.matches, key, Near::ToRead)
    }

    pub(super) fn contended(&self, hash: u64) -> Error {
        let bucket = hash & ((1 << self.root().exponent()) - 1);
        Error::Contended { bucket, turns: TURNS_MAX }
    }

    /// Empties a slot, of a bucket in this epoch, whose live bit is clear and whose block the
    /// caller owns; once, since from then on the slot is anybody's.
    #[inline(always)]
    pub(super) fn empty_slot(&self, at: Offset, slot: Slot, epoch: u32) {
        let empty = Slot::empty(epoch).bits();
        if self.areas.is_fixed() {
            // ORDERING(W4): release, pairs with W1. Only the block's owner changes this word.
            self.memory().store(at, empty, Store::Release);
            return;
        }
        // ORDERING(W4): release, pairs with W1. Only the block's owner changes this word while the
        // bucket is in use, so the exchange fails only where it is empty already, or cleaned.
        let _ = self.memory().compare_exchange(at, slot.bits(), empty, Rmw::Release, Load::Relaxed);
    }

    /// The slots that name a block where its hash belongs. `None`: the index kept changing, or is
    /// damaged.
    fn slots_naming(&self, block: Block) -> Option<Naming> {
        let hash = EntryView::new(&self.arena, block)?.hash();
        for _ in 0..TURNS_MAX {
            let view = self.view(hash).ok()?;
            let naming = (0..self.slots.count)
                .map(|slot| {
                    let at = self.areas.slot(view.bucket.at, slot);
                    let word = Slot::from_bits(self.memory().load(at, Load::Acquire));
                    (at, word, self.slots.live(view.header) >> slot & 1 == 1)
                })
                .filter(|(_, word, _)| word.block() == block)
                .collect();
            if self.holds(&view) {
                let epoch = view.is_open().then(|| view.bucket.stamp.epoch());
                return Some(Naming { slots: naming, epoch });
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
        Some(self.slots_naming(block)?.slots.iter().any(|&(_, _, live)| live))
    }

    fn forget(&self, block: Block) {
        // Out of a bucket that is being moved, no claim is taken along.
        let Some(Naming { slots, epoch: Some(epoch) }) = self.slots_naming(block) else { return };
        for (at, slot, live) in slots {
            if !live {
                self.empty_slot(at, slot, epoch);
            }
        }
    }
}
