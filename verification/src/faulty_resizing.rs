//! A memory in which `cas_bucket` changes its size in one wrong way, for whoever checks the checks.
//!
//! The table's source is not touched: what each fault does wrong is done to its accesses.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{
    Backoff, Fence, HEADER_WORDS, HeapMemory, Layout, Load, Memory, Offset, Rmw, Store,
};
use shm_table::{ArenaDesign, CasBucket, TableOptions};

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResizingFault {
    /// An heir is opened before its entries are in it.
    OpenedBeforeFilled,
    /// A helper that comes late fills a slot again, whatever is there by now.
    FilledBlindly,
    /// The second look at the root sees what the first one saw.
    NoRootRecheck,
    /// The second look at a header, of a frozen bucket's heir for example, sees what the first saw.
    NoHeaderRecheck,
    /// A claim takes a slot that was cleaned for the next life of its bucket.
    ClaimOfAnyVacantSlot,
    /// Buckets are said to be capped, and are not.
    NoCap,
    /// A slot is cleaned whatever is there by now.
    CleanedBlindly,
}

/// A memory through which one participant commits a fault, or none.
#[derive(Clone)]
pub struct FaultyResizing<M> {
    memory: M,
    site: Option<Site>,
}

/// Where a tiny table has its words, and what one participant has seen there.
#[derive(Clone)]
struct Site {
    fault: ResizingFault,
    index: Offset,
    index_words: u64,
    bucket_words: u64,
    seen: Arc<Mutex<BTreeMap<Offset, u64>>>,
}

const ROOT: Offset = Offset::new(HEADER_WORDS);
const MODE_SHIFT: u32 = 21;
const FROZEN: u64 = 2;
const CAPPED: u64 = 5;
/// The lower half of a slot's word that was cleaned for a life, or never used; above, blocks.
const CLEANED: u64 = 1;
const FRESH: u64 = 2;

const fn low(word: u64) -> u64 {
    word & 0xffff_ffff
}

impl Site {
    /// The header of the bucket that a word of the index lies in, and whether it is that word.
    fn header_of(&self, at: Offset) -> Option<(Offset, bool)> {
        let within = at.word().checked_sub(self.index.word())?;
        let header = self.index + within / self.bucket_words * self.bucket_words;
        (within < self.index_words).then_some((header, header == at))
    }

    /// Whether this is a word whose second look sees what the first one saw.
    fn is_kept(&self, at: Offset) -> bool {
        match self.fault {
            ResizingFault::NoRootRecheck => at == ROOT,
            ResizingFault::NoHeaderRecheck => self.header_of(at).is_some_and(|(_, is_it)| is_it),
            _ => false,
        }
    }
}

impl<M: Memory> FaultyResizing<M> {
    /// The memory as it is.
    pub const fn sound(memory: M) -> Self {
        Self { memory, site: None }
    }

    /// The memory of one participant in a `cas_bucket` made with these options, of few slots.
    ///
    /// # Panics
    ///
    /// If there is no such table, or its buckets have seven slots and more.
    pub fn new(memory: M, fault: ResizingFault, options: &TableOptions) -> Self {
        let (numbers, geometry) =
            CasBucket::<HeapMemory>::numbers(options).expect("options of a table");
        assert!(numbers[1] < 7, "buckets of one line each");
        let index_words = geometry.index_words;
        let index = Layout::new(geometry).expect("a geometry").index();
        let bucket_words = (numbers[1] + 1).next_power_of_two();
        Self {
            memory,
            site: Some(Site { fault, index, index_words, bucket_words, seen: Arc::default() }),
        }
    }

    /// What the fault makes of an exchange; `None`: what it is.
    fn exchange(&self, site: &Site, at: Offset, from: u64, to: u64) -> Option<Result<u64, u64>> {
        let there = || self.memory.load(at, Load::Acquire);
        let blindly = || {
            let word = there();
            let outcome = self.memory.compare_exchange(at, word, to, Rmw::AcqRel, Load::Relaxed);
            outcome.map(|_| from)
        };
        let is_fill = matches!(low(from), CLEANED | FRESH) && low(to) > FRESH;
        match (site.fault, site.header_of(at)) {
            (ResizingFault::OpenedBeforeFilled, Some((header, false))) if is_fill => {
                let mode = self.memory.load(header, Load::Acquire) >> MODE_SHIFT & 7;
                (mode < FROZEN).then_some(Ok(from))
            }
            (ResizingFault::FilledBlindly, Some((_, false))) if is_fill => Some(blindly()),
            (ResizingFault::CleanedBlindly, Some((_, false))) if low(to) == CLEANED => {
                Some(blindly())
            }
            (ResizingFault::ClaimOfAnyVacantSlot, Some((_, false))) if low(from) == 0 => {
                let word = there();
                (low(to) > FRESH && low(word) == CLEANED).then(blindly)
            }
            (ResizingFault::NoCap, Some((_, true))) if to >> MODE_SHIFT & 7 == CAPPED => {
                Some(Ok(from))
            }
            _ => None,
        }
    }
}

impl<M: Memory> Memory for FaultyResizing<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let Some(site) = self.site.as_ref().filter(|site| site.is_kept(at)) else {
            return self.memory.load(at, order);
        };
        let seen = || site.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if order == Load::Relaxed
            && let Some(&word) = seen().get(&at)
        {
            return word;
        }
        let word = self.memory.load(at, order);
        seen().insert(at, word);
        word
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.memory.store(at, value, order);
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        if let Some(site) = &self.site
            && let Some(outcome) = self.exchange(site, at, current, new)
        {
            return outcome;
        }
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}

impl<M> fmt::Debug for FaultyResizing<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.site.as_ref().map(|site| site.fault);
        formatter.debug_struct("FaultyResizing").field("fault", &fault).finish_non_exhaustive()
    }
}
