//! Where an agent keeps what it holds.

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, TrustBundle};

use super::holdings::Holdings;

/// A place for one certificate with its key, and for the roots.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where that is, for people.
    fn place(&self) -> String;

    /// What is there now, fresh.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    async fn load(&self) -> Result<Holdings, StoreError>;

    /// Writes the roots everywhere that they belong, and the certificate with its key if there is a new
    /// one: key and certificate together or not at all.
    ///
    /// # Errors
    ///
    /// If it cannot be written; what was there is still good then.
    async fn save(
        &self,
        trust: &TrustBundle,
        identity: Option<(&PrivateKey, &CertificateChain)>,
    ) -> Result<(), StoreError>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
