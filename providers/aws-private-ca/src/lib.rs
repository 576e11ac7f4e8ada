//! The CA backend over AWS Private CA: roots and signers whose keys never leave AWS.
//!
//! Every CA of a generation is a private CA of its own, found again by its tags; a provider can also be
//! given one CA that exists already. Certificates cost money and count against quotas: calls are paced
//! below the quota, one need has one idempotency token, and what AWS calls a new certificate is handed
//! out as a ticket before it is asked for.

mod api;
mod arn;
mod authority;
mod chain;
mod error;
mod existing;
mod generations;
mod key;
mod keys;
mod pace;
mod provider;
mod session;
mod settings;
mod template;

pub use arn::AuthorityArn;
pub use provider::AwsPrivateCa;
pub use settings::Settings;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
