//! The rows, one file each.

mod limit_probe;
mod limit_read;
mod lmdb;
mod mutex_slab;
mod papaya;

pub use limit_probe::LimitProbe;
pub use limit_read::LimitRead;
pub use lmdb::Lmdb;
pub use mutex_slab::MutexSlab;
pub use papaya::Papaya;
