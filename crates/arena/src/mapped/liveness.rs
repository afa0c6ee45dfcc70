//! Who is alive, as the kernel knows it.

use super::MappedMemory;
use crate::error::SegmentError;
use crate::liveness::{Liveness, RecordIndex, Verdict};

/// Liveness by locks on bytes of the segment's file, which the kernel releases when the memory of
/// the process that took them is gone: killed, exited (also as a zombie), or replaced by exec.
///
/// Closing all descriptors, being stopped, and the end of the main thread leave a process alive. A
/// forked child holds nothing of its parent's and may hold records of its own through the same
/// value. It works across pid namespaces. A process that can no longer open the segment's file
/// (it gave up the privilege) keeps what it holds but can hold no more; let the creator give the
/// file to the user who will run. Through a read-only memory nothing can be held.
///
/// On systems other than Linux there are no such locks: whoever asks holds, and everybody is alive.
#[derive(Debug)]
pub struct MappedLiveness {
    beacons: Beacons,
}

impl MappedLiveness {
    /// Checks that beacons work on the file of this memory.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Unfit`] names the file system if a beacon is not seen through another
    /// description of the file, as on overlayfs; [`SegmentError::Io`].
    pub fn new(memory: MappedMemory) -> Result<Self, SegmentError> {
        Ok(Self { beacons: Beacons::new(memory)? })
    }
}

impl Liveness for MappedLiveness {
    fn hold(&self, record: RecordIndex) -> bool {
        self.beacons.hold(record)
    }

    fn release(&self, record: RecordIndex) {
        self.beacons.release(record);
    }

    fn verdict(&self, record: RecordIndex) -> Verdict {
        self.beacons.verdict(record)
    }
}

#[cfg(target_os = "linux")]
use locks::Beacons;

#[cfg(target_os = "linux")]
mod locks {
    use std::collections::HashMap;
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

    use rustix::fs::OFlags;

    use crate::error::SegmentError;
    use crate::liveness::{RecordIndex, Verdict};
    use crate::mapped::beacon::{self, Beacon};
    use crate::mapped::{ForkEpoch, MappedMemory};
    use crate::memory::{Fence, Memory};

    #[derive(Debug)]
    pub(super) struct Beacons {
        memory: MappedMemory,
        /// Of the process that made this value.
        maker: ForkEpoch,
        held: Mutex<Held>,
    }

    /// The beacons of one process.
    #[derive(Debug)]
    struct Held {
        beacons: HashMap<RecordIndex, Beacon>,
        /// Of the process that lit `beacons`.
        holder: ForkEpoch,
    }

    impl Beacons {
        pub(super) fn new(memory: MappedMemory) -> Result<Self, SegmentError> {
            beacon::self_test(memory.file(), memory.path(), memory.is_writable())?;
            let held = Held { beacons: HashMap::new(), holder: ForkEpoch::here() };
            Ok(Self { maker: ForkEpoch::here(), held: Mutex::new(held), memory })
        }

        pub(super) fn hold(&self, record: RecordIndex) -> bool {
            let mut held = self.held();
            if held.as_ref().is_some_and(|held| held.beacons.contains_key(&record)) {
                return true;
            }
            match Beacon::light(self.memory.file(), self.memory.path(), record) {
                Ok(Some(beacon)) => {
                    match &mut held {
                        Some(held) => {
                            held.beacons.insert(record, beacon);
                        }
                        None => beacon.forget(),
                    }
                    true
                }
                Ok(None) | Err(_) => false,
            }
        }

        pub(super) fn release(&self, record: RecordIndex) {
            if let Some(mut held) = self.held() {
                held.beacons.remove(&record);
            }
        }

        pub(super) fn verdict(&self, record: RecordIndex) -> Verdict {
            let verdict = match self.is_lit(record) {
                Ok(false) => Verdict::Dead,
                Ok(true) | Err(_) => Verdict::Alive,
            };
            // The kernel releases a lock after the last instruction of its holder; nothing that the
            // caller reads next may be older than the answer.
            self.memory.fence(Fence::AcqRel);
            verdict
        }

        fn is_lit(&self, record: RecordIndex) -> io::Result<bool> {
            let file = self.memory.file();
            if let Ok(descriptor) = file.verified() {
                let is_lit = Beacon::is_lit(descriptor, record)?;
                // Had other code closed the descriptor meanwhile, the answer would be about another
                // file, where nobody is alive.
                if file.verified().is_ok() {
                    return Ok(is_lit);
                }
            }
            let fresh = file.reopen(self.memory.path(), OFlags::RDONLY)?;
            Beacon::is_lit(std::os::fd::AsFd::as_fd(&fresh), record)
        }

        /// The beacons of this process; `None` in a child whose parent was changing them in another
        /// thread when it forked, and nobody can tell what became of the lock.
        fn held(&self) -> Option<MutexGuard<'_, Held>> {
            let mut held = if self.maker.is_inherited() {
                self.held_in_child()?
            } else {
                self.held.lock().unwrap_or_else(PoisonError::into_inner)
            };
            if held.holder.is_inherited() {
                held.beacons.drain().for_each(|(_, beacon)| beacon.forget());
                held.holder = ForkEpoch::here();
            }
            Some(held)
        }

        fn held_in_child(&self) -> Option<MutexGuard<'_, Held>> {
            // Bounded: another thread of this child holds the lock for a few system calls.
            for _ in 0..10_000 {
                match self.held.try_lock() {
                    Ok(held) => return Some(held),
                    Err(TryLockError::Poisoned(held)) => return Some(held.into_inner()),
                    Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                }
            }
            None
        }
    }

    impl Drop for Beacons {
        /// In a child the mappings are not there: what lies at their addresses is somebody else's.
        fn drop(&mut self) {
            let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
            if held.holder.is_inherited() {
                held.beacons.drain().for_each(|(_, beacon)| beacon.forget());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
use unknown::Beacons;

#[cfg(not(target_os = "linux"))]
mod unknown {
    use std::sync::Arc;

    use crate::error::SegmentError;
    use crate::liveness::{RecordIndex, Verdict};
    use crate::mapped::MappedMemory;

    #[derive(Debug)]
    pub(super) struct Beacons;

    impl Beacons {
        pub(super) fn new(_memory: MappedMemory) -> Result<Self, SegmentError> {
            Ok(Self)
        }

        pub(super) fn hold(&self, _record: RecordIndex) -> bool {
            true
        }

        pub(super) fn release(&self, _record: RecordIndex) {}

        pub(super) fn verdict(&self, _record: RecordIndex) -> Verdict {
            Verdict::Alive
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "liveness_tests.rs"]
mod tests;
