use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle};
use relay_pki_authority::{Authority, AuthorityError, Issuance, Outcome, SigningRequest};

use crate::build::Issuer;

/// One of our own CAs, its key in memory.
pub(crate) struct LocalCa {
    pub(crate) id: String,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
    pub(crate) issuer: Issuer,
}

#[async_trait]
impl Authority for LocalCa {
    fn id(&self) -> &str {
        &self.id
    }

    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn path(&self) -> &[Certificate] {
        &self.path
    }

    fn anchors(&self) -> &TrustBundle {
        &self.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let rejected = |error| AuthorityError::rejected(&self.id, &error);
        let issuer_validity = self.certificate.validity().map_err(rejected)?;
        // A certificate that outlives its issuer is a surprise on the issuer's last day.
        let validity = request
            .validity
            .clamped_to(&issuer_validity)
            .map_err(rejected)?;
        let leaf = self
            .issuer
            .sign(
                request.csr.public_key(),
                request.profile,
                &request.subject,
                &request.names,
                &validity,
            )
            .map_err(rejected)?;
        let chain = std::iter::once(leaf).chain(self.path.iter().cloned());
        Ok(Outcome::Issued(Issuance {
            chain: CertificateChain::new(chain.collect()).map_err(rejected)?,
            anchors: self.anchors.clone(),
            reference: None,
        }))
    }
}
