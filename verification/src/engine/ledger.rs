//! What an exploration counts, shared by the engine, the model's memory and the watchdog.

use std::panic::panic_any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use shm_arena::Offset;

use super::outcome::FailureKind;

/// Kind of a shared access, for the fingerprint of an execution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Access {
    Load,
    Store,
    Rmw,
    Fence,
    Spin,
}

/// A defect that an engine finds by itself, thrown as a panic's payload.
#[derive(Debug)]
pub(crate) struct Defect {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl Defect {
    /// Ends the execution with this defect.
    pub(crate) fn raise(kind: FailureKind, message: String) -> ! {
        panic_any(Self { kind, message })
    }
}

/// Counts of one exploration.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Counts {
    /// Executions started.
    pub(crate) executions: u64,
    /// Accesses in all executions: rises as long as anything moves.
    pub(crate) accesses: u64,
    /// Executions with a kill.
    pub(crate) kills: u64,
    /// Most stores that a kill could have lost.
    pub(crate) unreleased_stores_max: u32,
    /// Fingerprint of the accesses of the first execution, once it is over.
    pub(crate) first_fingerprint: u64,
    fingerprint: u64,
    accesses_here: u32,
    accesses_max: u32,
    killed_here: bool,
    spawned: u32,
    joined: u32,
    memories: Vec<Weak<()>>,
}

impl Ledger {
    pub(crate) fn new(accesses_max: u32) -> Self {
        let counts = Counts { accesses_max, ..Counts::default() };
        Self { counts: Arc::new(Mutex::new(counts)) }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(crate) fn executions(&self) -> u64 {
        self.lock().executions
    }

    /// An execution of an engine that counts accesses itself is over.
    pub(crate) fn ran(&self, accesses: u32, fingerprint: u64) {
        let mut counts = self.lock();
        counts.accesses += u64::from(accesses);
        counts.fingerprint = fingerprint;
    }

    /// The execution that is over was cut short because others cover it: it does not count.
    pub(crate) fn discard(&self) {
        let mut counts = self.lock();
        counts.executions -= 1;
        (counts.spawned, counts.joined) = (0, 0);
        counts.memories.clear();
    }

    /// An execution starts. What the one before left behind is its defect.
    pub(crate) fn start(&self) {
        self.close();
        let mut counts = self.lock();
        counts.executions += 1;
        counts.fingerprint = 0;
        counts.accesses_here = 0;
        counts.killed_here = false;
    }

    /// The execution is over, all participants included: what is left of it is a defect.
    pub(crate) fn close(&self) {
        let mut counts = self.lock();
        if counts.executions == 1 {
            counts.first_fingerprint = counts.fingerprint;
        }
        let (spawned, joined) = (counts.spawned, counts.joined);
        (counts.spawned, counts.joined) = (0, 0);
        let kept = counts.memories.drain(..).filter(|memory| memory.strong_count() > 0).count();
        drop(counts);
        if joined < spawned {
            let message = format!("{joined} of {spawned} participants were joined: join each one");
            Defect::raise(FailureKind::Leak, message);
        }
        if kept > 0 {
            let message = format!(
                "{kept} memories outlived the execution: keep no clone in a static or a cell"
            );
            Defect::raise(FailureKind::Leak, message);
        }
    }

    /// A memory is made; it keeps the token as long as any clone of it lives.
    pub(crate) fn memory(&self) -> Arc<()> {
        let token = Arc::new(());
        self.lock().memories.push(Arc::downgrade(&token));
        token
    }

    /// A participant is started; gives its index.
    pub(crate) fn spawn(&self) -> u32 {
        let mut counts = self.lock();
        counts.spawned += 1;
        counts.spawned
    }

    pub(crate) fn join(&self) {
        self.lock().joined += 1;
    }

    pub(crate) fn mark_kill(&self, unreleased_stores: u32) {
        let mut counts = self.lock();
        if !counts.killed_here {
            counts.killed_here = true;
            counts.kills += 1;
        }
        counts.unreleased_stores_max = counts.unreleased_stores_max.max(unreleased_stores);
    }

    /// A shared access: counted against the budget and mixed into the fingerprint.
    pub(crate) fn note(&self, access: Access, at: Offset, value: u64) {
        let mut counts = self.lock();
        counts.accesses += 1;
        counts.accesses_here += 1;
        let what = (access as u64) << 56 ^ at.word() << 40 ^ value;
        counts.fingerprint = mix(counts.fingerprint ^ what);
        let over = counts.accesses_here > counts.accesses_max;
        let limit = counts.accesses_max;
        drop(counts);
        if over && !std::thread::panicking() {
            Defect::raise(FailureKind::OverBudget, over_budget(limit));
        }
    }
}

/// What to say of an execution that does not end.
pub(crate) fn over_budget(limit: u32) -> String {
    format!(
        "more than {limit} accesses in one execution: a loop waits without spin, or for something \
         that nobody will do (else raise Budget::accesses)"
    )
}

/// The output function of SplitMix64: one word in, one word out, all bits stirred.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
