use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, PrivateKey, Subject, TrustBundle, VerifiedCsr,
    X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, KeyStore,
    KeyStoreError, Level, Metering, Progress, Provider, Revocation, RootRequest, Roots,
    SignerRequest, StoredKey,
};

use crate::authority::LocalCa;
use crate::build::{self, Issuer};

/// The provider `selfSigned: {}`.
pub struct SelfSigned {
    name: String,
    keys: Arc<dyn KeyStore>,
    capabilities: Capabilities,
}

impl SelfSigned {
    /// A provider called `name` in the document, with its CA keys in `keys`.
    pub fn new(name: impl Into<String>, keys: Arc<dyn KeyStore>) -> Self {
        Self {
            name: name.into(),
            keys,
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: Calls::NONE,
                custody: Custody::Local,
                metering: Metering::Free,
                asynchronous: false,
                recertifies_signers: true,
                cross_certificates: true,
                requests_roots: true,
                revocation: Revocation::Signs,
                dialect: Dialect::Full,
                roots: Roots::Made,
                disables: false,
            },
        }
    }

    fn id(&self, generation: &Generation) -> String {
        format!("{}: {generation}", self.name)
    }

    /// The entry of a generation, made by `make` if there is none yet. Whoever loses a race uses
    /// what the winner made.
    async fn find_or_make(
        &self,
        generation: &Generation,
        make: impl FnOnce() -> Result<StoredKey, X509Error> + Send,
    ) -> Result<StoredKey, AuthorityError> {
        if let Some(entry) = self.load(generation).await? {
            return Ok(entry);
        }
        let entry =
            make().map_err(|error| AuthorityError::rejected(self.id(generation), &error))?;
        match self.keys.create(generation, &entry).await {
            Ok(()) => Ok(entry),
            Err(KeyStoreError::Exists) => self.require(generation).await,
            Err(error) => Err(self.key_store_failed(generation, &error)),
        }
    }

    /// A root must not become a signer by a slip of the caller: its certificate would be lost.
    fn expect_level(&self, generation: &Generation, level: Level) -> Result<(), AuthorityError> {
        match generation.level == level {
            true => Ok(()),
            false => Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: format!("it is not a {level}"),
            }),
        }
    }

    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, AuthorityError> {
        let entry = self
            .keys
            .load(generation)
            .await
            .map_err(|error| self.key_store_failed(generation, &error))?;
        if let Some(StoredKey {
            key,
            chain: Some(chain),
        }) = &entry
            && key.public_key() != chain.leaf().public_key()
        {
            return Err(AuthorityError::Misconfigured {
                authority: self.id(generation),
                reason: "its stored private key does not belong to its certificate".to_owned(),
                remedy: "restore the key from a backup, or rotate to a new generation".to_owned(),
            });
        }
        Ok(entry)
    }

    async fn require(&self, generation: &Generation) -> Result<StoredKey, AuthorityError> {
        self.load(generation)
            .await?
            .ok_or_else(|| AuthorityError::Misconfigured {
                authority: self.id(generation),
                reason: "its private key is not in the key store".to_owned(),
                remedy: "restore the key from a backup, or rotate to a new generation".to_owned(),
            })
    }

    fn request(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        build::request(key, subject)
            .and_then(|der| VerifiedCsr::from_der(&der))
            .map_err(|error| AuthorityError::rejected(self.id(generation), &error))
    }

    fn key_store_failed(&self, generation: &Generation, error: &KeyStoreError) -> AuthorityError {
        let authority = self.id(generation);
        match error {
            KeyStoreError::Unavailable { reason } => AuthorityError::Unavailable {
                authority,
                reason: format!("key store: {reason}"),
                retry_after: None,
            },
            KeyStoreError::Locked { remedy, .. } => AuthorityError::Misconfigured {
                authority,
                reason: error.to_string(),
                remedy: remedy.clone(),
            },
            other => AuthorityError::Misconfigured {
                authority,
                reason: other.to_string(),
                remedy: "restore the key from a backup, or rotate to a new generation".to_owned(),
            },
        }
    }
}

#[async_trait]
impl Provider for SelfSigned {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let probe = Generation {
            relay: String::new(),
            level: Level::Root,
            number: 0,
        };
        // Any answer will do: it shows that the key store can be read.
        self.load(&probe).await.map(|_| ())
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.expect_level(&request.generation, Level::Root)?;
        let entry = self
            .find_or_make(&request.generation, || {
                let key = PrivateKey::generate(request.key_type)?;
                let root = build::root(&key, &request.subject, &request.validity)?;
                Ok(StoredKey {
                    key,
                    chain: Some(CertificateChain::new(vec![root])?),
                })
            })
            .await?;
        match entry.chain {
            Some(chain) => Ok(Progress::Done(chain.leaf().clone())),
            None => Err(AuthorityError::Misconfigured {
                authority: self.id(&request.generation),
                reason: "its key is stored without its certificate".to_owned(),
                remedy: "restore the entry from a backup".to_owned(),
            }),
        }
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.expect_level(&request.generation, Level::Signer)?;
        let entry = self
            .find_or_make(&request.generation, || {
                Ok(StoredKey {
                    key: PrivateKey::generate(request.key_type)?,
                    chain: None,
                })
            })
            .await?;
        let csr = self.request(&request.generation, &entry.key, &request.subject)?;
        Ok(Progress::Done(csr))
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.expect_level(generation, Level::Root)?;
        let entry = self.require(generation).await?;
        self.request(generation, &entry.key, subject)
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        let entry = self.require(generation).await?;
        if entry.key.public_key() != chain.leaf().public_key() {
            return Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: format!(
                    "the certificate {} is not for this signer's key",
                    chain.leaf().subject()
                ),
            });
        }
        if entry.chain.as_ref() == Some(chain) {
            return Ok(());
        }
        self.keys
            .certify(generation, chain)
            .await
            .map_err(|error| self.key_store_failed(generation, &error))
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let entry = self.require(generation).await?;
        let chain = entry.chain.ok_or_else(|| AuthorityError::Misconfigured {
            authority: self.id(generation),
            reason: "it has no certificate yet".to_owned(),
            remedy: "finish its creation first".to_owned(),
        })?;
        let issuer = Issuer::new(chain.leaf(), &entry.key)
            .map_err(|error| AuthorityError::rejected(self.id(generation), &error))?;
        Ok(Arc::new(LocalCa {
            id: self.id(generation),
            certificate: chain.leaf().clone(),
            path: match generation.level {
                Level::Root => Vec::new(),
                Level::Signer => chain.certificates().to_vec(),
            },
            anchors: anchors.clone(),
            issuer,
        }))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let entry = StoredKey {
            key: key.clone(),
            chain: Some(chain.clone()),
        };
        let stored = self.find_or_make(generation, || Ok(entry)).await?;
        if stored.chain.as_ref() == Some(chain) {
            return Ok(());
        }
        Err(AuthorityError::Rejected {
            authority: self.id(generation),
            reason: "another key is already stored for this generation".to_owned(),
        })
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        Ok(self.require(generation).await?.key)
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.keys
            .destroy(generation)
            .await
            .map_err(|error| self.key_store_failed(generation, &error))
    }
}
