//! What does a TLS server pay per cache operation, and how far is that from what the memory allows?

#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "the one place where limits are measured without any check"
)]
pub mod sys;
