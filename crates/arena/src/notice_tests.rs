use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::ASKED_MAX;
use crate::liveness::{Liveness, RecordIndex, Verdict};
use crate::{Environment, HeapMemory, HeapOptions, SharedHeap};

type Heap = SharedHeap<Arc<HeapMemory>>;

/// Deaths as a test decides, and who was asked after.
#[derive(Clone, Debug, Default)]
struct Deaths {
    alive: Arc<Mutex<BTreeSet<RecordIndex>>>,
    asked: Arc<Mutex<Vec<RecordIndex>>>,
}

impl Liveness for Deaths {
    fn hold(&self, record: RecordIndex) -> bool {
        self.alive.lock().unwrap().insert(record)
    }

    fn release(&self, record: RecordIndex) {
        self.alive.lock().unwrap().remove(&record);
    }

    fn verdict(&self, record: RecordIndex) -> Verdict {
        self.asked.lock().unwrap().push(record);
        let is_alive = self.alive.lock().unwrap().contains(&record);
        if is_alive { Verdict::Alive } else { Verdict::Dead }
    }
}

impl Deaths {
    fn kill(&self, heap: Heap) {
        self.release(heap.arena().identity().unwrap().record);
        drop(heap);
    }

    /// Whom anybody asked after since the last call of this.
    fn take_asked(&self) -> Vec<RecordIndex> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A heap for so many processes, and how the next ones attach.
fn heap(processes: u32) -> (Heap, Deaths, impl Fn() -> Heap) {
    let options = HeapOptions { bytes: 1 << 16, processes, lines: processes, ..Default::default() };
    let memory = Arc::new(HeapMemory::new(Heap::word_count(&options).unwrap()));
    let deaths = Deaths::default();
    let environment = Environment { liveness: Arc::new(deaths.clone()), ..Default::default() };
    let first = Heap::create(Arc::clone(&memory), &options, &environment).unwrap();
    (first, deaths, move || Heap::attach(Arc::clone(&memory), &environment).unwrap())
}

#[test]
fn a_newcomer_recovers_what_the_dead_left_and_nobody_has_to_call() {
    let (first, deaths, attach) = heap(8);
    let dead = attach();
    let (_, kept) = (dead.allocate(8).unwrap(), dead.allocate(100).unwrap());
    dead.keep(kept).unwrap();
    let spare = dead.allocate(8).unwrap();
    dead.free(spare).unwrap();
    deaths.kill(dead);
    assert_eq!(
        first.state().processes.len(),
        1,
        "what the dead one owns shows until somebody comes"
    );
    let newcomer = attach();
    assert!(first.state().processes.is_empty(), "{}", first.state());
    assert_eq!(first.size_of(kept), Ok(100));
    let recovered = first.recover().unwrap();
    assert_eq!((recovered.processes, recovered.blocks), (0, 0), "nothing is left to recover");
    assert_eq!(first.arena().recoveries().processes, 1);
    drop(newcomer);
}

#[test]
fn whoever_gets_the_record_of_a_dead_process_settles_its_lines() {
    let (first, deaths, attach) = heap(2);
    let dead = attach();
    dead.free(dead.allocate(8).unwrap()).unwrap();
    deaths.kill(dead);
    assert_eq!(first.state().lines_in_use, 1, "the dead one's spare block");
    let _newcomer = attach();
    assert_eq!(first.state().lines_in_use, 0, "{}", first.state());
}

#[test]
fn a_newcomer_asks_after_few_and_a_crowd_of_newcomers_after_all() {
    let processes = 200;
    let (first, deaths, attach) = heap(processes);
    let crowd: Vec<Heap> = (2..processes).map(|_| attach()).collect();
    deaths.take_asked();
    let mut asked = BTreeSet::new();
    let mut turns = 0;
    while asked.len() < crowd.len() + 1 {
        let newcomer = attach();
        let now = deaths.take_asked();
        assert_eq!(now.len(), ASKED_MAX as usize);
        asked.extend(now);
        newcomer.detach();
        turns += 1;
        assert!(turns <= processes, "somebody is never asked after");
    }
    // Each turn could ask after as many more; that some are asked after twice is the price of a
    // place to begin that nobody has to remember.
    println!("{turns} newcomers asked after {} others", asked.len());
    assert!(turns <= 4 * processes / ASKED_MAX, "{turns}");
    drop(first);
}

#[test]
fn where_nobody_died_a_newcomer_asks_and_writes_nothing_more() {
    let (first, deaths, attach) = heap(8);
    let others = [attach(), attach()];
    deaths.take_asked();
    let newcomer = attach();
    assert_eq!(deaths.take_asked().len(), 3, "each of the others once");
    assert!(!newcomer.arena().notices_dead());
    assert_eq!(first.arena().recoveries(), Default::default());
    drop(others);
}
