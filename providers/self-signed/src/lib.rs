//! The embedded CA backend: roots and signers whose keys lie in the relay's own key store.
//!
//! It signs locally, costs nothing and never answers "pending". The price is custody: whoever reads
//! the key store is the CA. A root can do without it: [`Offline`] stands for one that a person keeps.

mod authority;
mod build;
mod offline;
mod provider;

pub use offline::Offline;
pub use provider::SelfSigned;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
