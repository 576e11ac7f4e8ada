//! A backend that this build does not have.

use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, KeyType, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Custody, Dialect, Generation, Metering, Progress,
    Provider, RootRequest, Roots, SignerRequest,
};

/// Says of everything which feature would have to be built in.
pub(super) struct Absent {
    name: String,
    feature: &'static str,
    capabilities: Capabilities,
}

impl Absent {
    /// The provider `name`, whose backend is in `feature`.
    pub(super) fn new(name: &str, feature: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            feature,
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                max_leaf_lifetime: None,
                custody: Custody::Remote,
                metering: Metering::Free,
                asynchronous: false,
                dialect: Dialect::Full,
                roots: Roots::Made,
            },
        }
    }

    fn absent<T>(&self) -> Result<T, AuthorityError> {
        Err(self.unsupported(format!(
            "anything: this relay-pki was built without the feature {}",
            self.feature
        )))
    }
}

#[async_trait]
impl Provider for Absent {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.absent()
    }

    async fn create_root(&self, _: &RootRequest) -> Result<Progress<Certificate>, AuthorityError> {
        self.absent()
    }

    async fn prepare_signer(
        &self,
        _: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.absent()
    }

    async fn install_signer(
        &self,
        _: &Generation,
        _: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        self.absent()
    }

    async fn open(
        &self,
        _: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        self.absent()
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        self.absent()
    }
}
