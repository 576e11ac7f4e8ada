use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_security_privateca_v1::client::CertificateAuthorityService;
use google_cloud_security_privateca_v1::model;
use google_cloud_security_privateca_v1::model::RevocationReason;
use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, SerialNumber, TrustBundle, Validity, X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, Issuance, Outcome, RevocationRequest, SigningRequest,
};

use crate::client::Client;
use crate::error::Kind;
use crate::names::IssuanceName;
use crate::pace::Pace;
use crate::terms::{Dates, MARGIN, Terms, duration, timestamp};
use crate::wanted::certificate_config;

/// Certificates of one serial number that are looked at.
const FOUND: i32 = 20;

/// What is known about a CA that issues.
pub(crate) struct Issuer {
    pub(crate) id: String,
    /// Its resource name.
    pub(crate) resource: String,
    /// Its name in the pool.
    pub(crate) name: String,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
    pub(crate) terms: Terms,
}

/// A CA of the pool, pinned: no other CA of the pool is asked in its place.
pub(crate) struct PoolCa {
    client: Arc<Client>,
    issuer: Issuer,
    pace: Pace,
}

impl PoolCa {
    pub(crate) fn new(client: Arc<Client>, issuer: Issuer) -> Self {
        Self {
            client,
            pace: Pace::new(issuer.terms.interval()),
            issuer,
        }
    }

    /// The time that every certificate above a new one lives through. The service cuts what is asked for
    /// beyond it, and does not say so.
    fn limits(&self) -> Result<Validity, X509Error> {
        let own = &self.issuer.certificate;
        let above = self.issuer.path.iter().chain([own]);
        let first_end = above.map(Certificate::not_after).min();
        let top = self.issuer.path.last().unwrap_or(own);
        let roots = self.issuer.anchors.anchors().iter();
        let roots = roots.filter(|root| *root == top || top.names_as_issuer(root));
        let last_root = roots.map(Certificate::not_after).max();
        let end = [first_end, last_root].into_iter().flatten().min();
        Validity::new(own.not_before(), end.unwrap_or(own.not_after()))
    }

    fn rejected(&self, reason: impl ToString) -> AuthorityError {
        AuthorityError::Rejected {
            authority: self.issuer.id.clone(),
            reason: reason.to_string(),
        }
    }

    fn misissued(&self, problem: String) -> AuthorityError {
        AuthorityError::Misissued {
            authority: self.issuer.id.clone(),
            problem,
        }
    }

    async fn buy(
        &self,
        request: &SigningRequest,
        dates: Dates,
    ) -> Result<model::Certificate, AuthorityError> {
        let name = IssuanceName::new(&request.id, &self.issuer.resource);
        let mut wanted = model::Certificate::new()
            .set_config(certificate_config(request))
            .set_lifetime(duration(dates.lifetime));
        if let Some(start) = dates.start {
            wanted = wanted.set_requested_not_before_time(timestamp(start));
        }
        let pool = &self.client.access.pool;
        let create = |service: CertificateAuthorityService| {
            service
                .create_certificate()
                .set_parent(pool.as_str())
                .set_certificate_id(name.certificate_id())
                .set_request_id(name.request_id())
                .set_issuing_certificate_authority_id(&self.issuer.name)
                .set_certificate(wanted.clone())
                // By its names: asked twice, the service issues once.
                .with_idempotency(true)
                .send()
        };
        let (id, doing) = (&self.issuer.id, "issue a certificate");
        match self.client.call(id, doing, create).await {
            Ok(certificate) => Ok(certificate),
            // Issued so long ago that the request is forgotten.
            Err(failed) if failed.kind == Kind::Exists => {
                let name = pool.certificate(&name.certificate_id());
                let get = |service: CertificateAuthorityService| {
                    service.get_certificate().set_name(&name).send()
                };
                let doing = "read a certificate that was issued before";
                Ok(self.client.call(id, doing, get).await?)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// The certificate of the pinned CA with a serial number. The service knows it by its name, but can look
    /// for it.
    async fn issued(&self, serial: &SerialNumber) -> Result<model::Certificate, AuthorityError> {
        let digits = serial.with_colons().replace(':', "");
        let field = "certificate_description.subject_description.hex_serial_number";
        // With an even number of digits, or with no zero in front.
        let short = digits.trim_start_matches('0');
        let filter = format!("{field}=\"{digits}\" OR {field}=\"{short}\"");
        let pool = &self.client.access.pool;
        let list = |service: CertificateAuthorityService| {
            service
                .list_certificates()
                .set_parent(pool.as_str())
                .set_filter(&filter)
                .set_page_size(FOUND)
                .send()
        };
        let (id, doing) = (&self.issuer.id, "look for a certificate");
        let found = self.client.call(id, doing, list).await?.certificates;
        let mut own = found
            .into_iter()
            .filter(|one| one.issuer_certificate_authority == self.issuer.resource);
        // Other CAs of the pool have serial numbers, too; and what the filter means is the service's affair.
        own.find(|one| {
            let certificate = Certificate::from_pem(one.pem_certificate.as_bytes());
            certificate.is_ok_and(|certificate| certificate.serial().as_ref() == Ok(serial))
        })
        .ok_or_else(|| self.rejected(format!("it has no certificate {serial}")))
    }

    /// Whether the pinned CA issued it, for as long as was asked.
    fn inspect(
        &self,
        bought: &model::Certificate,
        wanted: &Validity,
    ) -> Result<Certificate, AuthorityError> {
        let name = &bought.name;
        if bought.revocation_details.is_some() {
            return Err(self.rejected(format!("the certificate {name} was revoked")));
        }
        if bought.issuer_certificate_authority != self.issuer.resource {
            return Err(self.misissued(format!(
                "{name} was issued by {}, not by {}",
                bought.issuer_certificate_authority, self.issuer.resource
            )));
        }
        let certificate = Certificate::from_pem(bought.pem_certificate.as_bytes())
            .map_err(|error| self.misissued(format!("{name}: {error}")))?;
        // Once for the clocks, and once because the service cuts off what we allow for them.
        if wanted.not_after().duration_since(certificate.not_after()) > MARGIN * 2 {
            return Err(self.misissued(format!(
                "{name} ends at {}, not at {}: the service cut it without saying so",
                certificate.not_after(),
                wanted.not_after()
            )));
        }
        Ok(certificate)
    }
}

#[async_trait]
impl Authority for PoolCa {
    fn id(&self) -> &str {
        &self.issuer.id
    }

    fn certificate(&self) -> &Certificate {
        &self.issuer.certificate
    }

    fn path(&self) -> &[Certificate] {
        &self.issuer.path
    }

    fn anchors(&self) -> &TrustBundle {
        &self.issuer.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let limits = self.limits().map_err(|error| self.rejected(error))?;
        let wanted = request.validity.clamped_to(&limits);
        let wanted = wanted.map_err(|error| self.rejected(error))?;
        let ahead = wanted.not_before().duration_since(request.now);
        if ahead.is_positive() {
            // Nobody would accept what it issues now.
            return Err(AuthorityError::Unavailable {
                authority: self.issuer.id.clone(),
                reason: format!("the CA is valid only from {}", wanted.not_before()),
                retry_after: ahead.try_into().ok(),
            });
        }
        self.pace.turn(&self.issuer.id).await?;
        let dates = self
            .issuer
            .terms
            .dates(&wanted, &limits, Timestamp::now())
            .ok_or_else(|| self.rejected(format!("nothing is left of {wanted}")))?;
        let bought = self.buy(request, dates).await?;
        let certificate = self.inspect(&bought, &wanted)?;
        let chain = std::iter::once(certificate).chain(self.issuer.path.iter().cloned());
        let reference = Some(bought.name).filter(|name| !name.is_empty());
        Ok(Outcome::Issued(Issuance {
            chain: CertificateChain::new(chain.collect()).map_err(|error| self.rejected(error))?,
            anchors: self.issuer.anchors.clone(),
            reference,
        }))
    }

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        if self.issuer.terms.devops {
            return Err(AuthorityError::Unsupported {
                authority: self.issuer.id.clone(),
                what: "revoking certificates: its pool is of the DevOps tier".to_owned(),
            });
        }
        let found = self.issued(&request.serial).await?;
        if found.revocation_details.is_some() {
            return Ok(());
        }
        let revoke = |service: CertificateAuthorityService| {
            service
                .revoke_certificate()
                .set_name(&found.name)
                .set_reason(RevocationReason::PrivilegeWithdrawn)
                // The second time nothing more is done.
                .with_idempotency(true)
                .send()
        };
        let (id, doing) = (&self.issuer.id, "revoke a certificate");
        match self.client.call(id, doing, revoke).await {
            Ok(_) => Ok(()),
            // By somebody else, or by us before the answer was lost.
            Err(failed) if failed.kind == Kind::WrongState => {
                match self.issued(&request.serial).await?.revocation_details {
                    Some(_) => Ok(()),
                    None => Err(failed.into()),
                }
            }
            Err(failed) => Err(failed.into()),
        }
    }
}
