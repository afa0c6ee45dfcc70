//! The set's three verbs under a rule.

use super::words::{BUCKETS, Change, Field, Words};
use crate::engine::Execution;

/// A key of the model, from 1 to 15. Its home is half of it, so two keys share each home.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u8);

/// What an empty bucket holds.
pub(super) const EMPTY: u8 = 0;

/// What the K-CAS of an update moves and compares beside its buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// A removal moves the timestamp of the stripe from which the removed key goes, wherever in its
    /// stripe the key lies. As published: not if that is the stripe's last bucket.
    pub removal_moves_own_stripe: bool,
    /// An addition compares the timestamps of the stripes that it went through and does not write.
    /// As published: it forgets them.
    pub addition_compares_unwritten: bool,
    /// A removal moves the timestamp of the stripe that holds the *terminator*, the bucket at which
    /// its shift ends, even if it writes nothing else there. As published: it does.
    pub removal_moves_terminator: bool,
}

impl Rule {
    /// The rule of the published program.
    pub const PUBLISHED: Self = Self {
        removal_moves_own_stripe: false,
        addition_compares_unwritten: false,
        removal_moves_terminator: true,
    };

    /// The published rule with both repairs.
    pub const REPAIRED: Self = Self {
        removal_moves_own_stripe: true,
        addition_compares_unwritten: true,
        removal_moves_terminator: true,
    };
}

impl Key {
    /// The key with this number.
    pub fn new(number: u8) -> Self {
        assert!((1..16).contains(&number), "keys are 1 to 15, not {number}");
        Self(number)
    }

    /// The bucket at which its search begins.
    pub const fn home(self) -> u8 {
        self.0 / 2
    }

    /// The key's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// What a bucket's value means.
    pub(super) fn show(value: u8) -> String {
        if value == EMPTY { "empty".to_owned() } else { format!("key {value}") }
    }
}

/// A participant's handle to a set.
#[derive(Clone, Debug)]
pub struct StripedSet<X: Execution> {
    words: Words<X>,
    rule: Rule,
    stripe_buckets: u8,
}

/// Timestamps read on the way, a stripe when it is entered, and what becomes of them.
struct Stripes {
    read: Vec<(u8, u8)>,
}

impl Stripes {
    fn current(&self) -> Option<(u8, u8)> {
        self.read.last().copied()
    }
}

impl<X: Execution> StripedSet<X> {
    /// An empty set in fresh memory, with a timestamp for every `stripe_buckets` buckets.
    pub fn new(execution: &X, rule: Rule, stripe_buckets: u8) -> Self {
        assert!(stripe_buckets > 0 && BUCKETS.is_multiple_of(stripe_buckets));
        Self { words: Words::new(execution), rule, stripe_buckets }
    }

    /// Whether a key is present.
    ///
    /// Searches along the run; a miss holds if no timestamp read on the way has moved since. Each
    /// turn that is not the last means that somebody else's update succeeded.
    pub fn contains(&self, key: Key) -> bool {
        loop {
            let mut stripes = Stripes { read: Vec::new() };
            if self.find(key, &mut stripes).is_some() {
                return true;
            }
            if self.is_unmoved(&stripes) {
                return false;
            }
        }
    }

    /// Adds a key; `false` if it is present.
    ///
    /// Goes along the run from the key's home. Where a bucket's key is nearer to its home than the
    /// one in hand, they change places; the empty bucket at the end takes the last one.
    pub fn add(&self, key: Key) -> bool {
        'again: loop {
            let mut stripes = Stripes { read: Vec::new() };
            let mut changes = Vec::new();
            let (mut in_hand, mut in_hand_distance) = (key.0, 0);
            let mut is_moved = false;
            for bucket in self.run(key.home()) {
                let before = stripes.current();
                if self.enter(bucket, &mut stripes) {
                    self.leave_unwritten(before, is_moved, &mut changes);
                    is_moved = false;
                }
                let found = self.words.read(Field::Bucket(bucket));
                if found == key.0 {
                    return false;
                }
                if found == in_hand {
                    // Somebody else moved the key in hand, which this search had seen before.
                    continue 'again;
                }
                let found_distance = distance(found, bucket);
                if found == EMPTY || found_distance < in_hand_distance {
                    changes.push(Change { field: Field::Bucket(bucket), old: found, new: in_hand });
                    if !is_moved {
                        changes.extend(stripes.current().map(moved));
                        is_moved = true;
                    }
                    (in_hand, in_hand_distance) = (found, found_distance);
                }
                if found == EMPTY {
                    if self.words.compare_and_swap(&changes) {
                        return true;
                    }
                    continue 'again;
                }
                in_hand_distance += 1;
            }
        }
    }

    /// Removes a key; `false` if it is absent.
    ///
    /// Every key after it, up to an empty bucket or one that holds a key at its home (the
    /// terminator), moves back by one.
    pub fn remove(&self, key: Key) -> bool {
        loop {
            let mut stripes = Stripes { read: Vec::new() };
            match self.find(key, &mut stripes) {
                Some(bucket) => {
                    let changes = self.shift(key, bucket, &stripes);
                    if self.words.compare_and_swap(&changes) {
                        return true;
                    }
                }
                None if self.is_unmoved(&stripes) => return false,
                None => {}
            }
        }
    }

    /// All buckets at one instant.
    pub fn snapshot(&self) -> [u8; BUCKETS as usize] {
        self.words.snapshot()
    }

    /// Remarks on what follows in a trace.
    pub fn note(&self, remark: impl FnOnce() -> String) {
        self.words.note(remark);
    }

    /// The bucket of a key, or `None` where it would have to be.
    fn find(&self, key: Key, stripes: &mut Stripes) -> Option<u8> {
        for (searched, bucket) in (0..).zip(self.run(key.home())) {
            self.enter(bucket, stripes);
            let found = self.words.read(Field::Bucket(bucket));
            if found == key.0 {
                return Some(bucket);
            }
            if found == EMPTY || distance(found, bucket) < searched {
                return None;
            }
        }
        None
    }

    /// What a removal changes.
    fn shift(&self, key: Key, bucket: u8, stripes: &Stripes) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut current = None;
        let mut is_moved = false;
        if self.rule.removal_moves_own_stripe {
            current = stripes.current();
            changes.extend(current.map(moved));
            is_moved = true;
        }
        let (mut to, mut leaves) = (bucket, key.0);
        for from in self.run((bucket + 1) % BUCKETS) {
            let stripe = self.stripe(from);
            if current.is_none_or(|(entered, _)| entered != stripe) {
                current = Some((stripe, self.words.read(Field::Timestamp(stripe))));
                is_moved = false;
            }
            let moves = self.words.read(Field::Bucket(from));
            if distance(moves, from) == 0 {
                break;
            }
            changes.push(Change { field: Field::Bucket(to), old: leaves, new: moves });
            if !is_moved {
                changes.extend(current.map(moved));
                is_moved = true;
            }
            (to, leaves) = (from, moves);
        }
        // The rule without a validated terminator moves the stripes that it writes and no other.
        let is_written = current.is_some_and(|(stripe, _)| stripe == self.stripe(to));
        if !is_moved && (self.rule.removal_moves_terminator || is_written) {
            changes.extend(current.map(moved));
        }
        changes.push(Change { field: Field::Bucket(to), old: leaves, new: EMPTY });
        changes
    }

    /// Reads the timestamp of a bucket's stripe if that is another one than before; says whether.
    fn enter(&self, bucket: u8, stripes: &mut Stripes) -> bool {
        let stripe = self.stripe(bucket);
        if stripes.current().is_some_and(|(current, _)| current == stripe) {
            return false;
        }
        stripes.read.push((stripe, self.words.read(Field::Timestamp(stripe))));
        true
    }

    /// An addition leaves a stripe: if nothing in it is written, the repaired rule compares it.
    fn leave_unwritten(&self, left: Option<(u8, u8)>, is_moved: bool, changes: &mut Vec<Change>) {
        if let Some((stripe, timestamp)) = left
            && !is_moved
            && self.rule.addition_compares_unwritten
        {
            let field = Field::Timestamp(stripe);
            changes.push(Change { field, old: timestamp, new: timestamp });
        }
    }

    /// Whether all timestamps are what they were.
    fn is_unmoved(&self, stripes: &Stripes) -> bool {
        stripes
            .read
            .iter()
            .all(|&(stripe, before)| self.words.read(Field::Timestamp(stripe)) == before)
    }

    fn stripe(&self, bucket: u8) -> u8 {
        bucket / self.stripe_buckets
    }

    /// The buckets from this one on, once around.
    fn run(&self, from: u8) -> impl Iterator<Item = u8> + use<X> {
        (0..BUCKETS).map(move |step| (from + step) % BUCKETS)
    }
}

/// How far a bucket is from the home of the key in it; 0 for an empty one.
pub(super) fn distance(value: u8, bucket: u8) -> u8 {
    if value == EMPTY {
        return 0;
    }
    (bucket + BUCKETS - Key(value).home()) % BUCKETS
}

fn moved((stripe, timestamp): (u8, u8)) -> Change {
    Change { field: Field::Timestamp(stripe), old: timestamp, new: timestamp + 1 }
}
