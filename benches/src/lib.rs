//! The question: what does a TLS server pay for a cache operation, and how far is that from what
//! the memory allows? `benches/README.md` says how it is asked.

pub mod capture;
pub mod cell;
pub mod clock;
pub mod control;
pub mod corpus;
pub mod driver;
pub mod fault;
pub mod goals;
pub mod keys;
pub mod machine;
pub mod pairs;
pub mod protocol;
pub mod report;
pub mod results;
pub mod row;
pub mod rows;
pub mod session;
pub mod settings;
mod slab;
pub mod statistics;
pub mod stream;
pub mod sys;
pub mod worker;
pub mod workload;
