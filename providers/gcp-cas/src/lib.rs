//! The CA backend over Google Certificate Authority Service: roots and signers are CAs of one pool.
//!
//! Their keys never leave the service. A CA is named after relay, level and generation, so that it is
//! found again; it stays STAGED, where it issues for whoever names it and the pool's other users never
//! get it by accident. A certificate is named after its issuance, so that it is bought once. What the
//! service says about trust is not asked for: certificates are put in order by their signatures.

mod authority;
mod call;
mod chain;
mod client;
mod error;
mod names;
mod operation;
mod pace;
mod pool;
mod provider;
mod terms;
mod wanted;

pub use client::Access;
pub use pool::Pool;
pub use provider::GoogleCas;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
