//! The question: what does a TLS server pay for a cache operation, and how far is that from what
//! the memory allows? `benches/README.md` says how it is asked.

pub mod capture;
pub mod control;
pub mod corpus;
pub mod fault;
pub mod keys;
pub mod row;
pub mod rows;
mod slab;
pub mod statistics;
pub mod stream;
pub mod sys;
pub mod workload;
