//! The CA backend that has cert-manager issue.
//!
//! It writes `CertificateRequest`s of its own, with names that are derived from what is asked for: a
//! request that is there already is the answer to the same question asked before. What cert-manager
//! says about its CAs is never believed; which certificates an issuer signs with, the document says.
//!
//! A root is one that exists behind some issuer. A signer is either such a CA as well, or one of
//! ours: then its key is in the relay's key store, as a Secret, and an `Issuer` of ours signs with it.

mod access;
mod api;
mod authority;
mod csr;
mod failure;
mod issuer;
mod objects;
mod provider;
mod request;
mod settings;
mod sweep;
mod verdict;

pub use access::{Access, AccessError};
pub use provider::CertManager;
pub use settings::{ExistingCa, IssuerRef, Settings};

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
