use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, RevocationList, TrustBundle, Validity, X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, Issuance, Outcome, RevocationListRequest, SigningRequest,
};

use crate::build::Issuer;

/// One of our own CAs, its key in memory.
pub(crate) struct LocalCa {
    pub(crate) id: String,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
    pub(crate) issuer: Issuer,
}

impl LocalCa {
    /// What of `asked` every certificate above it lives through. A certificate that outlives its
    /// issuer is a surprise on the issuer's last day, and CAs made by hand outlive their roots.
    fn clamped(&self, asked: &Validity) -> Result<Validity, X509Error> {
        let above = self.path.iter().chain([&self.certificate]);
        let first_end = above.map(Certificate::not_after).min();
        let top = self.path.last().unwrap_or(&self.certificate);
        let roots = self.anchors.anchors().iter();
        let roots = roots.filter(|root| *root == top || top.names_as_issuer(root));
        let last_root = roots.map(Certificate::not_after).max();
        let ends = [Some(asked.not_after()), first_end, last_root];
        let end = ends.into_iter().flatten().min();
        Validity::new(
            asked.not_before().max(self.certificate.not_before()),
            end.unwrap_or(asked.not_after()),
        )
    }
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
        let validity = self.clamped(&request.validity).map_err(rejected)?;
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

    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        self.issuer
            .revocation_list(&self.certificate, request)
            .map_err(|error| AuthorityError::rejected(&self.id, &error))
    }
}
