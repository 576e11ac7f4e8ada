//! A CA that is asked by `CertificateRequest`s.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Issuance, Outcome, SigningRequest, Ticket,
};
use tokio::time::Instant;

use crate::api::{Api, Kind};
use crate::failure::Failure;
use crate::objects::CertificateRequest;
use crate::request::{SIGNING, difference, request};
use crate::settings::IssuerRef;
use crate::verdict::{Verdict, verdict};

/// How long a call waits for the certificate before it says that it is pending.
const PATIENCE: Duration = Duration::from_secs(5);
/// First pause before a request is looked at again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before a request is looked at again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// When to ask again for what takes longer.
const POLL_AFTER: Duration = Duration::from_secs(5);

/// An issuer, and the CA that is behind it according to the document or to our own key store.
pub(crate) struct IssuerCa {
    pub(crate) id: String,
    pub(crate) generation: Generation,
    pub(crate) issuer: IssuerRef,
    pub(crate) certificate: Certificate,
    pub(crate) path: Vec<Certificate>,
    pub(crate) anchors: TrustBundle,
    pub(crate) api: Api,
    pub(crate) deadline: Duration,
}

impl IssuerCa {
    /// The same for every attempt at the same certificate.
    fn name_of(&self, wanted: &SigningRequest) -> String {
        let Generation {
            relay,
            level,
            number,
        } = &self.generation;
        format!("relay-pki-{relay}-{level}-g{number}-{}", wanted.id)
    }

    async fn issue(&self, wanted: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let found = self.find_or_make(wanted).await?;
        if let Some(how) = difference(&found, &self.issuer, wanted) {
            let what = self.place(&found.metadata.name);
            return Err(self.rejected(format!("{what} is in the way: {how}; delete it")));
        }
        match self.wait(found).await? {
            (found, Verdict::Issued(pem)) => self.accept(wanted, &found.metadata.name, &pem),
            (found, Verdict::Refused(why)) => Err(self.refused(&found.metadata.name, &why)),
            (found, Verdict::Waiting(why)) => self.pending(found, wanted, &why).await,
        }
    }

    /// The request that was made already, or a new one.
    async fn find_or_make(
        &self,
        wanted: &SigningRequest,
    ) -> Result<CertificateRequest, AuthorityError> {
        let name = self.name_of(wanted);
        let kind = Kind::CertificateRequests;
        let read = |failure| self.failed(failure, "read a CertificateRequest");
        if let Some(found) = self.api.get(kind, &name).await.map_err(read)? {
            return Ok(found);
        }
        let end = self.end(wanted)?;
        let relay = &self.generation.relay;
        let made = request(name.clone(), relay, &self.issuer, wanted, end);
        let made = self.api.create(kind, &made).await;
        if let Some(made) =
            made.map_err(|failure| self.failed(failure, "create a CertificateRequest"))?
        {
            return Ok(made);
        }
        // Somebody was faster, or our own first attempt got through after all.
        let found = self.api.get(kind, &name).await.map_err(read)?;
        found.ok_or_else(|| AuthorityError::Unavailable {
            authority: self.id.clone(),
            reason: format!("{} comes and goes", self.place(&name)),
            retry_after: None,
        })
    }

    /// When the certificate has to end: cert-manager would let it outlive its CA.
    fn end(&self, wanted: &SigningRequest) -> Result<Timestamp, AuthorityError> {
        let top = self.path.last().unwrap_or(&self.certificate);
        let roots = self.anchors.anchors().iter();
        let roots = roots.filter(|root| *root == top || top.names_as_issuer(root));
        let ends = self.path.iter().chain([&self.certificate]);
        let ends = ends.map(Certificate::not_after);
        let end = ends
            .chain(roots.map(Certificate::not_after).max())
            .chain([wanted.validity.not_after()])
            .min()
            .unwrap_or(wanted.validity.not_after());
        match end.duration_since(wanted.now) > SIGNING * 2 {
            true => Ok(end),
            false => Err(self.rejected(format!("the certificate would end already at {end}"))),
        }
    }

    /// Looks at a request until there is an end to it, for a moment.
    async fn wait(
        &self,
        mut found: CertificateRequest,
    ) -> Result<(CertificateRequest, Verdict), AuthorityError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let state = verdict(&found);
            if !matches!(state, Verdict::Waiting(_)) || Instant::now() + pause > until {
                return Ok((found, state));
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            let name = &found.metadata.name;
            let again = self.api.get(Kind::CertificateRequests, name).await;
            let again = again.map_err(|error| self.failed(error, "read a CertificateRequest"))?;
            let gone = || self.rejected(format!("somebody deleted {}", self.place(name)));
            found = again.ok_or_else(gone)?;
        }
    }

    /// A request that nobody has answered yet: withdrawn if it is too old, so that no certificate is
    /// made that nobody waits for any more.
    async fn pending(
        &self,
        found: CertificateRequest,
        wanted: &SigningRequest,
        why: &str,
    ) -> Result<Outcome, AuthorityError> {
        let name = &found.metadata.name;
        let age = found.metadata.creation_timestamp;
        let age = age.map_or(SignedDuration::ZERO, |made| wanted.now.duration_since(made));
        if age.unsigned_abs() > self.deadline && age.is_positive() {
            let kind = Kind::CertificateRequests;
            let deleted = self.api.delete(kind, &found.metadata).await;
            // If it has changed since, the next call sees how.
            if deleted.map_err(|failure| self.failed(failure, "withdraw a CertificateRequest"))? {
                return Err(self.rejected(format!(
                    "{} was withdrawn after {} min: {why}; see whether {} works and who approves \
                     its requests",
                    self.place(name),
                    age.as_mins(),
                    self.issuer
                )));
            }
        }
        Ok(Outcome::Pending {
            ticket: Ticket(name.clone()),
            poll_after: POLL_AFTER,
        })
    }

    /// The certificate of the answer, with the way up that we know. What else the answer has, and
    /// what it calls the CA, does not matter.
    fn accept(
        &self,
        wanted: &SigningRequest,
        name: &str,
        pem: &str,
    ) -> Result<Outcome, AuthorityError> {
        let misissued = |problem: String| AuthorityError::Misissued {
            authority: self.id.clone(),
            problem: format!("{}: {problem}", self.place(name)),
        };
        let pem = STANDARD.decode(pem);
        let pem = pem.map_err(|_| misissued("its certificate is not base64".to_owned()))?;
        let answer = Certificate::list_from_pem(&pem);
        let answer = answer.map_err(|error| misissued(error.to_string()))?;
        let key = wanted.csr.public_key();
        let leaf = answer.into_iter().find(|found| found.public_key() == key);
        let leaf =
            leaf.ok_or_else(|| misissued("its certificate is for another key".to_owned()))?;
        if !leaf.is_issued_by(&self.certificate) {
            return Err(misissued(format!(
                "{} signed with the CA {}, not with {}, whose certificate relay-pki was given; \
                 repair the issuer, or move the relay to the CA that it has now",
                self.issuer,
                leaf.issuer(),
                self.certificate.subject()
            )));
        }
        let chain = std::iter::once(leaf).chain(self.path.iter().cloned());
        let chain = CertificateChain::new(chain.collect());
        Ok(Outcome::Issued(Issuance {
            chain: chain.map_err(|error| misissued(error.to_string()))?,
            anchors: self.anchors.clone(),
            reference: Some(name.to_owned()),
        }))
    }

    fn place(&self, name: &str) -> String {
        format!("CertificateRequest {}/{name}", self.api.namespace)
    }

    fn failed(&self, failure: Failure, what: &str) -> AuthorityError {
        failure.into_error(self.id.clone(), what, &self.api.namespace)
    }

    fn rejected(&self, reason: String) -> AuthorityError {
        AuthorityError::Rejected {
            authority: self.id.clone(),
            reason,
        }
    }

    fn refused(&self, name: &str, why: &str) -> AuthorityError {
        let what = self.place(name);
        let remedy = match why.contains("cert-manager.io/private-key-secret-name") {
            true => format!(
                "{} is self-signed and has no CA; name an issuer that has one",
                self.issuer
            ),
            false => format!("see to it that {} issues it, then delete it", self.issuer),
        };
        self.rejected(format!("{what}: {why}; {remedy}"))
    }
}

#[async_trait]
impl Authority for IssuerCa {
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
        self.issue(request).await
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        match ticket.0 == self.name_of(request) {
            true => self.issue(request).await,
            false => Err(self.rejected(format!("{} is the ticket of another request", ticket.0))),
        }
    }
}
