//! The ledger of orderings: what is on record of each weakened access is still so.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::thread;

use shm_table::Kind;
use shm_verification::orderings::{
    Entry, Ledger, LedgerError, Mutant, Place, Reach, Source, TABLES, Trial, Verdict, battery,
    side_by_side,
};

/// Threads of a test, which share the machine with others.
fn jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Every mutant of every access that the cheap rounds of the search make.
fn mutants() -> Vec<Mutant> {
    let tables = TABLES.into_iter();
    let trials: Vec<Trial> =
        tables.flat_map(|table| [battery(table, 0), battery(table, 1)].concat()).collect();
    Reach::of(&trials, jobs()).mutants().expect("the sources can be read")
}

#[test]
fn every_ordering_of_the_shipped_code_is_needed_by_a_model_or_excused() {
    let ledger = Ledger::read(&Ledger::default_path()).expect("the ledger can be read");
    let all = mutants();
    let places: BTreeSet<&Place> = all.iter().map(|mutant| &mutant.place).collect();
    let mut findings: Vec<String> = ledger
        .entries()
        .filter(|(place, _)| !places.contains(place))
        .map(|(place, _)| format!("{place}: on record, but no model makes this access"))
        .collect();
    let check = |mutant: &Mutant| {
        let entry = ledger.get(&mutant.place).ok_or("not on record")?;
        if entry.ids != mutant.ids {
            return Err(format!("ids on record {:?}, in the code {:?}", entry.ids, mutant.ids));
        }
        let verdict = entry.verdict(&mutant.place).map_err(|error| error.to_string())?;
        verdict.check(mutant, &all)
    };
    let checked = side_by_side(jobs(), &all, check, |_, _| {});
    for (mutant, checked) in all.iter().zip(checked) {
        findings.extend(checked.err().map(|problem| format!("{}: {problem}", mutant.place)));
    }
    let killed = ledger.entries().filter(|(_, entry)| entry.survives.is_none()).count();
    println!("{} mutants, {killed} killed by one model each", all.len());
    assert!(findings.is_empty(), "verify weaken --write\n{}", findings.join("\n"));
}

const LEDGER: &str = r#"
["crates/arena/src/lease.rs".wipe."fence release -> none"]
ids = ["B5"]
killed_by = "cas_bucket; put a : get a | remove a, insert b; p2; loom/1"
executions = 7

["crates/arena/src/lease.rs".count."store release -> relaxed"]
survives = "only an estimate"

["crates/arena/src/lease.rs".count."store release 2 -> relaxed"]
survives = ""
"#;

fn place(function: &str, change: &str) -> Place {
    let file = "crates/arena/src/lease.rs".to_owned();
    Place { file, function: function.to_owned(), change: change.to_owned() }
}

#[test]
fn a_ledger_reads_as_it_is_written_and_says_what_is_missing() {
    let ledger = Ledger::parse(LEDGER).expect("a ledger");
    let folder = tempfile::tempdir().expect("a folder for a file");
    let path = folder.path().join("orderings.toml");
    ledger.write(&path).expect("the folder is writable");
    assert_eq!(Ledger::read(&path).expect("what was written"), ledger);

    let wipe = place("wipe", "fence release -> none");
    let Ok(Verdict::Killed(trial)) = ledger.get(&wipe).expect("an entry").verdict(&wipe) else {
        panic!("killed by a model");
    };
    assert_eq!(trial.to_string(), "cas_bucket; put a : get a | remove a, insert b; p2; loom/1");
    assert_eq!((trial.bound.executions, trial.bound.preemptions), (7, Some(2)));
    let count = place("count", "store release -> relaxed");
    let excused = ledger.get(&count).expect("an entry").verdict(&count);
    assert!(matches!(excused, Ok(Verdict::Survives(reason)) if reason == "only an estimate"));
    let blank = place("count", "store release 2 -> relaxed");
    let verdict = ledger.get(&blank).expect("an entry").verdict(&blank);
    assert!(matches!(verdict, Err(LedgerError::Undecided { .. })), "a reason is missing");
    assert!(matches!(
        Entry {
            killed_by: Some("chained; get; p1; view/1".to_owned()),
            executions: Some(1),
            ..Entry::default()
        }
        .verdict(&blank),
        Err(LedgerError::Model { .. })
    ));
    assert!(Ledger::parse("[a.b.c]\nkilled = true").is_err());
}

#[test]
fn an_entry_follows_its_function_into_another_file() {
    let ledger = Ledger::parse(LEDGER).expect("a ledger");
    let wipe = place("wipe", "fence release -> none");
    let moved = Place { file: "crates/arena/src/wipe.rs".to_owned(), ..wipe.clone() };
    let found = ledger.find(&moved, &BTreeSet::from([moved.clone()]));
    assert_eq!(found, ledger.get(&wipe));
    assert_eq!(ledger.find(&moved, &BTreeSet::from([moved.clone(), wipe])), None, "it is a copy");
}

#[test]
fn an_access_is_named_by_its_function_and_the_comment_above_its_statement() {
    let text = "\
impl Table {
    pub(super) const fn first(&self) {
        // tag(W2, W3): release, pairs with R1, whose
        // other half is elsewhere.
        self.memory()
            .compare_exchange(at, Rmw::Release);
        self.memory().load(at, Load::Acquire);
    }
    // A call of fn second follows.
    fn third(&self) {
        self.memory().fence(Fence::Acquire);
    }
}
";
    // Spelt like this, it is no tag of this file.
    let source = Source::new(&text.replace("tag(", "ORDERING("));
    for (line, function, ids) in
        [(6, "first", vec!["W2", "W3"]), (7, "first", vec![]), (11, "third", vec![])]
    {
        assert_eq!(source.function_at(line), function, "line {line}");
        assert_eq!(source.ids_at(line), ids, "line {line}");
    }
}

#[test]
fn a_record_that_no_longer_holds_is_found() {
    let trials = battery(Kind::CasBucket, 0);
    let reach = Reach::of(&trials[..1], 1);
    let all = reach.mutants().expect("the sources can be read");
    let fence = all.iter().find(|mutant| mutant.place.change == "fence acquire -> none");
    let fence = fence.expect("a look-up has one");
    // Two look-ups: nothing is stored, so nothing can be seen too late.
    let idle = Trial::parse("cas_bucket; put a : get a | get a; all; view/1", 1).expect("a model");
    let problem = Verdict::Killed(idle).check(fence, &all).expect_err("nothing fails");
    assert!(problem.contains("passes"), "{problem}");
    let text = "cas_bucket; put a : replace a | remove a, insert a | get a; all; view/1";
    let seen = Trial::parse(text, 500).expect("a model");
    assert_eq!(Verdict::Killed(seen.clone()).check(fence, &all), Ok(()));
    let nobody = Verdict::Redundant(vec!["nowhere none: nothing".to_owned()], seen);
    assert!(nobody.check(fence, &all).is_err_and(|problem| problem.contains("no access")));
}
