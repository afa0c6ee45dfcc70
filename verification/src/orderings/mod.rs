//! Which model fails without which ordering: every order of the shipped code, one step weaker.
//!
//! An ordering is worth its cost if something breaks without it, and a model is worth its time if
//! it notices. So each access of the tables and the arena that is not relaxed, and each fence, is
//! weakened by itself, and a battery of scenarios runs until one fails. The [`Ledger`] records that
//! model, or why none can be expected to fail. A test runs the recorded models again; `verify
//! weaken` looks for them.
//!
//! A [`Place`] names an access by its function and not by its line, so that edits elsewhere leave
//! the ledger as it is. A function that is `#[track_caller]` and makes an access for its callers
//! has none of its own: each call of it is a place.

mod battery;
mod hunt;
mod ledger;
mod place;

pub use battery::{ROUNDS, TABLES, Trial, battery};
pub use hunt::{Found, Mutant, Reach, side_by_side};
pub use ledger::{Entry, Ledger, LedgerError, Verdict};
pub use place::{Place, Source, Sources};
