//! A backend that this build does not have.

use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, KeyType, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, Metering,
    Progress, Provider, Revocation, RootRequest, Roots, SignerRequest,
};

/// A provider whose backend this build lacks. The document is understood; whatever is asked of the
/// provider is refused.
pub(super) struct NotBuilt {
    name: String,
    feature: &'static str,
    capabilities: Capabilities,
}

impl NotBuilt {
    /// A provider called `name` in the document, whose backend is behind `feature`.
    pub(super) fn new(name: &str, feature: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            feature,
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: Calls::NONE,
                custody: Custody::Remote,
                metering: Metering::Counted,
                asynchronous: true,
                recertifies_signers: true,
                cross_certificates: false,
                requests_roots: false,
                revocation: Revocation::Never,
                dialect: Dialect::Full,
                roots: Roots::Made,
                disables: false,
            },
        }
    }

    fn refuse<T>(&self) -> Result<T, AuthorityError> {
        Err(self.unsupported(format!(
            "its backend: this relay-pki was built without the feature {}; take a build that has it",
            self.feature
        )))
    }
}

#[async_trait]
impl Provider for NotBuilt {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.refuse()
    }

    async fn create_root(&self, _: &RootRequest) -> Result<Progress<Certificate>, AuthorityError> {
        self.refuse()
    }

    async fn prepare_signer(
        &self,
        _: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.refuse()
    }

    async fn install_signer(
        &self,
        _: &Generation,
        _: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.refuse()
    }

    async fn open(
        &self,
        _: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        self.refuse()
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        self.refuse()
    }
}
