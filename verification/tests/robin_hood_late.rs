//! A helper of `robin_hood` that is stopped while it holds a descriptor, and wakes when the owner
//! has written the next one into it: the schedule is forced, not looked for.
//!
//! Two threads hand on to each other at stated accesses. The owner removes a key and inserts it
//! again. The helper meets the removal, stops, and goes on when the insertion is described and not
//! begun; what it then reads governs nothing. It has to see that, or it inserts in the owner's
//! name.
#![allow(missing_docs)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use shm_arena::{Environment, Fence, HeapMemory, Layout, Load, Memory, Offset, Rmw, Store};
use shm_table::{Design, Entry, Error, Insert, Remove, RobinHood, Table, TableOptions, TableShape};
use shm_verification::faulty_pages::{FaultyPages, Page, PageFault};

const SLOTS: u64 = 4;
const BUSY: u64 = 1 << 63;

/// Where a participant stops and hands on, once each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// The owner, after its first update has begun.
    Begun,
    /// The helper, after it has seen that.
    Seen,
    /// The owner, before its second update begins: the descriptor is written.
    Described,
}

/// One participant's memory, which stops it.
#[derive(Clone, Debug)]
struct Forced {
    words: Arc<HeapMemory>,
    header: Offset,
    baton: Arc<Mutex<Baton>>,
}

/// The stops that are left, and how to hand on.
#[derive(Debug)]
struct Baton {
    stops: Vec<Stop>,
    other: Sender<()>,
    mine: Receiver<()>,
}

impl Forced {
    fn baton(&self) -> MutexGuard<'_, Baton> {
        self.baton.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is this participant's turn, or nobody is left who could hand on.
    fn wait(&self) {
        let _ = self.baton().mine.recv();
    }

    /// Lets the other one go on, if it has not finished.
    fn hand_on(&self) {
        let _ = self.baton().other.send(());
    }

    /// Hands on and waits, if this is the next stop.
    fn stop_at(&self, stop: Stop) {
        let is_next = self.baton().stops.pop_if(|next| *next == stop).is_some();
        if is_next {
            self.hand_on();
            self.wait();
        }
    }
}

impl Memory for Forced {
    fn word_count(&self) -> u64 {
        self.words.word_count()
    }

    fn load(&self, at: Offset, order: Load) -> u64 {
        let value = self.words.load(at, order);
        if at == self.header && order == Load::Acquire && value & BUSY != 0 {
            self.stop_at(Stop::Seen);
        }
        value
    }

    fn store(&self, at: Offset, value: u64, order: Store) {
        self.words.store(at, value, order);
    }

    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        let begins = at == self.header && new & BUSY != 0;
        if begins {
            self.stop_at(Stop::Described);
        }
        let exchanged = self.words.compare_exchange(at, current, new, success, failure);
        if begins && exchanged.is_ok() {
            self.stop_at(Stop::Begun);
        }
        exchanged
    }

    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.words.fetch_add(at, value, order)
    }

    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.words.fetch_and(at, value, order)
    }

    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.words.fetch_or(at, value, order)
    }

    fn fence(&self, order: Fence) {
        self.words.fence(order);
    }
}

/// What everybody saw in the forced schedule.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    /// The owner's removal and insertion.
    owner: (Result<Remove, Error>, Result<Insert, Error>),
    helper: Result<Insert, Error>,
    is_clean: bool,
}

fn insert(table: &impl Table, key: u8) -> Result<Insert, Error> {
    let value = [key; 16];
    table.insert(Entry { key: &[key], value: &value, metadata: 1 }, &mut Vec::new())
}

/// Runs the schedule with a helper that commits a fault.
fn forced(fault: PageFault) -> Seen {
    let shape = TableShape { buckets: 1, slots: 4, slabs: 1, slab_units: 8, block_units_min: 1 };
    let options = TableOptions {
        processes: 3,
        lines: 3,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    };
    let words = RobinHood::<HeapMemory>::word_count(&options).expect("tiny shape");
    let words = Arc::new(HeapMemory::new(words));
    let environment = Environment::default();
    let table = RobinHood::create(words.clone(), &options, &environment).expect("zeroed memory");
    let header = Layout::new(table.arena().geometry()).expect("made").index();
    let page = Page { header, slots: header + 8, slot_count: SLOTS };
    let ((to_owner, owners), (to_helper, helpers)) = (channel(), channel());
    let hasher = table.arena().hasher();
    let at_home = |home| {
        let is_there = |key: &u8| hasher.hash(&[*key]) % SLOTS == home;
        (0..=u8::MAX).find(is_there).expect("256 keys are enough for four slots")
    };
    let (key, other) = (at_home(1), at_home(2));
    assert_eq!(insert(&table, key), Ok(Insert::Inserted));
    let join = |fault, stops, other, mine| {
        let baton = Arc::new(Mutex::new(Baton { stops, other, mine }));
        let forced = Forced { words: words.clone(), header, baton };
        let memory = FaultyPages::new(forced.clone(), fault, page);
        (forced, RobinHood::attach(memory, &environment).expect("a table is there"))
    };
    let (_, owner) = join(PageFault::None, vec![Stop::Described, Stop::Begun], to_helper, owners);
    let (turn, helper) = join(fault, vec![Stop::Seen], to_owner, helpers);
    let (owner, helper) = thread::scope(|scope| {
        let owner = scope.spawn(move || (owner.remove(&[key]), insert(&owner, key)));
        let helper = scope.spawn(move || {
            turn.wait();
            let inserted = insert(&helper, other);
            turn.hand_on();
            inserted
        });
        (owner.join().expect("no panic"), helper.join().expect("no panic"))
    });
    Seen { owner, helper, is_clean: table.audit().is_clean() }
}

#[test]
fn a_helper_that_wakes_to_the_next_descriptor_leaves_it_alone() {
    let expected = Seen {
        owner: (Ok(Remove::Removed), Ok(Insert::Inserted)),
        helper: Ok(Insert::Inserted),
        is_clean: true,
    };
    assert_eq!(forced(PageFault::None), expected);
}

#[test]
fn a_helper_that_does_not_check_applies_the_next_descriptor_and_is_caught() {
    let seen = forced(PageFault::HelperWithoutCheck);
    println!("{seen:?}");
    assert!(!seen.is_clean, "{seen:?}");
}
