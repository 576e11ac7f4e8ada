use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, DnsName, RevocationList, SerialNumber, TrustBundle, X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, Issuance, Outcome, Profile, RevocationListRequest,
    RevocationRequest, SigningRequest,
};
use vaultrs::api::pki::requests::SignIntermediateIssuerRequest;

use crate::client::{Again, Client};
use crate::endpoints::{CertificateReply, CrlReply, ReadCrl, Revoke, RotateCrl, SignLeaf};
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

    /// The issuer's list as Vault has it now.
    async fn list(&self) -> Result<RevocationList, AuthorityError> {
        let read = ReadCrl {
            mount: self.client.config().mount.clone(),
            issuer: self.issuer.clone(),
        };
        let reply = self.client.ask::<CrlReply>(&read, Again::Always).await;
        let reply =
            reply.map_err(|failure| failure.explain(&self.id, "reading the revocation list"))?;
        RevocationList::from_pem(reply.crl.as_bytes(), &self.certificate).map_err(|error| {
            AuthorityError::Misissued {
                authority: self.id.clone(),
                problem: error.to_string(),
            }
        })
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

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        let certificate = request.certificate.as_ref();
        let revoke = Revoke {
            mount: self.client.config().mount.clone(),
            certificate: certificate.map(Certificate::to_pem),
            // Both at once are refused.
            serial_number: match certificate {
                Some(_) => None,
                None => Some(request.serial.with_colons()),
            },
        };
        let revoked = self.client.tell(&revoke).await;
        revoked.map_err(|failure| failure.explain(&self.id, "revoking a certificate"))
    }

    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        let list = self.list().await?;
        let complete = |list: &RevocationList| {
            let listed: HashSet<&SerialNumber> = list.serials().iter().collect();
            let mut wanted = request.revoked.iter();
            wanted.all(|revoked| listed.contains(&revoked.serial))
        };
        if complete(&list) && !is_old(&list) {
            return Ok(list);
        }
        // As a mount is set, lists are made anew when something is revoked, when they end, or never.
        let mount = self.client.config().mount.clone();
        let rotated = self
            .client
            .tell(&RotateCrl {
                mount: mount.clone(),
            })
            .await;
        rotated.map_err(|failure| failure.explain(&self.id, "making the revocation list anew"))?;
        let list = self.list().await?;
        match complete(&list) {
            true => Ok(list),
            false => Err(AuthorityError::Misconfigured {
                authority: self.id.clone(),
                reason: "its revocation list lacks certificates that it has revoked".to_owned(),
                remedy: format!("run `vault write {mount}/config/crl disable=false`"),
            }),
        }
    }
}

/// Whether a list does not hold for long any more.
fn is_old(list: &RevocationList) -> bool {
    let (begin, end) = (list.this_update(), list.next_update());
    end.duration_since(Timestamp::now()) < end.duration_since(begin) / 2
}

/// A date as Vault reads it.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
