//! How far a store has come when others act on it.

use shm_arena::Fence;

use super::{NOBODY, WEAK, X, Y, Z, acquire, get, put, release};
use crate::litmus::Instruction::Order;
use crate::litmus::Shape;

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "IRIW, relaxed",
        threads: &[&[put(X, 1)], &[put(Y, 1)], &[get(X), get(Y)], &[get(Y), get(X)]],
        asked: "two orders of the stores",
        is_asked: |r| {
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
        is_asked: |r| {
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
        is_asked: |r| {
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "WRC, release and acquire",
        threads: &[&[put(X, 1)], &[get(X), release(Y, 1)], &[acquire(Y), get(X)]],
        asked: "effect without cause",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "ISA2, relaxed link",
        threads: &[&[put(X, 1), release(Y, 1)], &[get(Y), release(Z, 1)], &[acquire(Z), get(X)]],
        asked: "effect without cause",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[2][0] == 1 && r.threads[2][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
];
