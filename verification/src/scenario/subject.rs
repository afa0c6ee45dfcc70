//! What a scenario runs on: a table design, whatever the memory.

use shm_arena::Memory;
use shm_table::{Design, HashKind, TableOptions};

use super::Scenario;

/// A table design as engines need it: one type for each memory. The implementing type is a name
/// without content.
pub trait Subject: Send + Sync + 'static {
    /// The design's name in reports.
    const NAME: &'static str;

    /// The design over a memory.
    type Table<M: Memory + 'static>: Design<M> + 'static;

    /// The geometry for a scenario. Default: [`options_for`].
    fn options(scenario: &Scenario) -> TableOptions {
        options_for(scenario)
    }
}

/// The smallest table that holds everything that can exist at once in a scenario: short values, a
/// fixed hash key, one process record and one line for each participant and the model itself.
pub fn options_for(scenario: &Scenario) -> TableOptions {
    let participants = u32::try_from(scenario.programs.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    TableOptions {
        entries: scenario.entries_max(),
        key_bytes: 1,
        value_bytes: super::model::VALUE_BYTES as u64,
        processes: participants,
        lines: participants,
        hash: HashKind::Rapid,
        hash_key: Some([1, 2]),
    }
}
