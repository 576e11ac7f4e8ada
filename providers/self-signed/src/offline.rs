use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, KeyType, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, Metering,
    Progress, Provider, Revocation, RootRequest, Roots, SignerRequest,
};

/// The provider `offline: {}`: a root whose key is with a person. Nothing can be asked of it; its
/// certificates are handed in.
pub struct Offline {
    name: String,
    capabilities: Capabilities,
}

impl Offline {
    /// A provider called `name` in the document.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: Calls::NONE,
                custody: Custody::Remote,
                metering: Metering::Free,
                asynchronous: true,
                recertifies_signers: false,
                cross_certificates: false,
                requests_roots: false,
                revocation: Revocation::Never,
                dialect: Dialect::Full,
                roots: Roots::Made,
                disables: false,
            },
        }
    }

    fn refused<T>(&self, what: impl std::fmt::Display) -> Result<T, AuthorityError> {
        Err(self.unsupported(format!(
            "{what}: its root is offline, a person signs with it"
        )))
    }
}

#[async_trait]
impl Provider for Offline {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.refused(format_args!("making {}", request.generation))
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.refused(format_args!("holding {}", request.generation))
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        _: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.refused(format_args!("holding {generation}"))
    }

    async fn open(
        &self,
        generation: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        self.refused(format_args!("signing with {generation}"))
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        // There is no key here; the one that a person has is for that person to destroy.
        Ok(())
    }
}
