//! Measures what CA backends are asked, how long they take and what comes of it.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PrivateKey, RevocationList, Subject, TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Generation, Outcome, Profile, Progress, Provider,
    RevocationListRequest, RevocationRequest, RootRequest, SignerRequest, SigningRequest, Ticket,
};

use crate::metrics::Metrics;

/// Any answer of a backend, also that it is not done yet.
const SUCCESS: &str = "success";
/// What a call counts as if nobody waited for its end: it took too long, or we were interrupted.
const ABANDONED: &str = "abandoned";

/// A provider whose calls are measured.
pub(super) struct Measured {
    inner: Arc<dyn Provider>,
    meter: Meter,
}

impl Measured {
    pub(super) fn new(
        inner: Arc<dyn Provider>,
        backend: &'static str,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            inner,
            meter: Meter { metrics, backend },
        }
    }
}

#[derive(Clone)]
struct Meter {
    metrics: Arc<Metrics>,
    /// The kind of backend.
    backend: &'static str,
}

impl Meter {
    /// A call that gives no certificate.
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, AuthorityError>>,
    ) -> Result<T, AuthorityError> {
        let mut running = self.start(operation, None);
        let result = call.await;
        running.outcome = outcome(&result);
        result
    }

    /// A call for a certificate of `role` in a relay. `ready` tells whether an answer has it.
    async fn issue<T>(
        &self,
        operation: &'static str,
        (relay, role): (&str, &'static str),
        ready: impl FnOnce(&T) -> bool,
        call: impl Future<Output = Result<T, AuthorityError>>,
    ) -> Result<T, AuthorityError> {
        let mut running = self.start(operation, Some((relay, role)));
        let result = call.await;
        running.outcome = outcome(&result);
        if result.as_ref().is_ok_and(|answer| !ready(answer)) {
            // Neither obtained nor refused: whoever asks again will know.
            running.issues = None;
        }
        result
    }

    fn start<'a>(
        &'a self,
        operation: &'static str,
        issues: Option<(&'a str, &'static str)>,
    ) -> Running<'a> {
        Running {
            meter: self,
            operation,
            issues,
            began: Instant::now(),
            outcome: ABANDONED,
        }
    }
}

fn outcome<T>(result: &Result<T, AuthorityError>) -> &'static str {
    match result {
        Ok(_) => SUCCESS,
        Err(error) => error.label(),
    }
}

/// A call under way. It is counted when it ends, also if it is dropped before.
struct Running<'a> {
    meter: &'a Meter,
    operation: &'static str,
    /// The relay and the role of the certificate that it is for.
    issues: Option<(&'a str, &'static str)>,
    began: Instant,
    outcome: &'static str,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Meter { metrics, backend } = self.meter;
        let took = self.began.elapsed();
        metrics.requested(backend, self.operation, self.outcome, took);
        if let Some((relay, role)) = self.issues {
            metrics.issued(relay, backend, role, self.outcome);
        }
    }
}

#[async_trait]
impl Provider for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.meter.call("check", self.inner.check()).await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let what = (request.generation.relay.as_str(), "root");
        let ready = |answer: &_| matches!(answer, Progress::Done(_));
        let call = self.inner.create_root(request);
        self.meter.issue("create_root", what, ready, call).await
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let call = self.inner.prepare_signer(request);
        self.meter.call("prepare_signer", call).await
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        let call = self.inner.request_root(generation, subject);
        self.meter.call("request_root", call).await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        let call = self.inner.install_signer(generation, chain, anchors);
        self.meter.call("install_signer", call).await
    }

    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        let call = self.inner.existing_signer(generation);
        self.meter.call("existing_signer", call).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let call = self.inner.open(generation, anchors);
        Ok(Arc::new(MeasuredAuthority {
            inner: self.meter.call("open", call).await?,
            meter: self.meter.clone(),
            relay: generation.relay.clone(),
        }))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let call = self.inner.import(generation, key, chain);
        self.meter.call("import", call).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        let call = self.inner.export_key(generation);
        self.meter.call("export_key", call).await
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let call = self.inner.disable(generation);
        self.meter.call("disable", call).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let call = self.inner.destroy(generation);
        self.meter.call("destroy", call).await
    }
}

/// An authority whose calls are measured.
struct MeasuredAuthority {
    inner: Arc<dyn Authority>,
    meter: Meter,
    relay: String,
}

impl MeasuredAuthority {
    fn what(&self, request: &SigningRequest) -> (&str, &'static str) {
        let role = match request.profile {
            Profile::Root => "root",
            Profile::Signer => "signer",
            Profile::RelayServer => "server",
            Profile::AgentClient => "agent",
        };
        (&self.relay, role)
    }
}

fn issued(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Issued(_))
}

#[async_trait]
impl Authority for MeasuredAuthority {
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
        self.inner.anchors()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let (what, call) = (self.what(request), self.inner.sign(request));
        self.meter.issue("sign", what, issued, call).await
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let (what, call) = (self.what(request), self.inner.collect(request, ticket));
        self.meter.issue("collect", what, issued, call).await
    }

    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        let call = self.inner.revoke(request);
        self.meter.call("revoke", call).await
    }

    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        let call = self.inner.revocation_list(request);
        self.meter.call("revocation_list", call).await
    }
}
