//! The lanes of x86-64, in assembly: the compiler must not see that memory is shared.
//!
//! A block of assembly is the kernel of each operation; the loops around them are Rust. Lanes of
//! AVX-512 use the upper sixteen registers, which leave no state behind that slows other code; AVX2
//! has to clear its own. All loads of a block come before its stores: alternating costs half as
//! much again, because a load may have to wait until an earlier store is known not to overlap it.

use std::arch::asm;

/// Blocks of one width. Each loads all that it copies before it stores any of it.
pub(super) trait Width {
    /// Bytes of a lane.
    const BYTES: usize;

    /// Copies the first lane and the one that starts at `last`.
    ///
    /// # Safety
    ///
    /// Those bytes can be read and written, at the same time as anybody's atomic accesses on the
    /// shared side; the processor has the instructions.
    unsafe fn ends_1(source: *const u8, target: *mut u8, last: usize);

    /// Copies the first two lanes and the two that start at `last`.
    ///
    /// # Safety
    ///
    /// As [`ends_1`](Self::ends_1).
    unsafe fn ends_2(source: *const u8, target: *mut u8, last: usize);

    /// Copies the first four lanes and the four that start at `last`.
    ///
    /// # Safety
    ///
    /// As [`ends_1`](Self::ends_1).
    unsafe fn ends_4(source: *const u8, target: *mut u8, last: usize);

    /// Copies four lanes.
    ///
    /// # Safety
    ///
    /// As [`ends_1`](Self::ends_1).
    unsafe fn copy_4(source: *const u8, target: *mut u8);

    /// Sets one lane to zero.
    ///
    /// # Safety
    ///
    /// As [`ends_1`](Self::ends_1), for `target` alone.
    unsafe fn zero_1(target: *mut u8);

    /// Leaves the registers as other code expects them.
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn finish();
}

/// Makes a [`Width`] of a move instruction, how to set a lane to zero, and eight registers.
macro_rules! width {
    (
        $name:ident, $bytes:literal, $move:literal, $zero:literal,
        [$a:tt, $b:tt, $c:tt, $d:tt, $e:tt, $f:tt, $g:tt, $h:tt]
    ) => {
        pub(super) struct $name;

        impl Width for $name {
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn ends_1(source: *const u8, target: *mut u8, last: usize) {
                // SAFETY: reads and writes the bytes that the caller vouches for.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " ", $b, ", [{source} + {last}]"),
                        concat!($move, " [{target}], ", $a),
                        concat!($move, " [{target} + {last}], ", $b),
                        source = in(reg) source,
                        target = in(reg) target,
                        last = in(reg) last,
                        out($a) _, out($b) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn ends_2(source: *const u8, target: *mut u8, last: usize) {
                // SAFETY: as in `ends_1`.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " ", $b, ", [{source} + ", $bytes, "]"),
                        concat!($move, " ", $c, ", [{source} + {last}]"),
                        concat!($move, " ", $d, ", [{source} + {last} + ", $bytes, "]"),
                        concat!($move, " [{target}], ", $a),
                        concat!($move, " [{target} + ", $bytes, "], ", $b),
                        concat!($move, " [{target} + {last}], ", $c),
                        concat!($move, " [{target} + {last} + ", $bytes, "], ", $d),
                        source = in(reg) source,
                        target = in(reg) target,
                        last = in(reg) last,
                        out($a) _, out($b) _, out($c) _, out($d) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn ends_4(source: *const u8, target: *mut u8, last: usize) {
                // SAFETY: as in `ends_1`.
                unsafe {
                    asm!(
                        concat!($move, " ", $a, ", [{source}]"),
                        concat!($move, " ", $b, ", [{source} + ", $bytes, "]"),
                        concat!($move, " ", $c, ", [{source} + 2*", $bytes, "]"),
                        concat!($move, " ", $d, ", [{source} + 3*", $bytes, "]"),
                        concat!($move, " ", $e, ", [{source} + {last}]"),
                        concat!($move, " ", $f, ", [{source} + {last} + ", $bytes, "]"),
                        concat!($move, " ", $g, ", [{source} + {last} + 2*", $bytes, "]"),
                        concat!($move, " ", $h, ", [{source} + {last} + 3*", $bytes, "]"),
                        concat!($move, " [{target}], ", $a),
                        concat!($move, " [{target} + ", $bytes, "], ", $b),
                        concat!($move, " [{target} + 2*", $bytes, "], ", $c),
                        concat!($move, " [{target} + 3*", $bytes, "], ", $d),
                        concat!($move, " [{target} + {last}], ", $e),
                        concat!($move, " [{target} + {last} + ", $bytes, "], ", $f),
                        concat!($move, " [{target} + {last} + 2*", $bytes, "], ", $g),
                        concat!($move, " [{target} + {last} + 3*", $bytes, "], ", $h),
                        source = in(reg) source,
                        target = in(reg) target,
                        last = in(reg) last,
                        out($a) _, out($b) _, out($c) _, out($d) _,
                        out($e) _, out($f) _, out($g) _, out($h) _,
                        options(nostack, preserves_flags),
                    );
                }
            }

            #[inline(always)]
            unsafe fn copy_4(source: *const u8, target: *mut u8) {
                // SAFETY: as in `ends_1`.
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
                        out($a) _, out($b) _, out($c) _, out($d) _,
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
    ["xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"]
);
width!(
    Lane32Avx2,
    32,
    "vmovups",
    "vxorps xmm0, xmm0, xmm0",
    ["ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7"]
);
width!(
    Lane32,
    32,
    "vmovdqu64",
    "vpxorq ymm16, ymm16, ymm16",
    ["ymm16", "ymm17", "ymm18", "ymm19", "ymm20", "ymm21", "ymm22", "ymm23"]
);
width!(
    Lane64,
    64,
    "vmovdqu64",
    "vpxorq zmm16, zmm16, zmm16",
    ["zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23"]
);
