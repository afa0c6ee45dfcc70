//! The segment header: what a process checks before it trusts a segment's layout.
//!
//! Written whole before anyone else can reach the segment, and not changed afterwards; the root
//! word is reserved for what a resize or a replacement will have to tell.
//!
//! ```text
//! word  0 magic         1 word bytes | format version   2 fingerprint of all structures
//!       3 byte order    4 word count        5 creation time     6-7 boot       8 table kind
//!       9 hash kind    10-11 hash secret   12 hash signature   13 records | lines
//!      14 slab units | smallest block units   15 side words | slabs   16 index words
//!      17-20 table's numbers              21 spares
//!      22 checksum of words 0 to 21           23 root word
//! ```

#![expect(clippy::cast_possible_truncation, reason = "words of the header are counted in usize")]

use crate::error::SegmentError;
use crate::hash::{HashKind, KeyHasher};
use crate::layout::{Geometry, HEADER_WORDS, Layout};
use crate::memory::{Load, Memory, Offset, Store};

/// `SHMTABLE` in memory order of a little-endian machine.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SHMTABLE");
/// Version of the segment format.
pub const FORMAT_VERSION: u64 = 1;
/// Bytes of a word, recorded so that a build with other words refuses.
const WORD_BYTES: u64 = 8;
/// Reads differently on a machine of the other byte order.
const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;

const CHECKSUM: usize = 22;
const ROOT: u64 = 23;

/// What the creator of a segment decides and every attacher finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Number of the table design.
    pub table_kind: u64,
    /// Fingerprint of the design's own structures.
    pub table_fingerprint: u64,
    /// Numbers that belong to the table.
    pub table_numbers: [u64; 4],
    /// Where things lie.
    pub geometry: Geometry,
    /// How keys are hashed.
    pub hash: HashKind,
    /// Milliseconds of the creator's clock.
    pub created_ms: u64,
    /// The boot of the machine that it was made in.
    pub boot: [u64; 2],
}

/// What an attaching process insists on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Number of the table design.
    pub table_kind: u64,
    /// Fingerprint of the design's own structures.
    pub table_fingerprint: u64,
    /// The present boot.
    pub boot: [u64; 2],
}

impl SegmentHeader {
    /// Writes the header into a memory that nobody else reaches yet.
    pub(crate) fn write<M: Memory>(&self, memory: &M, secret: [u64; 2]) {
        let mut words = [0; HEADER_WORDS as usize];
        let geometry = self.geometry;
        words[0] = MAGIC;
        words[1] = WORD_BYTES << 32 | FORMAT_VERSION;
        words[2] = fingerprint(self.table_fingerprint);
        words[3] = BYTE_ORDER;
        words[4] = memory.word_count();
        words[5] = self.created_ms;
        words[6..8].copy_from_slice(&self.boot);
        words[8] = self.table_kind;
        words[9] = self.hash.id();
        words[10..12].copy_from_slice(&secret);
        words[12] = KeyHasher::new(self.hash, secret).signature();
        words[13] = u64::from(geometry.records) << 32 | u64::from(geometry.lines);
        words[14] = u64::from(geometry.slab_units) << 32 | u64::from(geometry.block_units_min);
        words[15] = u64::from(geometry.side_words) << 32 | u64::from(geometry.slabs);
        words[16] = geometry.index_words;
        words[17..21].copy_from_slice(&self.table_numbers);
        words[21] = geometry.spares.into();
        words[CHECKSUM] = checksum(&words[..CHECKSUM]);
        words[ROOT as usize] = 1;
        for (index, word) in (0..).zip(words) {
            memory.store(Offset::new(index), word, Store::Relaxed);
        }
    }

    /// Reads and checks a header field by field, in the order in which a wrong file is best named.
    pub(crate) fn read<M: Memory>(
        memory: &M,
        expected: &Expected,
    ) -> Result<(Self, KeyHasher), SegmentError> {
        let differs = |field, found: u64, expected: u64| {
            Err(SegmentError::header(field, format!("{found:#x}"), format!("{expected:#x}")))
        };
        if memory.word_count() < HEADER_WORDS {
            return Err(SegmentError::header("words", memory.word_count(), "at least 64"));
        }
        let words: [u64; HEADER_WORDS as usize] =
            std::array::from_fn(|index| memory.load(Offset::new(index as u64), Load::Acquire));
        if words[0] == MAGIC.swap_bytes() || words[3] == BYTE_ORDER.swap_bytes() {
            return differs("byte order", words[3], BYTE_ORDER);
        }
        for (field, found, expected) in [
            ("magic", words[0], MAGIC),
            ("byte order", words[3], BYTE_ORDER),
            ("word bytes", words[1] >> 32, WORD_BYTES),
            ("format version", words[1] & u64::from(u32::MAX), FORMAT_VERSION),
        ] {
            if found != expected {
                return differs(field, found, expected);
            }
        }
        if words[4] != memory.word_count() {
            return Err(SegmentError::header("word count", words[4], memory.word_count()));
        }
        if words[8] != expected.table_kind {
            return Err(SegmentError::header("table kind", words[8], expected.table_kind));
        }
        for (field, found, expected) in [
            ("structure fingerprint", words[2], fingerprint(expected.table_fingerprint)),
            ("header checksum", words[CHECKSUM], checksum(&words[..CHECKSUM])),
            ("boot id, high half", words[6], expected.boot[0]),
            ("boot id, low half", words[7], expected.boot[1]),
        ] {
            if found != expected {
                return differs(field, found, expected);
            }
        }
        let Some(hash) = HashKind::from_id(words[9]) else {
            return Err(SegmentError::header("hash kind", words[9], "1 or 2"));
        };
        let hasher = KeyHasher::new(hash, [words[10], words[11]]);
        if hasher.signature() != words[12] {
            return differs("hash signature", words[12], hasher.signature());
        }
        let header = Self {
            table_kind: words[8],
            table_fingerprint: expected.table_fingerprint,
            table_numbers: std::array::from_fn(|index| words[17 + index]),
            geometry: geometry(&words),
            hash,
            created_ms: words[5],
            boot: expected.boot,
        };
        let layout = Layout::new(header.geometry)?;
        if layout.word_count() != memory.word_count() {
            let found = layout.word_count();
            return Err(SegmentError::header("layout's words", found, memory.word_count()));
        }
        Ok((header, hasher))
    }

    /// The kind that a segment records, before anything else is believed.
    pub fn peek_kind<M: Memory>(memory: &M) -> Result<u64, SegmentError> {
        if memory.word_count() < HEADER_WORDS {
            return Err(SegmentError::header("words", memory.word_count(), "at least 64"));
        }
        Ok(memory.load(Offset::new(8), Load::Acquire))
    }
}

fn geometry(words: &[u64; HEADER_WORDS as usize]) -> Geometry {
    let halves = |word: u64| ((word >> 32) as u32, word as u32);
    let (records, lines) = halves(words[13]);
    let (slab_units, block_units_min) = halves(words[14]);
    let (side_words, slabs) = halves(words[15]);
    Geometry {
        index_words: words[16],
        records,
        lines,
        slabs,
        slab_units,
        block_units_min,
        side_words,
        // What is more than a line has room for, as a number that is refused.
        spares: u32::try_from(words[21]).unwrap_or(u32::MAX),
    }
}

/// One number for the shape of everything: the arena's structures by their drawn form, and the
/// table's.
fn fingerprint(table: u64) -> u64 {
    const STRUCTURES: &str = "header 64: magic word|version fingerprint order words created boot \
        boot kind hash secret secret signature records|lines slab_units|block_units_min \
        side_words|slabs index numbers*4 spares checksum root; control 16; \
        record 8: incarnation:32|0:28|state:4 pid started; \
        line 16: owner new old generation reaping reclass added removed spares*8; \
        slab word: class+1; block word, one a granule, the even ones of a slab first, \
        and side words: generation:40|free used drain:4|owner:12|start:8; unit 64";
    checksum(&[structure_fingerprint(STRUCTURES), table])
}

/// Fingerprint of a structure's drawn form (FNV-1a over its text).
pub const fn structure_fingerprint(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}

/// Detects damage, not malice.
fn checksum(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |sum: u64, word| {
        (sum ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
    })
}
