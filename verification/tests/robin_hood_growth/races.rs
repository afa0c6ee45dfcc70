//! A growth beside every verb, beside another one, and beside who comes late.

use shm_arena::{HEADER_WORDS, Load, Memory, Offset};
use shm_table::{Entry, Put, Remove, Replace, RobinHood, Table, Walk};
use shm_verification::faulty_pages::PageFault;
use shm_verification::{Ended, Execution, Model, Participant};

use crate::stage::{Keys, Shared, Stage, get, insert, put, take, value};
use crate::{catchers, passes};

/// What goes on beside a growth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Get,
    GetWithoutPermission,
    Walk,
    Put,
    Replace,
    Remove,
    Take,
    InsertPresent,
    InsertAbsent,
    Adjust,
}

pub(crate) const ACTS: [Act; 10] = [
    Act::Get,
    Act::GetWithoutPermission,
    Act::Walk,
    Act::Put,
    Act::Replace,
    Act::Remove,
    Act::Take,
    Act::InsertPresent,
    Act::InsertAbsent,
    Act::Adjust,
];

impl Act {
    /// Does it to the third present key, which lies in the page's first slot; says whether what it
    /// answers is right, as nobody else touches that key.
    fn on(self, table: &impl Table, keys: Keys) -> bool {
        let key = keys.present[2];
        let value = value(31);
        let entry = Entry { key: &[key], value: &value, metadata: 31 };
        match self {
            Self::Get | Self::GetWithoutPermission => {
                [(); 2].map(|()| get(table, key)) == [Some(30); 2]
            }
            Self::Walk => {
                let walked = Walk::new(table).map(|entry| entry.expect("no damage").key);
                let walked: Vec<_> = walked.collect();
                keys.present
                    .iter()
                    .all(|key| walked.iter().filter(|met| met[0] == *key).count() == 1)
            }
            Self::Put => table.put(entry) == Ok(Put::Replaced),
            Self::Replace => table.replace(entry) == Ok(Replace::Replaced),
            Self::Remove => table.remove(&[key]) == Ok(Remove::Removed),
            Self::Take => take(table, key) == Some(30) && get(table, key).is_none(),
            Self::InsertPresent => insert(table, key, 31) == Some(30),
            Self::InsertAbsent => insert(table, keys.same, 31).is_none(),
            Self::Adjust => table.adjust(Some(2)) == Ok(2),
        }
    }

    /// What the third present key holds afterwards.
    const fn leaves(self) -> Option<u8> {
        match self {
            Self::Put | Self::Replace => Some(31),
            Self::Remove | Self::Take => None,
            _ => Some(30),
        }
    }
}

/// The insertion of a fifth entry, for which the page has no slot, beside something else.
pub(crate) struct Beside {
    act: Act,
    grower: PageFault,
    other: PageFault,
}

impl Model for Beside {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let (act, keys) = (self.act, stage.keys);
        let grower =
            stage.spawn(1, self.grower, move |table| insert(&table, keys.other, 50).is_none());
        let other = match act {
            Act::GetWithoutPermission => PageFault::ReadOnly,
            _ => self.other,
        };
        let other = stage.spawn(2, other, move |table| act.on(&table, keys));
        assert_eq!(grower.join(), Ended::Finished(true), "the table grows");
        assert_eq!(other.join(), Ended::Finished(true), "{act:?} answered wrongly");
        let expected = [Some(10), Some(20), act.leaves(), Some(40)];
        assert_eq!(stage.present(), expected, "{act:?}: an entry is lost");
        assert_eq!(get(&stage.table, keys.other), Some(50));
        assert_eq!(stage.table.audit().entries, stage.table.len(), "entries counted");
        stage.check();
    }
}

/// adjust ‖ adjust, remove a, insert b: the second one grows the table and recycles the block of a
/// for b, which belongs in the other heir, while the first one works out what the heirs hold.
struct LateMover(PageFault);

impl Model for LateMover {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let keys = stage.keys;
        let late = stage.spawn(1, self.0, |table| table.adjust(Some(2)));
        let other = stage.spawn(2, PageFault::None, move |table| {
            assert_eq!(table.adjust(Some(2)), Ok(2));
            assert_eq!(table.remove(&[keys.present[0]]), Ok(Remove::Removed));
            insert(&table, keys.other, 50).is_none()
        });
        assert_eq!(late.join(), Ended::Finished(Ok(2)));
        assert_eq!(other.join(), Ended::Finished(true));
        assert_eq!(stage.present(), [None, Some(20), Some(30), Some(40)], "what was there");
        assert_eq!(get(&stage.table, keys.other), Some(50), "what came");
        stage.check();
    }
}

/// get a, get a ‖ adjust, replace a, replace a: the page that the reader looks at moves on, and
/// then the block that it names is recycled.
pub(crate) struct StaleReader(PageFault);

impl Model for StaleReader {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let key = stage.keys.present[0];
        let reader = stage.spawn(1, self.0, move |table| [(); 2].map(|()| get(&table, key)));
        let writer = stage.spawn(2, PageFault::None, move |table| {
            assert_eq!(table.adjust(Some(2)), Ok(2));
            [11, 12].map(|mark| put(&table, key, mark))
        });
        let [first, second] = reader.join().finished().expect("nobody is killed");
        assert_eq!(writer.join(), Ended::Finished([Ok(Put::Replaced); 2]));
        assert!(first.is_some() && second.is_some(), "never absent");
        assert!(first <= second, "{first:?}, then {second:?}");
        stage.check();
    }
}

/// adjust ‖ adjust ‖ get, get, get, get: what the heirs hold was written by one of two, and the
/// reader learns from the other one that it is there.
pub(crate) struct TwoMovers;

impl Model for TwoMovers {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let keys = stage.keys.present;
        let movers = [1, 2].map(|participant| {
            stage.spawn(participant, PageFault::None, |table| table.adjust(Some(2)))
        });
        let reader = stage.spawn(3, PageFault::None, move |table| keys.map(|key| get(&table, key)));
        let seen = reader.join().finished().expect("nobody is killed");
        assert_eq!(seen, [Some(10), Some(20), Some(30), Some(40)], "never absent");
        assert_eq!(movers.map(Participant::join), [Ended::Finished(Ok(2)); 2]);
        stage.check();
    }
}

/// take ‖ put ‖ get, get in a table that began to grow. The second one comes when the first one has
/// moved the page and not ended the growth, and ends it; the reader begins with the next size.
pub(crate) struct TwoHelpers;

impl Model for TwoHelpers {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let [first, second, third, fourth] = stage.keys.present;
        stage.begin_growing();
        let taker = stage.spawn(1, PageFault::None, move |table| take(&table, second));
        // An order that the memory would give could hide one that the table lacks.
        let holds = |table: &RobinHood<Shared<X>>, word: u64, value: u64| {
            let at = Offset::new(HEADER_WORDS + word);
            table.arena().memory().load(at, Load::Relaxed) == value
        };
        let putter = stage.spawn(2, PageFault::None, move |table| {
            let comes = holds(&table, 0, 1) && holds(&table, 1, 1);
            comes.then(|| put(&table, fourth, 41))
        });
        let reader = stage.spawn(3, PageFault::None, move |table| {
            holds(&table, 0, 2).then(|| [first, third].map(|key| get(&table, key)))
        });
        let seen = reader.join().finished().expect("nobody is killed");
        assert!(seen.is_none_or(|seen| seen == [Some(10), Some(30)]), "never absent: {seen:?}");
        assert_eq!(taker.join(), Ended::Finished(Some(20)));
        let put = putter.join().finished().expect("nobody is killed");
        let mark = put.map_or(40, |put| if put == Ok(Put::Replaced) { 41 } else { 0 });
        assert_eq!(stage.present(), [Some(10), None, Some(30), Some(mark)]);
        stage.check();
    }
}

#[test]
fn every_verb_beside_a_growth_answers_rightly() {
    for act in ACTS {
        println!("{act:?}");
        passes(Beside { act, grower: PageFault::None, other: PageFault::None }, 2);
    }
}

#[test]
fn a_mover_that_wakes_late_changes_nothing() {
    passes(LateMover(PageFault::None), 2);
}

#[test]
fn a_reader_beside_two_who_move_the_same_page_misses_nothing() {
    passes(TwoMovers, 2);
    passes(TwoHelpers, 2);
}

#[test]
fn a_mover_that_does_not_check_whether_the_page_is_still_frozen_is_caught() {
    let caught = catchers(LateMover(PageFault::MoverWithoutCheck), &["met twice"]);
    assert!(caught.contains(&"depth-first") && caught.contains(&"pct"), "{caught:?}");
}

#[test]
fn a_page_that_says_it_has_moved_before_its_heirs_are_filled_is_caught() {
    let model =
        Beside { act: Act::Get, grower: PageFault::MovedBeforeFilled, other: PageFault::None };
    let caught = catchers(model, &["Get answered wrongly", "an entry is lost"]);
    assert_eq!(caught, ["loom", "depth-first", "pct"]);
}

#[test]
fn a_size_that_is_reached_before_the_pages_have_moved_is_caught() {
    let model =
        Beside { act: Act::Get, grower: PageFault::GrownBeforeMoved, other: PageFault::None };
    let caught = catchers(model, &["Get answered wrongly", "an entry is lost"]);
    assert_eq!(caught, ["loom", "depth-first", "pct"]);
}

#[test]
fn a_reader_beside_a_growth_and_a_replacement_misses_nothing() {
    passes(StaleReader(PageFault::None), 2);
}

#[test]
fn a_reader_that_does_not_look_again_whether_its_page_is_the_same_is_caught() {
    let reasons = ["never absent", "torn"];
    let caught = catchers(StaleReader(PageFault::NoHeaderRecheck), &reasons);
    assert!(caught.contains(&"loom") && caught.contains(&"pct"), "{caught:?}");
}
