//! A key store whose entries cert-manager sees as Secrets.

use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::CertificateChain;
use relay_pki_authority::{Generation, KeyStore, KeyStoreError, MemoryKeyStore, StoredKey};

use super::place::Place;

/// Keeps entries in memory, and a copy of each in the cluster.
pub(super) struct Secrets {
    entries: MemoryKeyStore,
    place: Arc<Place>,
}

impl Secrets {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self {
            entries: MemoryKeyStore::default(),
            place,
        }
    }

    async fn copy(&self, generation: &Generation) {
        let entry = self.entries.load(generation).await.unwrap().unwrap();
        let chain = entry.chain.map(|chain| chain.to_pem());
        let name = name(generation);
        self.place
            .secret(&name, &chain.unwrap_or_default(), &entry.key.to_pem());
    }
}

/// The name of an entry's Secret.
pub(super) fn name(generation: &Generation) -> String {
    let Generation {
        relay,
        level,
        number,
    } = generation;
    format!("relay-pki-{relay}-{level}-g{number}")
}

#[async_trait]
impl KeyStore for Secrets {
    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, KeyStoreError> {
        self.entries.load(generation).await
    }

    async fn create(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<(), KeyStoreError> {
        self.entries.create(generation, entry).await?;
        self.copy(generation).await;
        Ok(())
    }

    async fn certify(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), KeyStoreError> {
        self.entries.certify(generation, chain).await?;
        self.copy(generation).await;
        Ok(())
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), KeyStoreError> {
        self.entries.destroy(generation).await?;
        let name = name(generation);
        self.place
            .kubectl(&["delete", "secret", &name, "--ignore-not-found"], "");
        Ok(())
    }
}
