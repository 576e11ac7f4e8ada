//! A provider that keeps what is revoked, as backends of others do.

use std::sync::atomic::{AtomicBool, Ordering};
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

/// What it knows, and whether it is there.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) away: AtomicBool,
    pub(super) revoked: Mutex<Vec<SerialNumber>>,
}

pub(super) struct Keeper {
    pub(super) inner: Arc<dyn Provider>,
    pub(super) capabilities: Capabilities,
    pub(super) kept: Arc<Kept>,
}

impl Keeper {
    pub(super) fn of(inner: Arc<dyn Provider>, revocation: Revocation, kept: &Arc<Kept>) -> Self {
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
        let kept = self.kept.clone();
        Ok(Arc::new(KeepingCa { inner, kept }))
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
        if self.kept.away.load(Ordering::SeqCst) {
            return Err(AuthorityError::Unavailable {
                authority: self.id().to_owned(),
                reason: "it is away".to_owned(),
                retry_after: None,
            });
        }
        assert!(request.certificate.is_some(), "it has to see it");
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
