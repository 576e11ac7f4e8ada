//! A provider that keeps what is revoked, as backends of others do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PrivateKey, RevocationList, SerialNumber, TrustBundle,
    VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Generation, Outcome, Progress, Provider, Revocation,
    RevocationListRequest, RevocationRequest, RevokedCertificate, RootRequest, SignerRequest,
    SigningRequest,
};

/// What becomes of a request to revoke something.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) enum Answer {
    #[default]
    Revoked,
    Away,
    Silence,
    Unable,
}

/// What it knows, and how it is.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) answer: Mutex<Answer>,
    /// How often it was asked to revoke something.
    pub(crate) asked: AtomicUsize,
    pub(crate) revoked: Mutex<Vec<SerialNumber>>,
}

impl Kept {
    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) struct Keeper {
    inner: Arc<dyn Provider>,
    capabilities: Capabilities,
    kept: Arc<Kept>,
}

impl Keeper {
    pub(crate) fn of(inner: Arc<dyn Provider>, revocation: Revocation, kept: &Arc<Kept>) -> Self {
        Self {
            capabilities: Capabilities {
                revocation,
                ..inner.capabilities().clone()
            },
            inner,
            kept: kept.clone(),
        }
    }
}

#[async_trait]
impl Provider for Keeper {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.inner.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.inner.create_root(request).await
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.inner.prepare_signer(request).await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.inner.install_signer(generation, chain, anchors).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let inner = self.inner.open(generation, anchors).await?;
        Ok(Arc::new(KeepingCa {
            inner,
            revocation: self.capabilities.revocation,
            kept: self.kept.clone(),
        }))
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        self.inner.export_key(generation).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.inner.destroy(generation).await
    }
}

struct KeepingCa {
    inner: Arc<dyn Authority>,
    revocation: Revocation,
    kept: Arc<Kept>,
}

#[async_trait]
impl Authority for KeepingCa {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn path(&self) -> &[Certificate] {
        self.inner.path()
    }

    fn anchors(&self) -> &TrustBundle {
        self.inner.anchors()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        self.inner.sign(request).await
    }

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        self.kept.asked.fetch_add(1, Ordering::SeqCst);
        let answer = *self.kept.answer.lock().unwrap();
        match answer {
            Answer::Revoked => {}
            Answer::Away => {
                return Err(AuthorityError::Unavailable {
                    authority: self.id().to_owned(),
                    reason: "it is away".to_owned(),
                    retry_after: None,
                });
            }
            Answer::Silence => std::future::pending().await,
            Answer::Unable => {
                return Err(AuthorityError::Unsupported {
                    authority: self.id().to_owned(),
                    what: "revoking certificates".to_owned(),
                });
            }
        }
        let whole = matches!(self.revocation, Revocation::Keeps { whole: true, .. });
        assert!(request.certificate.is_some() == whole, "what it has to see");
        let mut revoked = self.kept.revoked.lock().unwrap();
        assert!(!revoked.contains(&request.serial), "it knows that");
        revoked.push(request.serial.clone());
        Ok(())
    }

    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        let mut own = request.clone();
        let mut revoked = self.kept.revoked.lock().unwrap().clone();
        revoked.sort();
        let at = request.validity.not_before();
        let revoked = revoked.into_iter();
        own.revoked = revoked
            .map(|serial| RevokedCertificate { serial, at })
            .collect();
        self.inner.revocation_list(&own).await
    }
}
