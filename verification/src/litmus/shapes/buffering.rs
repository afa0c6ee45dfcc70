//! Store buffering, load buffering and message passing.

use shm_arena::{Fence, Rmw};

use super::{NOBODY, WEAK, X, Y, acquire, get, put, release};
use crate::litmus::Instruction::{Add, Order};
use crate::litmus::Shape;

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "SB, relaxed",
        threads: &[&[put(X, 1), get(Y)], &[put(Y, 1), get(X)]],
        asked: "both read 0",
        is_asked: |r| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "SB, release and acquire",
        threads: &[&[release(X, 1), acquire(Y)], &[release(Y, 1), acquire(X)]],
        asked: "both read 0",
        is_asked: |r| r.threads[0][0] == 0 && r.threads[1][0] == 0,
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
        is_asked: |r| r.threads[0][0] == 0 && r.threads[1][0] == 0,
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
        is_asked: |r| r.threads[0][0] == 0 && r.threads[1][0] == 0,
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
        is_asked: |r| r.threads[0][1] == 0 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, relaxed",
        threads: &[&[put(X, 1), put(Y, 1)], &[get(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, release and acquire",
        threads: &[&[put(X, 1), release(Y, 1)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "MP, release and relaxed",
        threads: &[&[put(X, 1), release(Y, 1)], &[get(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, relaxed and acquire",
        threads: &[&[put(X, 1), put(Y, 1)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "MP, released by an addition",
        threads: &[&[put(X, 1), Add(Y, 1, Rmw::Release)], &[acquire(Y), get(X)]],
        asked: "flag but no data",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
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
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "LB, relaxed",
        threads: &[&[get(X), put(Y, 1)], &[get(Y), put(X, 1)]],
        asked: "both read 1",
        is_asked: |r| r.threads[0][0] == 1 && r.threads[1][0] == 1,
        allowed: true,
        verdicts: NOBODY,
    },
    Shape {
        name: "LB, release and acquire",
        threads: &[&[acquire(X), release(Y, 1)], &[acquire(Y), release(X, 1)]],
        asked: "both read 1",
        is_asked: |r| r.threads[0][0] == 1 && r.threads[1][0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
];
