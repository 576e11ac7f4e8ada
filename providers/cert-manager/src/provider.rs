use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, PrivateKey, TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, KeyStore,
    KeyStoreError, Level, Metering, Progress, Provider, Revocation, RootRequest, Roots,
    SignerRequest, StoredKey,
};

use crate::access::Access;
use crate::api::{Api, Kind};
use crate::authority::IssuerCa;
use crate::failure::Failure;
use crate::issuer;
use crate::settings::{ExistingCa, IssuerRef, Settings};
use crate::sweep::Sweep;

/// What has to be done about a key that is not there.
const RESTORE: &str = "restore the key from a backup, or rotate to a new generation";

/// Counted by the conformance suite.
const CALLS: Calls = Calls {
    root: 0,
    signer: 2,
    certificate: 3,
};

/// The provider `certManager: { … }`.
pub struct CertManager {
    name: String,
    settings: Settings,
    api: Api,
    keys: Arc<dyn KeyStore>,
    capabilities: Capabilities,
    sweep: Sweep,
}

impl CertManager {
    /// A provider called `name` in the document. Keys of signers that are made here are in `keys`.
    pub fn new(
        name: impl Into<String>,
        settings: Settings,
        access: Arc<dyn Access>,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        let namespace = settings.namespace.clone();
        let makes_signers = settings.secret.is_some() && settings.signer.is_none();
        Self {
            name: name.into(),
            api: Api { access, namespace },
            keys,
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: CALLS,
                custody: match makes_signers {
                    true => Custody::Local,
                    false => Custody::Remote,
                },
                metering: Metering::Counted,
                asynchronous: true,
                recertifies_signers: true,
                cross_certificates: false,
                requests_roots: false,
                revocation: Revocation::Never,
                dialect: Dialect::Csr,
                roots: Roots::Existing,
                disables: makes_signers,
            },
            settings,
            sweep: Sweep::default(),
        }
    }

    fn id(&self, generation: &Generation) -> String {
        format!("{}: {generation}", self.name)
    }

    /// What the document says about a CA of this level.
    fn existing(&self, level: Level) -> Option<&ExistingCa> {
        match level {
            Level::Root => self.settings.root.as_ref(),
            Level::Signer => self.settings.signer.as_ref(),
        }
    }

    /// The name of the Secret of a generation in the key store, if cert-manager sees that.
    fn secret(&self, generation: &Generation, what: &str) -> Result<String, AuthorityError> {
        match self.settings.secret {
            Some(secret) => Ok(secret(generation)),
            None => Err(self.unsupported(format!(
                "{what} {generation}: relay-pki keeps keys where this cert-manager does not see \
                 them; name a CA that exists with certManager.{}",
                generation.level
            ))),
        }
    }

    /// Refuses what can only be done with a key that is ours, where the document names a CA.
    fn refuse_existing(&self, generation: &Generation, what: &str) -> Result<(), AuthorityError> {
        let level = generation.level;
        match self.existing(level) {
            None => Ok(()),
            Some(existing) => Err(self.unsupported(format!(
                "{what} {generation}: it is {}, which certManager.{level} names",
                existing.issuer
            ))),
        }
    }

    async fn load(&self, generation: &Generation) -> Result<Option<StoredKey>, AuthorityError> {
        if self.settings.secret.is_none() {
            return Ok(None);
        }
        let entry = self.keys.load(generation).await;
        let entry = entry.map_err(|error| self.key_store_failed(generation, &error))?;
        if let Some(StoredKey {
            key,
            chain: Some(chain),
        }) = &entry
            && key.public_key() != chain.leaf().public_key()
        {
            return Err(self.misconfigured(
                generation,
                "its stored private key does not belong to its certificate".to_owned(),
                RESTORE,
            ));
        }
        Ok(entry)
    }

    async fn require(&self, generation: &Generation) -> Result<StoredKey, AuthorityError> {
        self.load(generation).await?.ok_or_else(|| {
            let reason = match (generation.level, self.settings.secret) {
                (Level::Root, _) => "certManager.root does not name it",
                (Level::Signer, None) => "certManager.signer does not name it",
                (Level::Signer, Some(_)) => "its private key is not in the key store",
            };
            self.misconfigured(generation, reason.to_owned(), RESTORE)
        })
    }

    /// The entry of a generation, made by `make` if there is none yet. Whoever loses a race uses
    /// what the winner made.
    async fn find_or_make(
        &self,
        generation: &Generation,
        make: impl FnOnce() -> Result<StoredKey, AuthorityError> + Send,
    ) -> Result<StoredKey, AuthorityError> {
        if let Some(entry) = self.load(generation).await? {
            return Ok(entry);
        }
        let entry = make()?;
        match self.keys.create(generation, &entry).await {
            Ok(()) => Ok(entry),
            Err(KeyStoreError::Exists) => self.require(generation).await,
            Err(error) => Err(self.key_store_failed(generation, &error)),
        }
    }

    async fn ensure_issuer(
        &self,
        generation: &Generation,
        secret: String,
    ) -> Result<(), AuthorityError> {
        issuer::ensure(&self.api, &self.id(generation), generation, secret).await
    }

    /// The CA behind an issuer that the document names.
    async fn open_existing(
        &self,
        generation: &Generation,
        existing: &ExistingCa,
        anchors: &TrustBundle,
    ) -> Result<IssuerCa, AuthorityError> {
        let id = self.id(generation);
        let chain = issuer::certificates(&id, existing).await?;
        let root = chain.last().filter(|root| !anchors.contains(root));
        if let Some(root) = root {
            return Err(self.misconfigured(
                generation,
                format!(
                    "its root is now {}, which is none of this relay's roots",
                    root.subject()
                ),
                "name the CA that the relay was made with, or rotate the root",
            ));
        }
        let certificate = chain.first().cloned();
        let certificate = certificate.ok_or_else(|| {
            self.misconfigured(generation, "it has no certificate".to_owned(), RESTORE)
        })?;
        let path = chain.into_iter().filter(|ca| !ca.is_self_signed());
        let path = path.collect();
        Ok(self.ca(
            generation,
            existing.issuer.clone(),
            certificate,
            path,
            anchors,
        ))
    }

    fn ca(
        &self,
        generation: &Generation,
        issuer: IssuerRef,
        certificate: Certificate,
        path: Vec<Certificate>,
        anchors: &TrustBundle,
    ) -> IssuerCa {
        IssuerCa {
            id: self.id(generation),
            generation: generation.clone(),
            issuer,
            certificate,
            path,
            anchors: anchors.clone(),
            api: self.api.clone(),
            deadline: self.settings.deadline,
        }
    }

    fn expect_level(&self, generation: &Generation, level: Level) -> Result<(), AuthorityError> {
        match generation.level == level {
            true => Ok(()),
            false => Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: format!("it is not a {level}"),
            }),
        }
    }

    fn misconfigured(
        &self,
        generation: &Generation,
        reason: String,
        remedy: &str,
    ) -> AuthorityError {
        AuthorityError::Misconfigured {
            authority: self.id(generation),
            reason,
            remedy: remedy.to_owned(),
        }
    }

    fn key_store_failed(&self, generation: &Generation, error: &KeyStoreError) -> AuthorityError {
        match error {
            KeyStoreError::Unavailable { reason } => AuthorityError::Unavailable {
                authority: self.id(generation),
                reason: format!("key store: {reason}"),
                retry_after: None,
            },
            other => self.misconfigured(generation, other.to_string(), RESTORE),
        }
    }

    fn failed(&self, failure: Failure, what: &str) -> AuthorityError {
        let authority = format!("provider {}", self.name);
        failure.into_error(authority, what, &self.settings.namespace)
    }
}

#[async_trait]
impl Provider for CertManager {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let requests = ["get", "list", "create", "delete"];
        let requests = requests.map(|verb| (verb, Kind::CertificateRequests));
        let issuers = ["get", "create", "delete"].map(|verb| (verb, Kind::Issuers));
        let issuers = issuers
            .into_iter()
            .filter(|_| self.capabilities.custody == Custody::Local);
        for (verb, kind) in requests.into_iter().chain(issuers) {
            let allowed = self.api.may(verb, kind).await;
            if !allowed.map_err(|failure| self.failed(failure, "ask what is permitted"))? {
                return Err(AuthorityError::Misconfigured {
                    authority: format!("provider {}", self.name),
                    reason: format!(
                        "it may not {verb} {} in namespace {}",
                        kind.plural(),
                        self.settings.namespace
                    ),
                    remedy: "bind the role in docs/providers/cert-manager.md there".to_owned(),
                });
            }
        }
        for existing in [&self.settings.root, &self.settings.signer]
            .into_iter()
            .flatten()
        {
            issuer::certificates(&format!("provider {}", self.name), existing).await?;
        }
        Ok(())
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let generation = &request.generation;
        self.expect_level(generation, Level::Root)?;
        if let Some(existing) = &self.settings.root {
            let chain = issuer::certificates(&self.id(generation), existing).await?;
            if let Some(root) = chain.into_iter().next_back() {
                return Ok(Progress::Done(root));
            }
        }
        let entry = self.load(generation).await?;
        match entry.and_then(|entry| entry.chain) {
            Some(chain) => Ok(Progress::Done(chain.leaf().clone())),
            None => Err(self.unsupported(format!(
                "making {generation}; name an issuer that has a root with certManager.root"
            ))),
        }
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let generation = &request.generation;
        self.expect_level(generation, Level::Signer)?;
        self.refuse_existing(generation, "making")?;
        self.secret(generation, "making")?;
        let rejected = |error| AuthorityError::rejected(self.id(generation), &error);
        let make = || {
            Ok(StoredKey {
                key: PrivateKey::generate(request.key_type).map_err(rejected)?,
                chain: None,
            })
        };
        let entry = self.find_or_make(generation, make).await?;
        let csr = crate::csr::csr(&entry.key, &request.subject).map_err(rejected)?;
        Ok(Progress::Done(csr))
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        let secret = self.secret(generation, "giving a certificate to")?;
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
        if entry.chain.as_ref() != Some(chain) {
            let certified = self.keys.certify(generation, chain).await;
            certified.map_err(|error| self.key_store_failed(generation, &error))?;
        }
        self.ensure_issuer(generation, secret).await
    }

    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        let Some(existing) = &self.settings.signer else {
            return Ok(None);
        };
        let id = self.id(generation);
        let mut chain = issuer::certificates(&id, existing).await?;
        // The root, unless there is nothing else.
        if chain.len() > 1 {
            chain.pop();
        }
        let chain = CertificateChain::new(chain);
        chain
            .map(Some)
            .map_err(|error| AuthorityError::rejected(id, &error))
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        self.sweep.run(&self.api, &generation.relay).await;
        let entry = match (
            self.load(generation).await?,
            self.existing(generation.level),
        ) {
            (Some(entry), _) => entry,
            (None, Some(existing)) => {
                let opened = self.open_existing(generation, existing, anchors).await?;
                return Ok(Arc::new(opened));
            }
            (None, None) => self.require(generation).await?,
        };
        let chain = entry.chain.ok_or_else(|| {
            let reason = "it has no certificate yet".to_owned();
            self.misconfigured(generation, reason, "finish its creation first")
        })?;
        let secret = self.secret(generation, "opening")?;
        self.ensure_issuer(generation, secret.clone()).await?;
        let path = match generation.level {
            Level::Root => Vec::new(),
            Level::Signer => chain.certificates().to_vec(),
        };
        let certificate = chain.leaf().clone();
        let issuer = IssuerRef::ours(secret);
        Ok(Arc::new(self.ca(
            generation,
            issuer,
            certificate,
            path,
            anchors,
        )))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let what = "taking over the key of";
        let secret = self.secret(generation, what)?;
        if self.capabilities.custody == Custody::Remote {
            self.refuse_existing(generation, what)?;
        }
        let entry = StoredKey {
            key: key.clone(),
            chain: Some(chain.clone()),
        };
        let stored = self.find_or_make(generation, || Ok(entry)).await?;
        if stored.chain.as_ref() != Some(chain) {
            return Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: "another key is already stored for this generation".to_owned(),
            });
        }
        self.ensure_issuer(generation, secret).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        match self.load(generation).await? {
            Some(entry) => Ok(entry.key),
            None => {
                let what = "handing out the key of";
                self.refuse_existing(generation, what)?;
                self.secret(generation, what)?;
                Ok(self.require(generation).await?.key)
            }
        }
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let what = "disabling";
        let secret = self.secret(generation, what)?;
        if self.load(generation).await?.is_none() {
            return self.refuse_existing(generation, what);
        }
        let disabled = issuer::disable(&self.api, &generation.relay, &secret).await;
        disabled.map_err(|failure| self.failed(failure, "disable an Issuer"))
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let what = "destroying the key of";
        let secret = self.secret(generation, what)?;
        if self.load(generation).await?.is_none() {
            self.refuse_existing(generation, what)?;
        }
        // First what signs with it.
        let removed = issuer::remove(&self.api, &generation.relay, &secret).await;
        removed.map_err(|failure| self.failed(failure, "remove an Issuer"))?;
        let destroyed = self.keys.destroy(generation).await;
        destroyed.map_err(|error| self.key_store_failed(generation, &error))
    }
}
