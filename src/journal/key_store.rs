use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey};
use relay_pki_authority::{Generation, KeyStore, KeyStoreError, StoredKey};

use super::{GenerationRecord, record_object};
use crate::cluster::{
    Cluster, ClusterError, Expected, Object, ObjectKey, ObjectKind, SecretBytes, Stored,
};
use crate::relay::{Owner, TLS_CERT, TLS_KEY, owner_of};

/// CA keys as Secrets of the management cluster that holds the relay's records.
pub struct ClusterKeyStore {
    home: Arc<dyn Cluster>,
}

impl ClusterKeyStore {
    /// A key store in `home`.
    pub fn new(home: Arc<dyn Cluster>) -> Self {
        Self { home }
    }

    async fn read(&self, generation: &Generation) -> Result<Option<Stored>, KeyStoreError> {
        let stored = self.home.read(&key_of(generation)).await.map_err(failed)?;
        match stored {
            Some(stored) if owner_of(&stored.object, &generation.relay) != Owner::Us => {
                Err(KeyStoreError::Unusable {
                    reason: format!("{} is not managed by this relay", stored.place),
                })
            }
            Some(stored) if stored.exposed => Err(KeyStoreError::Unusable {
                reason: format!(
                    "{} can be read by other users; chmod 600 it, and rotate if somebody may have",
                    stored.place
                ),
            }),
            other => Ok(other),
        }
    }
}

#[async_trait]
impl KeyStore for ClusterKeyStore {
    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, KeyStoreError> {
        match self.read(generation).await? {
            None => Ok(None),
            Some(stored) => {
                decode(&stored.object)
                    .map(Some)
                    .map_err(|reason| KeyStoreError::Unusable {
                        reason: format!("{}: {reason}", stored.place),
                    })
            }
        }
    }

    async fn create(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<(), KeyStoreError> {
        match self
            .home
            .write(&encode(generation, entry), &Expected::Absent)
            .await
        {
            Ok(_) => Ok(()),
            Err(ClusterError::Conflict { .. }) => Err(KeyStoreError::Exists),
            Err(error) => Err(failed(error)),
        }
    }

    async fn certify(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), KeyStoreError> {
        let stored = self.read(generation).await?.ok_or(KeyStoreError::Missing)?;
        let mut object = stored.object;
        let pem = SecretBytes::new(chain.to_pem());
        object.data.insert(TLS_CERT.to_owned(), pem);
        self.home
            .write(&object, &Expected::At(stored.version))
            .await
            .map(|_| ())
            .map_err(failed)
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), KeyStoreError> {
        match self.read(generation).await? {
            None => Ok(()),
            Some(stored) => self
                .home
                .delete(&stored.object.key, &stored.version)
                .await
                .map_err(failed),
        }
    }
}

fn key_of(generation: &Generation) -> ObjectKey {
    ObjectKey::secret(GenerationRecord::object_name(generation))
}

fn encode(generation: &Generation, entry: &StoredKey) -> Object {
    let name = GenerationRecord::object_name(generation);
    let mut object = record_object(&generation.relay, ObjectKind::Secret, name);
    // Not kubernetes.io/tls: that wants a certificate from the start, and types never change.
    object.secret_type = Some("relay-pki.dev/ca".to_owned());
    let key = SecretBytes::new(entry.key.to_pem().as_bytes());
    object.data.insert(TLS_KEY.to_owned(), key);
    if let Some(chain) = &entry.chain {
        let pem = SecretBytes::new(chain.to_pem());
        object.data.insert(TLS_CERT.to_owned(), pem);
    }
    object
}

fn decode(object: &Object) -> Result<StoredKey, String> {
    let key = object.data.get(TLS_KEY).ok_or("it has no tls.key")?;
    let chain = object.data.get(TLS_CERT);
    Ok(StoredKey {
        key: PrivateKey::from_pem(key.expose()).map_err(|error| format!("tls.key: {error}"))?,
        chain: chain
            .map(|pem| CertificateChain::from_pem(pem.expose()))
            .transpose()
            .map_err(|error| format!("tls.crt: {error}"))?,
    })
}

fn failed(error: ClusterError) -> KeyStoreError {
    KeyStoreError::Unavailable {
        reason: error.to_string(),
    }
}
