//! The lanes of x86-64, in assembly: the compiler must not see that memory is shared.
//!
//! A block of assembly is the kernel of each operation, with fixed offsets; the loops around them
//! are Rust. Lanes of AVX-512 use the upper sixteen registers, which leave no state behind that
//! slows other code; AVX2 has to clear its own.

use std::arch::asm;

use super::copy::Lanes;

/// Blocks of one width: copying 1, 2 or 4 lanes that follow each other, and setting 2 to zero.
trait Width {
    /// Bytes of a lane.
    const BYTES: usize;

    /// Copies one lane.
    ///
    /// # Safety
    ///
    /// That many bytes can be read and written there, at the same time as anybody's atomic accesses
    /// on the shared side; the processor has the instructions.
    unsafe fn copy_1(source: *const u8, target: *mut u8);

    /// Copies two lanes.
    ///
    /// # Safety
    ///
    /// As [`copy_1`](Self::copy_1).
    unsafe fn copy_2(source: *const u8, target: *mut u8);

    /// Copies four lanes.
    ///
    /// # Safety
    ///
    /// As [`copy_1`](Self::copy_1).
    unsafe fn copy_4(source: *const u8, target: *mut u8);

    /// Sets one lane to zero.
    ///
    /// # Safety
    ///
    /// As [`copy_1`](Self::copy_1), for `target` alone.
    unsafe fn zero_1(target: *mut u8);

    /// Leaves the registers as other code expects them.
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn finish();
}

/// Makes a [`Width`] of a move instruction, its registers and how to set one to zero.
macro_rules! width {
    ($name:ident, $bytes:literal, $move:literal, $zero:literal, [$a:tt, $b:tt, $c:tt, $d:tt]) => {
        struct $name;

        impl Width for $name {
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn copy_1(source: *const u8, target: *mut u8) {
                // SAFETY: reads and writes the bytes that the caller vouches for.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " [{target}], ", $a),
                        source = in(reg) source,
                        target = in(reg) target,
                        out($a) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn copy_2(source: *const u8, target: *mut u8) {
                // SAFETY: as in `copy_1`.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " ", $b, ", [{source} + ", $bytes, "]"),
                        concat!($move, " [{target}], ", $a),
                        concat!($move, " [{target} + ", $bytes, "], ", $b),
                        source = in(reg) source,
                        target = in(reg) target,
                        out($a) _,
                        out($b) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn copy_4(source: *const u8, target: *mut u8) {
                // SAFETY: as in `copy_1`.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " ", $b, ", [{source} + ", $bytes, "]"),
                        concat!($move, " ", $c, ", [{source} + 2*", $bytes, "]"),
                        concat!($move, " ", $d, ", [{source} + 3*", $bytes, "]"),
                        concat!($move, " [{target}], ", $a),
                        concat!($move, " [{target} + ", $bytes, "], ", $b),
                        concat!($move, " [{target} + 2*", $bytes, "], ", $c),
                        concat!($move, " [{target} + 3*", $bytes, "], ", $d),
                        source = in(reg) source,
                        target = in(reg) target,
                        out($a) _,
                        out($b) _,
                        out($c) _,
                        out($d) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn zero_1(target: *mut u8) {
                // SAFETY: writes the bytes that the caller vouches for.
                unsafe {
                    asm!(
                        $zero,
                        concat!($move, " [{target}], ", $a),
                        target = in(reg) target,
                        out($a) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            width!(finish $name);
        }
    };
    (finish Lane32Avx2) => {
        #[inline(always)]
        unsafe fn finish() {
            // SAFETY: declares every register that it changes.
            unsafe {
                asm!(
                    "vzeroupper",
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    };
    (finish $name:ident) => {
        #[inline(always)]
        unsafe fn finish() {}
    };
}

width!(
    Lane16,
    16,
    "movups",
    "xorps xmm0, xmm0",
    ["xmm0", "xmm1", "xmm2", "xmm3"]
);
width!(
    Lane32Avx2,
    32,
    "vmovups",
    "vxorps xmm0, xmm0, xmm0",
    ["ymm0", "ymm1", "ymm2", "ymm3"]
);
width!(
    Lane32,
    32,
    "vmovdqu64",
    "vpxorq ymm16, ymm16, ymm16",
    ["ymm16", "ymm17", "ymm18", "ymm19"]
);
width!(
    Lane64,
    64,
    "vmovdqu64",
    "vpxorq zmm16, zmm16, zmm16",
    ["zmm16", "zmm17", "zmm18", "zmm19"]
);

/// Copies a run of words, one side of it shared.
///
/// # Safety
///
/// `length` is a multiple of 8 and at least 16; so many bytes can be read and written there, at the
/// same time as anybody's atomic accesses on the shared side; the other side is the caller's alone;
/// the processor has the lanes.
#[inline]
pub(super) unsafe fn copy(lanes: Lanes, source: *const u8, target: *mut u8, length: usize) {
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
/// As [`copy`], `length` being a lane or more.
#[inline(always)]
unsafe fn copy_run<W: Width>(source: *const u8, target: *mut u8, length: usize) {
    let places = |at: usize| (source.wrapping_add(at), target.wrapping_add(at));
    let copy_1 = |at| {
        let (source, target) = places(at);
        // SAFETY: each call below has `at` plus a lane within `length`.
        unsafe { W::copy_1(source, target) };
    };
    let copy_2 = |at| {
        let (source, target) = places(at);
        // SAFETY: each call below has `at` plus two lanes within `length`.
        unsafe { W::copy_2(source, target) };
    };
    let copy_4 = |at| {
        let (source, target) = places(at);
        // SAFETY: each call below has `at` plus four lanes within `length`.
        unsafe { W::copy_4(source, target) };
    };
    let before_last = |lanes: usize| length - lanes * W::BYTES;
    if length <= 2 * W::BYTES {
        copy_1(0);
        copy_1(before_last(1));
    } else if length <= 4 * W::BYTES {
        copy_2(0);
        copy_2(before_last(2));
    } else {
        let mut at = 0;
        if length > 8 * W::BYTES {
            // Stores that cross cache lines cost more than loads that do.
            copy_1(0);
            at = (W::BYTES - target.addr() % W::BYTES) & !7;
        }
        while at < before_last(4) {
            copy_4(at);
            at += 4 * W::BYTES;
        }
        copy_4(before_last(4));
    }
    // SAFETY: the processor has the lanes.
    unsafe { W::finish() };
}

/// Sets a run of words to zero.
///
/// # Safety
///
/// As [`copy`], for `target` alone.
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
/// As [`copy`], both sides being read.
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
