//! The rows, one file each.

mod limit_probe;
mod limit_read;
mod lmdb;
mod mutex_slab;
mod papaya;
mod table;

use shm_arena::MappedMemory;

pub use limit_probe::LimitProbe;
pub use limit_read::LimitRead;
pub use lmdb::Lmdb;
pub use mutex_slab::MutexSlab;
pub use papaya::Papaya;
pub use table::TableRow;

/// Our default table.
pub type CasBucket = TableRow<shm_table::CasBucket<MappedMemory>>;

/// The table of the fullest index.
pub type RobinHood = TableRow<shm_table::RobinHood<MappedMemory>>;

/// The table of 1999.
pub type Chained = TableRow<shm_table::Chained<MappedMemory>>;
