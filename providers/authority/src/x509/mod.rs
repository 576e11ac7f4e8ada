//! X.509 values that are checked once, when they are made (RFC 5280).
//!
//! Everything that a program of ours decides on is extracted at parse time and owned; the DER bytes
//! stay beside it, unchanged, because signatures cover bytes and not meanings.

mod certificate;
mod chain;
mod csr;
mod encrypted_key;
mod error;
mod facts;
mod identifier;
mod key;
mod name;
mod pem;
mod revocation_list;
mod time;
mod verify;

pub use certificate::{BasicConstraints, Certificate};
pub use chain::{BundleDigest, CertificateChain, TrustBundle};
pub use csr::VerifiedCsr;
pub use error::X509Error;
pub use identifier::{Fingerprint, KeyIdentifier, SerialNumber};
pub use key::{KeyType, PrivateKey, PublicKey};
pub use name::{CommonName, DnsName, Subject};
pub use revocation_list::RevocationList;
pub use time::Validity;
pub use verify::{PathError, PeerRole, verify_path};
pub(crate) use verify::{Window, walk, webpki_verify};

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
