use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;

use super::rules::{as_signed, check_certificate, check_issuer, check_linked, peer_role};
use crate::x509::{
    Certificate, CertificateChain, RevocationList, SerialNumber, TrustBundle, Window, X509Error,
    walk, webpki_verify,
};
use crate::{
    Authority, AuthorityError, Capabilities, Dialect, Outcome, Profile, Revocation,
    RevocationListRequest, RevocationRequest, SigningRequest, Ticket,
};

/// A CA whose answers are compared with the requests.
pub(super) struct CheckedAuthority {
    inner: Arc<dyn Authority>,
    anchors: TrustBundle,
    dialect: Dialect,
    revocation: Revocation,
    /// Ways up that were verified. Chains of one authority share them and their signatures do not
    /// change: per leaf only its own signature is left to check.
    verified: Mutex<Vec<Verified>>,
}

/// The way from an issuer to the anchors, verified for one profile.
struct Verified {
    profile: Profile,
    intermediates: Vec<Certificate>,
    windows: [Window; 2],
}

impl Verified {
    fn covers(&self, chain: &CertificateChain, profile: Profile, now: Timestamp) -> bool {
        let end = chain.leaf().not_after();
        self.profile == profile
            && self.intermediates == chain.intermediates()
            && self.windows.iter().any(|window| window.contains(now))
            && self.windows.iter().any(|window| window.contains(end))
    }
}

impl CheckedAuthority {
    pub(super) fn new(
        inner: Arc<dyn Authority>,
        anchors: TrustBundle,
        capabilities: &Capabilities,
    ) -> Self {
        Self {
            inner,
            anchors,
            dialect: capabilities.dialect,
            revocation: capabilities.revocation,
            verified: Mutex::new(Vec::new()),
        }
    }

    fn inspect(
        &self,
        request: &SigningRequest,
        mut outcome: Outcome,
    ) -> Result<Outcome, AuthorityError> {
        if let Outcome::Issued(issuance) = &mut outcome {
            let found = match self.dialect {
                Dialect::Full => self.check_chain(request, &issuance.chain),
                Dialect::Csr => {
                    let request = as_signed(request, issuance.chain.leaf());
                    request.and_then(|request| self.check_chain(&request, &issuance.chain))
                }
            };
            found.map_err(|problem| AuthorityError::Misissued {
                authority: self.id().to_owned(),
                problem,
            })?;
            // The backend's opinion on which roots to trust is not asked for.
            issuance.anchors = self.anchors.clone();
        }
        Ok(outcome)
    }

    fn check_chain(
        &self,
        request: &SigningRequest,
        chain: &CertificateChain,
    ) -> Result<(), String> {
        let certificate = chain.leaf();
        check_certificate(certificate, request, self.dialect)?;
        let issuer = self.issuer(chain)?;
        check_issuer(certificate, issuer, request)?;
        self.check_way_up(request, chain, issuer)
    }

    /// The certificate of ours that issued the chain's first: a cross-certificate of it will do,
    /// another CA of the same backend will not.
    fn issuer<'a>(&'a self, chain: &'a CertificateChain) -> Result<&'a Certificate, String> {
        let ours = self.inner.certificate();
        let Some(issuer) = chain.intermediates().first() else {
            return match self.anchors.contains(ours) {
                true => Ok(ours),
                false => Err(format!(
                    "its chain lacks the certificate of the CA {}",
                    ours.subject()
                )),
            };
        };
        let same =
            issuer.raw_subject() == ours.raw_subject() && issuer.public_key() == ours.public_key();
        match same {
            true => Ok(issuer),
            false => Err(format!(
                "its chain continues with {}, which is not the CA that was asked, {}",
                issuer.subject(),
                ours.subject()
            )),
        }
    }

    /// Whether the chain leads to the anchors at `now` and on the certificate's last day.
    fn check_way_up(
        &self,
        request: &SigningRequest,
        chain: &CertificateChain,
        issuer: &Certificate,
    ) -> Result<(), String> {
        let (profile, now) = (request.profile, request.now);
        let rest = chain.intermediates().get(1..).unwrap_or_default();
        // The issuer's own name constraints are looked at with every leaf; those above it are not.
        let constrained = rest
            .iter()
            .chain(self.anchors.anchors())
            .any(Certificate::has_name_constraints);
        if !constrained
            && self
                .verified()
                .iter()
                .any(|known| known.covers(chain, profile, now))
        {
            return Ok(());
        }
        check_linked(chain.intermediates())?;
        let below = u32::from(profile.is_ca());
        let above = |at| walk(issuer, rest, &self.anchors, Some(at), below + 1);
        let at_now = above(now).map_err(|error| error.reason)?;
        let at_end = above(chain.leaf().not_after()).map_err(|error| {
            format!("it is valid longer than its issuers are: {}", error.reason)
        })?;
        if let Some(role) = peer_role(profile) {
            webpki_verify(chain, &self.anchors, role, now).map_err(|error| error.reason)?;
        }
        let mut verified = self.verified();
        verified.retain(|known| known.profile != profile);
        verified.push(Verified {
            profile,
            intermediates: chain.intermediates().to_vec(),
            windows: [at_now, at_end],
        });
        Ok(())
    }

    fn verified(&self) -> MutexGuard<'_, Vec<Verified>> {
        // A panic elsewhere while the lock was held cannot have left a half-made entry.
        self.verified
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[async_trait]
impl Authority for CheckedAuthority {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn path(&self) -> &[Certificate] {
        self.inner.path()
    }

    fn anchors(&self) -> &TrustBundle {
        &self.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        if !request.profile.is_ca() {
            let refused = |error: X509Error| AuthorityError::rejected(self.id(), &error);
            request.csr.for_leaf().map_err(refused)?;
        }
        if self.dialect == Dialect::Csr {
            let refused = |error: X509Error| AuthorityError::rejected(self.id(), &error);
            let names = request.names.as_slice();
            request
                .csr
                .asking_for(&request.subject, names)
                .map_err(refused)?;
        }
        let outcome = self.inner.sign(request).await?;
        self.inspect(request, outcome)
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let outcome = self.inner.collect(request, ticket).await?;
        self.inspect(request, outcome)
    }

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        // A backend may revoke whatever it is shown, of any of its CAs.
        if let Some(certificate) = &request.certificate
            && (!certificate.is_issued_by(self.certificate())
                || certificate.serial().as_ref() != Ok(&request.serial))
        {
            return Err(AuthorityError::Rejected {
                authority: self.id().to_owned(),
                reason: format!(
                    "{} is not the certificate {} of {}",
                    certificate.subject(),
                    request.serial,
                    self.certificate().subject()
                ),
            });
        }
        self.inner.revoke(request).await
    }

    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        let list = self.inner.revocation_list(request).await?;
        let misissued = |problem: String| AuthorityError::Misissued {
            authority: self.id().to_owned(),
            problem,
        };
        // Signature and issuer once more, against the certificate that we know.
        let list = RevocationList::from_der(list.der(), self.certificate())
            .map_err(|error| misissued(error.to_string()))?;
        let mut wanted = request.revoked.iter().map(|revoked| &revoked.serial);
        if !self.revocation.keeps() {
            return match list.serials().iter().eq(wanted) {
                true => Ok(list),
                false => Err(misissued("its list has other certificates".to_owned())),
            };
        }
        // It says itself what else is on its list, and until when that holds.
        let listed: HashSet<&SerialNumber> = list.serials().iter().collect();
        if let Some(missing) = wanted.find(|serial| !listed.contains(serial)) {
            return Err(misissued(format!(
                "its list lacks {missing}, which is revoked"
            )));
        }
        match list.next_update() > request.validity.not_before() {
            true => Ok(list),
            false => Err(misissued(format!(
                "its list ended at {}",
                list.next_update()
            ))),
        }
    }
}
