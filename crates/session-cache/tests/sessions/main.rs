//! The cache from outside: its verbs, its manners when a table fails, real handshakes through it.
//!
//! A check is a function from a world to a verdict, so that the same check is shown to fail in a
//! world with a seeded fault.

mod double;
#[cfg(feature = "rustls-0_23")]
mod handshakes;
mod manners;
mod model;
mod room;
mod verbs;
mod world;
