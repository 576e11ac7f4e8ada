//! The conformance suite of the self-signed provider over encrypted keys.

use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::conformance::Fixture;
use relay_pki_authority::{KeyStore as _, Provider};
use relay_pki_self_signed::SelfSigned;

use super::*;
use crate::cluster::MemoryCluster;
use crate::config::CredentialSource;

const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

struct Encrypted(MemoryCluster);

fn provider(encrypted: bool) -> ProviderConfig {
    let key = CredentialSource::Secret {
        name: "ca-encryption".to_owned(),
        key: "key".to_owned(),
    };
    ProviderConfig::SelfSigned {
        encryption_key: encrypted.then_some(key),
        previous_encryption_key: None,
    }
}

fn home() -> MemoryCluster {
    let home = MemoryCluster::new("mgmt");
    home.overwrite(Object {
        key: ObjectKey::secret("ca-encryption"),
        secret_type: None,
        labels: [].into(),
        annotations: [].into(),
        data: [("key".to_owned(), SecretBytes::new(KEY))].into(),
    });
    home
}

#[async_trait]
impl Fixture for Encrypted {
    const BACKEND: &'static str = "self-signed, keys encrypted";

    async fn start() -> Self {
        Self(home())
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        let home: Arc<dyn Cluster> = Arc::new(self.0.clone());
        let keys = ClusterKeyStore::of(&provider(true), &home);
        Arc::new(SelfSigned::new("local", Arc::new(keys)))
    }

    async fn calls(&self) -> usize {
        0
    }
}

relay_pki_authority::authority_conformance!(Encrypted);

fn generation(number: u32) -> Generation {
    Generation {
        relay: "relay".to_owned(),
        level: relay_pki_authority::Level::Signer,
        number,
    }
}

fn entry() -> StoredKey {
    let key = PrivateKey::generate(relay_pki_authority::x509::KeyType::EcdsaP256);
    StoredKey {
        key: key.unwrap(),
        chain: None,
    }
}

#[tokio::test]
async fn an_encrypted_key_is_nowhere_in_the_clear() {
    let store = home();
    let cluster: Arc<dyn Cluster> = Arc::new(store.clone());
    let (clear, encrypted) = (
        ClusterKeyStore::of(&provider(false), &cluster),
        ClusterKeyStore::of(&provider(true), &cluster),
    );
    let (first, second) = (entry(), entry());
    clear.create(&generation(1), &first).await.unwrap();
    encrypted.create(&generation(2), &second).await.unwrap();
    // What was written in the clear is read, and kept encrypted from then on.
    let found = encrypted.load(&generation(1)).await.unwrap().unwrap();
    assert_eq!(found.key.pkcs8_der(), first.key.pkcs8_der());
    encrypted.rewrite(&generation(1)).await.unwrap();
    let writes = store.writes();
    encrypted.rewrite(&generation(1)).await.unwrap();
    encrypted.rewrite(&generation(2)).await.unwrap();
    assert_eq!(store.writes(), writes, "rewriting is not idempotent");
    for (number, wanted) in [(1, &first), (2, &second)] {
        let object = ObjectKey::secret(GenerationRecord::object_name(&generation(number)));
        let object = store.read(&object).await.unwrap().unwrap().object;
        assert!(!object.data.contains_key(TLS_KEY));
        let der = wanted.key.pkcs8_der();
        for bytes in object.data.values() {
            assert!(!bytes.expose().windows(16).any(|part| der.ends_with(part)));
        }
        let found = encrypted.load(&generation(number)).await.unwrap().unwrap();
        assert_eq!(found.key.pkcs8_der(), der);
    }
    let error = clear.load(&generation(1)).await.unwrap_err();
    let KeyStoreError::Locked { remedy, .. } = error else {
        panic!("{error}");
    };
    assert!(remedy.contains("encryptionKey"), "{remedy}");
}

#[tokio::test]
async fn a_key_that_was_moved_to_another_record_is_refused() {
    let store = home();
    let cluster: Arc<dyn Cluster> = Arc::new(store.clone());
    let keys = ClusterKeyStore::of(&provider(true), &cluster);
    for number in [1, 2] {
        keys.create(&generation(number), &entry()).await.unwrap();
    }
    let name = |number| ObjectKey::secret(GenerationRecord::object_name(&generation(number)));
    let mut moved = store.read(&name(1)).await.unwrap().unwrap().object;
    moved.key = name(2);
    store.overwrite(moved);
    let error = keys.load(&generation(2)).await.unwrap_err().to_string();
    assert!(error.contains("another generation"), "{error}");
}
