//! Small structures with a switch for the defect that each is known for.
//!
//! They check the checkers: a test says which engine catches which defect, and which cannot. Each
//! is a [`Model`](crate::Model) that is right as long as its switch is off.

mod bucket;
mod free_list;
mod lock;
mod publish;
mod seqlock;
mod table;

pub use bucket::{Bucket, DuplicateInsert};
pub use free_list::{FreeList, Recycling, Tags};
pub use lock::{Counting, Lock, LockDefect};
pub use publish::{FillOrder, Publishing};
pub use seqlock::{Fences, Seqlock, Snapshots};
pub use table::{Change, ToyTable, Workload};
