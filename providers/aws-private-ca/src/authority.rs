use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_acmpca::types::SigningAlgorithm;
use jiff::SignedDuration;
use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle, Validity, X509Error};
use relay_pki_authority::{
    Authority, AuthorityError, Issuance, IssuanceId, Outcome, RevocationRequest, SigningRequest,
    Ticket,
};

use crate::AuthorityArn;
use crate::api::{Api, Order};
use crate::key;
use crate::template::Template;

/// Longest life of what a CA in short-lived certificate mode issues.
pub(crate) const SHORT_LIVED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long AWS takes for a certificate, as its own clients assume.
const POLL: Duration = Duration::from_secs(1);

/// One private CA. Its ticket is the ARN of the certificate.
pub(crate) struct PrivateCa {
    pub(crate) id: String,
    pub(crate) api: Arc<Api>,
    pub(crate) arn: AuthorityArn,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) short_lived: bool,
}

impl PrivateCa {
    /// What of `asked` every certificate above it lives through: AWS refuses more.
    fn clamped(&self, asked: &Validity) -> Result<Validity, X509Error> {
        let above = self.path.iter().chain([&self.certificate]);
        let first_end = above.map(Certificate::not_after).min();
        let end = first_end.map_or(asked.not_after(), |end| end.min(asked.not_after()));
        Validity::new(asked.not_before(), end)
    }

    fn rejected(&self, reason: String) -> AuthorityError {
        AuthorityError::Rejected {
            authority: self.id.clone(),
            reason,
        }
    }

    fn unsupported(&self, what: &str) -> AuthorityError {
        AuthorityError::Unsupported {
            authority: self.id.clone(),
            what: what.to_owned(),
        }
    }
}

#[async_trait]
impl Authority for PrivateCa {
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

    /// Always pending: the ARN is to be written down before anything else can go wrong.
    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let Some(template) = Template::of(request) else {
            let what = "cross-certificates for roots: its templates for CAs all have a path length";
            return Err(self.unsupported(what));
        };
        match request.csr.public_key().key_type() {
            Ok(key_type) if key::SUPPORTED.contains(&key_type) => {}
            _ => {
                let found = request.csr.public_key().describe();
                return Err(self.unsupported(&format!("certificates for keys of type {found}")));
            }
        }
        let validity = self
            .clamped(&request.validity)
            .map_err(|error| AuthorityError::rejected(&self.id, &error))?;
        if self.short_lived && validity.not_after().duration_since(request.now) > SHORT_LIVED {
            return Err(self.rejected(format!(
                "the CA is in short-lived certificate mode and issues for 7 days at most, not until \
                 {}; ask for a validity of 7d or less, or take a general-purpose CA",
                validity.not_after()
            )));
        }
        // The same need, asked of two CAs, is two certificates: a signer under the old root and
        // under the new one.
        let token =
            IssuanceId::derive(&[self.arn.as_str().as_bytes(), request.id.as_str().as_bytes()]);
        let order = Order {
            csr: &request.csr,
            template: &template.name,
            passthrough: template.passthrough,
            algorithm: self.algorithm.clone(),
            validity,
            token: &token,
        };
        let certificate = self.api.issue(&self.arn, order).await?;
        Ok(Outcome::Pending {
            ticket: Ticket(certificate),
            poll_after: POLL,
        })
    }

    async fn collect(
        &self,
        _: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        if !self.arn.issued(&ticket.0) {
            let reason = format!("{:.120} is not a certificate of {}", ticket.0, self.arn);
            return Err(self.rejected(reason));
        }
        let Some(leaf) = self.api.fetch(&self.arn, &ticket.0).await? else {
            return Ok(Outcome::Pending {
                ticket: ticket.clone(),
                poll_after: POLL,
            });
        };
        // The chain that AWS sends along is not looked at: our own leads to the roots that count.
        let chain = std::iter::once(leaf).chain(self.path.iter().cloned());
        let chain = CertificateChain::new(chain.collect());
        Ok(Outcome::Issued(Issuance {
            chain: chain.map_err(|error| AuthorityError::rejected(&self.id, &error))?,
            anchors: self.anchors.clone(),
            reference: Some(ticket.0.clone()),
        }))
    }

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        self.api.revoke(&self.arn, &request.serial).await
    }
}
