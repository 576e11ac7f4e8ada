//! Nothing unverified leaves a backend: the decorator around every provider.

use std::sync::Arc;

use async_trait::async_trait;

mod authority;
mod handed_in;
mod rules;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;

use authority::CheckedAuthority;
pub use handed_in::{check_root_handed_in, check_signer_handed_in};
use rules::{check_ca, check_linked, check_root, check_way};

use crate::x509::{Certificate, CertificateChain, PrivateKey, Subject, TrustBundle, VerifiedCsr};
use crate::{
    Authority, AuthorityError, Capabilities, Generation, Level, Progress, Provider, RootRequest,
    SignerRequest,
};

/// Wraps `provider` so that every certificate it hands out, and every CA it opens, has been compared
/// with what was asked for.
pub fn checked(provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
    Arc::new(CheckedProvider(provider))
}

struct CheckedProvider(Arc<dyn Provider>);

impl CheckedProvider {
    fn misissued(&self, problem: String) -> AuthorityError {
        AuthorityError::Misissued {
            authority: format!("provider {}", self.0.name()),
            problem,
        }
    }

    fn rejected(&self, reason: String) -> AuthorityError {
        AuthorityError::Rejected {
            authority: format!("provider {}", self.0.name()),
            reason,
        }
    }
}

#[async_trait]
impl Provider for CheckedProvider {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.0.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let progress = self.0.create_root(request).await?;
        if let Progress::Done(root) = &progress {
            check_root(root, request, self.0.capabilities().roots)
                .map_err(|problem| self.misissued(problem))?;
        }
        Ok(progress)
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let progress = self.0.prepare_signer(request).await?;
        if let Progress::Done(csr) = &progress
            && csr.public_key().key_type() != Ok(request.key_type)
        {
            let found = csr.public_key().describe();
            return Err(self.misissued(format!(
                "the key of {} is {found}, not {}",
                request.generation, request.key_type
            )));
        }
        Ok(progress)
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.0.request_root(generation, subject).await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        let refuse = |reason: String| self.rejected(reason);
        check_ca(chain.leaf()).map_err(refuse)?;
        check_linked(chain.certificates()).map_err(refuse)?;
        self.0.install_signer(generation, chain, anchors).await
    }

    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        let existing = self.0.existing_signer(generation).await?;
        if let Some(chain) = &existing {
            check_ca(chain.leaf()).map_err(|problem| self.rejected(problem))?;
            check_linked(chain.certificates()).map_err(|problem| self.rejected(problem))?;
            if chain.leaf().is_self_signed() {
                return Err(self.rejected(format!(
                    "{} is a root; a signer has to be below one",
                    chain.leaf().subject()
                )));
            }
        }
        Ok(existing)
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let authority = self.0.open(generation, anchors).await?;
        check_ca(authority.certificate()).map_err(|problem| self.misissued(problem))?;
        check_way(authority.certificate(), authority.path(), anchors)
            .map_err(|problem| self.misissued(problem))?;
        Ok(Arc::new(CheckedAuthority::new(
            authority,
            anchors.clone(),
            self.0.capabilities(),
        )))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let refuse = |reason: String| self.rejected(reason);
        check_ca(chain.leaf()).map_err(refuse)?;
        check_linked(chain.certificates()).map_err(refuse)?;
        if generation.level == Level::Root && !chain.leaf().is_self_signed() {
            return Err(refuse(format!(
                "{} is not self-signed and cannot be a root",
                chain.leaf().subject()
            )));
        }
        if chain.leaf().public_key() != key.public_key() {
            return Err(refuse(format!(
                "the private key does not belong to the certificate {}",
                chain.leaf().subject()
            )));
        }
        self.0.import(generation, key, chain).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        self.0.export_key(generation).await
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.0.disable(generation).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.0.destroy(generation).await
    }
}
