//! What is printed at the end.

use std::fmt::Write;

use serde::Serialize;

use crate::client::Visit;
use crate::server::Served;
use crate::{Failure, Version};

/// One set-up: a protocol version and a kind of cache.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    tls: Version,
    cache: &'static str,
    processes: usize,
    /// Connections after the first.
    returns: u32,
    /// Those of them that were resumed.
    resumed: u32,
    rate: f64,
    /// Connections that each process answered.
    visits: Vec<u32>,
    /// What the shared cache counted over all processes; 0 for private caches.
    #[serde(flatten)]
    served: Served,
}

impl Row {
    pub(crate) fn new(
        tls: Version,
        shared: bool,
        visits: &[Visit],
        served: &[Served],
    ) -> Result<Self, Failure> {
        let [first, returns @ ..] = visits else {
            return Err("the client made no visit".into());
        };
        if first.resumed {
            return Err("the first visit was resumed, though there was nothing to resume".into());
        }
        let mut by_process = vec![0; served.len()];
        for visit in visits {
            let count = by_process.get_mut(visit.process as usize);
            *count.ok_or("an unknown process answered")? += 1;
        }
        let resumed = u32::try_from(returns.iter().filter(|visit| visit.resumed).count())?;
        let returns = u32::try_from(returns.len())?;
        Ok(Self {
            tls,
            cache: if shared { "shared" } else { "private" },
            processes: served.len(),
            returns,
            resumed,
            rate: f64::from(resumed) / f64::from(returns),
            visits: by_process,
            served: served.iter().fold(Served::default(), |sum, one| Served {
                hits: sum.hits + one.hits,
                misses: sum.misses + one.misses,
                stores: sum.stores + one.stores,
                declined: sum.declined + one.declined,
            }),
        })
    }
}

/// The rows for a person to read.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from("TLS  cache    processes  returns  resumed     rate  visits\n");
    for row in rows {
        let visits: Vec<_> = row.visits.iter().map(ToString::to_string).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<3}  {:<7}  {:>9}  {:>7}  {:>7}  {:>5.1} %  {}",
            row.tls.name(),
            row.cache,
            row.processes,
            row.returns,
            row.resumed,
            100.0 * row.rate,
            visits.join(" ")
        );
    }
    out
}
