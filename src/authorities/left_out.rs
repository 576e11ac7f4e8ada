use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Custody, Generation, Metering, Progress, Provider,
    RootRequest, SignerRequest,
};

/// A provider whose backend is not part of this build.
pub(super) struct LeftOut {
    name: String,
    feature: &'static str,
    capabilities: Capabilities,
}

impl LeftOut {
    pub(super) fn new(name: &str, feature: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            feature,
            capabilities: Capabilities {
                ca_key_types: Vec::new(),
                subject_key_types: Vec::new(),
                max_leaf_lifetime: None,
                custody: Custody::Remote,
                metering: Metering::Free,
                asynchronous: false,
                existing_root: false,
            },
        }
    }

    fn error(&self) -> AuthorityError {
        self.unsupported(format!(
            "its backend: this relay-pki was built without the feature {}",
            self.feature
        ))
    }
}

#[async_trait]
impl Provider for LeftOut {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        Err(self.error())
    }

    async fn create_root(&self, _: &RootRequest) -> Result<Progress<Certificate>, AuthorityError> {
        Err(self.error())
    }

    async fn prepare_signer(
        &self,
        _: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        Err(self.error())
    }

    async fn install_signer(
        &self,
        _: &Generation,
        _: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        Err(self.error())
    }

    async fn open(
        &self,
        _: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        Err(self.error())
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        Err(self.error())
    }
}
