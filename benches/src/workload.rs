//! What a server does to its cache: the operation sequences, and how many sessions live how long.
//!
//! The sequences are those that were recorded from rustls and OpenSSL servers (`benches/README.md`
//! has the counts); here they are reduced to calls on a table. An *operation* is one that the TLS
//! library asks for: a look-up, a store, a take. Removing the session that a full cache gives up
//! for a new one is part of the store.

use serde::{Deserialize, Serialize};

use crate::corpus::Sizes;

/// An operation sequence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Look-ups of stored sessions, all equally likely.
    Read,
    /// The same with a tenth of the sessions.
    #[serde(rename = "read_1e4")]
    Read1e4,
    /// The same with ten times as many.
    #[serde(rename = "read_1e6")]
    Read1e6,
    /// The same with a fifth of the sessions, of 1,500 bytes each.
    #[serde(rename = "read_1500")]
    Read1500,
    /// Look-ups eight at a time; an operation is one of the eight.
    ReadMany,
    /// Look-ups of one worker, while another replaces sessions without pause.
    BesideWriter,
    /// rustls, TLS 1.3: two stores a connection, and 60 % of connections first take a ticket.
    RustlsTls13,
    /// The same with sessions of natural sizes: 85 % without and 15 % with a client certificate.
    RustlsTls13Sizes,
    /// OpenSSL, TLS 1.2: 90 % of connections look a session up and resume; the others look up an
    /// unknown id (all but a tenth of them) and store a session.
    OpensslTls12,
    /// The same with 60 % resumed.
    OpensslTls12R60,
}

impl Workload {
    /// Every workload, in the order of the report.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::RustlsTls13,
        Self::OpensslTls12,
        Self::OpensslTls12R60,
        Self::RustlsTls13Sizes,
        Self::Read1e4,
        Self::Read1e6,
        Self::Read1500,
        Self::ReadMany,
        Self::BesideWriter,
    ];

    /// The workload's name in ids and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Read1e4 => "read_1e4",
            Self::Read1e6 => "read_1e6",
            Self::Read1500 => "read_1500",
            Self::ReadMany => "read_many",
            Self::BesideWriter => "beside_writer",
            Self::RustlsTls13 => "rustls_tls13",
            Self::RustlsTls13Sizes => "rustls_tls13_sizes",
            Self::OpensslTls12 => "openssl_tls12",
            Self::OpensslTls12R60 => "openssl_tls12_r60",
        }
    }

    /// One sentence for the report.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Read => "look-ups of stored sessions, uniform",
            Self::Read1e4 => "as read, a tenth of the sessions",
            Self::Read1e6 => "as read, ten times the sessions",
            Self::Read1500 => "as read, values of 1,500 bytes, a fifth of the sessions",
            Self::ReadMany => {
                "as read, eight at a time; times are of one look-up, latencies of all eight"
            }
            Self::BesideWriter => {
                "single look-ups of one worker, while another replaces sessions in the table; \
                 the limit's too"
            }
            Self::RustlsTls13 => {
                "per connection two stores with eviction; 60 % first take a ticket (77 % stores)"
            }
            Self::RustlsTls13Sizes => {
                "as rustls_tls13; 85 % plain sessions, 15 % with a client certificate"
            }
            Self::OpensslTls12 => {
                "90 % resumed: 83 % hits, 8 % misses of unknown ids, 9 % stores with eviction"
            }
            Self::OpensslTls12R60 => {
                "60 % resumed: 44 % hits, 26 % misses of unknown ids, 29 % stores with eviction"
            }
        }
    }

    /// The workload with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// Sizes of the values.
    pub const fn sizes(self) -> Sizes {
        match self {
            Self::RustlsTls13Sizes => Sizes::Natural,
            Self::Read1500 => Sizes::Long,
            _ => Sizes::Padded,
        }
    }

    /// Whether the sessions are of TLS 1.3.
    pub const fn is_tls13(self) -> bool {
        matches!(self, Self::RustlsTls13 | Self::RustlsTls13Sizes)
    }

    /// Whether the population changes while it runs. Beside a writer it does not: sessions are
    /// replaced by themselves.
    pub const fn writes(self) -> bool {
        matches!(self.mix(), Mix::Tickets | Mix::Ids { .. })
    }

    /// Whether a worker looks up while another writes, instead of all doing the same.
    pub const fn has_writer(self) -> bool {
        matches!(self, Self::BesideWriter)
    }

    /// Whether it is run by every row, by one worker and by two.
    pub const fn is_profile(self) -> bool {
        !self.is_further_read() && !self.has_writer()
    }

    /// Whether it repeats `read` with one thing changed, for one process and few rows.
    pub const fn is_further_read(self) -> bool {
        matches!(self, Self::Read1e4 | Self::Read1e6 | Self::Read1500 | Self::ReadMany)
    }

    /// Sessions stored at any time in a run whose tables have this many.
    pub const fn entries(self, usual: u64) -> u64 {
        match self {
            Self::Read1e4 => usual / 10,
            Self::Read1e6 => usual * 10,
            Self::Read1500 => usual / 5,
            _ => usual,
        }
    }

    /// What a connection does.
    pub const fn mix(self) -> Mix {
        match self {
            Self::Read | Self::Read1e4 | Self::Read1e6 | Self::Read1500 | Self::BesideWriter => {
                Mix::Read { at_a_time: 1 }
            }
            Self::ReadMany => Mix::Read { at_a_time: MANY },
            Self::RustlsTls13 | Self::RustlsTls13Sizes => Mix::Tickets,
            Self::OpensslTls12 => Mix::Ids { resumed_percent: 90 },
            Self::OpensslTls12R60 => Mix::Ids { resumed_percent: 60 },
        }
    }
}

/// Look-ups that are asked for together.
pub const MANY: usize = 8;

/// What a connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// Look-ups that hit.
    Read {
        /// How many are asked for in one call: at most [`MANY`].
        at_a_time: usize,
    },
    /// Three of five connections take a ticket; every connection stores two.
    Tickets,
    /// A share of connections look a session up and hit; the others store one, and nine of ten of
    /// these look up an unknown id first.
    Ids {
        /// Share of connections that resume.
        resumed_percent: u64,
    },
}

/// How long sessions live, in numbers of a lane.
///
/// With tickets, three of ten sessions are resumed some time after they have reached the age of
/// `lag`, and the rest are evicted at the age of `window`. Resumptions and evictions go through
/// blocks of numbers in a scattered order, so that neither walks through memory in the order in
/// which the sessions were stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ages {
    /// Age at which a session is evicted.
    pub window: u64,
    /// Age from which a ticket is resumed.
    pub lag: u64,
    /// Numbers in a block: a power of two.
    pub block: u64,
}

impl Ages {
    /// Ages at which about `entries` sessions are stored at any time.
    pub fn new(mix: Mix, entries: u64) -> Self {
        let window = match mix {
            // 7/10 of a window and 3/10 of a lag of half a window.
            Mix::Tickets => entries * 100 / 85,
            Mix::Read { .. } | Mix::Ids { .. } => entries,
        }
        .max(64);
        let block = 1 << (window / 16).max(1).ilog2();
        Self { window, lag: window / 2, block }
    }

    /// The `index`-th number in the scattered order.
    #[inline(always)]
    pub const fn scatter(&self, index: u64) -> u64 {
        let within = index & (self.block - 1);
        let scattered = within.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.block / 3);
        (index & !(self.block - 1)) | (scattered & (self.block - 1))
    }

    /// The first number of the block after the one with this index, or the index if it begins one:
    /// the scattered order of what is below an index stays below this.
    #[inline(always)]
    pub const fn block_end(&self, index: u64) -> u64 {
        (index + self.block - 1) & !(self.block - 1)
    }

    /// How many resumptions are due when a lane has stored this many sessions: whole blocks.
    #[inline]
    pub const fn resumptions_due(&self, stored: u64) -> u64 {
        tickets_below(stored.saturating_sub(self.lag)) & !(self.block - 1)
    }

    /// The number of the session that the `index`-th resumption takes.
    #[inline]
    pub const fn resumed(&self, index: u64) -> u64 {
        nth_ticket(self.scatter(index))
    }

    /// Whether a session is stored once a lane has stored `window` sessions and resumed what is
    /// due: the state in which a measurement starts.
    pub const fn is_stored_at_start(&self, mix: Mix, number: u64) -> bool {
        match mix {
            Mix::Tickets => {
                !is_ticket(number) || tickets_below(number) >= self.resumptions_due(self.window)
            }
            _ => true,
        }
    }
}

/// Whether a session of a workload with tickets will be resumed: three of ten, never two of one
/// connection.
#[inline(always)]
pub const fn is_ticket(number: u64) -> bool {
    matches!(number % 10, 0 | 3 | 6)
}

/// How many sessions below a number will be resumed.
#[inline(always)]
pub const fn tickets_below(number: u64) -> u64 {
    number / 10 * 3
        + match number % 10 {
            0 => 0,
            1..=3 => 1,
            4..=6 => 2,
            _ => 3,
        }
}

/// The number of the `index`-th session that will be resumed.
#[inline(always)]
pub const fn nth_ticket(index: u64) -> u64 {
    index / 3 * 10 + index % 3 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_counted_as_they_are_numbered() {
        let mut below = 0;
        for number in 0..1000 {
            assert_eq!(tickets_below(number), below, "below {number}");
            if is_ticket(number) {
                assert_eq!(nth_ticket(below), number);
                below += 1;
            }
        }
        assert_eq!(below, 300);
    }

    #[test]
    fn the_scattered_order_is_a_permutation_of_each_block() {
        let ages = Ages::new(Mix::Tickets, 10_000);
        let mut seen: Vec<u64> = (0..ages.block * 3).map(|index| ages.scatter(index)).collect();
        let neighbours = seen.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(neighbours < seen.len() / 50, "{neighbours} neighbours stay neighbours");
        seen.sort_unstable();
        assert_eq!(seen, (0..ages.block * 3).collect::<Vec<_>>());
    }

    #[test]
    fn the_population_is_near_the_entries_asked_for() {
        for entries in [1_000, 10_000, 50_000, 100_000] {
            let reads = Mix::Read { at_a_time: 1 };
            for mix in [reads, Mix::Tickets, Mix::Ids { resumed_percent: 60 }] {
                let ages = Ages::new(mix, entries);
                let stored =
                    (0..ages.window).filter(|&n| ages.is_stored_at_start(mix, n)).count() as u64;
                let error = stored.abs_diff(entries) as f64 / entries as f64;
                assert!(error < 0.06, "{mix:?}: {stored} of {entries}");
            }
        }
    }
}
