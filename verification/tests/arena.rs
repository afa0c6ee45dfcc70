//! The arena by itself, under an index of one word: what no scenario of a table brings about.
//! Orderings are weakened at their sites; `orderings.toml` names these tests where they are needed.
#![allow(missing_docs)]

use std::iter;
use std::sync::Arc;

use shm_arena::{
    Arena, ArenaOptions, Backoff, Block, Environment, Expected, Fence, Geometry, HashKind, Index,
    Layout, Lease, Load, Memory, Offset, Rmw, SegmentHeader, SizeClass, Store,
};
use shm_verification::orderings::{Ledger, Place as Access, Sources};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Engine, Execution, Kill, LoomEngine, Model, Mutation,
    Outcome, Place, ShuttleEngine, Sweep, ViewEngine, Weakened, Weakening, World, sweep,
};

type Words<X> = CrashMemory<<X as Execution>::Memory>;

/// A slab of so many blocks of 64 bytes, and an index of one word that names a linked block.
struct Stage<X: Execution> {
    world: World<X>,
    home: Arena<Words<X>>,
}

impl<X: Execution> Stage<X> {
    fn new(execution: &X, units: u32) -> Self {
        let geometry = Geometry {
            index_words: 8,
            records: 4,
            lines: 4,
            slabs: 1,
            slab_units: units,
            block_units_min: 1,
            side_words: 0,
            spares: 1,
        };
        let world = World::new(execution, Layout::new(geometry).expect("tiny").word_count());
        let place = world.place(0);
        let header = SegmentHeader {
            table_kind: 1,
            table_fingerprint: 2,
            table_numbers: [0; 4],
            geometry,
            hash: HashKind::Rapid,
            created_ms: 0,
            boot: place.environment.boot,
        };
        let options = ArenaOptions { header, secret: Some([1, 2]), wraps_after: None };
        let home = Arena::create(place.memory.clone(), &options, &place.environment);
        Self { world, home: home.expect("zeroed memory") }
    }

    /// The handle of one more process.
    fn join(&self, participant: u32) -> Arena<Words<X>> {
        self.join_at(&self.world.place(participant))
    }

    fn join_at(&self, place: &Place<X>) -> Arena<Words<X>> {
        let Environment { boot, .. } = place.environment;
        let expected = Expected { table_kind: 1, table_fingerprint: 2, boot };
        Arena::attach(place.memory.clone(), &expected, &place.environment).expect("a segment")
    }

    /// Every block is free and hinted at, linked, or named.
    fn check(&self) {
        let link = self.home.memory().load(self.home.layout().index(), Load::Acquire);
        let linked = u32::try_from(link).ok().filter(|&unit| unit != 0);
        let references = linked.map(|unit| (Block::new(unit), 1)).into_iter().collect();
        let audit = self.home.audit_blocks(&references);
        assert!(audit.findings.is_empty() && audit.lost == 0, "the audit: {:?}", audit.findings);
    }
}

/// An index that has one word.
struct OneWord<'a, M: Memory>(&'a Arena<M>);

/// An index that denies what it links: to whoever asks it, nothing is published.
struct Denying;

impl Index for Denying {
    fn references(&self, _block: Block) -> Option<bool> {
        Some(false)
    }

    fn forget(&self, _block: Block) {}
}

impl<M: Memory> Index for OneWord<'_, M> {
    fn references(&self, block: Block) -> Option<bool> {
        let linked = self.0.memory().load(self.0.layout().index(), Load::Acquire);
        Some(linked == u64::from(block.unit()))
    }

    fn forget(&self, _block: Block) {}
}

/// A lease on a line in order.
fn lease<M: Memory>(arena: &Arena<M>) -> Lease<'_, M> {
    let lease = arena.lease().expect("a line");
    assert!(!lease.is_unsettled() || lease.settle_own(&OneWord(arena)), "the index answers");
    lease
}

fn class(units: u32) -> SizeClass {
    SizeClass::holding(units).expect("a small block")
}

/// Claims a block, marks it and links it.
fn link<M: Memory>(arena: &Arena<M>, mark: u64) -> Block {
    let lease = lease(arena);
    let claimed = lease.claim(class(1)).expect("a block");
    let block = claimed.block();
    arena.memory().store(block.offset(), mark, Store::Relaxed);
    arena.memory().store(arena.layout().index(), block.unit().into(), Store::Release);
    lease.published(claimed);
    block
}

/// Unlinks a block and retires it.
fn unlink<M: Memory>(arena: &Arena<M>, block: Block) {
    let (lease, index) = (lease(arena), arena.layout().index());
    let is_linked = || arena.memory().load(index, Load::Acquire) == u64::from(block.unit());
    let located = lease.locate(block).expect("a block");
    let intended = lease.intend(located, is_linked).expect("in use");
    let unit = block.unit().into();
    let unlinked = arena.memory().compare_exchange(index, unit, 0, Rmw::AcqRel, Load::Relaxed);
    assert!(unlinked.is_ok(), "nobody else unlinks");
    let retired = lease.retire(intended).expect("nobody else retires");
    lease.reclaim(retired, 8);
}

/// unlink ‖ claim and write ‖ look: the block goes from one owner to the next under the eyes of a
/// reader, who accepts what it copied if the index still links the block.
struct ClaimedAgain;

const LINKED: u64 = 1;

impl Model for ClaimedAgain {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2);
        let [first, second] = [1, 2].map(|other| stage.join(other));
        // The first has a spare, so what it unlinks is free for the second.
        unlink(&first, link(&first, 3));
        let block = link(&stage.home, LINKED);
        let unlinks = stage.world.spawn(&stage.world.place(1), move || unlink(&first, block));
        let claims = stage.world.spawn(&stage.world.place(2), move || {
            let lease = lease(&second);
            // Too early, and there is none.
            if let Ok(claimed) = lease.claim(class(1)) {
                second.memory().store(claimed.block().offset(), 2, Store::Relaxed);
                lease.abandon(claimed, 1, || {});
            }
        });
        let reader = stage.world.place(3);
        let index = stage.home.layout().index();
        let looks = stage.world.spawn(&reader.clone(), move || {
            let linked = || reader.memory.load(index, Load::Acquire) == u64::from(block.unit());
            if linked() {
                let seen = reader.memory.load(block.offset(), Load::Relaxed);
                reader.memory.fence(Fence::Acquire);
                assert!(!linked() || seen == LINKED, "accepted another life's bytes: {seen}");
            }
        });
        let ended = [unlinks.join(), claims.join(), looks.join()];
        assert!(ended.into_iter().all(|ended| ended.finished().is_some()), "nobody dies");
        stage.check();
    }
}

/// Somebody dies of linking a block, and is recovered: what is linked stays, published or pending.
struct LinkerDies {
    kill: Kill,
    denies: bool,
}

impl Model for LinkerDies {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2);
        let place = stage.world.mortal_place(1, self.kill);
        let arena = stage.join_at(&place);
        let linker = stage.world.spawn(&place, move || link(&arena, LINKED));
        let _ = linker.join();
        let (home, lease) = (&stage.home, lease(&stage.home));
        let index: &dyn Index = if self.denies { &Denying } else { &OneWord(home) };
        let _ = home.recover(&lease, index);
        drop(lease);
        stage.check();
        let linked = home.memory().load(home.layout().index(), Load::Acquire);
        if linked != 0 {
            let seen = home.memory().load(Offset::new(linked * 8), Load::Relaxed);
            assert_eq!(seen, LINKED, "linked and not whole");
        }
    }
}

fn linker_dies(denies: bool) -> Sweep {
    let budget = Budget::executions(200).preemptions(0);
    let sweep = sweep(&DepthFirstEngine, &budget, true, |kill| LinkerDies { kill, denies });
    println!("denies {denies}: {sweep}");
    sweep
}

/// Blocks of so many units ‖ the same: the slab served one unit and is empty, so who wants more
/// gives it to the larger class while the other looks for a block there.
struct Widening {
    units: [u32; 2],
}

impl Model for Widening {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4);
        // Somebody who is gone used the slab.
        let gone = stage.join(3);
        let block = link(&gone, 1);
        unlink(&gone, block);
        gone.detach();
        let others = [(1, self.units[0]), (2, self.units[1])].map(|(other, units)| {
            let arena = stage.join(other);
            stage.world.spawn(&stage.world.place(other), move || {
                let lease = lease(&arena);
                // The other may hold a block of each kind meanwhile.
                let Ok(claimed) = lease.claim(class(units)) else { return };
                let (first, words) = (claimed.block().offset(), u64::from(units) * 8);
                let ends = [first, first + (words - 1)];
                for at in ends {
                    assert_eq!(arena.memory().load(at, Load::Relaxed), 0, "not wiped");
                    arena.memory().store(at, other.into(), Store::Relaxed);
                }
                for at in ends {
                    let seen = arena.memory().load(at, Load::Relaxed);
                    assert_eq!(seen, other.into(), "not wiped, or somebody else wrote");
                }
                lease.abandon(claimed, words, || {});
            })
        });
        let ended = others.map(|other| other.join());
        assert!(ended.into_iter().all(|ended| ended.finished().is_some()), "nobody dies");
        stage.check();
    }
}

/// Two threads of one process on one handle, one after the other. Engines do not see the private
/// words by which a line changes hands, so a lock in words of theirs stands for them: it is given
/// back and taken with the same orders.
struct HandOver {
    given_back: Store,
}

impl Model for HandOver {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2);
        let (place, hands) = (stage.world.place(1), execution.memory(1));
        let (arena, given_back) = (Arc::new(stage.join(1)), self.given_back);
        let others = [1, 2_u64].map(|mark| {
            let (arena, hands) = (Arc::clone(&arena), hands.clone());
            stage.world.spawn(&place, move || {
                let (word, backoff) = (Offset::new(0), Backoff::new());
                while hands.compare_exchange(word, 0, 1, Rmw::Acquire, Load::Relaxed).is_err() {
                    hands.spin(&backoff);
                }
                let lease = lease(&arena);
                let claimed = lease.claim(class(1)).expect("the line's spare, at least");
                let at = claimed.block().offset();
                assert_eq!(arena.memory().load(at, Load::Relaxed), 0, "not wiped");
                arena.memory().store(at, mark, Store::Relaxed);
                lease.abandon(claimed, 1, || {});
                lease.count(1, 0);
                drop(lease);
                hands.store(word, 0, given_back);
            })
        });
        let ended = others.map(|other| other.join());
        assert!(ended.into_iter().all(|ended| ended.finished().is_some()), "nobody dies");
        assert_eq!(stage.home.balance(), 2, "a count was lost");
        stage.check();
    }
}

/// The engines with weak memory, each as far as it comes here, when it is asked for.
fn explored<P: Model>(model: &Arc<P>) -> impl Iterator<Item = (&'static str, Outcome)> {
    let bounded = || Budget::executions(3_000).preemptions(1);
    let loom = move || ("loom", LoomEngine.run(model, &bounded()));
    let depth_first = move || ("depth-first", DepthFirstEngine.run(model, &bounded()));
    let view = || ("view", ViewEngine::default().run(model, &Budget::executions(2_000)));
    iter::once_with(loom).chain(iter::once_with(depth_first)).chain(iter::once_with(view))
}

fn passes<P: Model>(model: P) {
    let model = Arc::new(model);
    for (name, outcome) in explored(&model) {
        println!("{} on {name}: {outcome}", model.name());
        outcome.expect_pass(name);
    }
    let outcome = ShuttleEngine::RANDOM.run(&model, &Budget::executions(2_000));
    outcome.expect_pass("shuttle");
}

/// The accesses that a model makes in a file of the arena, each with what makes it weaker.
fn mutations<P: Model>(model: &Arc<P>, file: &str) -> Vec<(Access, Mutation)> {
    let weakening = Weakening::none();
    let outcome = ViewEngine::default()
        .run(&Arc::new(Weakened::new(model, &weakening)), &Budget::executions(500));
    outcome.expect_pass("as it is");
    let named = Sources::of_workspace().name_all(&weakening.sites("crates/arena/src/"));
    let named = named.expect("the sources can be read").into_iter();
    named.map(|(at, _, mutation)| (at, mutation)).filter(|(at, _)| at.file.contains(file)).collect()
}

/// Whether any engine fails for this reason when these accesses are weaker, all at once.
fn fails<P: Model>(model: &Arc<P>, weaker: &[(&str, &str, &str)], reason: &str) -> bool {
    let weaker: Vec<Mutation> = weaker
        .iter()
        .map(|&(file, function, change)| {
            let all = mutations(model, file);
            let wanted = |(at, _): &&(Access, _)| at.function == function && at.change == change;
            let found = all.iter().find(wanted);
            found.unwrap_or_else(|| panic!("{function}: {change} is none of {all:#?}")).1
        })
        .collect();
    let model = Arc::new(Weakened::new(model, &Weakening::all(&weaker)));
    // The first that finds it is enough.
    explored(&model).any(|(name, outcome)| {
        println!("{weaker:?} on {name}: {outcome}");
        outcome.failure.is_some_and(|failure| failure.message.contains(reason))
    })
}

/// The ledger's reason for an access speaks of this test.
fn is_on_record(file: &str, function: &str, change: &str, test: &str) {
    let ledger = Ledger::read(&Ledger::default_path()).expect("the ledger can be read");
    let [file, function, change] =
        [format!("crates/arena/src/{file}"), function.to_owned(), change.to_owned()];
    let place = Access { file, function, change };
    let entry = ledger.get(&place).unwrap_or_else(|| panic!("{place} is not on record"));
    let reason = entry.survives.as_deref().unwrap_or_default();
    assert!(reason.contains(test), "{place} does not name {test}: {reason}");
}

#[test]
fn a_reader_accepts_no_bytes_of_another_life() {
    passes(ClaimedAgain);
}

#[test]
fn without_the_fence_after_the_claim_a_reader_accepts_the_next_owners_bytes() {
    let model = Arc::new(ClaimedAgain);
    let weaker = ("lease.rs", "claim", "fence release -> none");
    assert!(fails(&model, &[weaker], "another life's bytes: 2"), "B2 is not needed here");
    let test = "without_the_fence_after_the_claim_a_reader_accepts_the_next_owners_bytes";
    is_on_record(weaker.0, weaker.1, weaker.2, test);
}

#[test]
fn without_the_fence_before_the_wipe_a_reader_accepts_wiped_bytes() {
    let model = Arc::new(ClaimedAgain);
    let weaker = ("lease.rs", "wipe", "fence release -> none");
    assert!(fails(&model, &[weaker], "another life's bytes: 0"), "B5 is not needed here");
}

#[test]
fn a_block_that_is_linked_and_pending_stays_when_its_owner_is_recovered() {
    let right = linker_dies(false);
    assert!(right.failure.is_none() && right.kill_points > 10, "{right}");
}

#[test]
fn a_recovery_that_frees_a_published_pending_block_is_caught() {
    let (_, failure) = linker_dies(true).failure.expect("a linked block that is freed");
    assert!(failure.message.contains("is referenced and free"), "{failure}");
}

#[test]
fn a_slab_gets_wider_blocks_beside_a_claim_of_one() {
    passes(Widening { units: [2, 2] });
    passes(Widening { units: [2, 1] });
}

#[test]
fn hints_of_a_slab_that_changed_its_class_are_lost_without_their_order() {
    let model = Arc::new(Widening { units: [2, 2] });
    let weaker = ("reclass.rs", "hint_at_all", "fetch_or release -> relaxed");
    assert!(fails(&model, &[weaker], "no hint says so"), "B6 is not needed here");
    let test = "hints_of_a_slab_that_changed_its_class_are_lost_without_their_order";
    is_on_record(weaker.0, weaker.1, weaker.2, test);
}

/// Whoever claims a block that a re-classer let go has acquired that step, and the class with it.
///
/// An argument, which this exploration does not contradict: no order of the claim can be left out
/// to show that the look's is needed then, since each is needed for other reasons.
#[test]
fn the_second_look_at_the_class_needs_no_order_of_its_own() {
    let model = Arc::new(Widening { units: [2, 1] });
    let look = ("reclass.rs", "serves_still", "load acquire -> relaxed");
    assert!(!fails(&model, &[look], ""), "C2 is needed");
    let test = "the_second_look_at_the_class_needs_no_order_of_its_own";
    is_on_record(look.0, look.1, look.2, test);
}

#[test]
fn a_line_goes_from_thread_to_thread_in_weak_memory() {
    passes(HandOver { given_back: Store::Release });
}

#[test]
fn a_line_given_back_without_order_is_caught() {
    let model = Arc::new(HandOver { given_back: Store::Relaxed });
    for (name, outcome) in explored(&model) {
        println!("{name}: {outcome}");
        let failure = outcome.expect_failure(name);
        let lost = ["not wiped", "a count was lost"];
        assert!(lost.iter().any(|lost| failure.message.contains(lost)), "{name}: {failure}");
    }
}
