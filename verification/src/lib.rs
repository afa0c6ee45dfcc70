//! Engines, oracles and scenarios that check concurrent structures over shared words.
#![forbid(unsafe_code)]

pub mod history;
pub mod spec;
