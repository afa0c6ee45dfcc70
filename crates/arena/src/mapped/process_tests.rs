//! Real processes on one heap: forked and killed wherever they are, stopped, cut off from their
//! descriptors, many at once. Each seed is printed; `SHM_ARENA_STORM_KILLS` asks for more kills.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{AttachOptions, CreateOptions, MappedMemory};
use crate::{Allocation, HeapError, HeapOptions, SharedHeap};

type Heap = SharedHeap<MappedMemory>;

/// Longest that a call may take while others are stopped or killed: two cores, and others use them.
const CALL_MAX: Duration = Duration::from_secs(2);

/// Names under which the processes of a storm leave things for each other.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        Self { path: folder.path().join("heap"), folder }
    }

    pub(super) fn heap(&self, options: &HeapOptions) -> Heap {
        SharedHeap::create_file(&self.path, options, &CreateOptions::default()).unwrap()
    }
}

/// Few records and lines: the dead have to make room for the living.
pub(super) fn crowded() -> HeapOptions {
    HeapOptions { bytes: 1 << 18, processes: 6, lines: 12, ..HeapOptions::default() }
}

pub(super) fn attach(path: &Path) -> Heap {
    SharedHeap::attach_file(path, &AttachOptions::default()).unwrap()
}

/// A number below a length, which is not 0.
fn below(seed: &mut u64, length: usize) -> usize {
    usize::try_from(random(seed) % length as u64).unwrap()
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Forks; the child does this and nothing else, and is gone when it returns or fails.
pub(super) fn fork(body: impl FnOnce()) -> Pid {
    // SAFETY: the child runs the body on this thread alone and leaves by `_exit`: it allocates,
    // which the system's allocator supports after a fork, and waits for no lock that another
    // thread of the parent may have held.
    let answer = unsafe { libc::fork() };
    assert!(answer >= 0, "{}", std::io::Error::last_os_error());
    if let Some(child) = Pid::from_raw(answer) {
        return child;
    }
    let ended = catch_unwind(AssertUnwindSafe(body));
    // SAFETY: ends the child at once, without its parent's destructors.
    unsafe { libc::_exit(i32::from(ended.is_err())) }
}

pub(super) fn kill(process: Pid) {
    kill_process(process, Signal::KILL).unwrap();
    let (_, status) = waitpid(Some(process), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), None, "a worker failed by itself");
}

/// Waits for a child that ends by itself, without a failure.
pub(super) fn ends_well(process: Pid) {
    let (_, status) = waitpid(Some(process), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0), "a child failed: see its panic");
}

/// What one worker of a storm owns: allocations, each full of bytes of its mark.
#[derive(Default)]
struct Worker {
    owned: Vec<(Allocation, u8)>,
    buffer: Vec<u8>,
}

impl Worker {
    /// One random call; whatever comes out is whole.
    fn act(&mut self, heap: &Heap, seed: &mut u64) {
        let mark = u8::try_from(random(seed) % 255 + 1).unwrap();
        let length = below(seed, 3000) + 1;
        let bytes = length as u64;
        let pick = below(seed, self.owned.len().max(1));
        let name = NAMES[below(seed, NAMES.len())];
        match random(seed) % 8 {
            0..=2 if self.owned.len() < 24 => {
                self.buffer.clear();
                self.buffer.resize(length, mark);
                match heap.duplicate(&self.buffer) {
                    Ok(allocation) => self.owned.push((allocation, mark)),
                    Err(HeapError::NoMemory { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            3 if !self.owned.is_empty() => {
                let (allocation, _) = self.owned[pick];
                match heap.resize(allocation, bytes) {
                    Ok(resized) => {
                        self.owned[pick] = (resized, mark);
                        self.buffer.clear();
                        self.buffer.resize(length, mark);
                        heap.write(resized, 0, &self.buffer).unwrap();
                    }
                    Err(HeapError::NoMemory { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            4 if !self.owned.is_empty() => match heap.hang(name, self.owned[pick].0) {
                Ok(()) => drop(self.owned.swap_remove(pick)),
                Err(HeapError::RootTaken { .. } | HeapError::NoRoot { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            5 => match heap.unhang(name) {
                Ok(allocation) => {
                    let mark = self.read(heap, allocation);
                    self.owned.push((allocation, mark));
                }
                Err(HeapError::UnknownRoot { .. } | HeapError::RootBusy { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            _ if !self.owned.is_empty() => {
                let (allocation, mark) = self.owned.swap_remove(pick);
                assert_eq!(self.read(heap, allocation), mark, "somebody else's bytes");
                heap.free(allocation).unwrap();
            }
            _ => {}
        }
    }

    /// The mark of an allocation, all of whose bytes carry it.
    fn read(&mut self, heap: &Heap, allocation: Allocation) -> u8 {
        self.buffer.clear();
        let length = usize::try_from(heap.size_of(allocation).unwrap()).unwrap();
        self.buffer.resize(length, 0);
        heap.read(allocation, 0, &mut self.buffer).unwrap();
        let mark = self.buffer[0];
        assert!(self.buffer.iter().all(|&byte| byte == mark), "torn");
        mark
    }
}

/// What a forked worker does until it is killed.
fn work(path: &Path, mut seed: u64) {
    let (heap, mut worker, start) = (attach(path), Worker::default(), Instant::now());
    // Ends by itself, should the parent die first.
    while start.elapsed() < Duration::from_secs(120) {
        worker.act(&heap, &mut seed);
    }
}

fn kills_wanted(default: u64) -> u64 {
    std::env::var("SHM_ARENA_STORM_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(default)
}

/// After everybody else is dead: nothing is lost, owned twice, or anybody's but what has a name.
fn assert_all_comes_back(heap: &Heap) {
    let _ = heap.recover().unwrap();
    let audit = heap.audit();
    assert!(audit.findings.is_empty() && audit.lost == 0, "{:?}", audit.findings);
    let me = heap.arena().identity().unwrap().record.0;
    let state = heap.state();
    assert!(state.processes.keys().all(|&record| record == me), "{state}");
    assert_eq!(state.kept, (0, 0));
    let mut worker = Worker::default();
    for name in NAMES {
        if let Ok(allocation) = heap.unhang(name) {
            worker.read(heap, allocation);
            heap.free(allocation).unwrap();
        }
    }
    for name in NAMES {
        heap.hang(name, heap.allocate(8).unwrap()).unwrap();
    }
}

#[test]
fn forked_processes_killed_anywhere_leave_nothing_behind() {
    let kills = kills_wanted(250);
    let place = Place::new();
    let heap = place.heap(&crowded());
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ kills;
    println!("{kills} kills, seed {seed:#x}");
    let (mut mine, mut longest) = (Worker::default(), Duration::ZERO);
    let start = |seed: &mut u64| {
        let (path, seed) = (place.path.clone(), random(seed));
        fork(move || work(&path, seed))
    };
    let mut workers: Vec<Pid> = (0..3).map(|_| start(&mut seed)).collect();
    let mut reclaimed = 0;
    for turn in 0..kills {
        let until = Instant::now() + Duration::from_micros(random(&mut seed) % 6_000);
        while Instant::now() < until {
            let before = Instant::now();
            mine.act(&heap, &mut seed);
            longest = longest.max(before.elapsed());
        }
        let victim = below(&mut seed, workers.len());
        kill(workers[victim]);
        workers[victim] = start(&mut seed);
        if turn % 3 == 0 {
            reclaimed += heap.recover().unwrap().blocks;
        }
    }
    workers.into_iter().for_each(kill);
    println!("{reclaimed} blocks of the dead, longest call {longest:?}");
    assert!(reclaimed > 0, "nobody died with anything");
    assert!(longest < CALL_MAX, "a call took {longest:?}");
    mine.owned.drain(..).for_each(|(allocation, _)| heap.free(allocation).unwrap());
    assert_all_comes_back(&heap);
    assert!(heap.state().processes.is_empty());
}

#[test]
fn stopped_processes_keep_nobody_waiting_and_go_on_afterwards() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let mut seed = 0x5707_5707;
    println!("seed {seed:#x}");
    let (mut mine, mut longest) = (Worker::default(), Duration::ZERO);
    let path = place.path.clone();
    let workers = [3, 4_u64].map(|seed| {
        let path = path.clone();
        fork(move || work(&path, seed))
    });
    // One stop of several seconds, longer than anybody could take for a delay, and some short ones.
    for stopped_ms in [3000, 200, 200, 200] {
        std::thread::sleep(Duration::from_micros(20_000 + random(&mut seed) % 20_000));
        workers.iter().for_each(|&worker| kill_process(worker, Signal::STOP).unwrap());
        let until = Instant::now() + Duration::from_millis(stopped_ms);
        let mut calls = 0_u64;
        while Instant::now() < until {
            let before = Instant::now();
            mine.act(&heap, &mut seed);
            longest = longest.max(before.elapsed());
            calls += 1;
        }
        // The stopped are not taken for dead, neither by a call nor by a newcomer.
        assert_eq!(heap.recover().unwrap().processes, 0);
        attach(&place.path).detach();
        assert_eq!(heap.arena().recoveries().processes, 0);
        println!("{calls} calls beside processes stopped for {stopped_ms} ms");
        assert!(calls > stopped_ms, "{calls} calls in {stopped_ms} ms");
        workers.iter().for_each(|&worker| kill_process(worker, Signal::CONT).unwrap());
    }
    println!("longest call beside stopped processes {longest:?}");
    assert!(longest < CALL_MAX, "a call took {longest:?}");
    // They were at work all the time, or `kill` finds a failure.
    workers.into_iter().for_each(kill);
    mine.owned.drain(..).for_each(|(allocation, _)| heap.free(allocation).unwrap());
    assert_all_comes_back(&heap);
}

#[test]
fn a_killed_parent_is_recovered_while_its_idle_child_lives() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let path = place.path.clone();
    let ready = place.path.with_extension("ready");
    let said = ready.clone();
    let parent = fork(move || {
        let heap = attach(&path);
        let owned = heap.duplicate(&[5; 500]).unwrap();
        let child = fork(|| std::thread::sleep(Duration::from_secs(60)));
        std::fs::write(&said, child.as_raw_nonzero().to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        heap.free(owned).unwrap();
    });
    let child = wait_for(&ready);
    assert_eq!(heap.recover().unwrap().processes, 0, "the parent lives");
    kill(parent);
    // Without recovery the dead one's block shows: what the storms assert can fail.
    assert_eq!(heap.state().processes.values().map(|&(count, _)| count).sum::<u64>(), 1);
    let recovered = heap.recover().unwrap();
    assert_eq!((recovered.processes, recovered.blocks), (1, 1));
    kill_process(child, Signal::KILL).unwrap();
    assert_all_comes_back(&heap);
}

/// The number of a process that another wrote into a file.
pub(super) fn wait_for(file: &Path) -> Pid {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(process) = text.trim().parse().ok().and_then(Pid::from_raw) {
            return process;
        }
        assert!(Instant::now() < give_up, "{} was not written", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_process_that_closed_every_descriptor_works_on_and_is_recovered_when_killed() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let path = place.path.clone();
    let worker = fork(move || {
        let (heap, mut worker, mut seed) = (attach(&path), Worker::default(), 11);
        // SAFETY: whatever of this child uses a descriptor looks first whether it is its own.
        let answer = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        assert_eq!(answer, 0);
        loop {
            worker.act(&heap, &mut seed);
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(heap.recover().unwrap().processes, 0, "it lives");
    let state = heap.state();
    assert_eq!(state.processes.len(), 1, "{state}");
    kill(worker);
    assert_eq!(heap.recover().unwrap().processes, 1);
    assert_all_comes_back(&heap);
}

/// Many records in one segment, each with its beacon, and most of their holders dead.
#[test]
fn four_thousand_records_are_taken_and_recovered() {
    let place = Place::new();
    let options = HeapOptions { bytes: 1 << 20, processes: 4000, lines: 4000, ..crowded() };
    let heap = place.heap(&options);
    let ready = place.path.with_extension("ready");
    let (path, said) = (place.path.clone(), ready.clone());
    // One process with thousands of handles dies as thousands of records do.
    let holder = fork(move || {
        let memory = MappedMemory::attach(&path, &AttachOptions::default()).unwrap();
        let environment = crate::Environment::mapped(&memory).unwrap();
        let heaps: Vec<Heap> =
            (0..3990).map(|_| SharedHeap::attach(memory.clone(), &environment).unwrap()).collect();
        let held: Vec<Allocation> = heaps.iter().map(|heap| heap.allocate(8).unwrap()).collect();
        std::fs::write(&said, std::process::id().to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        drop(held);
    });
    wait_for(&ready);
    let before = Instant::now();
    assert_eq!(heap.recover().unwrap().processes, 0);
    println!("asking after 3990 living records took {:?}", before.elapsed());
    let before = Instant::now();
    let newcomer = attach(&place.path);
    println!("attaching beside them took {:?}", before.elapsed());
    newcomer.detach();
    let mut records: BTreeMap<u32, (u64, u64)> = heap.state().processes;
    assert_eq!(records.len(), 3990);
    kill(holder);
    let before = Instant::now();
    let recovered = heap.recover().unwrap();
    println!("recovering 3990 dead records took {:?}", before.elapsed());
    assert_eq!((recovered.processes, recovered.blocks), (3990, 3990));
    records = heap.state().processes;
    assert!(records.is_empty(), "{records:?}");
    assert_all_comes_back(&heap);
}
