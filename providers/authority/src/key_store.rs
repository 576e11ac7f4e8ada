use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::Generation;
use crate::x509::{CertificateChain, PrivateKey};

/// Where a provider that has no key custody of its own keeps CA keys. The product implements it over
/// Secrets in the management cluster.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The entry of a generation.
    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, KeyStoreError>;

    /// Adds an entry; [`KeyStoreError::Exists`] if there is one, which is left alone. All or
    /// nothing.
    async fn create(&self, generation: &Generation, entry: &StoredKey)
    -> Result<(), KeyStoreError>;

    /// Sets the certificate of an existing entry.
    async fn certify(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), KeyStoreError>;

    /// Removes an entry; absent already is success.
    async fn destroy(&self, generation: &Generation) -> Result<(), KeyStoreError>;
}

/// A CA's private key and, once it has one, its certificate with what leads to the root. Key and
/// certificate are one entry: a crash never leaves a certificate whose key is somewhere else.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The key.
    pub key: PrivateKey,
    /// The CA's certificate first.
    pub chain: Option<CertificateChain>,
}

/// Why a key store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// There is an entry already.
    #[error("a key is already stored")]
    Exists,
    /// There is no entry.
    #[error("no key is stored")]
    Missing,
    /// The entry cannot be used as it is.
    #[error("the stored key is unusable: {reason}")]
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
    /// The entry is encrypted and cannot be read or written with the encryption key that there is.
    #[error("the stored key is out of reach: {reason}")]
    Locked {
        /// What is wrong, naming where the encryption key is kept.
        reason: String,
        /// What to change.
        remedy: String,
    },
    /// The storage failed; it may work later.
    #[error("{reason}")]
    Unavailable {
        /// Its words.
        reason: String,
    },
}

impl KeyStoreError {
    /// The same, naming the object that the entry is kept in.
    pub fn in_object(self, object: &str) -> Self {
        let named = |reason: String| format!("{object}: {reason}");
        match self {
            Self::Unusable { reason } => Self::Unusable {
                reason: named(reason),
            },
            Self::Locked { reason, remedy } => Self::Locked {
                reason: named(reason),
                remedy,
            },
            other => other,
        }
    }
}

/// Keys in memory: for tests and rehearsals.
#[derive(Debug, Default)]
pub struct MemoryKeyStore(Mutex<BTreeMap<Generation, StoredKey>>);

impl MemoryKeyStore {
    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<Generation, StoredKey>> {
        // A panic elsewhere while the lock was held cannot have left a half-made entry.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, KeyStoreError> {
        Ok(self.entries().get(generation).cloned())
    }

    async fn create(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<(), KeyStoreError> {
        let mut entries = self.entries();
        if entries.contains_key(generation) {
            return Err(KeyStoreError::Exists);
        }
        entries.insert(generation.clone(), entry.clone());
        Ok(())
    }

    async fn certify(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), KeyStoreError> {
        let mut entries = self.entries();
        let entry = entries.get_mut(generation).ok_or(KeyStoreError::Missing)?;
        entry.chain = Some(chain.clone());
        Ok(())
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), KeyStoreError> {
        self.entries().remove(generation);
        Ok(())
    }
}
