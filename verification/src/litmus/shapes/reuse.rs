//! Release sequences, failed exchanges, seqlocks, and what loom gets wrong.

use shm_arena::{Fence, Rmw};

use super::{
    ACQ, EVERYBODY, LOOM_ALONE, LOOM_MISSES, MACHINE_ALONE, NOBODY, RLX, WEAK, X, Y, Z, acquire,
    get, put, release,
};
use crate::litmus::Instruction::{Add, Exchange, Order};
use crate::litmus::Shape;

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "release sequence through an addition",
        threads: &[&[put(X, 1), release(Y, 1)], &[Add(Y, 1, Rmw::Relaxed)], &[acquire(Y), get(X)]],
        asked: "flag 2 but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 2 && r.threads[2][1] == 0,
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
        is_asked: |r| r.threads[2][0] == 2 && r.threads[2][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "release sequence broken by another's store",
        threads: &[&[put(X, 1), release(Y, 1)], &[get(Y), put(Y, 2)], &[acquire(Y), get(X)]],
        asked: "flag 2 but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 2 && r.threads[2][1] == 0,
        allowed: true,
        verdicts: MACHINE_ALONE,
    },
    Shape {
        name: "release sequence broken by the own store",
        threads: &[&[put(X, 1), release(Y, 1), put(Y, 2)], &[acquire(Y), get(X)]],
        asked: "flag 2 but no data",
        is_asked: |r| r.threads[1][0] == 2 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "stale failed exchange",
        threads: &[&[put(X, 1), put(Y, 1)], &[get(Y), Exchange(X, [1, 2], Rmw::AcqRel, ACQ)]],
        asked: "fails although 1 is there",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "failed exchange, relaxed, then data",
        threads: &[&[put(X, 1), release(Y, 1)], &[Exchange(Y, [0, 7], Rmw::AcqRel, RLX), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "failed exchange, acquire, then data",
        threads: &[&[put(X, 1), release(Y, 1)], &[Exchange(Y, [0, 7], Rmw::AcqRel, ACQ), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "seqlock",
        threads: &[
            &[put(X, 1), Order(Fence::Release), put(Y, 1), put(Z, 1), release(X, 2)],
            &[acquire(X), get(Y), get(Z), Order(Fence::Acquire), get(X)],
        ],
        asked: "a torn read is accepted",
        is_asked: |r| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] != 1
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
        is_asked: |r| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] != 1
                && r.threads[1][1] != r.threads[1][2]
        },
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "seqlock without reader fence",
        threads: &[
            &[put(X, 1), Order(Fence::Release), put(Y, 1), put(Z, 1), release(X, 2)],
            &[acquire(X), get(Y), get(Z), get(X)],
        ],
        asked: "a torn read is accepted",
        is_asked: |r| {
            r.threads[1][0] == r.threads[1][3]
                && r.threads[1][0] != 1
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: EVERYBODY,
    },
    Shape {
        name: "reuse of an entry, one load more (loom 166)",
        threads: &[
            &[release(X, 1), release(Y, 1), release(Y, 0), acquire(X), release(X, 0)],
            &[Add(Y, 0, Rmw::AcqRel), acquire(X)],
        ],
        asked: "value read, key gone",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: LOOM_MISSES,
    },
    Shape {
        name: "first access is a load (loom 392)",
        threads: &[&[get(X), put(X, 1)], &[get(X)]],
        asked: "store seen",
        is_asked: |r| r.threads[1][0] == 1,
        allowed: true,
        verdicts: LOOM_MISSES,
    },
    Shape {
        name: "store beside an addition of 0 (loom 254, 389)",
        threads: &[&[Add(X, 0, Rmw::Relaxed)], &[put(X, 1)]],
        asked: "addition reads 0, ends 0",
        is_asked: |r| r.threads[0][0] == 0 && r.words[0] == 0,
        allowed: false,
        verdicts: LOOM_ALONE,
    },
    Shape {
        name: "store beside an exchange (loom 254)",
        threads: &[&[Exchange(X, [0, 2], Rmw::Relaxed, RLX)], &[put(X, 1)]],
        asked: "exchange succeeds, ends 0",
        is_asked: |r| r.threads[0][0] == 0 && r.words[0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
];
