//! The weak-memory machine: what C11 lets a thread read, without load buffering.
//!
//! # Idea
//!
//! Every word has the list of all values stored to it, oldest first. A *view* says, for each word,
//! how far down the list its owner has come: older values are out of reach. A load takes any value
//! that its thread's view does not exclude. A store may go to any place of the list that is below
//! its thread's view, but not between a value and the read-modify-write that took it. Each stored
//! value carries the view that it releases, and whoever acquires it joins that view to its own.
//!
//! A thread has three views: `current` limits what it reads; `acquired` is what an acquire fence
//! would add (the views of all values read so far, relaxed or not); `released` is what a relaxed
//! store after a release fence passes on. One more view is handed through all sequentially
//! consistent fences.
//!
//! A read-modify-write takes a value that no other one took, puts its own right after it, and
//! passes on the view of what it read: that is the release sequence of C++20, which a plain store
//! by anyone ends. A compare-exchange that fails may have read any value in reach that differs from
//! the expected one, also when the newest would have let it succeed.
//!
//! # Limits
//!
//! A load never takes a value of the future: no load buffering.
//!
//! # Source
//!
//! The view-based machines of Kang et al., *A Promising Semantics for Relaxed-Memory Concurrency*
//! (POPL 2017), without promises, with the release sequences of C++20.

use std::sync::Arc;

use shm_arena::{Fence, Load, Rmw, Store};

/// How far down each word's list its owner has come, and how many marks of each thread it knows.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct View {
    /// Position of the oldest value in reach.
    words: Vec<u64>,
    marks: Vec<u32>,
}

/// One stored value.
#[derive(Clone, Debug)]
struct Message {
    value: u64,
    /// Its position in the order of the word's values; there are gaps for later ones.
    position: u64,
    /// A read-modify-write took the value before this one: nothing comes between.
    attached: bool,
    /// What it releases beside itself, if anything.
    view: Option<Arc<View>>,
}

/// The values of one word, oldest first; never empty.
#[derive(Clone, Debug)]
struct Cell {
    messages: Vec<Message>,
    /// Place of this word in views: words that were never stored to concurrently have none.
    place: Option<usize>,
}

#[derive(Clone, Default, Debug)]
struct Thread {
    current: View,
    acquired: View,
    released: Option<Arc<View>>,
}

/// All words and all threads of one execution.
#[derive(Default, Debug)]
pub(crate) struct Machine {
    cells: Vec<Cell>,
    threads: Vec<Thread>,
    sequential: View,
    places: usize,
}

impl Machine {
    /// Back to no words and the first thread alone.
    pub(crate) fn reset(&mut self) {
        self.cells.clear();
        self.threads.clear();
        self.threads.push(Thread::default());
        self.sequential = View::default();
        self.places = 0;
    }

    /// Adds zeroed words; gives the index of the first.
    pub(crate) fn allocate(&mut self, words: usize) -> usize {
        let first = self.cells.len();
        let initial = Message { value: 0, position: 0, attached: false, view: None };
        let cell = Cell { messages: vec![initial], place: None };
        self.cells.resize(first + words, cell);
        first
    }

    /// A thread starts that knows all that its parent knows.
    pub(crate) fn spawn(&mut self, parent: usize) -> usize {
        let current = self.threads[parent].current.clone();
        let acquired = current.clone();
        self.threads.push(Thread { current, acquired, released: None });
        self.threads.len() - 1
    }

    /// A thread learns all that an ended one knew.
    pub(crate) fn join(&mut self, thread: usize, ended: usize) {
        let current = std::mem::take(&mut self.threads[ended].current);
        self.threads[thread].current.join(&current);
        self.threads[thread].acquired.join(&current);
        self.threads[ended].current = current;
    }

    /// How many values of a word are in reach of a thread; at least one.
    pub(crate) fn reach(&self, thread: usize, word: usize) -> usize {
        let cell = &self.cells[word];
        let oldest = self.threads[thread].current.at(cell.place);
        cell.messages.iter().rev().take_while(|message| message.position >= oldest).count()
    }

    /// Reads the value of this age: 0 is the newest, and an age is below the reach.
    pub(crate) fn load(&mut self, thread: usize, word: usize, age: usize, order: Load) -> u64 {
        let cell = &self.cells[word];
        let message = &cell.messages[cell.messages.len() - 1 - age];
        let thread = &mut self.threads[thread];
        debug_assert!(message.position >= thread.current.at(cell.place), "a value out of reach");
        thread.see(cell.place, message.position);
        thread.receive(message.view.as_deref(), order);
        message.value
    }

    /// The ages that a store may have when it is made: 0 puts it last.
    pub(crate) fn gaps(&self, thread: usize, word: usize) -> Vec<usize> {
        (0..self.reach(thread, word)).filter(|&age| self.is_open(word, age)).collect()
    }

    /// Whether a value can be put right after the one of this age.
    fn is_open(&self, word: usize, age: usize) -> bool {
        let messages = &self.cells[word].messages;
        let index = messages.len() - 1 - age;
        messages
            .get(index + 1)
            .is_none_or(|next| !next.attached && next.position - messages[index].position > 1)
    }

    /// Stores a value, with as many younger ones as its age says.
    pub(crate) fn store(
        &mut self,
        thread: usize,
        word: usize,
        value: u64,
        age: usize,
        order: Store,
    ) {
        let stored = Stored { value, age, releases: order == Store::Release, taken: None };
        self.insert(thread, word, stored);
    }

    /// Changes the value of this age, one of the [`gaps`](Machine::gaps); gives what it was.
    pub(crate) fn modify(
        &mut self,
        thread: usize,
        word: usize,
        age: usize,
        order: Rmw,
        new: impl FnOnce(u64) -> u64,
    ) -> u64 {
        let acquires = matches!(order, Rmw::Acquire | Rmw::AcqRel);
        let releases = matches!(order, Rmw::Release | Rmw::AcqRel);
        let messages = &self.cells[word].messages;
        let read = messages[messages.len() - 1 - age].clone();
        let load = if acquires { Load::Acquire } else { Load::Relaxed };
        self.load(thread, word, age, load);
        let stored = Stored { value: new(read.value), age, releases, taken: Some(read.view) };
        self.insert(thread, word, stored);
        read.value
    }

    /// How a compare-exchange can end: the ages that it may read, youngest first, and whether it
    /// succeeds there.
    pub(crate) fn exchange(&self, thread: usize, word: usize, expected: u64) -> Vec<(usize, bool)> {
        let messages = self.cells[word].messages.iter().rev();
        let values = messages.take(self.reach(thread, word)).enumerate();
        values
            .map(|(age, message)| (age, message.value == expected))
            .filter(|&(age, succeeds)| !succeeds || self.is_open(word, age))
            .collect()
    }

    /// Orders a thread's accesses.
    pub(crate) fn fence(&mut self, thread: usize, order: Fence) {
        let thread = &mut self.threads[thread];
        if order != Fence::Release {
            thread.current.join(&thread.acquired);
        }
        if order == Fence::SeqCst {
            self.sequential.join(&thread.current);
            thread.current.join(&self.sequential);
            thread.acquired.join(&thread.current);
        }
        if order != Fence::Acquire {
            thread.released = Some(Arc::new(thread.current.clone()));
        }
    }

    /// Adds a mark to a thread; gives how many marks of each thread precede this point.
    pub(crate) fn mark(&mut self, thread: usize) -> Vec<u32> {
        let known = &mut self.threads[thread];
        let before = known.current.marks.clone();
        for view in [&mut known.current, &mut known.acquired] {
            if view.marks.len() <= thread {
                view.marks.resize(thread + 1, 0);
            }
        }
        known.current.marks[thread] += 1;
        known.acquired.marks[thread] = known.current.marks[thread];
        before
    }

    fn insert(&mut self, thread: usize, word: usize, stored: Stored) {
        let Stored { value, age, releases, taken } = stored;
        let cell = &mut self.cells[word];
        // Until a second thread exists, everybody knows everything: no history is needed.
        if self.threads.len() == 1 {
            cell.messages[0].value = value;
            return;
        }
        let places = &mut self.places;
        let place = *cell.place.get_or_insert_with(|| {
            *places += 1;
            *places - 1
        });
        let index = cell.messages.len() - age;
        let before = cell.messages[index - 1].position;
        let position = match cell.messages.get(index) {
            Some(after) => before + (after.position - before) / 2,
            None => before + GAP,
        };
        let thread = &mut self.threads[thread];
        thread.see(Some(place), position);
        let own =
            if releases { Some(Arc::new(thread.current.clone())) } else { thread.released.clone() };
        let attached = taken.is_some();
        let view = match (own, taken.flatten()) {
            (Some(own), Some(taken)) => {
                let mut both = View::clone(&own);
                both.join(&taken);
                Some(Arc::new(both))
            }
            (own, taken) => own.or(taken),
        };
        cell.messages.insert(index, Message { value, position, attached, view });
    }
}

/// A value about to be stored.
struct Stored {
    value: u64,
    /// How many values of the word stay younger.
    age: usize,
    releases: bool,
    /// What the value that a read-modify-write took releases.
    taken: Option<Option<Arc<View>>>,
}

/// Room between two values that were stored one after the other: enough for 20 halvings.
const GAP: u64 = 1 << 20;

impl Thread {
    /// Values of a word before this position are out of reach from here.
    fn see(&mut self, place: Option<usize>, position: u64) {
        let Some(place) = place else { return };
        self.current.raise(place, position);
        self.acquired.raise(place, position);
    }

    /// Takes in what a value read releases.
    fn receive(&mut self, view: Option<&View>, order: Load) {
        let Some(view) = view else { return };
        self.acquired.join(view);
        if order == Load::Acquire {
            self.current.join(view);
        }
    }
}

impl View {
    fn at(&self, place: Option<usize>) -> u64 {
        place.and_then(|place| self.words.get(place)).copied().unwrap_or(0)
    }

    fn raise(&mut self, place: usize, position: u64) {
        if self.words.len() <= place {
            self.words.resize(place + 1, 0);
        }
        self.words[place] = self.words[place].max(position);
    }

    fn join(&mut self, other: &Self) {
        raise_all(&mut self.words, &other.words);
        raise_all(&mut self.marks, &other.marks);
    }
}

fn raise_all<T: Copy + Default + Ord>(own: &mut Vec<T>, other: &[T]) {
    if own.len() < other.len() {
        own.resize(other.len(), T::default());
    }
    for (own, other) in own.iter_mut().zip(other) {
        *own = (*own).max(*other);
    }
}
