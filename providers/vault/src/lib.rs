//! The CA backend over the PKI secrets engine of a Vault or OpenBao server: as root, as signer, or as
//! both.
//!
//! Keys are made in Vault and never leave it. Objects carry the relay, the level and the number of
//! their generation in their names, and Vault gives a name once: whatever is asked for twice is made
//! once. `vaultrs` says what the API looks like; the calls are made here, because every one of them
//! has a time limit, a token that may run out under it, and errors that somebody has to understand.

mod authority;
mod check;
mod client;
mod config;
mod endpoints;
mod failure;
mod issuer;
mod names;
mod provider;
mod roles;
mod session;
mod transport;

pub use config::{Auth, ClientCertificate, Lifetimes, Roles, Uses, VaultConfig};
pub use provider::Vault;
