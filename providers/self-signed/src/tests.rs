use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use relay_pki_authority::conformance::Fixture;
use relay_pki_authority::x509::CertificateChain;
use relay_pki_authority::{
    Generation, KeyStore, KeyStoreError, MemoryKeyStore, Provider, StoredKey,
};

use crate::SelfSigned;

mod provider;

/// The provider over a key store that can fail.
struct Backend(Arc<FailingKeyStore>);

#[async_trait]
impl Fixture for Backend {
    const BACKEND: &'static str = "self-signed";

    async fn start() -> Self {
        Self(Arc::default())
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(SelfSigned::new("local", self.0.clone()))
    }

    async fn calls(&self) -> usize {
        0
    }
}

relay_pki_authority::authority_conformance!(Backend);

mod as_root {
    use relay_pki_authority::conformance::RootOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(RootOnly<Backend>);
}

mod as_signer {
    use relay_pki_authority::conformance::SignerOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(SignerOnly<Backend>);
}

/// Keys in memory. Told to lose a reply, it does what `create` asks and says that it could not.
#[derive(Default)]
struct FailingKeyStore {
    keys: MemoryKeyStore,
    lose_reply: AtomicBool,
    unavailable: AtomicBool,
}

impl FailingKeyStore {
    fn failed() -> KeyStoreError {
        KeyStoreError::Unavailable {
            reason: "connection reset".to_owned(),
        }
    }
}

#[async_trait]
impl KeyStore for FailingKeyStore {
    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, KeyStoreError> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(Self::failed());
        }
        let found = self.keys.load(generation).await;
        // Others get their turn here, so that concurrent creation does race.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        found
    }

    async fn create(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<(), KeyStoreError> {
        self.keys.create(generation, entry).await?;
        match self.lose_reply.swap(false, Ordering::SeqCst) {
            true => Err(Self::failed()),
            false => Ok(()),
        }
    }

    async fn certify(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), KeyStoreError> {
        self.keys.certify(generation, chain).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), KeyStoreError> {
        self.keys.destroy(generation).await
    }
}
