//! The shapes, as data.

use shm_arena::{Fence, Load, Rmw, Store};

use super::Instruction::{self, Add, Exchange, Load as Read, Order, Store as Write};
use super::Verdict::{self, Never, Shown};
use super::{Registers, Shape};

const X: u64 = 0;
const Y: u64 = 1;
const Z: u64 = 2;
const RLX: Load = Load::Relaxed;
const ACQ: Load = Load::Acquire;

/// A relaxed store.
const fn put(word: u64, value: u64) -> Instruction {
    Write(word, value, Store::Relaxed)
}

/// A releasing store.
const fn release(word: u64, value: u64) -> Instruction {
    Write(word, value, Store::Release)
}

/// A relaxed load.
const fn get(word: u64) -> Instruction {
    Read(word, RLX)
}

/// An acquiring load.
const fn acquire(word: u64) -> Instruction {
    Read(word, ACQ)
}

/// Every engine shows what C11 allows, shuttle but for what interleaving alone gives.
const WEAK: [Verdict; 4] = [Shown, Never, Shown, Shown];

/// Nobody shows it.
const NOBODY: [Verdict; 4] = [Never; 4];

/// Everybody shows it.
const EVERYBODY: [Verdict; 4] = [Shown; 4];

/// loom alone misses it.
const LOOM_MISSES: [Verdict; 4] = [Never, Shown, Shown, Shown];

/// loom alone shows it.
const LOOM_ALONE: [Verdict; 4] = [Shown, Never, Never, Never];

/// The machine alone shows it.
const MACHINE_ALONE: [Verdict; 4] = [Never, Never, Shown, Shown];

/// All shapes.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "SB, relaxed",
        threads: &[&[put(X, 1), get(Y)], &[put(Y, 1), get(X)]],
        asked: "both read 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "SB, release and acquire",
        threads: &[&[release(X, 1), acquire(Y)], &[release(Y, 1), acquire(X)]],
        asked: "both read 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "SB, sequentially consistent fences",
        threads: &[
            &[put(X, 1), Order(Fence::SeqCst), get(Y)],
            &[put(Y, 1), Order(Fence::SeqCst), get(X)],
        ],
        asked: "both read 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "SB, a fence on one side alone",
        threads: &[
            &[put(X, 1), Order(Fence::SeqCst), get(Y)],
            &[put(Y, 1), get(X)],
        ],
        asked: "both read 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "SB, acquire-release additions",
        threads: &[
            &[Add(X, 1, Rmw::AcqRel), get(Y)],
            &[Add(Y, 1, Rmw::AcqRel), get(X)],
        ],
        asked: "both read 0",
        is_asked: |r: &Registers| r.threads[0][1] == 0 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, relaxed",
        threads: &[&[put(X, 1), put(Y, 1)], &[get(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, release and acquire",
        threads: &[&[put(X, 1), release(Y, 1)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "MP, release and relaxed",
        threads: &[&[put(X, 1), release(Y, 1)], &[get(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, relaxed and acquire",
        threads: &[&[put(X, 1), put(Y, 1)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, release and acquire fences",
        threads: &[
            &[put(X, 1), Order(Fence::Release), put(Y, 1)],
            &[get(Y), Order(Fence::Acquire), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "MP, release fence alone",
        threads: &[
            &[put(X, 1), Order(Fence::Release), put(Y, 1)],
            &[get(Y), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, acquire fence alone",
        threads: &[
            &[put(X, 1), put(Y, 1)],
            &[get(Y), Order(Fence::Acquire), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, released by an addition",
        threads: &[&[put(X, 1), Add(Y, 1, Rmw::Release)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "MP, acquired by an addition",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Add(Y, 0, Rmw::Acquire), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "MP, acquired by a relaxed addition",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Add(Y, 0, Rmw::Relaxed), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "LB, relaxed",
        threads: &[&[get(X), put(Y, 1)], &[get(Y), put(X, 1)]],
        asked: "both read 1",
        is_asked: |r: &Registers| r.threads[0][0] == 1 && r.threads[1][0] == 1,
        allowed: true,
        verdicts: NOBODY,
    },
    Shape {
        name: "LB, release and acquire",
        threads: &[&[acquire(X), release(Y, 1)], &[acquire(Y), release(X, 1)]],
        asked: "both read 1",
        is_asked: |r: &Registers| r.threads[0][0] == 1 && r.threads[1][0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoRR",
        threads: &[&[put(X, 1)], &[get(X), get(X)]],
        asked: "new, then old",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2)]],
        asked: "own store unseen",
        is_asked: |r: &Registers| r.threads[0][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR, two stores",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2)]],
        asked: "other read, own is last",
        is_asked: |r: &Registers| r.threads[0][0] == 2 && r.words[0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR, both sides",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2), get(X)]],
        asked: "each reads the other's",
        is_asked: |r: &Registers| r.threads[0][0] == 2 && r.threads[1][0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "IRIW, relaxed",
        threads: &[
            &[put(X, 1)],
            &[put(Y, 1)],
            &[get(X), get(Y)],
            &[get(Y), get(X)],
        ],
        asked: "two orders of the stores",
        is_asked: |r: &Registers| {
            r.threads[2][0] == 1
                && r.threads[2][1] == 0
                && r.threads[3][0] == 1
                && r.threads[3][1] == 0
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "IRIW, release and acquire",
        threads: &[
            &[release(X, 1)],
            &[release(Y, 1)],
            &[acquire(X), acquire(Y)],
            &[acquire(Y), acquire(X)],
        ],
        asked: "two orders of the stores",
        is_asked: |r: &Registers| {
            r.threads[2][0] == 1
                && r.threads[2][1] == 0
                && r.threads[3][0] == 1
                && r.threads[3][1] == 0
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "IRIW, sequentially consistent fences",
        threads: &[
            &[put(X, 1)],
            &[put(Y, 1)],
            &[get(X), Order(Fence::SeqCst), get(Y)],
            &[get(Y), Order(Fence::SeqCst), get(X)],
        ],
        asked: "two orders of the stores",
        is_asked: |r: &Registers| {
            r.threads[2][0] == 1
                && r.threads[2][1] == 0
                && r.threads[3][0] == 1
                && r.threads[3][1] == 0
        },
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "WRC, relaxed",
        threads: &[&[put(X, 1)], &[get(X), put(Y, 1)], &[get(Y), get(X)]],
        asked: "effect without cause",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "WRC, release and acquire",
        threads: &[
            &[put(X, 1)],
            &[get(X), release(Y, 1)],
            &[acquire(Y), get(X)],
        ],
        asked: "effect without cause",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0
        },
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "ISA2, release and acquire",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[acquire(Y), release(Z, 1)],
            &[acquire(Z), get(X)],
        ],
        asked: "effect without cause",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0
        },
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "ISA2, relaxed link",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[get(Y), release(Z, 1)],
            &[acquire(Z), get(X)],
        ],
        asked: "effect without cause",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "2+2W, relaxed",
        threads: &[&[put(X, 1), put(Y, 2)], &[put(Y, 1), put(X, 2)]],
        asked: "both first stores last",
        is_asked: |r: &Registers| r.words[0] == 1 && r.words[1] == 1,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "2+2W, release",
        threads: &[
            &[release(X, 1), release(Y, 2)],
            &[release(Y, 1), release(X, 2)],
        ],
        asked: "both first stores last",
        is_asked: |r: &Registers| r.words[0] == 1 && r.words[1] == 1,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "2+2W, sequentially consistent fences",
        threads: &[
            &[put(X, 1), Order(Fence::SeqCst), put(Y, 2)],
            &[put(Y, 1), Order(Fence::SeqCst), put(X, 2)],
        ],
        asked: "both first stores last",
        is_asked: |r: &Registers| r.words[0] == 1 && r.words[1] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "R, relaxed",
        threads: &[&[put(X, 1), put(Y, 1)], &[put(Y, 2), get(X)]],
        asked: "later store, old value",
        is_asked: |r: &Registers| r.words[1] == 2 && r.threads[1][0] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "R, sequentially consistent fences",
        threads: &[
            &[put(X, 1), Order(Fence::SeqCst), put(Y, 1)],
            &[put(Y, 2), Order(Fence::SeqCst), get(X)],
        ],
        asked: "later store, old value",
        is_asked: |r: &Registers| r.words[1] == 2 && r.threads[1][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "S, relaxed",
        threads: &[&[put(X, 2), put(Y, 1)], &[get(Y), put(X, 1)]],
        asked: "earlier store last",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.words[0] == 2,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "S, release and acquire",
        threads: &[&[put(X, 2), release(Y, 1)], &[acquire(Y), put(X, 1)]],
        asked: "earlier store last",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.words[0] == 2,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "release sequence through an addition",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Add(Y, 1, Rmw::Relaxed)],
            &[acquire(Y), get(X)],
        ],
        asked: "flag 2 but no data",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 2 && r.threads[2][1] == 0
        },
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "release sequence through an exchange",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Exchange(Y, [1, 2], Rmw::Relaxed, RLX)],
            &[acquire(Y), get(X)],
        ],
        asked: "flag 2 but no data",
        is_asked: |r: &Registers| r.threads[2][0] == 2 && r.threads[2][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "release sequence broken by another's store",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[get(Y), put(Y, 2)],
            &[acquire(Y), get(X)],
        ],
        asked: "flag 2 but no data",
        is_asked: |r: &Registers| {
            r.threads[1][0] == 1 && r.threads[2][0] == 2 && r.threads[2][1] == 0
        },
        allowed: true,
        verdicts: MACHINE_ALONE,
    },
    Shape {
        name: "release sequence broken by the own store",
        threads: &[
            &[put(X, 1), release(Y, 1), put(Y, 2)],
            &[acquire(Y), get(X)],
        ],
        asked: "flag 2 but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 2 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "stale failed exchange",
        threads: &[
            &[put(X, 1), put(Y, 1)],
            &[get(Y), Exchange(X, [1, 2], Rmw::AcqRel, ACQ)],
        ],
        asked: "fails although 1 is there",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: MACHINE_ALONE,
    },
    Shape {
        name: "stale failed exchange, flag acquired",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[acquire(Y), Exchange(X, [1, 2], Rmw::AcqRel, ACQ)],
        ],
        asked: "fails although 1 is there",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "failed exchange, relaxed, then data",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Exchange(Y, [0, 7], Rmw::AcqRel, RLX), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "failed exchange, acquire, then data",
        threads: &[
            &[put(X, 1), release(Y, 1)],
            &[Exchange(Y, [0, 7], Rmw::AcqRel, ACQ), get(X)],
        ],
        asked: "flag but no data",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "two additions",
        threads: &[&[Add(X, 1, Rmw::Relaxed)], &[Add(X, 1, Rmw::Relaxed)]],
        asked: "one lost",
        is_asked: |r: &Registers| r.words[0] != 2,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "two exchanges",
        threads: &[
            &[Exchange(X, [0, 1], Rmw::Relaxed, RLX)],
            &[Exchange(X, [0, 2], Rmw::Relaxed, RLX)],
        ],
        asked: "both succeed",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "seqlock",
        threads: &[
            &[
                put(X, 1),
                Order(Fence::Release),
                put(Y, 1),
                put(Z, 1),
                release(X, 2),
            ],
            &[acquire(X), get(Y), get(Z), Order(Fence::Acquire), get(X)],
        ],
        asked: "a torn read is accepted",
        is_asked: |r: &Registers| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] % 2 == 0
                && r.threads[1][1] != r.threads[1][2]
        },
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "seqlock without writer fence",
        threads: &[
            &[put(X, 1), put(Y, 1), put(Z, 1), release(X, 2)],
            &[acquire(X), get(Y), get(Z), Order(Fence::Acquire), get(X)],
        ],
        asked: "a torn read is accepted",
        is_asked: |r: &Registers| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] % 2 == 0
                && r.threads[1][1] != r.threads[1][2]
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "seqlock without reader fence",
        threads: &[
            &[
                put(X, 1),
                Order(Fence::Release),
                put(Y, 1),
                put(Z, 1),
                release(X, 2),
            ],
            &[acquire(X), get(Y), get(Z), get(X)],
        ],
        asked: "a torn read is accepted",
        is_asked: |r: &Registers| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] % 2 == 0
                && r.threads[1][1] != r.threads[1][2]
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "reuse of an entry",
        threads: &[
            &[release(X, 1), release(Y, 1), release(Y, 0), release(X, 0)],
            &[Add(Y, 0, Rmw::AcqRel), acquire(X)],
        ],
        asked: "value read, key gone",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: EVERYBODY,
    },
    Shape {
        name: "reuse of an entry, one load more (loom 166)",
        threads: &[
            &[
                release(X, 1),
                release(Y, 1),
                release(Y, 0),
                acquire(X),
                release(X, 0),
            ],
            &[Add(Y, 0, Rmw::AcqRel), acquire(X)],
        ],
        asked: "value read, key gone",
        is_asked: |r: &Registers| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: LOOM_MISSES,
    },
    Shape {
        name: "first access is a load (loom 392)",
        threads: &[&[get(X), put(X, 1)], &[get(X)]],
        asked: "store seen",
        is_asked: |r: &Registers| r.threads[1][0] == 1,
        allowed: true,
        verdicts: LOOM_MISSES,
    },
    Shape {
        name: "store beside an addition of 0 (loom 254, 389)",
        threads: &[&[Add(X, 0, Rmw::Relaxed)], &[put(X, 1)]],
        asked: "addition reads 0, ends 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.words[0] == 0,
        allowed: false,
        verdicts: LOOM_ALONE,
    },
    Shape {
        name: "store beside an exchange (loom 254)",
        threads: &[&[Exchange(X, [0, 2], Rmw::Relaxed, RLX)], &[put(X, 1)]],
        asked: "exchange succeeds, ends 0",
        is_asked: |r: &Registers| r.threads[0][0] == 0 && r.words[0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
];
