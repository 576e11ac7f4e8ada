use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey};
use relay_pki_authority::{Generation, KeyStore, KeyStoreError, StoredKey};

use super::encryption::{self, Keyring};
use super::{GenerationRecord, record_object};
use crate::cluster::{
    Cluster, ClusterError, Expected, Object, ObjectKey, ObjectKind, SecretBytes, Stored,
};
use crate::config::ProviderConfig;
use crate::credential;
use crate::relay::{Owner, TLS_CERT, TLS_KEY, owner_of};

/// Data key of an encrypted private key.
pub const ENCRYPTED_KEY: &str = "tls.key.encrypted";

/// What to do about an encrypted key whose encryption key the document does not name.
pub(crate) const KEEP_ENCRYPTION: &str = "name that key as encryptionKey of the provider; to do \
    without encryption, rotate to a provider that has none";

/// CA keys as Secrets of the management cluster that holds the relay's records: in the clear, or
/// encrypted.
pub struct ClusterKeyStore {
    home: Arc<dyn Cluster>,
    keyring: Option<Keyring>,
}

/// How the private key of a CA is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// As it is.
    Clear,
    /// Encrypted.
    Encrypted {
        /// The name of the encryption key.
        key_id: String,
    },
}

impl KeyForm {
    /// How the key in a Secret is kept; `None` if there is none. One in the clear counts, whatever is
    /// beside it.
    pub fn of(object: &Object) -> Result<Option<Self>, KeyStoreError> {
        let entry = |name: &str| object.data.get(name).map(SecretBytes::expose);
        match (entry(TLS_KEY), entry(ENCRYPTED_KEY)) {
            (Some(_), _) => Ok(Some(Self::Clear)),
            (None, Some(text)) => {
                let key_id = encryption::key_id(text)?;
                Ok(Some(Self::Encrypted { key_id }))
            }
            (None, None) => Ok(None),
        }
    }
}

impl ClusterKeyStore {
    /// A key store in `home` that keeps keys in the clear.
    pub fn new(home: Arc<dyn Cluster>) -> Self {
        Self {
            home,
            keyring: None,
        }
    }

    /// The key store of a provider in `home`, as the document says.
    pub fn of(provider: &ProviderConfig, home: &Arc<dyn Cluster>) -> Self {
        let (home, keyring) = (home.clone(), keyring(provider, home));
        Self { home, keyring }
    }

    /// Keeps the key of a generation as a new one would be kept: encrypted, and with the current
    /// encryption key. One write; nothing if it is kept so already.
    pub async fn rewrite(&self, generation: &Generation) -> Result<(), KeyStoreError> {
        let stored = self.read(generation).await?.ok_or(KeyStoreError::Missing)?;
        let Some(keyring) = &self.keyring else {
            return Ok(());
        };
        let key_id = keyring.current_id().await?;
        if KeyForm::of(&stored.object)? == Some(KeyForm::Encrypted { key_id }) {
            return Ok(());
        }
        let entry = self.decode(generation, &stored).await?;
        let mut object = stored.object;
        self.set_key(&mut object, generation, &entry.key).await?;
        self.home
            .write(&object, &Expected::At(stored.version))
            .await
            .map(|_| ())
            .map_err(failed)
    }

    async fn set_key(
        &self,
        object: &mut Object,
        generation: &Generation,
        key: &PrivateKey,
    ) -> Result<(), KeyStoreError> {
        let (name, bytes) = match &self.keyring {
            Some(keyring) => {
                let (level, number) = parts(generation);
                let holder = [&*generation.relay, &level, &number];
                let text = keyring.encrypt(holder, key).await?;
                (ENCRYPTED_KEY, SecretBytes::new(text))
            }
            None => (TLS_KEY, SecretBytes::new(key.to_pem().as_bytes())),
        };
        object.data.remove(TLS_KEY);
        object.data.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn encode(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<Object, KeyStoreError> {
        let name = GenerationRecord::object_name(generation);
        let mut object = record_object(&generation.relay, ObjectKind::Secret, name);
        // Not kubernetes.io/tls: that wants a certificate from the start, and types never change.
        object.secret_type = Some("relay-pki.dev/ca".to_owned());
        self.set_key(&mut object, generation, &entry.key).await?;
        if let Some(chain) = &entry.chain {
            let pem = SecretBytes::new(chain.to_pem());
            object.data.insert(TLS_CERT.to_owned(), pem);
        }
        Ok(object)
    }

    async fn decode(
        &self,
        generation: &Generation,
        stored: &Stored,
    ) -> Result<StoredKey, KeyStoreError> {
        let unusable = |reason: String| KeyStoreError::Unusable {
            reason: format!("{}: {reason}", stored.place),
        };
        let entry = |name: &str| stored.object.data.get(name).map(SecretBytes::expose);
        let key = match (entry(ENCRYPTED_KEY), entry(TLS_KEY), &self.keyring) {
            (Some(text), _, Some(keyring)) => {
                let (level, number) = parts(generation);
                let holder = [&*generation.relay, &level, &number];
                let key = keyring.decrypt(holder, text).await;
                key.map_err(|error| error.in_object(&stored.place))?
            }
            (Some(text), None, None) => {
                let error = KeyStoreError::Locked {
                    reason: format!("it is encrypted with key {}", encryption::key_id(text)?),
                    remedy: KEEP_ENCRYPTION.to_owned(),
                };
                return Err(error.in_object(&stored.place));
            }
            (_, Some(pem), _) => {
                let key = PrivateKey::from_pem(pem);
                key.map_err(|error| unusable(format!("{TLS_KEY}: {error}")))?
            }
            (None, None, _) => return Err(unusable(format!("it has no {TLS_KEY}"))),
        };
        Ok(StoredKey {
            key,
            chain: entry(TLS_CERT)
                .map(CertificateChain::from_pem)
                .transpose()
                .map_err(|error| unusable(format!("{TLS_CERT}: {error}")))?,
        })
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
            Some(stored) => self.decode(generation, &stored).await.map(Some),
        }
    }

    async fn create(
        &self,
        generation: &Generation,
        entry: &StoredKey,
    ) -> Result<(), KeyStoreError> {
        let object = self.encode(generation, entry).await?;
        match self.home.write(&object, &Expected::Absent).await {
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

/// What binds an encrypted key to its generation, besides the relay.
fn parts(generation: &Generation) -> (String, String) {
    (generation.level.to_string(), generation.number.to_string())
}

fn key_of(generation: &Generation) -> ObjectKey {
    ObjectKey::secret(GenerationRecord::object_name(generation))
}

/// The encryption keys of a provider, if the document names any.
pub fn keyring(provider: &ProviderConfig, home: &Arc<dyn Cluster>) -> Option<Keyring> {
    match provider {
        ProviderConfig::SelfSigned {
            encryption_key: Some(current),
            previous_encryption_key: previous,
        } => Some(Keyring {
            current: credential::open(current, home),
            previous: previous
                .as_ref()
                .map(|previous| credential::open(previous, home)),
        }),
        _ => None,
    }
}

fn failed(error: ClusterError) -> KeyStoreError {
    KeyStoreError::Unavailable {
        reason: error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
