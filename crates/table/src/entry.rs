//! An entry in its block: key, value and metadata as words.
//!
//! ```text
//! word 0  hash of the key            where it lives and how its tag reads, without the key
//!      1  key bytes (8) │ value bytes (24) │ 0 (32)
//!      2  the caller's metadata
//!      3… key, padded with zero bytes to whole words
//!      …  value, likewise
//! ```
//!
//! A 32-byte key and a 200-byte value fill 256 bytes exactly. It does not change from
//! publication to the wipe.

use shm_arena::{Arena, Block, Claimed, Lease, Line, Load, Memory, Offset, SizeClass, Store};

use crate::contract::{Entry, Error, KEY_BYTES_MAX, OwnedEntry, Rule, Version};

/// What memory is brought near for.
#[derive(Clone, Copy)]
pub(crate) enum Near {
    ToRead,
    ToWrite,
}

impl Near {
    /// What a rule does with an entry that is there.
    #[inline(always)]
    pub(crate) const fn of(rule: &Rule<'_>) -> Self {
        match rule {
            Rule::Insert { .. } => Self::ToRead,
            Rule::Put { .. } | Rule::Replace | Rule::Exchange { .. } => Self::ToWrite,
        }
    }

    /// Asks for the lines of so many words, a hint.
    #[inline(always)]
    pub(crate) fn bring<M: Memory>(self, memory: &M, at: Offset, words: u64) {
        match self {
            Self::ToRead => memory.prefetch(at, words),
            Self::ToWrite => memory.prefetch_to_write(at, words),
        }
    }

    /// Asks for the entry in a block, or its beginning; a hint, so it may be no block.
    #[inline(always)]
    pub(crate) fn bring_entry<M: Memory>(self, memory: &M, block: Block) {
        self.bring(memory, block.offset(), ENTRY_NEAR_WORDS);
    }
}

/// Words of an entry that are asked for at once, at most: a key of 32 bytes and a value of 200.
pub(crate) const ENTRY_NEAR_WORDS: u64 = 32;

/// Words before the key.
pub(crate) const ENTRY_HEADER_WORDS: u64 = 3;

/// Lengths of an entry, as word 1 packs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryShape {
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
}

impl EntryShape {
    /// Longest value that the packed word can express.
    pub(crate) const VALUE_BYTES_MAX: usize = (1 << 24) - 1;

    pub(crate) const fn new(key_bytes: usize, value_bytes: usize) -> Self {
        Self { key_bytes, value_bytes }
    }

    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self {
            key_bytes: (bits & 0xff) as usize,
            value_bytes: (bits >> 8 & Self::VALUE_BYTES_MAX as u64) as usize,
        }
    }

    pub(crate) const fn bits(self) -> u64 {
        self.key_bytes as u64 | (self.value_bytes as u64) << 8
    }

    #[inline(always)]
    pub(crate) const fn key_words(self) -> u64 {
        words_of(self.key_bytes)
    }

    /// Words of the whole entry.
    #[inline(always)]
    pub(crate) const fn words(self) -> u64 {
        ENTRY_HEADER_WORDS + self.key_words() + words_of(self.value_bytes)
    }
}

/// Words that so many bytes touch; never near the largest number, so the sum does not overflow.
#[inline(always)]
const fn words_of(bytes: usize) -> u64 {
    (bytes as u64 + 7) >> 3
}

/// The first line of what may be an entry, in whatever lies there: only its bounds are checked. For
/// a look that is not the last word.
#[derive(Debug)]
pub(crate) struct EntryLine<'a, M>(Line<'a, M>);

impl<'a, M: Memory> EntryLine<'a, M> {
    /// `None` where no line is.
    #[inline(always)]
    pub(crate) fn new(memory: &'a M, block: Block) -> Option<Self> {
        memory.line(block.offset()).map(Self)
    }

    #[inline(always)]
    pub(crate) fn metadata(&self) -> u64 {
        self.0.load(2, Load::Relaxed)
    }

    /// If the key is this one, the lengths of the entry.
    #[inline(always)]
    pub(crate) fn shape_if(&self, key: &[u8]) -> Option<EntryShape> {
        let claimed = EntryShape::from_bits(self.0.load(1, Load::Relaxed));
        let at = self.0.at() + ENTRY_HEADER_WORDS;
        let is_it = claimed.key_bytes == key.len() && self.0.memory().equals(at, key);
        // The same length, but known before the line has come: where the value starts does not wait
        // for it.
        is_it.then(|| EntryShape::new(key.len(), claimed.value_bytes))
    }

    /// Copies the value out; `false` if one of this shape does not end inside the memory.
    #[inline(always)]
    #[must_use]
    pub(crate) fn read_value(&self, shape: EntryShape, value: &mut Vec<u8>) -> bool {
        let at = self.0.at() + (ENTRY_HEADER_WORDS + shape.key_words());
        self.0.memory().read_vec(at, shape.value_bytes, value)
    }
}

/// A block read as an entry. Nothing that it says is true before the caller has validated that the
/// block stayed linked; everything is range-checked all the same.
#[derive(Debug)]
pub(crate) struct EntryView<'a, M> {
    memory: &'a M,
    at: Offset,
}

impl<M> Clone for EntryView<'_, M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for EntryView<'_, M> {}

impl<'a, M: Memory> EntryView<'a, M> {
    /// `None` for a block number at which no block can start.
    #[inline(always)]
    pub(crate) fn new(arena: &'a Arena<M>, block: Block) -> Option<Self> {
        let fits = arena.layout().is_block_start(block);
        fits.then(|| Self { memory: arena.memory(), at: block.offset() })
    }

    /// The entry with its lengths, if it can be one.
    #[inline(always)]
    pub(crate) fn shaped(arena: &'a Arena<M>, block: Block) -> Option<(Self, EntryShape)> {
        let entry = Self::new(arena, block)?;
        Some((entry, entry.shape()?))
    }

    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        self.memory.load(self.at, Load::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn metadata(&self) -> u64 {
        self.memory.load(self.at + 2, Load::Relaxed)
    }

    /// The lengths that the entry claims.
    #[inline(always)]
    pub(crate) fn claimed_shape(&self) -> EntryShape {
        EntryShape::from_bits(self.memory.load(self.at + 1, Load::Relaxed))
    }

    /// The lengths, if an entry of these lengths ends inside the memory.
    #[inline(always)]
    pub(crate) fn shape(&self) -> Option<EntryShape> {
        let shape = self.claimed_shape();
        let end = self.at.word() + shape.words();
        (end <= self.memory.word_count()).then_some(shape)
    }

    /// Whether the key is this one; the shape is what the entry claims.
    #[inline(always)]
    pub(crate) fn has_key(&self, shape: EntryShape, key: &[u8]) -> bool {
        shape.key_bytes == key.len() && self.memory.equals(self.at + ENTRY_HEADER_WORDS, key)
    }

    /// Copies the value out, of an entry whose shape has been checked.
    #[inline(always)]
    pub(crate) fn read_value(&self, shape: EntryShape, value: &mut Vec<u8>) {
        let is_inside = self.read_claimed_value(shape, value);
        debug_assert!(is_inside, "the shape has been checked");
    }

    /// Copies the value out; `false` if one of this shape does not end inside the memory.
    #[inline(always)]
    #[must_use]
    pub(crate) fn read_claimed_value(&self, shape: EntryShape, value: &mut Vec<u8>) -> bool {
        let at = self.at + (ENTRY_HEADER_WORDS + shape.key_words());
        self.memory.read_vec(at, shape.value_bytes, value)
    }

    /// Copies the key out.
    pub(crate) fn read_key(&self, shape: EntryShape, key: &mut Vec<u8>) {
        key.resize(shape.key_bytes, 0);
        self.memory.read_bytes(self.at + ENTRY_HEADER_WORDS, key);
    }

    /// Copies the value, of an entry whose shape has been checked, to the beginning of a buffer.
    pub(crate) fn read_value_into(
        &self,
        shape: EntryShape,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let (bytes, bytes_needed) = (buffer.len(), shape.value_bytes);
        let Some(room) = buffer.get_mut(..bytes_needed) else {
            return Err(Error::BufferTooSmall { bytes, bytes_needed });
        };
        self.memory.read_bytes(self.at + (ENTRY_HEADER_WORDS + shape.key_words()), room);
        Ok(bytes_needed)
    }

    /// Copies everything out, of an entry whose shape has been checked.
    pub(crate) fn copy_out(self, shape: EntryShape, version: Version) -> OwnedEntry {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        self.read_key(shape, &mut key);
        self.read_value(shape, &mut value);
        OwnedEntry { key, value, metadata: self.metadata(), version }
    }
}

/// An entry on its way into a table: checked, sized, hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) entry: Entry<'a>,
    pub(crate) hash: u64,
    pub(crate) shape: EntryShape,
    pub(crate) class: SizeClass,
}

impl<'a> Prepared<'a> {
    #[inline(always)]
    pub(crate) fn new<M: Memory>(arena: &Arena<M>, entry: Entry<'a>) -> Result<Self, Error> {
        Self::sized(arena, entry, entry.value.len())
    }

    /// The same for a value of this many bytes, of which the first ones are there.
    #[inline(always)]
    pub(crate) fn sized<M: Memory>(
        arena: &Arena<M>,
        entry: Entry<'a>,
        value_bytes: usize,
    ) -> Result<Self, Error> {
        let hash = arena.hasher().hash(entry.key);
        Self::hashed(arena, entry, value_bytes, hash)
    }

    /// The same where the key's hash is known.
    #[inline(always)]
    pub(crate) fn hashed<M: Memory>(
        arena: &Arena<M>,
        entry: Entry<'a>,
        value_bytes: usize,
        hash: u64,
    ) -> Result<Self, Error> {
        check_key(entry.key)?;
        let shape = EntryShape::new(entry.key.len(), value_bytes);
        let class = arena.class_for(shape.words());
        let (Some(class), true) = (class, shape.value_bytes <= EntryShape::VALUE_BYTES_MAX) else {
            let words = arena.layout().block_words_max();
            let before = ENTRY_HEADER_WORDS + shape.key_words();
            let bytes_max = usize::try_from(words.saturating_sub(before) * 8).unwrap_or(usize::MAX);
            return Err(Error::ValueTooLarge { bytes: shape.value_bytes, bytes_max });
        };
        Ok(Self { entry, hash, shape, class })
    }

    /// Claims a block and writes the entry into it.
    #[inline(always)]
    pub(crate) fn write<M: Memory>(
        &self,
        lease: &Lease<'_, M>,
        memory: &M,
    ) -> Result<Claimed, Error> {
        let claimed = lease
            .claim(self.class)
            .map_err(|_| Error::NoBlock { block_bytes: u64::from(self.class.units()) * 64 })?;
        let at = claimed.block().offset();
        memory.store(at, self.hash, Store::Relaxed);
        memory.store(at + 1, self.shape.bits(), Store::Relaxed);
        memory.store(at + 2, self.entry.metadata, Store::Relaxed);
        memory.write_bytes(at + ENTRY_HEADER_WORDS, self.entry.key);
        let value = at + (ENTRY_HEADER_WORDS + self.shape.key_words());
        memory.write_bytes(value, self.entry.value);
        Ok(claimed)
    }
}

/// Writes a piece of the value of an entry that is not published, at any place of it.
pub(crate) fn write_piece<M: Memory>(
    memory: &M,
    (block, shape): (Block, EntryShape),
    at: usize,
    bytes: &[u8],
) {
    let value = block.offset() + (ENTRY_HEADER_WORDS + shape.key_words());
    let (mut at, mut rest) = (at, bytes);
    // Each turn writes one word or all whole words.
    while !rest.is_empty() {
        let (word, within) = (value + at as u64 / 8, at % 8);
        let taken = if within == 0 && rest.len() >= 8 {
            let whole = rest.len() / 8 * 8;
            memory.write_bytes(word, &rest[..whole]);
            whole
        } else {
            let part = rest.len().min(8 - within);
            let mut merged = memory.load(word, Load::Relaxed).to_ne_bytes();
            merged[within..within + part].copy_from_slice(&rest[..part]);
            memory.store(word, u64::from_ne_bytes(merged), Store::Relaxed);
            part
        };
        at += taken;
        rest = &rest[taken..];
    }
}

/// A number that tells this table from others: drawn with the secret, and different where secrets
/// are chosen as long as the tables are not made in the same millisecond.
pub(crate) fn identity_of<M: Memory>(arena: &Arena<M>) -> u64 {
    let created = arena.header().created_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    arena.hasher().signature() ^ created
}

/// Keys have 1 to 255 bytes.
#[inline]
pub(crate) const fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::KeyLength { bytes: key.len() });
    }
    Ok(())
}
