//! Runs of words on x86-64: which lanes for which length, and the ends of a run.
//!
//! Measured against memcpy on a Zen 4 (`cargo bench -p shm-bench --bench memory`): with lanes of 64
//! bytes a copy out of 200 bytes takes 1.1 times as long hot and as long cold, one of 1500 bytes a
//! little less; lanes of 32 bytes take 1.5 times as long for 200 hot bytes and are no better for
//! the others. So the widest lane that fits serves every length.

use std::arch::asm;

use super::copy::Lanes;
use super::lane::{Lane16, Lane32, Lane32Avx2, Lane64, Width};
use crate::words::{Word, load_relaxed, store_relaxed};

/// Copies the first `length` bytes of shared words out.
///
/// # Safety
///
/// `length` is at least 32; the words that so many bytes touch can be read, at the same time as
/// anybody's atomic accesses; the bytes of `target` are the caller's alone; the processor has the
/// lanes.
#[inline]
pub(super) unsafe fn copy_out(lanes: Lanes, source: &[Word], target: *mut u8, length: usize) {
    let start: *const u8 = source.as_ptr().cast();
    let partial = length % 8;
    if partial == 0 {
        // SAFETY: a whole number of words, and at least 32 bytes.
        return unsafe { copy_words(lanes, start, target, length) };
    }
    // The last word and the one before it go by themselves: the second store ends where the bytes
    // end and brings the end of both, without a branch on how many there are.
    let run = length - partial - 8;
    // SAFETY: a whole number of words, and at least 24 bytes.
    unsafe { copy_words(lanes, start, target, run) };
    let [Some(before_last), Some(last)] = [source.get(run / 8), source.get(run / 8 + 1)] else {
        return;
    };
    let (before_last, last) = (load_relaxed(before_last), load_relaxed(last));
    let both = u128::from(before_last) | u128::from(last) << 64;
    let end = (both >> (8 * partial)).to_le_bytes();
    // SAFETY: the word before the last starts at `run` and ends before the bytes do.
    unsafe {
        std::ptr::copy_nonoverlapping(
            before_last.to_le_bytes().as_ptr(),
            target.wrapping_add(run),
            8,
        )
    };
    // SAFETY: eight bytes that end at `length`, which is at least 32.
    unsafe { std::ptr::copy_nonoverlapping(end.as_ptr(), target.wrapping_add(length - 8), 8) };
}

/// Copies `length` bytes to the start of shared words, the rest of the last word zero.
///
/// # Safety
///
/// `length` is at least 32; so many bytes can be read, and all the words that they touch written,
/// at the same time as anybody's atomic accesses; the processor has the lanes.
#[inline]
pub(super) unsafe fn copy_in(lanes: Lanes, source: *const u8, target: &[Word], length: usize) {
    let partial = length % 8;
    let run = length - partial;
    // SAFETY: a whole number of words, and at least 32 bytes.
    unsafe { copy_words(lanes, source, target.as_ptr().cast_mut().cast(), run) };
    if partial != 0
        && let Some(last) = target.get(run / 8)
    {
        // SAFETY: eight bytes that end at `length`, which is at least 32.
        let end = unsafe { source.wrapping_add(length - 8).cast::<u64>().read_unaligned() };
        store_relaxed(last, end >> (8 * (8 - partial)));
    }
}

/// Copies two lanes of 64 bytes from the start and two from the end, which may overlap.
///
/// # Safety
///
/// As [`copy_words`], `length` being between two lanes and four, the lanes those of AVX-512.
#[inline(always)]
pub(super) unsafe fn copy_four_lanes(source: *const u8, target: *mut u8, length: usize) {
    // SAFETY: all four lanes lie within `length`.
    unsafe { Lane64::ends_2(source, target, length - 2 * Lane64::BYTES) };
}

/// Copies two lanes of 16 bytes.
///
/// # Safety
///
/// As [`copy_words`], for 32 bytes.
#[inline(always)]
pub(super) unsafe fn copy_32(source: *const u8, target: *mut u8) {
    // SAFETY: both lanes lie within the 32 bytes.
    unsafe { Lane16::ends_1(source, target, Lane16::BYTES) };
}

/// Sets two lanes of 64 bytes from the start and two from the end to zero.
///
/// # Safety
///
/// As [`copy_four_lanes`], for `target` alone.
#[inline(always)]
pub(super) unsafe fn zero_four_lanes(target: *mut u8, length: usize) {
    for at in [0, Lane64::BYTES, length - 2 * Lane64::BYTES, length - Lane64::BYTES] {
        // SAFETY: each of the four lanes lies within `length`.
        unsafe { Lane64::zero_1(target.wrapping_add(at)) };
    }
}

/// Copies whole words, one side of them shared.
///
/// # Safety
///
/// `length` is a multiple of 8 and at least 16; so many bytes can be read and written there, at the
/// same time as anybody's atomic accesses on the shared side; the other side is the caller's alone;
/// the processor has the lanes.
#[inline(always)]
unsafe fn copy_words(lanes: Lanes, source: *const u8, target: *mut u8, length: usize) {
    match lanes {
        // SAFETY: what the caller vouches for, and `length` is a lane or more.
        Lanes::Avx512 if length >= 64 => unsafe { copy_run::<Lane64>(source, target, length) },
        // SAFETY: likewise.
        Lanes::Avx512 if length >= 32 => unsafe { copy_run::<Lane32>(source, target, length) },
        // SAFETY: likewise.
        Lanes::Avx2 if length >= 32 => unsafe { copy_run::<Lane32Avx2>(source, target, length) },
        // SAFETY: likewise.
        _ => unsafe { copy_run::<Lane16>(source, target, length) },
    }
}

/// Copies at least one lane.
///
/// # Safety
///
/// As [`copy_words`], `length` being a lane or more.
#[inline(always)]
unsafe fn copy_run<W: Width>(source: *const u8, target: *mut u8, length: usize) {
    let before_last = |lanes: usize| length - lanes * W::BYTES;
    if length <= 2 * W::BYTES {
        // SAFETY: both lanes lie within `length`.
        unsafe { W::ends_1(source, target, before_last(1)) };
    } else if length <= 4 * W::BYTES {
        // SAFETY: all four lanes lie within `length`.
        unsafe { W::ends_2(source, target, before_last(2)) };
    } else if length <= 8 * W::BYTES {
        // SAFETY: all eight lanes lie within `length`.
        unsafe { W::ends_4(source, target, before_last(4)) };
    } else {
        // The ends first; between them the stores are aligned, as far as words allow, because those
        // that cross cache lines cost more than loads that do.
        // SAFETY: all eight lanes lie within `length`.
        unsafe { W::ends_4(source, target, before_last(4)) };
        let mut at = 4 * W::BYTES - ((target.addr() % W::BYTES) & !7);
        while at < before_last(4) {
            // SAFETY: `at` plus four lanes lies within `length`.
            unsafe { W::copy_4(source.wrapping_add(at), target.wrapping_add(at)) };
            at += 4 * W::BYTES;
        }
    }
    // SAFETY: the processor has the lanes.
    unsafe { W::finish() };
}

/// Sets a run of words to zero.
///
/// # Safety
///
/// As [`copy_words`], for `target` alone.
#[inline]
pub(super) unsafe fn zero(lanes: Lanes, target: *mut u8, length: usize) {
    match lanes {
        // SAFETY: what the caller vouches for, and `length` is a lane or more.
        Lanes::Avx512 if length >= 64 => unsafe { zero_run::<Lane64>(target, length) },
        // SAFETY: likewise.
        Lanes::Avx512 if length >= 32 => unsafe { zero_run::<Lane32>(target, length) },
        // SAFETY: likewise.
        Lanes::Avx2 if length >= 32 => unsafe { zero_run::<Lane32Avx2>(target, length) },
        // SAFETY: likewise.
        _ => unsafe { zero_run::<Lane16>(target, length) },
    }
}

/// Sets at least one lane to zero.
///
/// # Safety
///
/// As [`zero`], `length` being a lane or more.
#[inline(always)]
unsafe fn zero_run<W: Width>(target: *mut u8, length: usize) {
    let zero_1 = |at| {
        // SAFETY: each call below has `at` plus a lane within `length`.
        unsafe { W::zero_1(target.wrapping_add(at)) };
    };
    let last = length - W::BYTES;
    let mut at = 0;
    while at < last {
        zero_1(at);
        at += W::BYTES;
    }
    zero_1(last);
    // SAFETY: the processor has the lanes.
    unsafe { W::finish() };
}

/// Whether two runs are equal.
///
/// # Safety
///
/// As [`copy_words`], both sides being read.
#[inline]
pub(super) unsafe fn equals(
    lanes: Lanes,
    shared: *const u8,
    key: *const u8,
    length: usize,
) -> bool {
    let mut at = 0;
    if lanes == Lanes::Avx512 {
        let differ = |at: usize, mask| {
            // SAFETY: each call below names words that lie within `length` from `at`.
            unsafe { differ_64(shared.wrapping_add(at), key.wrapping_add(at), mask) }
        };
        while length - at > 64 {
            if differ(at, 0xff) {
                return false;
            }
            at += 64;
        }
        return !differ(at, 0xff >> (8 - (length - at) / 8));
    }
    let differ = |at: usize| {
        // SAFETY: each call below has `at` plus 16 within `length`.
        unsafe { differ_16(shared.wrapping_add(at), key.wrapping_add(at)) }
    };
    let last = length - 16;
    while at < last {
        if differ(at) {
            return false;
        }
        at += 16;
    }
    !differ(last)
}

/// Whether any of the words that the mask names differ.
///
/// # Safety
///
/// The words that the mask names can be read on both sides.
#[inline(always)]
unsafe fn differ_64(shared: *const u8, key: *const u8, mask: u32) -> bool {
    let differing: u32;
    // SAFETY: reads nothing but the words that the mask names.
    unsafe {
        asm!(
            "kmovb k1, {mask:e}",
            "vmovdqu64 zmm16{{k1}}{{z}}, [{shared}]",
            "vpcmpneqq k1{{k1}}, zmm16, [{key}]",
            "kmovb {differing:e}, k1",
            mask = in(reg) mask,
            shared = in(reg) shared,
            key = in(reg) key,
            differing = lateout(reg) differing,
            out("zmm16") _,
            out("k1") _,
            options(nostack, preserves_flags, readonly),
        );
    }
    differing != 0
}

/// Whether 32 bytes differ: a session id, for which a masked lane would reach into a second cache
/// line.
///
/// # Safety
///
/// They can be read on both sides; the processor has the lanes of AVX-512.
#[inline(always)]
pub(super) unsafe fn differ_32(shared: *const u8, key: *const u8) -> bool {
    let differing: u32;
    // SAFETY: reads 32 bytes on each side.
    unsafe {
        asm!(
            "vmovdqu64 ymm16, [{shared}]",
            "vpcmpneqq k1, ymm16, [{key}]",
            "kmovb {differing:e}, k1",
            shared = in(reg) shared,
            key = in(reg) key,
            differing = lateout(reg) differing,
            out("ymm16") _,
            out("k1") _,
            options(nostack, preserves_flags, readonly),
        );
    }
    differing != 0
}

/// Whether 16 bytes differ.
///
/// # Safety
///
/// They can be read on both sides.
#[inline(always)]
unsafe fn differ_16(shared: *const u8, key: *const u8) -> bool {
    let equal: u32;
    // SAFETY: reads 16 bytes on each side.
    unsafe {
        asm!(
            "movups xmm0, [{shared}]",
            "movups xmm1, [{key}]",
            "pcmpeqb xmm0, xmm1",
            "pmovmskb {equal:e}, xmm0",
            shared = in(reg) shared,
            key = in(reg) key,
            equal = lateout(reg) equal,
            out("xmm0") _,
            out("xmm1") _,
            options(nostack, preserves_flags, readonly),
        );
    }
    equal != 0xffff
}

/// Which of eight words have this upper half.
///
/// # Safety
///
/// `line` is the address of a readable cache line; the processor has the lanes.
#[inline(always)]
pub(super) unsafe fn match_line(lanes: Lanes, line: *const u8, tag: u32) -> u32 {
    let mut matches: u32;
    if lanes == Lanes::Avx512 {
        // SAFETY: reads the line.
        unsafe {
            asm!(
                "vpbroadcastq zmm16, {tag}",
                "vpsrlq zmm17, [{line}], 32",
                "vpcmpeqq k1, zmm16, zmm17",
                "kmovb {matches:e}, k1",
                tag = in(reg) u64::from(tag),
                line = in(reg) line,
                matches = lateout(reg) matches,
                out("zmm16") _,
                out("zmm17") _,
                out("k1") _,
                options(nostack, preserves_flags, readonly),
            );
        }
        return matches;
    }
    // SAFETY: reads the line, whose address is a multiple of 64.
    unsafe {
        asm!(
            "movd xmm0, {tag:e}",
            "pshufd xmm0, xmm0, 0",
            "movaps xmm1, [{line}]",
            "movaps xmm2, [{line} + 32]",
            "shufps xmm1, [{line} + 16], 0xdd",
            "shufps xmm2, [{line} + 48], 0xdd",
            "pcmpeqd xmm1, xmm0",
            "pcmpeqd xmm2, xmm0",
            "packssdw xmm1, xmm2",
            "packsswb xmm1, xmm1",
            "pmovmskb {matches:e}, xmm1",
            tag = in(reg) tag,
            line = in(reg) line,
            matches = lateout(reg) matches,
            out("xmm0") _,
            out("xmm1") _,
            out("xmm2") _,
            options(nostack, preserves_flags, readonly),
        );
    }
    matches & 0xff
}

/// Asks the processor to bring the line of an address near.
#[inline(always)]
pub(super) fn prefetch(address: *const i8) {
    // SAFETY: a prefetch is a hint that neither faults nor changes a value, wherever it points.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address) };
}

/// Asks the processor to bring the line of an address near, for writing. Processors of 64 bits that
/// lack the instruction take it for one that does nothing.
#[inline(always)]
pub(super) fn prefetch_to_write(address: *const i8) {
    // SAFETY: a prefetch is a hint that neither faults nor changes a value, wherever it points.
    unsafe {
        std::arch::asm!(
            "prefetchw byte ptr [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
}
