//! A backend that counts: the self-signed provider behind a ledger that survives crashes, which
//! answers late and loses replies on request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PrivateKey, Subject, TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Generation, Issuance, Level, Metering, Outcome,
    Progress, Provider, RootRequest, Roots, SignerRequest, SigningRequest, Ticket,
};

use crate::cluster::fault::Faults;

/// When a process ends at a call to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the backend hears of it.
    Before,
    /// When the backend has done it, before anybody knows.
    After,
}

/// What the backend did, whoever asked. Clones are handles of the same ledger.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// Certificates by issuance id.
    issued: BTreeMap<String, Issuance>,
    /// Polls that are still answered with "pending", by issuance id.
    pending: BTreeMap<String, usize>,
    /// Subjects, one for each certificate that was made.
    subjects: Vec<String>,
    calls: usize,
    /// Calls of every kind, those that issue nothing included.
    all_calls: usize,
    /// At which of them the process ends, and when.
    crash: Option<(usize, Moment)>,
    collects: usize,
    lost: BTreeSet<usize>,
    polls: usize,
    forgetful: bool,
    unfit: bool,
    /// The generation whose key is that of the only root there is, which somebody else made.
    one_root: Option<u32>,
    /// Whether CAs can be disabled, and those that are.
    disables: bool,
    disabled: BTreeSet<String>,
    /// CAs that somebody else made, by level.
    existing: BTreeMap<Level, Certificate>,
}

impl Ledger {
    fn own(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }

    /// How many certificates were made for each subject.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for subject in &self.own().subjects {
            *counts.entry(subject.clone()).or_insert(0) += 1;
        }
        counts
    }

    pub(super) fn calls(&self) -> usize {
        self.own().calls
    }

    pub(super) fn collects(&self) -> usize {
        self.own().collects
    }

    /// The reply to the `n`-th call is lost, counted from 1 since the beginning.
    pub(super) fn lose(&self, n: usize) {
        self.own().lost.insert(n);
    }

    /// Answers "pending" so many times before it hands out a certificate.
    pub(super) fn set_polls(&self, polls: usize) {
        self.own().polls = polls;
    }

    /// From now on an id that was answered means nothing any more: idempotency tokens expire.
    pub(super) fn forgets_ids(&self) {
        self.own().forgetful = true;
    }

    /// From now on the check of the backend finds something wrong.
    pub(super) fn is_unfit(&self) {
        self.own().unfit = true;
    }

    /// From now on there is one root, which is somebody else's, and no other. Its key is that of `number`.
    pub(super) fn has_one_root(&self, number: u32) {
        self.own().one_root = Some(number);
    }

    /// From now on the CA of a level is this one, whichever generation is asked for; it is not ours to destroy.
    pub(super) fn is_given(&self, level: Level, certificate: Certificate) {
        self.own().existing.insert(level, certificate);
    }

    /// Whether CAs can be disabled from now on.
    pub(super) fn disables(&self, able: bool) {
        self.own().disables = able;
    }

    /// The CAs that are disabled.
    pub(super) fn disabled(&self) -> BTreeSet<String> {
        self.own().disabled.clone()
    }

    /// From now on CAs of a level are made.
    pub(super) fn makes(&self, level: Level) {
        self.own().existing.remove(&level);
    }

    fn given(&self, level: Level) -> Option<Certificate> {
        self.own().existing.get(&level).cloned()
    }

    /// How many calls there were, of every kind.
    pub(super) fn all_calls(&self) -> usize {
        self.own().all_calls
    }

    /// The process ends at the `n`-th call of any kind, counted from 1 since the beginning; once.
    pub(super) fn crash(&self, n: usize, moment: Moment) {
        self.own().crash = Some((n, moment));
    }

    /// Makes a call, if the process lives; it may end with it.
    async fn guard<T>(
        &self,
        faults: &Faults,
        call: impl Future<Output = Result<T, AuthorityError>>,
    ) -> Result<T, AuthorityError> {
        let dead = || {
            Err(AuthorityError::Unavailable {
                authority: "backend".to_owned(),
                reason: "this process is dead".to_owned(),
                retry_after: None,
            })
        };
        if faults.is_crashed() {
            return dead();
        }
        let moment = {
            let mut entries = self.own();
            entries.all_calls += 1;
            let n = entries.all_calls;
            let now = entries.crash.take_if(|(at, _)| *at == n);
            now.map(|(_, moment)| moment)
        };
        if moment == Some(Moment::Before) {
            faults.crash();
            return dead();
        }
        let outcome = call.await;
        if moment == Some(Moment::After) {
            faults.crash();
            return dead();
        }
        outcome
    }

    fn call(&self) -> bool {
        let mut entries = self.own();
        entries.calls += 1;
        let n = entries.calls;
        entries.lost.contains(&n)
    }
}

/// The provider around `inner` that keeps `ledger`.
pub(super) struct Backend {
    inner: Arc<dyn Provider>,
    ledger: Ledger,
    capabilities: Capabilities,
    faults: Faults,
}

impl Backend {
    pub(super) fn new(
        inner: Arc<dyn Provider>,
        ledger: Ledger,
        metering: Metering,
        faults: Faults,
    ) -> Self {
        let mut capabilities = inner.capabilities().clone();
        capabilities.metering = metering;
        capabilities.asynchronous = metering == Metering::Counted;
        if ledger.own().one_root.is_some() || ledger.given(Level::Root).is_some() {
            capabilities.roots = Roots::Existing;
        }
        capabilities.disables = ledger.own().disables;
        Self {
            inner,
            ledger,
            capabilities,
            faults,
        }
    }

    /// What its CA is called: of a root that was there before, later generations are the same.
    fn known(&self, generation: &Generation) -> Generation {
        let mut known = generation.clone();
        if let Some(number) = self.ledger.own().one_root
            && generation.level == Level::Root
        {
            known.number = known.number.min(number);
        }
        known
    }
}

#[async_trait]
impl Provider for Backend {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        match self.ledger.own().unfit {
            true => Err(AuthorityError::Misconfigured {
                authority: self.name().to_owned(),
                reason: "its role issues for an hour at most".to_owned(),
                remedy: "raise max_ttl".to_owned(),
            }),
            false => Ok(()),
        }?;
        self.inner.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        if let Some(root) = self.ledger.given(Level::Root) {
            return Ok(Progress::Done(root));
        }
        let mut request = request.clone();
        request.generation = self.known(&request.generation);
        let call = self.inner.create_root(&request);
        self.ledger.guard(&self.faults, call).await
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let call = self.inner.prepare_signer(request);
        self.ledger.guard(&self.faults, call).await
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.inner
            .request_root(&self.known(generation), subject)
            .await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        let call = self.inner.install_signer(generation, chain, anchors);
        self.ledger.guard(&self.faults, call).await
    }

    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        if let Some(signer) = self.ledger.given(Level::Signer) {
            return Ok(Some(CertificateChain::new(vec![signer]).unwrap()));
        }
        let call = self.inner.existing_signer(generation);
        self.ledger.guard(&self.faults, call).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let generation = self.known(generation);
        let call = self.inner.open(&generation, anchors);
        Ok(Arc::new(LedgerAuthority {
            inner: self.ledger.guard(&self.faults, call).await?,
            faults: self.faults.clone(),
            ledger: self.ledger.clone(),
            by_id: self.capabilities.metering == Metering::Counted,
        }))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let call = self.inner.import(generation, key, chain);
        self.ledger.guard(&self.faults, call).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        let call = self.inner.export_key(generation);
        self.ledger.guard(&self.faults, call).await
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        if !self.capabilities.disables {
            return Err(self.unsupported(format!("disabling {generation}")));
        }
        let name = generation.to_string();
        let call = async {
            self.ledger.own().disabled.insert(name);
            Ok(())
        };
        self.ledger.guard(&self.faults, call).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let existing = self.capabilities.roots == Roots::Existing;
        let foreign = generation.level == Level::Root && existing;
        if foreign || self.ledger.given(generation.level).is_some() {
            return Err(self.unsupported(format!("destroying {generation}")));
        }
        let call = self.inner.destroy(generation);
        self.ledger.guard(&self.faults, call).await
    }
}

struct LedgerAuthority {
    inner: Arc<dyn Authority>,
    faults: Faults,
    ledger: Ledger,
    by_id: bool,
}

impl LedgerAuthority {
    fn answer(&self, id: &str) -> Outcome {
        let mut entries = self.ledger.own();
        let left = entries.pending.get_mut(id).unwrap();
        if *left > 0 {
            *left -= 1;
            return Outcome::Pending {
                ticket: Ticket(format!("ticket-{id}")),
                poll_after: Duration::from_millis(1),
            };
        }
        Outcome::Issued(match entries.forgetful {
            true => entries.issued.remove(id).unwrap(),
            false => entries.issued[id].clone(),
        })
    }

    async fn issue(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let lost = self.ledger.call();
        let id = request.id.as_str();
        if !self.by_id || !self.ledger.own().issued.contains_key(id) {
            let Outcome::Issued(issuance) = self.inner.sign(request).await? else {
                panic!("the self-signed provider answers at once");
            };
            let mut entries = self.ledger.own();
            let polls = if self.by_id { entries.polls } else { 0 };
            entries
                .subjects
                .push(request.subject.common_name.as_str().to_owned());
            entries.issued.insert(id.to_owned(), issuance);
            entries.pending.insert(id.to_owned(), polls);
        }
        self.reply(lost, id)
    }

    fn reply(&self, lost: bool, id: &str) -> Result<Outcome, AuthorityError> {
        let outcome = self.answer(id);
        match lost {
            true => Err(AuthorityError::Unavailable {
                authority: self.id().to_owned(),
                reason: "the reply was lost".to_owned(),
                retry_after: None,
            }),
            false => Ok(outcome),
        }
    }
}

#[async_trait]
impl Authority for LedgerAuthority {
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
        let call = self.issue(request);
        self.ledger.guard(&self.faults, call).await
    }

    async fn collect(
        &self,
        _request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let call = async {
            let lost = self.ledger.call();
            self.ledger.own().collects += 1;
            let id = ticket.0.strip_prefix("ticket-").unwrap();
            self.reply(lost, id)
        };
        self.ledger.guard(&self.faults, call).await
    }
}
