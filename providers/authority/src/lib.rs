//! The contract between relay-pki and a CA backend.
//!
//! A backend is a crate of its own that implements [`Provider`] and [`Authority`] and runs the
//! `conformance` suite against itself. The product never talks to a backend directly: it talks to
//! [`checked`] backends, which let nothing through that breaks the request it was made for.
//!
//! Nothing here knows Kubernetes, HTTP or an async runtime.

mod authority;
mod checked;
#[cfg(any(test, feature = "conformance"))]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
pub mod conformance;
mod credential;
mod error;
mod issuance;
mod key_store;
mod profile;
mod provider;
pub mod x509;

pub use authority::Authority;
pub use checked::{check_root_handed_in, check_signer_handed_in, checked};
pub use credential::{Credential, CredentialError};
pub use error::AuthorityError;
pub use issuance::{
    Issuance, IssuanceId, Outcome, RevocationListRequest, RevocationRequest, RevokedCertificate,
    SigningRequest, Ticket,
};
pub use key_store::{KeyStore, KeyStoreError, MemoryKeyStore, StoredKey};
pub use profile::{ExtendedKeyUsage, KeyUsage, Profile};
pub use provider::{
    Calls, Capabilities, Custody, Dialect, Generation, Level, Metering, Progress, Provider,
    Revocation, RootRequest, Roots, SignerRequest,
};
