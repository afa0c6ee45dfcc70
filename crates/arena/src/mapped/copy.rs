//! Many words at once, with the widest lanes that the processor has.
//!
//! Every operation here is one relaxed access for each word touched, in any order, and touches no
//! byte outside those words: wide lanes start at words, and the end of a run is reached with a lane
//! that overlaps the one before it. A word that is loaded twice that way is stored whole twice, so
//! what arrives of a word comes from one load.

#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::words::{Word, load_relaxed, store_relaxed};

/// Which instructions are used; a value proves that the processor has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lanes {
    /// One relaxed access a word: every processor.
    Words,
    /// 16 bytes: every x86-64.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// 32 bytes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes, with masks.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Lanes {
    /// The best that this processor has.
    pub(super) fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Words)
    }

    /// All that this processor has, the best last.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn available() -> Vec<Self> {
        let mut all = vec![Self::Words, Self::Sse2];
        if std::is_x86_feature_detected!("avx2") {
            all.push(Self::Avx2);
            let has_all = std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl");
            if has_all {
                all.push(Self::Avx512);
            }
        }
        all
    }

    /// All that this processor has, the best last.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn available() -> Vec<Self> {
        vec![Self::Words]
    }

    /// The name for reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => "sse2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Copies the first `out.len()` bytes of the words, which are as many as that touches.
    #[inline(always)]
    pub(super) fn read(self, source: &[Word], out: &mut [u8]) {
        let length = out.len();
        debug_assert_eq!(source.len(), length.div_ceil(8));
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 && is_four_lanes(length) {
            let start = source.as_ptr().cast();
            // SAFETY: `source` and `out` have `length` bytes, a multiple of 8 between two and four
            // lanes; nobody else refers to `out`. The value of `self` proves that the processor has
            // the lanes.
            return unsafe { x86::copy_four_lanes(start, out.as_mut_ptr(), length) };
        }
        self.read_any(source, out);
    }

    #[inline(never)]
    fn read_any(self, source: &[Word], out: &mut [u8]) {
        let length = out.len();
        #[cfg(target_arch = "x86_64")]
        if length >= RUN_BYTES_MIN && self != Self::Words {
            // SAFETY: `source` has every word that the bytes touch; nobody else refers to `out`.
            // The value of `self` proves that the processor has the lanes.
            unsafe { x86::copy_out(self, source, out.as_mut_ptr(), length) };
            return;
        }
        read_words(source, out);
    }

    /// Copies bytes to the words, which are as many as that touches, the rest of the last one zero.
    #[inline(always)]
    pub(super) fn write(self, target: &[Word], bytes: &[u8]) {
        let length = bytes.len();
        debug_assert_eq!(target.len(), length.div_ceil(8));
        // One question after the other: a branch for each is predicted, and their answers need not
        // be put together.
        #[cfg(target_arch = "x86_64")]
        if length == 32 {
            if self == Self::Words {
                return self.write_any(target, bytes);
            }
            let start = target.as_ptr().cast_mut().cast();
            // SAFETY: `target` and `bytes` have 32 bytes, two lanes of 16, which every x86-64 has;
            // the words may be accessed by anybody at the same time.
            return unsafe { x86::copy_32(bytes.as_ptr(), start) };
        }
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 && is_four_lanes(length) {
            let start = target.as_ptr().cast_mut().cast();
            // SAFETY: likewise, of `length` bytes, a multiple of 8 between two and four lanes. The
            // value of `self` proves that the processor has the lanes.
            return unsafe { x86::copy_four_lanes(bytes.as_ptr(), start, length) };
        }
        self.write_any(target, bytes);
    }

    #[inline(never)]
    fn write_any(self, target: &[Word], bytes: &[u8]) {
        let length = bytes.len();
        #[cfg(target_arch = "x86_64")]
        if length >= RUN_BYTES_MIN && self != Self::Words {
            // SAFETY: `target` has every word that the bytes touch, and they may be accessed by
            // anybody at the same time. The value of `self` proves that the processor has the
            // lanes.
            unsafe { x86::copy_in(self, bytes.as_ptr(), target, length) };
            return;
        }
        write_words(target, bytes);
    }

    /// Sets all the words to zero.
    #[inline(always)]
    pub(super) fn zero(self, target: &[Word]) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 && is_four_lanes(size_of_val(target)) {
            let start = target.as_ptr().cast_mut().cast();
            // SAFETY: the range is that of `target`, whose words may be accessed by anybody at the
            // same time: a multiple of 8 bytes between two and four lanes. The value of `self`
            // proves that the processor has the lanes.
            return unsafe { x86::zero_four_lanes(start, size_of_val(target)) };
        }
        self.zero_any(target);
    }

    #[inline(never)]
    fn zero_any(self, target: &[Word]) {
        #[cfg(target_arch = "x86_64")]
        if target.len() >= RUN_BYTES_MIN / 8 && self != Self::Words {
            let start = target.as_ptr().cast_mut().cast();
            // SAFETY: the range is that of `target`, whose words may be accessed by anybody at the
            // same time, and has at least 32 bytes. The value of `self` proves that the processor
            // has the lanes.
            unsafe { x86::zero(self, start, size_of_val(target)) };
            return;
        }
        target.iter().for_each(|word| store_relaxed(word, 0));
    }

    /// Whether the words, which are as many as the bytes touch, hold the bytes and then zeros.
    #[inline(always)]
    pub(super) fn equals(self, source: &[Word], bytes: &[u8]) -> bool {
        debug_assert_eq!(source.len(), bytes.len().div_ceil(8));
        #[cfg(target_arch = "x86_64")]
        if bytes.len() == 32 {
            if self != Self::Avx512 {
                return self.equals_any(source, bytes);
            }
            // SAFETY: 32 bytes lie in `source` and in `bytes`. The value of `self` proves that the
            // processor has the lanes.
            return unsafe { !x86::differ_32(source.as_ptr().cast(), bytes.as_ptr()) };
        }
        self.equals_any(source, bytes)
    }

    #[inline(never)]
    fn equals_any(self, source: &[Word], bytes: &[u8]) -> bool {
        #[cfg(target_arch = "x86_64")]
        if bytes.len() >= 16 && self != Self::Words {
            let run = bytes.len() & !7;
            let (start, key) = (source.as_ptr().cast(), bytes.as_ptr());
            // SAFETY: `run` bytes from the start lie in `source` and in `bytes`; `run` is a
            // multiple of 8 and at least 16. The value of `self` proves that the processor has the
            // lanes.
            let is_equal = unsafe { x86::equals(self, start, key, run) };
            return is_equal
                && (run == bytes.len() || load_relaxed(&source[run / 8]) == last_word(bytes));
        }
        equal_words(source, bytes)
    }

    /// Which of the eight words of a cache line carry the tag in their upper half.
    #[inline(always)]
    pub(super) fn match_line(self, line: &[Word; 8], tag: u32) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self != Self::Words {
            // SAFETY: the 64 bytes are those of `line`. The value of `self` proves that the
            // processor has the lanes.
            return unsafe { x86::match_line(self, line.as_ptr().cast(), tag) };
        }
        (0..).zip(line).fold(0, |matches, (lane, word)| {
            matches | u32::from(load_relaxed(word) >> 32 == u64::from(tag)) << lane
        })
    }
}

/// Whether so many bytes are whole words and fill more than two and at most four lanes of 64 bytes.
/// What small sessions need is copied in line: a call in the middle of a look-up costs as much as
/// the copy.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
const fn is_four_lanes(bytes: usize) -> bool {
    bytes.wrapping_sub(136).rotate_right(3) <= 15
}

/// Asks the processor to bring the line of an address near, which may be any.
#[inline(always)]
pub(super) fn prefetch(word: *const Word) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(word.cast());
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

/// The same, and for the right to write there.
#[inline(always)]
pub(super) fn prefetch_to_write(word: *const Word) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch_to_write(word.cast());
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

/// From this many bytes on lanes are used: it leaves at least one whole lane of 16 bytes when the
/// last two words go by themselves.
#[cfg(target_arch = "x86_64")]
const RUN_BYTES_MIN: usize = 32;

#[inline(never)]
fn read_words(source: &[Word], out: &mut [u8]) {
    if out.len() > 8 {
        let (last_two, rest) = (source.len() - 2, out.len() - 8);
        for (word, chunk) in source[..last_two].iter().zip(out.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&load_relaxed(word).to_ne_bytes());
        }
        // The end of the last word and what is missing of the one before it, as one word that ends
        // where the bytes end: no branch on how many there are.
        let pair = [load_relaxed(&source[last_two]), load_relaxed(&source[last_two + 1])];
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&pair[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&pair[1].to_ne_bytes());
        out[last_two * 8..][..8].copy_from_slice(&bytes[..8]);
        let excess = source.len() * 8 - out.len();
        out[rest..].copy_from_slice(&bytes[8 - excess..][..8]);
    } else if let Some(word) = source.first() {
        out.copy_from_slice(&load_relaxed(word).to_ne_bytes()[..out.len()]);
    }
}

#[inline(never)]
fn write_words(target: &[Word], bytes: &[u8]) {
    for (word, chunk) in target.iter().zip(bytes.chunks(8)) {
        store_relaxed(word, padded(chunk));
    }
}

fn equal_words(source: &[Word], bytes: &[u8]) -> bool {
    source.iter().zip(bytes.chunks(8)).all(|(word, chunk)| load_relaxed(word) == padded(chunk))
}

/// At most eight bytes as a word, zeros after them.
#[inline(always)]
fn padded(chunk: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..chunk.len()].copy_from_slice(chunk);
    u64::from_ne_bytes(word)
}

/// The bytes of the last word, zeros after them, of at least eight bytes whose number is no
/// multiple of eight.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn last_word(bytes: &[u8]) -> u64 {
    let end = bytes.last_chunk().map_or(0, |end| u64::from_le_bytes(*end));
    end >> (8 * (8 - bytes.len() % 8))
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
