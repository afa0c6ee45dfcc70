//! The words of an engine that brings atomics of its own, as a [`Memory`](shm_arena::Memory).

/// Defines a memory over the atomics of `$engine`, whose module paths are those of std.
macro_rules! checked_memory {
    ($(#[$documentation:meta])* $name:ident, $engine:ident) => {
        $(#[$documentation])*
        #[derive(Clone)]
        pub struct $name {
            words: Arc<[AtomicU64]>,
            ledger: Ledger,
            _token: Arc<()>,
        }

        impl $name {
            pub(crate) fn new(words: u64, ledger: &Ledger) -> Self {
                let words = (0..words).map(|_| AtomicU64::new(0)).collect();
                Self { words, ledger: ledger.clone(), _token: ledger.memory() }
            }

            #[track_caller]
            fn word(&self, at: Offset) -> &AtomicU64 {
                &self.words[crate::memory::index(at, self.words.len())]
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({} words)", stringify!($name), self.words.len())
            }
        }

        impl Memory for $name {
            fn word_count(&self) -> u64 {
                self.words.len() as u64
            }

            #[track_caller]
            fn load(&self, at: Offset, order: Load) -> u64 {
                let value = self.word(at).load(crate::memory::checked::load(order));
                self.ledger.note(Access::Load, at, value);
                value
            }

            #[track_caller]
            fn store(&self, at: Offset, value: u64, order: Store) {
                self.word(at).store(value, crate::memory::checked::store(order));
                self.ledger.note(Access::Store, at, value);
            }

            #[track_caller]
            fn compare_exchange(
                &self,
                at: Offset,
                current: u64,
                new: u64,
                success: Rmw,
                failure: Load,
            ) -> Result<u64, u64> {
                let result = self.word(at).compare_exchange(
                    current,
                    new,
                    crate::memory::checked::rmw(success),
                    crate::memory::checked::load(failure),
                );
                self.ledger.note(Access::Rmw, at, result.unwrap_or_else(|found| !found));
                result
            }

            #[track_caller]
            fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                let found = self.word(at).fetch_add(value, crate::memory::checked::rmw(order));
                self.ledger.note(Access::Rmw, at, found);
                found
            }

            #[track_caller]
            fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                let found = self.word(at).fetch_and(value, crate::memory::checked::rmw(order));
                self.ledger.note(Access::Rmw, at, found);
                found
            }

            #[track_caller]
            fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                let found = self.word(at).fetch_or(value, crate::memory::checked::rmw(order));
                self.ledger.note(Access::Rmw, at, found);
                found
            }

            #[track_caller]
            fn fence(&self, order: Fence) {
                $engine::sync::atomic::fence(crate::memory::checked::fence(order));
                self.ledger.note(Access::Fence, Offset::new(0), 0);
            }

            fn spin(&self, _backoff: &Backoff) {
                self.ledger.note(Access::Spin, Offset::new(0), 0);
                $engine::thread::yield_now();
            }
        }
    };
}

use loom::sync::atomic::Ordering;

use shm_arena::{Fence, Load, Rmw, Store};

pub(super) use checked_memory;

pub(super) const fn load(order: Load) -> Ordering {
    match order {
        Load::Relaxed => Ordering::Relaxed,
        Load::Acquire => Ordering::Acquire,
    }
}

pub(super) const fn store(order: Store) -> Ordering {
    match order {
        Store::Relaxed => Ordering::Relaxed,
        Store::Release => Ordering::Release,
    }
}

pub(super) const fn rmw(order: Rmw) -> Ordering {
    match order {
        Rmw::Relaxed => Ordering::Relaxed,
        Rmw::Acquire => Ordering::Acquire,
        Rmw::Release => Ordering::Release,
        Rmw::AcqRel => Ordering::AcqRel,
    }
}

pub(super) const fn fence(order: Fence) -> Ordering {
    match order {
        Fence::Acquire => Ordering::Acquire,
        Fence::Release => Ordering::Release,
        Fence::AcqRel => Ordering::AcqRel,
        Fence::SeqCst => Ordering::SeqCst,
    }
}
