//! The question: what does a TLS server pay for a cache operation, and how far is that from what
//! the memory allows? `benches/README.md` says how it is asked.

#![deny(unsafe_code)]

pub mod capture;
pub mod cell;
pub mod churn;
pub mod clock;
pub mod control;
pub mod corpus;
pub mod driver;
pub mod fault;
pub mod footprint;
pub mod goals;
pub mod keys;
pub mod machine;
pub mod measurement;
pub mod pairs;
pub mod protocol;
pub mod report;
pub mod results;
pub mod row;
pub mod rows;
pub mod scaling;
pub mod session;
pub mod settings;
mod slab;
pub mod statistics;
pub mod stream;
#[allow(unsafe_code, reason = "the one place where the benches call foreign code and map memory")]
pub mod sys;
pub mod tails;
pub mod transfer;
pub mod worker;
pub mod workload;
