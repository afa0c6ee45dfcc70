//! Tables that are wrong in one way each: the suite says so, and by which check.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use shm_arena::Block;
use shm_table::{
    Audit, Capabilities, CasBucket, Cursor, Effect, Entry, Error, Kind, Recovery, Rule, Seen,
    Stats, Table, TableOptions, Unlinked, Version,
};
use shm_table_conformance::{CHECKS, Fixture, Heap, Tables};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    /// `compare_exchange` does not look at the version.
    ExchangeIgnoresVersion,
    /// `remove_if` does not look at the version.
    RemovalIgnoresVersion,
    /// An insertion overwrites.
    InsertOverwrites,
    /// A put that fails for want of room has removed what was there.
    FailedPutRemoves,
    /// Dead entries are as good as living ones.
    DeadLive,
    /// A walk leaves out one bucket in sixteen.
    WalkSkips,
    /// A cursor of any table will do.
    AnyCursor,
    /// The vector keeps what it held when the key is absent.
    MissKeepsValue,
    /// Keys are compared up to their eighth byte.
    KeysCut,
    /// The count never falls.
    CountGrows,
    /// The audit is not clean.
    AuditFinds,
    /// Metadata loses its highest bit.
    MetadataCut,
    /// A removal answers that the key was absent.
    RemovalDenies,
    /// A take leaves the entry there.
    TakeKeeps,
    /// Recovery fails.
    RecoveryFails,
    /// Generations are taken to grow for ever: what looks older than before is not there.
    GenerationsGrow,
}

const ALL: [Wrong; 16] = [
    Wrong::ExchangeIgnoresVersion,
    Wrong::RemovalIgnoresVersion,
    Wrong::InsertOverwrites,
    Wrong::FailedPutRemoves,
    Wrong::DeadLive,
    Wrong::WalkSkips,
    Wrong::AnyCursor,
    Wrong::MissKeepsValue,
    Wrong::KeysCut,
    Wrong::CountGrows,
    Wrong::AuditFinds,
    Wrong::MetadataCut,
    Wrong::RemovalDenies,
    Wrong::TakeKeeps,
    Wrong::RecoveryFails,
    Wrong::GenerationsGrow,
];

/// A right table behind a wrong face. Everything but the core follows from the core.
#[derive(Debug)]
struct Face {
    table: Box<dyn Table>,
    wrong: Wrong,
    added: Mutex<u64>,
    /// The newest generation seen, of each block.
    newest: Mutex<HashMap<Block, u64>>,
}

static CAPABILITIES: Capabilities =
    Capabilities { bounded_buckets: true, ..Capabilities::LOCK_FREE };

impl Face {
    fn key<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        if self.wrong == Wrong::KeysCut && key.len() <= 255 {
            &key[..key.len().min(8)]
        } else {
            key
        }
    }
}

impl Table for Face {
    fn kind(&self) -> Kind {
        Kind::Foreign { id: 1 << 32, name: "wrong" }
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        self.table.identity()
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        let before = value.clone();
        let seen = self.table.look_up(self.key(key), value);
        if self.wrong == Wrong::MissKeepsValue && seen == Ok(None) {
            *value = before;
        }
        if let (Wrong::GenerationsGrow, Ok(Some(Seen { version, .. }))) = (self.wrong, &seen) {
            let mut newest = self.newest.lock().expect("nobody panics with it");
            let newest = newest.entry(version.block()).or_default();
            if version.generation() < *newest {
                value.clear();
                return Ok(None);
            }
            *newest = version.generation();
        }
        seen
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let mut entry = Entry { key: self.key(entry.key), ..entry };
        if self.wrong == Wrong::MetadataCut {
            entry.metadata &= u64::MAX >> 1;
        }
        let never: &dyn Fn(u64) -> bool = &|_| false;
        let rule = match (self.wrong, rule) {
            (Wrong::ExchangeIgnoresVersion, Rule::Exchange { .. }) => Rule::Replace,
            (Wrong::InsertOverwrites, Rule::Insert { is_dead, .. }) => Rule::Put { is_dead },
            (Wrong::DeadLive, Rule::Insert { existing, .. }) => {
                Rule::Insert { existing, is_dead: never }
            }
            (Wrong::DeadLive, Rule::Put { .. }) => Rule::Put { is_dead: never },
            (_, rule) => rule,
        };
        let effect = self.table.update(entry, rule);
        if self.wrong == Wrong::FailedPutRemoves
            && matches!(effect, Err(Error::NoBlock { .. } | Error::ValueTooLarge { .. }))
        {
            let _ = self.table.remove(entry.key)?;
        }
        if effect == Ok(Effect::Added) {
            *self.added.lock().expect("nobody panics with it") += 1;
        }
        effect
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        let key = self.key(key);
        if self.wrong == Wrong::TakeKeeps
            && let Some(value) = value
        {
            let seen = self.table.look_up(key, value)?;
            let metadata = seen.map(|seen| seen.metadata);
            return Ok(metadata.map_or(Unlinked::Absent, |metadata| Unlinked::Removed { metadata }));
        }
        let ignores = self.wrong == Wrong::RemovalIgnoresVersion;
        let unlinked = self.table.unlink(key, only.filter(|_| !ignores), value)?;
        let denies = self.wrong == Wrong::RemovalDenies;
        Ok(if denies { Unlinked::Absent } else { unlinked })
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let here = cursor.position(self.identity());
        if self.wrong == Wrong::AnyCursor && here.is_err() {
            *cursor = self.cursor();
        }
        let skips = self.wrong == Wrong::WalkSkips
            && here.is_ok_and(|here| here.is_some_and(|here| here >> 60 == 5));
        self.table.scan(cursor, &mut |entry, version| {
            if !skips {
                visit(entry, version);
            }
        })
    }

    fn len(&self) -> u64 {
        match self.wrong {
            Wrong::CountGrows => *self.added.lock().expect("nobody panics with it"),
            _ => self.table.len(),
        }
    }

    fn stats(&self) -> Stats {
        self.table.stats()
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.table.dump(out)
    }

    fn audit(&self) -> Audit {
        let mut audit = self.table.audit();
        if self.wrong == Wrong::AuditFinds {
            audit.find("something".to_owned());
        }
        audit
    }

    fn recover(&self) -> Result<Recovery, Error> {
        match self.wrong {
            Wrong::RecoveryFails => Err(Error::Corrupt { what: "nothing", word: 0 }),
            _ => self.table.recover(),
        }
    }
}

impl Fixture for Wrong {
    fn tables(&self, options: &TableOptions, handles: usize) -> Tables {
        let tables = Heap::<CasBucket<_>>::new().tables(options, handles);
        let face = |table| {
            Box::new(Face { table, wrong: *self, added: 0.into(), newest: Mutex::default() }) as _
        };
        tables.into_iter().map(face).collect()
    }
}

/// The checks that a table does not pass. Threads are left out: their panics would print for long.
fn failed(wrong: Wrong) -> Vec<&'static str> {
    let checks = CHECKS.iter().filter(|(name, _)| !["takers", "exchangers"].contains(name));
    let fails =
        checks.filter(|(_, check)| catch_unwind(AssertUnwindSafe(|| check(&wrong))).is_err());
    fails.map(|(name, _)| *name).collect()
}

#[test]
fn the_right_table_behind_the_same_face_passes() {
    assert_eq!(failed(Wrong::Nothing), [""; 0]);
}

#[test]
fn every_wrong_table_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    for wrong in ALL {
        let failed = failed(wrong);
        println!("{wrong:?} fails {failed:?}");
        assert!(!failed.is_empty(), "{wrong:?} passes every check");
    }
}
