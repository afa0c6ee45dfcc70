//! What a scenario runs on: a table design, whatever the memory.

use shm_arena::Memory;
use shm_table::{CasBucket, Chained, Design, HashKind, Kind, RobinHood, TableOptions, TableShape};

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

/// The smallest table that holds everything that can exist at once in a scenario: one bucket, short
/// values, a fixed hash secret, one process record and one line for each participant that is there
/// from the start and the model itself, and for each line a block in the making and one kept back.
pub fn options_for(scenario: &Scenario) -> TableOptions {
    let programs = u32::try_from(scenario.present()).unwrap_or(u32::MAX);
    let participants = programs.saturating_add(1);
    let keys = u32::from(scenario.keys());
    let enough = keys.saturating_add(participants.saturating_mul(2));
    let blocks = scenario.blocks.unwrap_or(enough);
    TableOptions {
        entries: keys.into(),
        key_bytes: 1,
        value_bytes: super::model::VALUE_BYTES,
        processes: participants,
        lines: participants,
        hash: HashKind::Rapid,
        hash_secret: Some([1, 2]),
        shape: Some(TableShape {
            buckets: 1,
            // A slot for each key and each participant, and the one that insertions leave.
            slots: keys.saturating_add(participants).clamp(2, 21),
            slabs: 1,
            slab_units: blocks.checked_next_power_of_two().unwrap_or(1 << 16),
            block_units_min: 1,
        }),
        buckets_max: scenario.resizes().then_some(2),
        // At the scenario's word alone.
        adjusts: false,
        ..TableOptions::default()
    }
}

/// The chained table of 1999.
#[derive(Clone, Copy, Debug)]
pub struct ChainedSubject;

impl Subject for ChainedSubject {
    const NAME: &'static str = Kind::Chained.name();

    type Table<M: Memory + 'static> = Chained<M>;
}

/// The table whose bucket headers decide.
#[derive(Clone, Copy, Debug)]
pub struct CasBucketSubject;

impl Subject for CasBucketSubject {
    const NAME: &'static str = Kind::CasBucket.name();

    type Table<M: Memory + 'static> = CasBucket<M>;
}

/// The table of Robin Hood pages.
#[derive(Clone, Copy, Debug)]
pub struct RobinHoodSubject;

impl Subject for RobinHoodSubject {
    const NAME: &'static str = Kind::RobinHood.name();

    type Table<M: Memory + 'static> = RobinHood<M>;

    /// One page with a slot for each key, so that runs go around its end.
    fn options(scenario: &Scenario) -> TableOptions {
        let options = options_for(scenario);
        let slots = u32::from(scenario.keys()).max(2).next_power_of_two();
        let shape = options.shape.map(|shape| TableShape { slots, ..shape });
        TableOptions { shape, ..options }
    }
}
