//! The published concurrent Robin Hood set over K-CAS, as a model: its timestamp rule is what is
//! checked.
//!
//! Kelly, Pearlmutter and Maguire (OPODIS 2018) keep a Robin Hood table in which an update changes
//! all its buckets by one multi-word compare-and-swap. Groups of neighbouring buckets, *stripes*,
//! have a timestamp each. Updates move the timestamps of stripes on in the same K-CAS; a search
//! that did not find its key reads again the timestamps of all stripes that it went through, and
//! starts anew if one has moved. What has to be moved or compared, and when, is the [`Rule`].
//! `papers/kelly-robin-hood.md` says what was found, in which code, and what was not looked at.
//!
//! # What is modelled
//!
//! Our own code ([`StripedSet`]), written after the control flow of `contains`, `add` and `remove`
//! of the authors' published program, with eight buckets. K-CAS is an abstraction: one atomic step
//! on all its words. Buckets and timestamps are fields of one word of shared memory, which a K-CAS
//! exchanges whole; if only fields that it does not name have changed, it tries again, so it fails
//! exactly when a field that it names differs. Reads are read-modify-writes of that word, so all
//! is sequentially consistent on every engine. Each execution of the model is thus one of the
//! published program in which every K-CAS runs undisturbed. A defect found here does not depend on
//! how K-CAS is made; that nothing is found says nothing about a particular K-CAS, nor about
//! orderings.

mod drawn;
mod model;
mod set;
mod words;

pub use drawn::{Drawn, drawn};
pub use model::{Call, StripeModel, Verb};
pub use set::{Key, Rule, StripedSet};
pub use words::{BUCKETS, names};
