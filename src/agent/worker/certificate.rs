//! How a certificate is got and put in its place.

use data_encoding::HEXLOWER;
use relay_pki_authority::Profile;
use relay_pki_authority::x509::{Certificate, PrivateKey, Subject, TrustBundle, VerifiedCsr};

use super::super::LOG;
use super::super::client::{Issued, Proof, Terms};
use super::super::decision::{Reason, RefusedToken};
use super::super::delivery::checked;
use super::super::holdings::Holdings;
use super::{CERTIFICATE_PAUSE, Error, VERDICT_LIFE, Worker, anchors, unless_cancelled};
use crate::engine::csr;

impl Worker {
    pub(super) async fn enrol(&mut self, reason: &Reason, held: &Holdings) -> Result<(), Error> {
        let Some((digest, token)) = self.token.clone() else {
            return Ok(());
        };
        let held = self.refreshed(held, false).await?;
        // The server has said what time it is.
        let needed = self.view(&held).need(self.moment());
        if !needed.is_some_and(|needed| needed.needs_token()) {
            return Ok(());
        }
        tracing::info!(target: LOG, cluster = %self.policy.cluster, %reason, "enrolling with the token");
        let anchors = anchors(&held)?.clone();
        let terms = Terms {
            trust: &anchors,
            identity: None,
        };
        let cluster = self.policy.cluster.clone();
        let proof = Proof::Token {
            cluster: cluster.as_str(),
            token: &token,
        };
        let issued = self.obtain(terms, proof).await;
        if let Err(Error::Server(failure)) = &issued
            && failure.is_verdict()
        {
            let (before, up) = (self.memory.refused_token, self.begun.elapsed());
            self.memory.refused_token = Some(RefusedToken::again(before, digest, up));
        }
        self.deliver(issued?, &anchors, "enrolled").await
    }

    pub(super) async fn renew(&mut self, reason: &Reason, held: &Holdings) -> Result<(), Error> {
        let held = self.refreshed(held, true).await?;
        let Some(identity) = self.view(&held).presented(self.moment()).cloned() else {
            return Ok(());
        };
        tracing::info!(target: LOG, cluster = %self.policy.cluster, %reason, "renewing");
        let anchors = anchors(&held)?.clone();
        let terms = Terms {
            trust: &anchors,
            identity: Some(&identity),
        };
        let issued = self.obtain(terms, Proof::Certificate).await;
        if let Err(Error::Server(failure)) = &issued
            && failure.is_verdict()
        {
            self.memory.refused_until = Some(self.begun.elapsed() + VERDICT_LIFE);
        }
        self.deliver(issued?, &anchors, "renewed").await
    }

    /// Asks for a certificate for the key that was asked for before, or for a new one.
    async fn obtain(
        &mut self,
        terms: Terms<'_>,
        proof: Proof<'_>,
    ) -> Result<Option<Certificate>, Error> {
        let key = match self.pending.take() {
            Some(key) => key,
            None => self.new_key(terms).await?,
        };
        let request = self.request(&key)?;
        self.pending = Some(key);
        let asked = self.client.certificate(terms, &request, proof);
        match unless_cancelled(&self.cancel, asked).await?? {
            Issued::Certificate(certificate) => Ok(Some(certificate)),
            Issued::Pending(after) => {
                let seconds = after.as_secs();
                tracing::info!(target: LOG, seconds, "the certificate is not issued yet");
                self.memory.certificate_at = self.begun.elapsed() + after.min(VERDICT_LIFE);
                Ok(None)
            }
        }
    }

    /// A new key for each certificate: who has got hold of an old one has nothing once it has ended.
    async fn new_key(&mut self, terms: Terms<'_>) -> Result<PrivateKey, Error> {
        let key_type = match self.key_type {
            Some(key_type) => key_type,
            None => unless_cancelled(&self.cancel, self.client.key_type(terms)).await??,
        };
        // RSA takes its time.
        let made = tokio::task::spawn_blocking(move || PrivateKey::generate(key_type)).await;
        let made = made.map_err(|_| Error::Other("no key could be made".to_owned()))?;
        made.map_err(|error| Error::Other(error.to_string()))
    }

    fn request(&self, key: &PrivateKey) -> Result<VerifiedCsr, Error> {
        let subject = Subject {
            organization: None,
            common_name: self.policy.cluster.common_name().clone(),
        };
        // Some backends grant what a request asks for: so it asks for what an agent is.
        let names = [self.policy.cluster.dns_name().clone()];
        csr(key, &subject, &names, Profile::AgentClient)
            .map_err(|error| Error::Other(error.to_string()))
    }

    /// Writes the certificate with its key, once it is what was asked for.
    async fn deliver(
        &mut self,
        issued: Option<Certificate>,
        anchors: &TrustBundle,
        what: &str,
    ) -> Result<(), Error> {
        let (Some(leaf), Some(key)) = (issued, &self.pending) else {
            return Ok(());
        };
        let known = self.memory.known.as_ref();
        let known = known.ok_or_else(|| Error::Other("no signers are known".to_owned()))?;
        let now = self.moment().now;
        let wanted = (&self.policy.cluster, key.public_key());
        let chain = checked(leaf, wanted, (known, anchors), now)
            .map_err(|reason| Error::Other(format!("the certificate is not taken: {reason}")))?;
        self.store.save(anchors, Some((key, &chain))).await?;
        self.pending = None;
        self.memory.refused_until = None;
        self.memory.refused_token = None;
        self.memory.certificate_at = self.begun.elapsed() + CERTIFICATE_PAUSE;
        // The other end is to see it, and to be told which roots are held.
        self.memory.poll_at = self.begun.elapsed();
        let leaf = chain.leaf();
        let serial = HEXLOWER.encode(leaf.raw_serial());
        tracing::info!(
            target: LOG,
            cluster = %self.policy.cluster, serial, issuer = leaf.issuer(),
            not_after = %leaf.not_after(), "{what}"
        );
        Ok(())
    }
}
