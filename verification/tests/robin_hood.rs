//! `robin_hood` under the engines: entries that move around the end of a page, descriptors that are
//! finished by others, deaths, and the faults that these models must catch.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::{Layout, Memory};
use shm_table::{
    Design, Entry, Error, Insert, Remove, Replace, RobinHood, Table, TableOptions, TableShape,
};
use shm_verification::faulty_pages::{FaultyPages, Page, PageFault};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Model,
    Outcome, Place, ShuttleEngine, ViewEngine, World, sweep,
};

const SLOTS: u32 = 4;

/// One page of four slots, one slab of this many one-unit blocks.
fn options(blocks: u32) -> TableOptions {
    let shape =
        TableShape { buckets: 1, slots: SLOTS, slabs: 1, slab_units: blocks, block_units_min: 1 };
    TableOptions {
        processes: 4,
        lines: 4,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

type Shared<X> = FaultyPages<CrashMemory<<X as Execution>::Memory>>;

/// One execution's world with a table in it.
struct Stage<X: Execution> {
    world: World<X>,
    page: Page,
    /// The model's own handle.
    table: RobinHood<Shared<X>>,
    keys: Keys,
}

/// Keys of one byte by their home.
#[derive(Clone, Debug)]
struct Keys(Vec<(u64, u8)>);

impl Keys {
    fn of<M: Memory>(table: &RobinHood<M>) -> Self {
        let hasher = table.arena().hasher();
        Self((0..=u8::MAX).map(|key| (hasher.hash(&[key]) % u64::from(SLOTS), key)).collect())
    }

    /// The key with this number among those whose home is this slot.
    fn at(&self, home: u64, number: usize) -> u8 {
        let mut here = self.0.iter().filter(|(slot, _)| *slot == home);
        here.nth(number).expect("256 keys are enough for four slots").1
    }
}

impl<X: Execution> Stage<X> {
    fn new(execution: &X, blocks: u32) -> Self {
        let options = options(blocks);
        let words = RobinHood::<Shared<X>>::word_count(&options).expect("tiny shape");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = FaultyPages::new(place.memory.clone(), PageFault::None, Page::NONE);
        let table = RobinHood::create(memory, &options, &place.environment).expect("zeroed memory");
        let header = Layout::new(table.arena().geometry()).expect("made").index();
        let page = Page { header, slots: header + 8, slot_count: SLOTS.into() };
        let keys = Keys::of(&table);
        Self { world, page, table, keys }
    }

    fn join_at(&self, place: &Place<X>, fault: PageFault) -> RobinHood<Shared<X>> {
        let memory = FaultyPages::new(place.memory.clone(), fault, self.page);
        RobinHood::attach(memory, &place.environment).expect("a table is there")
    }

    /// Starts a participant with a handle of its own, which commits a fault.
    fn spawn<T: Send + 'static>(
        &self,
        participant: u32,
        fault: PageFault,
        body: impl FnOnce(RobinHood<Shared<X>>) -> T + Send + 'static,
    ) -> shm_verification::Participant<Ended<T>> {
        let place = self.world.place(participant);
        let table = self.join_at(&place, fault);
        self.world.spawn(&place, move || body(table))
    }

    fn fill(&self, key: u8, mark: u8) {
        assert_eq!(insert(&self.table, key, mark), Ok(None), "the page has room");
    }

    fn get(&self, key: u8) -> Option<u8> {
        get(&self.table, key)
    }

    /// What has to hold once everybody has finished.
    fn check(&self) {
        let audit = self.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, self.table.len(), "entries counted");
    }
}

/// Two words of value, equal unless torn.
fn value(mark: u8) -> [u8; 16] {
    [mark; 16]
}

/// The mark of a value that was read; fails on a torn one.
fn whole(read: Option<u64>, bytes: &[u8]) -> Option<u8> {
    let metadata = read?;
    assert_eq!(bytes.len(), 16, "a value of another length");
    assert!(bytes.iter().all(|&byte| u64::from(byte) == metadata), "torn: {metadata} {bytes:?}");
    Some(bytes[0])
}

fn get<T: Table>(table: &T, key: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let read = table.get(&[key], &mut bytes).expect("no corruption");
    whole(read, &bytes)
}

fn insert<T: Table>(table: &T, key: u8, mark: u8) -> Result<Option<u8>, Error> {
    let mut bytes = Vec::new();
    let value = value(mark);
    let entry = Entry { key: &[key], value: &value, metadata: mark.into() };
    Ok(match table.insert(entry, &mut bytes)? {
        Insert::Inserted => None,
        Insert::Exists { metadata } => whole(Some(metadata), &bytes),
    })
}

fn replace<T: Table>(table: &T, key: u8, mark: u8) -> Result<Replace, Error> {
    let value = value(mark);
    table.replace(Entry { key: &[key], value: &value, metadata: mark.into() })
}

fn finished<T>(ended: Ended<T>) -> T {
    ended.finished().expect("nobody was killed")
}

/// get(moved), get(moved) ‖ remove(head): the home of both is the last slot, so the second one lies
/// in the first slot and moves around the end of the page. It is never absent.
struct MovedAroundTheEnd {
    reader: PageFault,
    writer: PageFault,
}

impl Model for MovedAroundTheEnd {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4);
        let (head, moved) = (stage.keys.at(3, 0), stage.keys.at(3, 1));
        stage.fill(head, 10);
        stage.fill(moved, 20);
        let writer = stage.spawn(1, self.writer, move |table| table.remove(&[head]));
        let reader =
            stage.spawn(2, self.reader, move |table| (get(&table, moved), get(&table, moved)));
        assert_eq!(finished(writer.join()), Ok(Remove::Removed));
        assert_eq!(finished(reader.join()), (Some(20), Some(20)), "never absent");
        assert_eq!((stage.get(head), stage.get(moved)), (None, Some(20)));
        stage.check();
    }
}

/// get(moved) ‖ insert(head's neighbour), which moves it on.
struct MovedByInsertion;

impl Model for MovedByInsertion {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4);
        let (head, moved, between) =
            (stage.keys.at(2, 0), stage.keys.at(3, 0), stage.keys.at(2, 1));
        stage.fill(head, 10);
        stage.fill(moved, 20);
        let writer = stage.spawn(1, PageFault::None, move |table| insert(&table, between, 30));
        let reader = stage.spawn(2, PageFault::None, move |table| get(&table, moved));
        assert_eq!(finished(writer.join()), Ok(None));
        assert_eq!(finished(reader.join()), Some(20), "never absent");
        assert_eq!((stage.get(head), stage.get(between)), (Some(10), Some(30)));
        stage.check();
    }
}

/// insert(key) ‖ remove(head), insert(key): one of the two wins, wherever the key would have gone.
struct InsertBesideRemoveInsert;

impl Model for InsertBesideRemoveInsert {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 8);
        let (head, second, key) = (stage.keys.at(2, 0), stage.keys.at(2, 1), stage.keys.at(3, 0));
        stage.fill(head, 10);
        stage.fill(second, 20);
        let first = stage.spawn(1, PageFault::None, move |table| insert(&table, key, 30));
        let other = stage.spawn(2, PageFault::None, move |table| {
            assert_eq!(table.remove(&[head]), Ok(Remove::Removed));
            insert(&table, key, 31)
        });
        let seen = [finished(first.join()), finished(other.join())];
        let winner = stage.get(key).expect("one of them inserted");
        for (mark, seen) in (30..).zip(&seen) {
            let expected = if mark == winner { None } else { Some(winner) };
            assert_eq!(*seen, Ok(expected), "{winner} won");
        }
        assert_eq!((stage.get(head), stage.get(second)), (None, Some(20)));
        stage.check();
    }
}

/// remove(head), insert(head) ‖ insert(other): the second one finishes the removal of the first,
/// whose line then holds the descriptor of its insertion, and whose block is the same again.
struct LateHelper(PageFault);

impl Model for LateHelper {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 8);
        let (head, other) = (stage.keys.at(1, 0), stage.keys.at(2, 0));
        stage.fill(head, 10);
        // The fault is one of how slots are written, so it is everybody's.
        let everybody = match self.0 {
            PageFault::OneBitCounts => self.0,
            _ => PageFault::None,
        };
        let owner = stage.spawn(1, everybody, move |table| {
            assert_eq!(table.remove(&[head]), Ok(Remove::Removed));
            insert(&table, head, 11)
        });
        let helper = stage.spawn(2, self.0, move |table| insert(&table, other, 20));
        assert_eq!(finished(owner.join()), Ok(None));
        assert_eq!(finished(helper.join()), Ok(None));
        assert_eq!((stage.get(head), stage.get(other)), (Some(11), Some(20)), "nothing is lost");
        stage.check();
    }
}

/// An update that moves entries.
#[derive(Clone, Copy, Debug)]
enum Update {
    Insert,
    Remove,
    Replace,
}

const UPDATES: [Update; 3] = [Update::Insert, Update::Remove, Update::Replace];

/// Three entries around the end of the page, and an update that dies in the middle.
struct Death {
    update: Update,
    kill: Kill,
}

impl Death {
    fn update<M: Memory>(update: Update, table: &RobinHood<M>, [head, _, _, new]: [u8; 4]) {
        match update {
            Update::Insert => drop(insert(table, new, 40)),
            Update::Remove => drop(table.remove(&[head])),
            Update::Replace => drop(replace(table, head, 11)),
        }
    }

    /// What the keys may hold after the update: as before, or as it leaves them.
    fn possible(update: Update) -> [[Option<u8>; 4]; 2] {
        let before = [Some(10), Some(20), Some(30), None];
        let after = match update {
            Update::Insert => [Some(10), Some(20), Some(30), Some(40)],
            Update::Remove => [None, Some(20), Some(30), None],
            Update::Replace => [Some(11), Some(20), Some(30), None],
        };
        [before, after]
    }
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 8);
        let at = |home, number| stage.keys.at(home, number);
        // The new key goes before the third one, which moves on.
        let keys = [at(2, 0), at(2, 1), at(3, 0), at(2, 2)];
        for (key, mark) in keys.into_iter().zip([10, 20, 30]) {
            stage.fill(key, mark);
        }
        let place = stage.world.mortal_place(1, self.kill);
        let table = stage.join_at(&place, PageFault::None);
        let update = self.update;
        let victim = stage.world.spawn(&place, move || Self::update(update, &table, keys));
        let ended = victim.join();
        // Whoever may not write sees what whoever may will see.
        let place = stage.world.place(2);
        let reader = stage.join_at(&place, PageFault::ReadOnly);
        let read = stage.world.spawn(&place, move || keys.map(|key| get(&reader, key))).join();
        let seen = finished(read);
        assert!(Self::possible(update).contains(&seen), "{update:?}: {seen:?}");
        let writer = stage.spawn(3, PageFault::None, move |table| {
            let seen = keys.map(|key| get(&table, key));
            (seen, table.take(&[keys[1]], &mut Vec::new()))
        });
        let (again, taken) = finished(writer.join());
        assert_eq!((again, taken), (seen, Ok(Some(20))), "{update:?}");
        // Whoever attached since may have recovered as well.
        let _ = stage.table.recover().expect("writable");
        let recoveries = stage.table.stats().recoveries;
        assert_eq!(recoveries.processes == 1, ended == Ended::Killed, "{recoveries:?}");
        let audit = stage.table.audit();
        assert!(audit.is_clean(), "{update:?}: {:?}", audit.findings);
        let expected = [seen[0], None, seen[2], seen[3]];
        assert_eq!(keys.map(|key| stage.get(key)), expected, "{update:?}");
        // Nothing is withheld: the page takes as many entries as it has slots.
        let absent = keys.into_iter().filter(|&key| stage.get(key).is_none());
        for key in absent.chain([at(0, 0)]).take(4 - expected.iter().flatten().count()) {
            stage.fill(key, 50);
        }
        assert!(matches!(insert(&stage.table, at(1, 0), 60), Err(Error::BucketFull { bucket: 0 })));
    }
}

fn passes<P: Model>(model: P, preemptions: u32) {
    let model = Arc::new(model);
    let budget = Budget::executions(8_000).preemptions(preemptions);
    for (name, outcome) in [
        ("loom", LoomEngine.run(&model, &budget)),
        ("depth-first", DepthFirstEngine.run(&model, &budget)),
        ("view", ViewEngine::default().run(&model, &Budget::executions(2_000))),
        ("shuttle", ShuttleEngine::RANDOM.run(&model, &Budget::executions(3_000))),
    ] {
        println!("{} on {name}: {outcome}", model.name());
        outcome.expect_pass(name);
    }
}

/// The engines that find the fault within the bounds, for the reason that makes it a fault.
fn catchers<P: Model>(model: P, reasons: &[&str]) -> Vec<&'static str> {
    let model = Arc::new(model);
    let budget = Budget::executions(100_000).preemptions(2);
    let outcomes: [(&str, Outcome); 3] = [
        ("loom", LoomEngine.run(&model, &budget)),
        ("depth-first", DepthFirstEngine.run(&model, &budget)),
        ("pct", ShuttleEngine::PCT.run(&model, &Budget::executions(5_000))),
    ];
    for (name, outcome) in &outcomes {
        println!("{} on {name}: {outcome}", model.name());
    }
    let caught = |outcome: &Outcome| {
        let message = outcome.failure.as_ref().map(|failure| &failure.message);
        message.is_some_and(|text| reasons.iter().any(|reason| text.contains(reason)))
    };
    outcomes.iter().filter(|(_, outcome)| caught(outcome)).map(|(name, _)| *name).collect()
}

#[test]
fn a_key_that_moves_around_the_end_of_its_page_is_never_missed() {
    passes(MovedAroundTheEnd { reader: PageFault::None, writer: PageFault::None }, 2);
}

#[test]
fn a_key_that_an_insertion_moves_on_is_never_missed() {
    passes(MovedByInsertion, 2);
}

#[test]
fn a_reader_without_write_permission_never_misses_a_moving_key_either() {
    passes(MovedAroundTheEnd { reader: PageFault::ReadOnly, writer: PageFault::None }, 2);
}

#[test]
fn an_insertion_beside_a_removal_that_makes_room_does_not_duplicate() {
    passes(InsertBesideRemoveInsert, 2);
}

#[test]
fn a_helper_that_wakes_late_changes_nothing() {
    passes(LateHelper(PageFault::None), 2);
}

#[test]
fn an_update_that_dies_anywhere_is_seen_whole_without_write_permission_and_finished_by_others() {
    for update in UPDATES {
        for (name, swept) in [
            (
                "loom",
                sweep(&LoomEngine, &Budget::executions(500), true, |kill| Death { update, kill }),
            ),
            (
                "view",
                sweep(&ViewEngine::default(), &Budget::executions(20), true, |kill| Death {
                    update,
                    kill,
                }),
            ),
        ] {
            println!("{update:?} on {name}: {swept}");
            assert!(swept.failure.is_none(), "{update:?} on {name}: {swept}");
            assert!(swept.kill_points > 20, "a sweep over {} points is none", swept.kill_points);
        }
    }
}

#[test]
fn leaving_out_the_second_look_at_the_header_is_caught() {
    let model = MovedAroundTheEnd { reader: PageFault::NoHeaderRecheck, writer: PageFault::None };
    assert_eq!(catchers(model, &["never absent"]), ["loom", "depth-first", "pct"]);
}

#[test]
fn a_run_that_crosses_the_border_of_a_version_is_caught() {
    let model = MovedAroundTheEnd { reader: PageFault::RunAcrossPages, writer: PageFault::None };
    assert_eq!(catchers(model, &["never absent"]), ["loom", "depth-first", "pct"]);
}

#[test]
fn a_helper_that_does_not_check_what_governs_the_page_is_caught() {
    // A descriptor that is being rewritten may also look like damage.
    let reasons = ["nothing is lost", "descriptor"];
    let caught = catchers(LateHelper(PageFault::HelperWithoutCheck), &reasons);
    assert!(caught.contains(&"depth-first"), "{caught:?}");
}

#[test]
fn a_slot_without_a_count_is_caught() {
    let caught = catchers(LateHelper(PageFault::OneBitCounts), &["nothing is lost"]);
    assert!(caught.contains(&"depth-first"), "{caught:?}");
}
