//! Which bucket speaks for a key, as a reader finds out: without writing anything.

use shm_arena::{Load, Memory, Offset};

use super::areas::Bucket;
use super::root::Root;
use super::word::{Header, Mode};
use super::{CasBucket, TURNS_MAX};
use crate::contract::Error;

/// A bucket that speaks for a key: the one of the present size, or, once its entries move, the one
/// that they move to; in between, what the frozen one holds. True as long as it
/// [`holds`](CasBucket::holds).
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) bucket: Bucket,
    pub(super) header: Header,
    /// Slots that are live and carry the key's tag.
    pub(super) matches: u32,
    frozen: Option<Frozen>,
}

/// What a frozen bucket's word stands on: that its heir is not open.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    root: Root,
    heir: Offset,
    heir_header: Header,
}

impl View {
    /// Whether the bucket is in use, and not frozen.
    pub(super) const fn is_open(&self) -> bool {
        self.frozen.is_none()
    }

    /// The size of whose buckets the view shows one, where its bucket is one of 2^`own`: a frozen
    /// bucket whose entries move to two shows but the half whose heir is not open.
    pub(super) fn exponent(&self, own: u32) -> u32 {
        let target = self.frozen.and_then(|frozen| frozen.root.target());
        target.map_or(own, |target| target.max(own))
    }
}

impl<M: Memory> CasBucket<M> {
    /// The bucket that speaks for a hash.
    pub(super) fn view(&self, hash: u64) -> Result<View, Error> {
        // Each failed turn means that the table changed its size meanwhile.
        for _ in 0..TURNS_MAX {
            let root = self.root();
            let bucket = self.areas.bucket(hash, root)?;
            let (header, matches) = self.load_matches(bucket);
            if self.is_open(header) {
                if self.is_current(bucket) {
                    return Ok(View { bucket, header, matches, frozen: None });
                }
                continue;
            }
            if root.target().is_some()
                && let Some(view) = self.view_while_moving(hash, root, (bucket, header, matches))?
            {
                return Ok(view);
            }
            if self.root() == root && self.load_header(bucket.at) == header {
                return Err(Error::Corrupt { what: "bucket header", word: bucket.at.word() });
            }
        }
        Err(self.contended(hash))
    }

    /// The same where the bucket of the present size is not open, and its entries move. `None`: it
    /// takes another look, or something is damaged.
    fn view_while_moving(
        &self,
        hash: u64,
        root: Root,
        (bucket, header, matches): (Bucket, Header, u32),
    ) -> Result<Option<View>, Error> {
        let heir = self.areas.heir(hash, root)?;
        let (heir_header, heir_matches) = self.load_matches(heir);
        if self.is_open(heir_header) {
            let (header, matches) = (heir_header, heir_matches);
            let view = View { bucket: heir, header, matches, frozen: None };
            return Ok(self.is_current(heir).then_some(view));
        }
        let is_closed = matches!(heir_header.mode(), Mode::Fresh | Mode::Ready | Mode::Done);
        if self.slots.is_frozen(header) && is_closed {
            let frozen = Frozen { root, heir: heir.at, heir_header };
            return Ok(Some(View { bucket, header, matches, frozen: Some(frozen) }));
        }
        Ok(None)
    }

    /// Whether everything that was read through a view was there at one instant.
    pub(super) fn holds(&self, view: &View) -> bool {
        let Some(Frozen { root, heir, heir_header }) = view.frozen else {
            return self.is_unchanged(view.bucket.at, view.header);
        };
        // What a frozen bucket holds does not change; what matters is that nobody has gone on from
        // it, in the bucket that inherits it. That one is closed before its life and after it, so
        // the root tells whether its life was over in between.
        self.is_unchanged(heir, heir_header) && self.is_root(root)
    }

    /// Whether the root is still this one. Behind an acquiring load of a header, what is found is
    /// never older than the root under which that header was written.
    pub(super) fn is_root(&self, root: Root) -> bool {
        self.memory().load(self.root_word(), Load::Relaxed) == root.bits()
    }
}
