//! Coherence of one word, and the order of stores to several.

use shm_arena::{Fence, Rmw};

use super::{NOBODY, RLX, WEAK, X, Y, acquire, get, put, release};
use crate::litmus::Instruction::{Add, Exchange, Order};
use crate::litmus::Shape;

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "CoRR",
        threads: &[&[put(X, 1)], &[get(X), get(X)]],
        asked: "new, then old",
        is_asked: |r| r.threads[1][0] == 1 && r.threads[1][1] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2)]],
        asked: "own store unseen",
        is_asked: |r| r.threads[0][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR, two stores",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2)]],
        asked: "other read, own is last",
        is_asked: |r| r.threads[0][0] == 2 && r.words[0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "CoWR, both sides",
        threads: &[&[put(X, 1), get(X)], &[put(X, 2), get(X)]],
        asked: "each reads the other's",
        is_asked: |r| r.threads[0][0] == 2 && r.threads[1][0] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "2+2W, relaxed",
        threads: &[&[put(X, 1), put(Y, 2)], &[put(Y, 1), put(X, 2)]],
        asked: "both first stores last",
        is_asked: |r| r.words[0] == 1 && r.words[1] == 1,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "2+2W, release",
        threads: &[&[release(X, 1), release(Y, 2)], &[release(Y, 1), release(X, 2)]],
        asked: "both first stores last",
        is_asked: |r| r.words[0] == 1 && r.words[1] == 1,
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
        is_asked: |r| r.words[0] == 1 && r.words[1] == 1,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "R, relaxed",
        threads: &[&[put(X, 1), put(Y, 1)], &[put(Y, 2), get(X)]],
        asked: "later store, old value",
        is_asked: |r| r.words[1] == 2 && r.threads[1][0] == 0,
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
        is_asked: |r| r.words[1] == 2 && r.threads[1][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "S, relaxed",
        threads: &[&[put(X, 2), put(Y, 1)], &[get(Y), put(X, 1)]],
        asked: "earlier store last",
        is_asked: |r| r.threads[1][0] == 1 && r.words[0] == 2,
        allowed: true,
        verdicts: WEAK,
    },
    Shape {
        name: "S, release and acquire",
        threads: &[&[put(X, 2), release(Y, 1)], &[acquire(Y), put(X, 1)]],
        asked: "earlier store last",
        is_asked: |r| r.threads[1][0] == 1 && r.words[0] == 2,
        allowed: false,
        verdicts: NOBODY,
    },
    Shape {
        name: "two additions",
        threads: &[&[Add(X, 1, Rmw::Relaxed)], &[Add(X, 1, Rmw::Relaxed)]],
        asked: "one lost",
        is_asked: |r| r.words[0] != 2,
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
        is_asked: |r| r.threads[0][0] == 0 && r.threads[1][0] == 0,
        allowed: false,
        verdicts: NOBODY,
    },
];
