//! A full page that is about to grow, and who acts on it.

use shm_arena::{HEADER_WORDS, Layout, Load, Memory, Offset, Rmw};
use shm_table::{
    Design, Entry, Error, Insert, Put, RobinHood, Table, TableOptions, TableShape, Walk,
};
use shm_verification::faulty_pages::{FaultyPages, Page, PageFault};
use shm_verification::{CrashMemory, Ended, Execution, Participant, Place, World};

pub(crate) const SLOTS: u32 = 4;

/// One page of so many slots, which may become four.
pub(crate) fn options(slots: u32) -> TableOptions {
    let shape = TableShape { buckets: 1, slots, slabs: 1, slab_units: 16, block_units_min: 1 };
    TableOptions {
        processes: 5,
        lines: 5,
        hash_secret: Some([1, 10]),
        shape: Some(shape),
        buckets_max: Some(4),
        ..TableOptions::default()
    }
}

pub(crate) type Shared<X> = FaultyPages<CrashMemory<<X as Execution>::Memory>>;

/// One execution's world with a table in it, whose page is full.
pub(crate) struct Stage<X: Execution> {
    pub(crate) world: World<X>,
    at: Page,
    /// The model's own handle.
    pub(crate) table: RobinHood<Shared<X>>,
    pub(crate) keys: Keys,
}

/// What each key is for: the first four are there from the start, around the end of the page, and
/// updates of the second and the fourth one help with a growth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) present: [u8; 4],
    /// Of the other half of the hashes than the first present one, at its home.
    pub(crate) other: u8,
    /// Of the half of the first one.
    pub(crate) same: u8,
}

impl Keys {
    pub(crate) fn of<M: Memory>(table: &RobinHood<M>) -> Self {
        let hasher = table.arena().hasher();
        let all = |half: u64, home: u64| {
            let place = move |key: &u8| {
                let hash = hasher.hash(&[*key]);
                (hash >> 63, hash % u64::from(SLOTS), hash >> 16 & 15)
            };
            let is_there =
                move |key: &u8| matches!(place(key), (a, b, _) if (a, b) == (half, home));
            (0..=u8::MAX).filter(is_there).map(move |key| (key, place(&key).2))
        };
        let nth = |half, home, number| all(half, home).nth(number).expect("enough keys").0;
        let helping = |half, home| {
            all(half, home).find(|(_, tag)| *tag == 0).expect("a key whose updates help").0
        };
        let present = [nth(0, 2, 0), helping(1, 2), nth(0, 3, 0), helping(1, 3)];
        let others = all(1, 2).map(|(key, _)| key);
        let other = others.into_iter().find(|key| !present.contains(key)).expect("enough keys");
        Self { present, other, same: nth(0, 3, 1) }
    }
}

impl<X: Execution> Stage<X> {
    pub(crate) fn new(execution: &X) -> Self {
        let options = options(SLOTS);
        let words = RobinHood::<Shared<X>>::word_count(&options).expect("tiny shape");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = FaultyPages::new(place.memory.clone(), PageFault::None, Page::NONE);
        let table = RobinHood::create(memory, &options, &place.environment).expect("zeroed memory");
        let header = Layout::new(table.arena().geometry()).expect("made").index();
        // Headers of 1 + 2 + 4 pages, then the slots of the first page, then those of its heirs.
        let slots = header + 7 * 8 + u64::from(SLOTS);
        let at = Page { header, slots, slot_count: 2 * u64::from(SLOTS) };
        let keys = Keys::of(&table);
        for (key, mark) in keys.present.into_iter().zip([10, 20, 30, 40]) {
            assert_eq!(insert(&table, key, mark), None, "the page has room");
        }
        Self { world, at, table, keys }
    }

    pub(crate) fn join_at(&self, place: &Place<X>, fault: PageFault) -> RobinHood<Shared<X>> {
        let memory = FaultyPages::new(place.memory.clone(), fault, self.at);
        RobinHood::attach(memory, &place.environment).expect("a table is there")
    }

    /// Starts a participant with a handle of its own, which commits a fault.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        participant: u32,
        fault: PageFault,
        body: impl FnOnce(RobinHood<Shared<X>>) -> T + Send + 'static,
    ) -> Participant<Ended<T>> {
        let place = self.world.place(participant);
        let table = self.join_at(&place, fault);
        self.world.spawn(&place, move || body(table))
    }

    /// Leaves the table as a grower does that dies before it moves anything.
    pub(crate) fn begin_growing(&self) {
        let (root, memory) = (Offset::new(HEADER_WORDS), self.table.arena().memory());
        assert_eq!(memory.compare_exchange(root, 0, 1, Rmw::Release, Load::Relaxed), Ok(0));
    }

    pub(crate) fn present(&self) -> [Option<u8>; 4] {
        self.keys.present.map(|key| get(&self.table, key))
    }

    /// What has to hold once everybody has finished, and a growth that is under way as well.
    pub(crate) fn check(&self) {
        let entries = Walk::new(&self.table).map(|entry| entry.expect("no damage").key);
        let mut walked: Vec<_> = entries.collect();
        walked.sort_unstable();
        let before = walked.len();
        walked.dedup();
        assert_eq!(walked.len(), before, "an entry was met twice");
        let audit = self.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(before as u64, audit.entries, "entries walked");
        let pages = self.table.stats().buckets;
        assert!(self.table.adjust(None).expect("writable") >= pages);
        assert_eq!(self.table.stats().resizing, None, "growth ends");
        let audit = self.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, before as u64, "entries after the growth");
    }
}

/// Two words of value, equal unless torn.
pub(crate) fn value(mark: u8) -> [u8; 16] {
    [mark; 16]
}

/// The mark of a value that was read; fails on a torn one.
pub(crate) fn whole(read: Option<u64>, bytes: &[u8]) -> Option<u8> {
    let metadata = read?;
    assert_eq!(bytes.len(), 16, "a value of another length");
    assert!(bytes.iter().all(|&byte| u64::from(byte) == metadata), "torn: {metadata} {bytes:?}");
    Some(bytes[0])
}

pub(crate) fn get<T: Table>(table: &T, key: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let read = table.get(&[key], &mut bytes).expect("no corruption");
    whole(read, &bytes)
}

pub(crate) fn put<T: Table>(table: &T, key: u8, mark: u8) -> Result<Put, Error> {
    let value = value(mark);
    table.put(Entry { key: &[key], value: &value, metadata: mark.into() })
}

pub(crate) fn take<T: Table>(table: &T, key: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let read = table.take(&[key], &mut bytes).expect("no corruption");
    whole(read, &bytes)
}

pub(crate) fn insert<T: Table>(table: &T, key: u8, mark: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let value = value(mark);
    let entry = Entry { key: &[key], value: &value, metadata: mark.into() };
    match table.insert(entry, &mut bytes).expect("room") {
        Insert::Inserted => None,
        Insert::Exists { metadata } => whole(Some(metadata), &bytes),
    }
}
