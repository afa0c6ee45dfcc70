//! The handle to a started participant.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Ledger;

/// A started participant, to be joined.
pub struct Participant<T> {
    index: u32,
    ledger: Ledger,
    result: Slot<T>,
    wait: Box<dyn FnOnce() + Send>,
}

/// Where a participant leaves what it returns.
type Slot<T> = Arc<Mutex<Option<T>>>;

impl<T: Send + 'static> Participant<T> {
    /// Starts `body` by the engine's own means: `start` gives a function that waits for the end.
    pub(crate) fn start<F>(
        ledger: &Ledger,
        body: F,
        start: impl FnOnce(u32, Box<dyn FnOnce() + Send>) -> Box<dyn FnOnce() + Send>,
    ) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let index = ledger.spawn();
        let result = Slot::<T>::default();
        let slot = Arc::clone(&result);
        let wait = start(
            index,
            Box::new(move || {
                let value = body();
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            }),
        );
        Self { index, ledger: ledger.clone(), result, wait }
    }

    /// Index of the participant, from 1.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Waits for the participant's end and gives what it returned. What the participant did is
    /// visible to the caller.
    pub fn join(self) -> T {
        (self.wait)();
        self.ledger.join();
        let value = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.expect("a joined participant has returned: a panic in it ends the execution")
    }
}

impl<T> fmt::Debug for Participant<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "participant {}", self.index)
    }
}
