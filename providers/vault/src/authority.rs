use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use relay_pki_authority::x509::{Certificate, CertificateChain, DnsName, TrustBundle, X509Error};
use relay_pki_authority::{Authority, AuthorityError, Issuance, Outcome, Profile, SigningRequest};
use vaultrs::api::pki::requests::SignIntermediateIssuerRequest;

use crate::client::{Again, Client};
use crate::endpoints::{CertificateReply, SignLeaf};
use crate::failure::Failure;

/// An issuer of Vault's, pinned by its id.
pub(crate) struct VaultCa {
    pub(crate) id: String,
    pub(crate) client: Arc<Client>,
    pub(crate) issuer: String,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
}

impl VaultCa {
    /// When a certificate ends that is wanted until `asked`. Vault would refuse to go beyond its
    /// issuer or cut there silently, as that issuer is set; what is above the issuer it does not ask.
    fn end(&self, asked: Timestamp) -> Timestamp {
        let above = self.path.iter().chain([&self.certificate]);
        let top = self.path.last().unwrap_or(&self.certificate);
        let roots = self.anchors.anchors().iter();
        let roots = roots.filter(|root| *root == top || top.names_as_issuer(root));
        let ends = [
            above.map(Certificate::not_after).min(),
            roots.map(Certificate::not_after).max(),
        ];
        ends.into_iter().flatten().fold(asked, Timestamp::min)
    }

    async fn leaf(&self, request: &SigningRequest) -> Result<CertificateReply, Failure> {
        let config = self.client.config();
        let names: Vec<&str> = request.names.iter().map(DnsName::as_str).collect();
        let sign = SignLeaf {
            mount: config.mount.clone(),
            issuer: self.issuer.clone(),
            role: match request.profile {
                Profile::RelayServer => config.roles.server.clone(),
                _ => config.roles.agent.clone(),
            },
            csr: request.csr.to_pem(),
            common_name: request.subject.common_name.to_string(),
            alt_names: names.join(","),
            exclude_cn_from_sans: true,
            not_after: rfc3339(self.end(request.validity.not_after())),
        };
        self.client.ask(&sign, Again::OnlyIfUntouched).await
    }

    async fn ca(&self, request: &SigningRequest) -> Result<CertificateReply, Failure> {
        let organization = request.subject.organization.as_ref();
        let backdating = request.now.duration_since(request.validity.not_before());
        let sign = SignIntermediateIssuerRequest {
            mount: self.client.config().mount.clone(),
            issuer: self.issuer.clone(),
            csr: request.csr.to_pem(),
            common_name: request.subject.common_name.to_string(),
            organization: organization.map(|name| vec![name.to_string()]),
            exclude_cn_from_sans: Some(true),
            use_csr_values: Some(false),
            max_path_length: request
                .profile
                .path_len()
                .and_then(|length| length.try_into().ok()),
            not_before_duration: Some(u64::try_from(backdating.as_secs()).unwrap_or(0)),
            not_after: Some(rfc3339(self.end(request.validity.not_after()))),
            ..SignIntermediateIssuerRequest::default()
        };
        self.client.ask(&sign, Again::OnlyIfUntouched).await
    }
}

#[async_trait]
impl Authority for VaultCa {
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
        let (signed, what) = match request.profile.is_ca() {
            true => (
                self.ca(request).await,
                "signing a CA certificate".to_owned(),
            ),
            false => {
                let what = format!("signing a certificate of profile {}", request.profile);
                (self.leaf(request).await, what)
            }
        };
        let signed = signed.map_err(|failure| failure.explain(&self.id, &what))?;
        let unusable = |error: X509Error| AuthorityError::Misissued {
            authority: self.id.clone(),
            problem: error.to_string(),
        };
        let certificate = Certificate::from_pem(signed.certificate.as_bytes()).map_err(unusable)?;
        // What is above it does not depend on what the answer says is above it.
        let chain = std::iter::once(certificate).chain(self.path.iter().cloned());
        Ok(Outcome::Issued(Issuance {
            chain: CertificateChain::new(chain.collect()).map_err(unusable)?,
            anchors: self.anchors.clone(),
            reference: None,
        }))
    }
}

/// A date as Vault reads it.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
