//! Every kind of lanes does what the word loops of the trait do, on every length and alignment, and
//! touches nothing else.

use memmap2::MmapOptions;

use super::Lanes;
use crate::heap::HeapMemory;
use crate::mapped::{Access, AttachOptions, MappedMemory, MappingOptions};
use crate::memory::{Load, Memory, Offset, Store};
use crate::words::Word;

const WORDS: u64 = 1024;

/// Lengths around every change of method, and the two that sessions have.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=600).chain([1023, 1024, 1025, 1500, 4095, 4096])
}

/// A memory for each kind of lanes, all with the same content, and one with the trait's own
/// methods.
fn memories() -> (Vec<MappedMemory>, HeapMemory) {
    let plain = HeapMemory::new(WORDS);
    let mapped = Lanes::available().into_iter().map(|lanes| {
        let memory = MappedMemory::memfd("lanes", WORDS * 8, &MappingOptions::default()).unwrap();
        memory.with_lanes(lanes)
    });
    let mapped: Vec<_> = mapped.collect();
    for word in 0..WORDS {
        let value = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 0x0101_0101_0101_0101;
        plain.store(Offset::new(word), value, Store::Relaxed);
        for memory in &mapped {
            memory.store(Offset::new(word), value, Store::Relaxed);
        }
    }
    (mapped, plain)
}

fn content(memory: &impl Memory) -> Vec<u64> {
    (0..WORDS).map(|word| memory.load(Offset::new(word), Load::Relaxed)).collect()
}

#[test]
fn every_copy_out_agrees_with_the_word_loop_and_stays_inside_the_buffer() {
    let (mapped, plain) = memories();
    for length in lengths() {
        for alignment in 0..64 {
            let at = Offset::new((length as u64 + alignment as u64) % 8);
            let mut expected = vec![0xee; length + 128];
            plain.read_bytes(at, &mut expected[alignment..alignment + length]);
            for memory in &mapped {
                let mut out = vec![0xee; length + 128];
                memory.read_bytes(at, &mut out[alignment..alignment + length]);
                assert_eq!(out, expected, "{} {length} at {alignment}", memory.copy_kind());
            }
        }
    }
}

#[test]
fn every_copy_in_agrees_with_the_word_loop_and_writes_no_other_word() {
    let (mapped, plain) = memories();
    let bytes: Vec<u8> = (0..4096 + 64_u32).map(|index| (index % 251) as u8 + 1).collect();
    for length in lengths() {
        for alignment in [0, 1, 7, 8, 15, 16, 31, 32, 63] {
            let at = Offset::new(8 + (length + alignment) as u64 % 8);
            let bytes = &bytes[alignment..alignment + length];
            plain.write_bytes(at, bytes);
            for memory in &mapped {
                memory.write_bytes(at, bytes);
                assert_eq!(content(memory), content(&plain), "{} {length}", memory.copy_kind());
            }
        }
    }
}

#[test]
fn every_wipe_agrees_with_the_word_loop_and_writes_no_other_word() {
    for words in (0..=80).chain([200, 512, 1000]) {
        for start in 0..8 {
            let (mapped, plain) = memories();
            plain.write_zeros(Offset::new(start), words);
            for memory in &mapped {
                memory.write_zeros(Offset::new(start), words);
                assert_eq!(content(memory), content(&plain), "{} {words}", memory.copy_kind());
            }
        }
    }
}

#[test]
fn every_compare_finds_every_single_difference() {
    let (mapped, plain) = memories();
    for length in 0..=255_usize {
        let at = Offset::new(8 + length as u64 % 8);
        let key: Vec<u8> = (0..length).map(|index| (index * 7 + length).to_le_bytes()[0]).collect();
        let words = length.div_ceil(8) as u64;
        for memory in &mapped {
            memory.write_bytes(at, &key);
            assert!(memory.equals(at, &key), "{} {length}", memory.copy_kind());
            let mut padded = vec![0xaa; 3];
            padded.extend(&key);
            assert!(memory.equals(at, &padded[3..]), "{} {length}", memory.copy_kind());
        }
        plain.write_bytes(at, &key);
        for index in 0..words * 8 {
            let word = at + index / 8;
            let flipped = plain.load(word, Load::Relaxed) ^ 1 << (index % 8 * 8);
            for memory in &mapped {
                memory.store(word, flipped, Store::Relaxed);
                assert!(!memory.equals(at, &key), "{} {length} {index}", memory.copy_kind());
                memory.store(word, plain.load(word, Load::Relaxed), Store::Relaxed);
            }
        }
    }
}

#[test]
fn every_match_agrees_with_the_word_loop_for_all_lanes_places_and_tags() {
    let (mapped, plain) = memories();
    for word in 0..WORDS {
        let value = (word * word % 5) << 32 | (word * 3 % 5);
        plain.store(Offset::new(word), value, Store::Relaxed);
        mapped.iter().for_each(|memory| memory.store(Offset::new(word), value, Store::Relaxed));
    }
    let sign = Offset::new(16);
    plain.store(sign, 0xffff_8000_ffff_ffff, Store::Relaxed);
    mapped.iter().for_each(|m| m.store(sign, 0xffff_8000_ffff_ffff, Store::Relaxed));
    for lanes in 0..=8 {
        for at in (0..40).chain(WORDS - 24..=WORDS - u64::from(lanes)) {
            for tag in [0, 1, 2, 3, 4, 0xffff_8000, u32::MAX] {
                let expected = plain.match_tags(Offset::new(at), tag, lanes);
                for memory in &mapped {
                    let found = memory.match_tags(Offset::new(at), tag, lanes);
                    assert_eq!(found, expected, "{} {lanes} {at} {tag}", memory.copy_kind());
                }
            }
        }
    }
}

/// Both sides end where the file ends, and an access beyond it would be a signal.
#[test]
fn no_lane_reaches_beyond_the_last_word_or_byte() {
    let page = rustix::param::page_size();
    let guarded = || {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = rustix::fs::memfd_create("guarded", flags).unwrap();
        rustix::fs::ftruncate(&file, page as u64).unwrap();
        MmapOptions::new().len(2 * page).map_raw(&file).unwrap()
    };
    let (shared, private) = (guarded(), guarded());
    let start = shared.as_mut_ptr().cast::<Word>();
    // SAFETY: the first page of the mapping lies in its file and is aligned; words are atomics, for
    // which every bit pattern is valid; the mapping outlives the slice.
    let words: &[Word] = unsafe { std::slice::from_raw_parts(start, page / 8) };
    // SAFETY: likewise for bytes, and nothing else refers to this mapping.
    let bytes = unsafe { std::slice::from_raw_parts_mut(private.as_mut_ptr(), page) };
    for lanes in Lanes::available() {
        for length in lengths().filter(|&length| length <= page) {
            let words = &words[(page - length) / 8..];
            let words = &words[words.len() - length.div_ceil(8)..];
            let bytes = &mut bytes[page - length..];
            lanes.zero(words);
            lanes.read(words, bytes);
            assert!(lanes.equals(words, bytes), "{lanes:?} {length}");
            bytes.fill(0x5a);
            lanes.write(words, bytes);
            assert!(lanes.equals(words, bytes), "{lanes:?} {length}");
        }
    }
}

#[test]
fn a_run_outside_the_memory_panics_and_an_empty_one_does_not() {
    let memory = MappedMemory::memfd("bounds", 800, &MappingOptions::default()).unwrap();
    let outside = [(100, 1), (99, 9), (0, 801), (u64::MAX, 8), (u64::MAX, 64), (u64::MAX - 5, 48)];
    for (at, length) in outside {
        let at = Offset::new(at);
        let panics = |access: &dyn Fn()| {
            let access = std::panic::AssertUnwindSafe(access);
            std::panic::catch_unwind(access).is_err()
        };
        assert!(panics(&|| memory.read_bytes(at, &mut vec![0; length])), "{at:?} {length}");
        assert!(panics(&|| memory.write_bytes(at, &vec![1; length])), "{at:?} {length}");
        assert!(panics(&|| memory.write_zeros(at, length.div_ceil(8) as u64)), "{at:?} {length}");
        assert!(!memory.equals(at, &vec![0; length]), "{at:?} {length}");
        assert!(!memory.read_vec(at, length, &mut Vec::new()), "{at:?} {length}");
        memory.prefetch(at, length as u64);
        memory.prefetch_to_write(at, length as u64);
    }
    for at in [0, 100, u64::MAX] {
        memory.read_bytes(Offset::new(at), &mut []);
        memory.write_bytes(Offset::new(at), &[]);
        memory.write_zeros(Offset::new(at), 0);
        assert_eq!(memory.equals(Offset::new(at), &[]), at <= 100);
    }
    assert!(content_is_zero(&memory));
}

#[test]
fn a_line_starts_at_each_eighth_word_and_gives_what_loads_give() {
    let (mapped, plain) = memories();
    for at in (0..WORDS + 16).chain([u64::MAX - 7, u64::MAX]) {
        for memory in &mapped {
            let line = memory.line(Offset::new(at));
            assert_eq!(line.is_some(), at % 8 == 0 && at < WORDS, "{at}");
            let (Some(line), Some(by_words)) = (line, plain.line(Offset::new(at))) else {
                continue;
            };
            assert_eq!(line.at(), by_words.at());
            for number in 0..8 {
                let word = memory.load(line.at() + u64::from(number), Load::Relaxed);
                assert_eq!(line.load(number, Load::Acquire), word);
                assert_eq!(by_words.load(number, Load::Acquire), word);
            }
        }
    }
}

#[test]
fn a_line_to_write_is_where_a_line_is_and_takes_what_stores_take() {
    let (mapped, plain) = memories();
    for at in (0..WORDS + 16).map(Offset::new) {
        let by_words = plain.line_to_write(at);
        for memory in &mapped {
            let line = memory.line_to_write(at);
            assert_eq!(line.is_some(), memory.line(at).is_some(), "{at:?}");
            line.into_iter().for_each(|line| line.store(3, at.word(), Store::Release));
        }
        by_words.into_iter().for_each(|line| line.store(3, at.word(), Store::Release));
    }
    for memory in &mapped {
        assert_eq!(content(memory), content(&plain));
        assert_eq!(memory.load(Offset::new(11), Load::Relaxed), 8);
    }
}

#[test]
fn a_memory_that_must_not_be_written_has_no_line_to_write() {
    let memory = MappedMemory::memfd("lines", 4096, &MappingOptions::default()).unwrap();
    let descriptor = memory.descriptor().unwrap().try_clone_to_owned().unwrap();
    let options = AttachOptions { access: Access::ReadOnly, ..AttachOptions::default() };
    let reader = MappedMemory::attach_descriptor(descriptor, &options).unwrap();
    assert!(reader.line(Offset::new(0)).is_some());
    assert!(reader.line_to_write(Offset::new(0)).is_none());
}

fn content_is_zero(memory: &MappedMemory) -> bool {
    (0..memory.word_count()).all(|word| memory.load(Offset::new(word), Load::Relaxed) == 0)
}
