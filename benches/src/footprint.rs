//! What an entry costs in memory beyond its key and its value. Nothing is timed, and nothing is
//! left to chance.

use serde::{Deserialize, Serialize};
use shm_arena::MappingOptions;
use shm_table::{Entry, Kind, SharedTable, Table, TableOptions};

use crate::corpus::PADDED_BYTES;
use crate::fault::Fault;
use crate::keys::{KEY_BYTES, session_id};
use crate::row::RowName;

/// Bytes of a table that is filled with the entries that it was made for, at default load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Footprint {
    /// The table.
    pub table: RowName,
    /// Entries that it was made for and holds, of 32 and 200 bytes each.
    pub entries: u64,
    /// Bytes of the segment.
    pub segment_bytes: u64,
    /// Bytes an entry of everything that is no block: header, index, words of blocks.
    pub outside: f64,
    /// Bytes an entry within its block beyond key and value: its header, and rounding.
    pub within: f64,
    /// Bytes an entry of blocks that are free: for updates under way, and rounding to slabs.
    pub spare: f64,
    /// The number of entries from one power of two to the next at which `outside` is least, and
    /// what it is there.
    pub best: At,
    /// The same where it is most.
    pub worst: At,
}

/// A number of entries, and bytes an entry with so many.
pub type At = (u64, f64);

/// Numbers of entries that are tried between two powers of two.
const STEPS: u64 = 64;

impl Footprint {
    /// Fills one of our tables with so many entries and looks.
    pub fn measure(table: RowName, entries: u64) -> Result<Self, Fault> {
        let (full, failed) = (create(table, entries)?, |error| Fault::verb("table", "put", error));
        for number in 0..entries {
            let key = session_id(1, 0, number);
            let entry = Entry { key: &key, value: &[1; PADDED_BYTES], metadata: number };
            let _ = full.put(entry).map_err(failed)?;
        }
        let stats = full.stats();
        full.detach();
        if stats.entries != entries {
            let problem = format!("{} entries after {entries} puts", stats.entries);
            return Err(Fault::verb(table.name(), "stats", problem));
        }
        let (best, worst) = extremes(entries, |entries| outside(table, entries))?;
        let each = |bytes: u64| bytes as f64 / entries as f64;
        Ok(Self {
            table,
            entries,
            segment_bytes: stats.segment_bytes,
            outside: each(stats.segment_bytes - stats.block_bytes),
            within: each(stats.block_bytes_used) - (KEY_BYTES + PADDED_BYTES) as f64,
            spare: each(stats.block_bytes - stats.block_bytes_used),
            best,
            worst,
        })
    }

    /// Bytes an entry beyond key and value, and beyond blocks that are free.
    pub fn beyond(&self) -> f64 {
        self.outside + self.within
    }

    /// One line for a reader.
    pub fn line(&self) -> String {
        format!(
            "{}, {} entries: {:.1} bytes outside of blocks (header, index, block words), {:.1} in \
             blocks beyond key and value, {:.1} in free blocks; outside of blocks at best {:.1} \
             ({} entries), at worst {:.1} ({})",
            self.table.name(),
            self.entries,
            self.outside,
            self.within,
            self.spare,
            self.best.1,
            self.best.0,
            self.worst.1,
            self.worst.0,
        )
    }
}

fn create(table: RowName, entries: u64) -> Result<SharedTable, Fault> {
    let kind = match table {
        RowName::CasBucket => Kind::CasBucket,
        RowName::RobinHood => Kind::RobinHood,
        RowName::Chained => Kind::Chained,
        _ => return Err(Fault::setup(table.name(), "measure its memory", "it is not ours")),
    };
    let options = TableOptions {
        entries,
        key_bytes: KEY_BYTES,
        value_bytes: PADDED_BYTES,
        ..TableOptions::default()
    };
    SharedTable::create_memfd("footprint", kind, &options, &MappingOptions::default())
        .map_err(|error| Fault::setup(table.name(), "create", error))
}

/// Bytes an entry outside of blocks, in a table made for so many.
fn outside(table: RowName, entries: u64) -> Result<f64, Fault> {
    let empty = create(table, entries)?;
    let stats = empty.stats();
    empty.detach();
    Ok((stats.segment_bytes - stats.block_bytes) as f64 / entries as f64)
}

/// The least and the most of a function of entries, from the power of two at or below some number
/// to the next. Between jumps it falls, so that a step up is searched for the jump.
fn extremes(entries: u64, cost: impl Fn(u64) -> Result<f64, Fault>) -> Result<(At, At), Fault> {
    let first = 1 << entries.max(1).ilog2();
    let step = (first / STEPS).max(1);
    let mut seen = vec![(first, cost(first)?)];
    let mut before = seen[0];
    let mut at = first + step;
    while at < 2 * first {
        let here = (at, cost(at)?);
        if here.1 > before.1 {
            let (mut below, mut above) = (before, here);
            while above.0 - below.0 > 1 {
                let middle = below.0 + (above.0 - below.0) / 2;
                let found = (middle, cost(middle)?);
                if found.1 > below.1 { above = found } else { below = found }
            }
            seen.extend([below, above]);
        }
        seen.push(here);
        before = here;
        at += step;
    }
    let least = |one: At, other: At| if other.1 < one.1 { other } else { one };
    let most = |one: At, other: At| if other.1 > one.1 { other } else { one };
    let start = seen[0];
    Ok((seen.iter().copied().fold(start, least), seen.iter().copied().fold(start, most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_worst_lie_on_both_sides_of_the_jump() {
        // An index that doubles above 100,000 entries.
        let cost = |entries: u64| {
            let index = if entries > 100_000 { 4_000_000 } else { 2_000_000 };
            Ok(f64::from(index) / entries as f64)
        };
        let (best, worst) = extremes(90_000, cost).unwrap();
        assert_eq!((best.0, worst.0), (100_000, 100_001));
    }

    #[test]
    fn the_parts_of_a_filled_table_add_up_to_its_segment() {
        for table in RowName::OURS {
            let footprint = Footprint::measure(table, 3000).unwrap();
            let sum = footprint.outside + footprint.within + footprint.spare + 232.0;
            let segment = footprint.segment_bytes as f64 / 3000.0;
            assert!((sum - segment).abs() < 0.01, "{footprint:?}");
            assert!(footprint.best.1 <= footprint.outside, "{footprint:?}");
            assert!(footprint.outside <= footprint.worst.1, "{footprint:?}");
            assert!(footprint.within >= 24.0, "three words in front of an entry: {footprint:?}");
        }
        assert!(Footprint::measure(RowName::Lmdb, 3000).is_err());
    }
}
