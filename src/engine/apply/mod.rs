mod adopt;
mod authority;
mod cross;
mod enrol;
mod existing;
mod issue;
mod purchase;
mod restart;
mod rotation;
mod secret;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle};
use relay_pki_authority::{Authority, AuthorityError};
use tokio::sync::{Notify, OnceCell};

pub(crate) use self::enrol::{certify_agent, open_generation, open_signer, settle_agent};
pub(crate) use self::issue::{backdated, bounded, csr};
use self::issue::{bounded_by, refused};
use super::step::{Action, Cause, Step};
use super::{CONCURRENCY, Fleet, Observed, Plan};
use crate::cluster::{ClusterError, SecretBytes};
use crate::config::ClusterSpec;
use crate::journal::{GenerationRecord, Journal};
use crate::rotation::GivenUp;
use crate::transcript::Acknowledgements;

/// Stops the work between two steps. Clones share one switch.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    thrown: AtomicBool,
    waiting: Notify,
}

impl Cancel {
    /// From now on no step is begun.
    pub fn cancel(&self) {
        self.0.thrown.store(true, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// Whether it was switched.
    pub fn is_cancelled(&self) -> bool {
        self.0.thrown.load(Ordering::SeqCst)
    }

    /// Waits until it is switched.
    pub async fn cancelled(&self) {
        // Listening starts before looking: a switch thrown in between is not missed.
        let switched = self.0.waiting.notified();
        if !self.is_cancelled() {
            switched.await;
        }
    }
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps that are done.
    pub done: Vec<Step>,
    /// Steps that failed, and why.
    pub failed: Vec<Failure>,
    /// Steps that were not begun, because something before them failed or somebody interrupted.
    pub skipped: usize,
    /// The shortest time after which asking a pending backend again makes sense.
    pub pending: Option<Duration>,
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Why.
    pub error: StepError,
}

/// Why a step failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The backend has not finished yet. Not a failure: the same command goes on.
    #[error("{authority} has not issued the certificate yet")]
    Pending {
        /// The authority.
        authority: String,
        /// When to ask again.
        poll_after: Duration,
    },
    /// A person has to do something first. Not a failure, and nothing to poll for: the same command
    /// goes on afterwards.
    #[error("{what}; {remedy}")]
    Awaiting {
        /// What waits, and for what.
        what: String,
        /// What that person does.
        remedy: String,
    },
    /// The state does not allow it.
    #[error("{reason}")]
    Refused {
        /// What is in the way.
        reason: String,
    },
}

/// Applies plans: runs their steps, in an order that is safe to interrupt anywhere.
pub struct Apply<'a> {
    pub(super) fleet: &'a Fleet,
    /// Our records, kept up to date while steps run. Issuing alone changes none of them, and copies none.
    pub(super) journal: Cow<'a, Journal>,
    /// What the clusters held when the plan was made, for the transcript of a rotation.
    acknowledged: Option<Acknowledgements>,
    /// The CAs whose private keys are given up, for the same.
    given_up: Vec<GivenUp>,
    /// The published bundle; set before the first Secret is written.
    pub(super) bundle: Option<TrustBundle>,
    /// The active signer, opened once.
    signer: OnceCell<Arc<dyn Authority>>,
    /// The tokens that other clusters get copies of, read once.
    pub(super) identity_token: OnceCell<SecretBytes>,
    pub(super) forwarding_token: OnceCell<SecretBytes>,
}

impl<'a> Apply<'a> {
    /// Ready to apply plans that were made from `observed`.
    pub fn new(fleet: &'a Fleet, observed: &Observed) -> Self {
        let rotating = observed.journal.rotation().is_some();
        Self {
            acknowledged: rotating.then(|| Acknowledgements::of(observed)),
            ..Self::by(fleet, Cow::Owned(observed.journal.clone()))
        }
    }

    /// Ready to go on by the records of `journal`.
    fn by(fleet: &'a Fleet, journal: Cow<'a, Journal>) -> Self {
        Self {
            fleet,
            journal,
            acknowledged: None,
            given_up: Vec::new(),
            bundle: None,
            signer: OnceCell::new(),
            identity_token: OnceCell::new(),
            forwarding_token: OnceCell::new(),
        }
    }

    /// Runs `plan`. First the CAs, one after the other; then the Secrets of the management clusters,
    /// because tokens are copied from there; then the workload clusters side by side. A failure on a
    /// CA ends the run but for renewals that are due, a failure in a cluster ends the work on that
    /// cluster.
    pub async fn run(
        mut self,
        plan: Plan,
        cancel: &Cancel,
        progress: &(dyn Fn(&Step) + Send + Sync),
    ) -> Applied {
        let mut applied = Applied::default();
        let (mut puts, authority_steps): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(Step::is_local);
        let mut authority_steps = authority_steps.into_iter();
        let mut blocked = false;
        let mut objection = self.objection(authority_steps.as_slice()).await;
        let objected = objection.is_some();
        for step in authority_steps.by_ref() {
            if cancel.is_cancelled() {
                applied.skipped += 1;
                break;
            }
            if objected && step.maker().is_some() {
                match objection.take() {
                    // This step, if it is another one, is as skipped as the refused one is not.
                    Some((refused, error)) => applied.fail(refused, error),
                    None => applied.skipped += 1,
                }
                if step.is_apart() {
                    continue;
                }
                blocked = true;
                break;
            }
            match self.authority_step(&step).await {
                Ok(()) => {
                    progress(&step);
                    applied.done.push(step);
                }
                Err(error) if step.is_apart() => applied.fail(step, error),
                // Whoever makes the root by hand certifies the signer on the same day: its request is
                // to be ready.
                Err(error @ StepError::Awaiting { .. }) => {
                    applied.fail(step, error);
                    blocked = true;
                }
                Err(error) => {
                    applied.fail(step, error);
                    blocked = true;
                    break;
                }
            }
        }
        applied.skipped += authority_steps.count();
        if blocked {
            // The backend of a root may be away for days. The signer that is in use goes on renewing
            // what would run out meanwhile; everything else waits for the new one.
            let all = puts.len();
            puts.retain(|step| matches!(step.cause, Cause::Due(_)));
            applied.skipped += all - puts.len();
        }
        self.bundle = self.journal.published_roots().ok();
        if cancel.is_cancelled() || self.bundle.is_none() {
            applied.skipped += puts.len();
            return applied;
        }
        let mut by_cluster: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        for step in puts {
            by_cluster
                .entry(step.cluster.clone())
                .or_default()
                .push(step);
        }
        let this = &self;
        for spec in this.fleet.relay.management() {
            if let Some(steps) = by_cluster.remove(spec.name.as_str()) {
                applied.join(this.cluster_steps(spec, steps, cancel, progress).await);
            }
        }
        // Boxed one by one: what a closure makes of references is `Send` for no task.
        let mut rest: Vec<BoxFuture<'_, Applied>> = Vec::new();
        for spec in &this.fleet.relay.clusters {
            if let Some(steps) = by_cluster.remove(spec.name.as_str()) {
                rest.push(this.cluster_steps(spec, steps, cancel, progress).boxed());
            }
        }
        let mut running = futures::stream::iter(rest).buffer_unordered(CONCURRENCY);
        while let Some(part) = running.next().await {
            applied.join(part);
        }
        drop(running);
        if !cancel.is_cancelled() {
            for name in &plan.settled {
                // What cannot be tidied up now is tidied up by the next run; nothing depends on it.
                if let Err(error) = self.forget(name).await {
                    tracing::warn!(%name, %error, "a settled issuance stays for now");
                }
            }
        }
        applied
    }

    /// Asks whoever is to make a CA whether it can: a role or a permission that is wrong is better
    /// known before there is a root than after. The first step that cannot be done, and why.
    async fn objection(&self, steps: &[Step]) -> Option<(Step, StepError)> {
        let mut asked = BTreeSet::new();
        for step in steps {
            if let Some(name) = step.maker()
                && let Some(provider) = self.fleet.providers.get(name)
                && asked.insert(name)
                && let Err(error) = bounded_by(name, provider.check()).await
            {
                return Some((step.clone(), error));
            }
        }
        None
    }

    async fn cluster_steps(
        &self,
        spec: &ClusterSpec,
        steps: Vec<Step>,
        cancel: &Cancel,
        progress: &(dyn Fn(&Step) + Send + Sync),
    ) -> Applied {
        let mut applied = Applied::default();
        let mut current = None;
        let mut steps = steps.into_iter();
        while let Some(step) = steps.next() {
            let is_rotated = match &step.action {
                Action::Put(put) => put.role.is_rotated(),
                _ => true,
            };
            if cancel.is_cancelled() {
                applied.skipped += 1 + steps.count();
                return applied;
            }
            // Once a cluster: what was read of it and of the rotation belongs together.
            if current.is_none() && is_rotated {
                current = Some(self.rotation_stands().await);
            }
            let written = match current.clone() {
                Some(Err(error)) if is_rotated => Err(error),
                _ => self.local_step(spec, &step.action).await,
            };
            match written {
                Ok(()) => {
                    progress(&step);
                    applied.done.push(step);
                }
                // A pending certificate holds up nothing else.
                Err(error @ StepError::Pending { .. }) => applied.fail(step, error),
                Err(error) => {
                    applied.fail(step, error);
                    applied.skipped += steps.count();
                    return applied;
                }
            }
        }
        applied
    }

    async fn local_step(&self, spec: &ClusterSpec, action: &Action) -> Result<(), StepError> {
        match action {
            Action::Put(put) => self.put(spec, put).await,
            Action::Restart { workload, mark } => self.restart(spec, workload, mark).await,
            _ => Ok(()),
        }
    }

    /// The active signer.
    pub(super) async fn signer(&self) -> Result<&Arc<dyn Authority>, StepError> {
        self.signer
            .get_or_try_init(|| async {
                let record = self.active_signer()?;
                let authority = self.open(record).await?;
                match &record.certificate {
                    Some(certificate) if authority.certificate() != certificate => {
                        self.reinstall(record, certificate).await
                    }
                    _ => Ok(authority),
                }
            })
            .await
    }

    /// Gives the provider of a signer the certificate that our record has. Two writers, or one that was
    /// killed and came back, can have obtained two for one key; the record says which one counts.
    async fn reinstall(
        &self,
        record: &GenerationRecord,
        certificate: &Certificate,
    ) -> Result<Arc<dyn Authority>, StepError> {
        let generation = record.generation(&self.fleet.relay.name);
        let chain = CertificateChain::new(vec![certificate.clone()]).map_err(refused)?;
        let anchors = self.anchors(record)?;
        let provider = self.provider(record)?;
        let install = provider.install_signer(&generation, &chain, &anchors);
        bounded(&generation, install).await?;
        self.open(record).await
    }
}

impl Applied {
    fn fail(&mut self, step: Step, error: StepError) {
        if let StepError::Pending { poll_after, .. } = &error {
            let sooner = self
                .pending
                .map_or(*poll_after, |known| known.min(*poll_after));
            self.pending = Some(sooner);
        }
        self.failed.push(Failure { step, error });
    }

    fn join(&mut self, part: Self) {
        self.done.extend(part.done);
        self.failed.extend(part.failed);
        self.skipped += part.skipped;
        self.pending = match (self.pending, part.pending) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_hears_of_a_cancellation_before_and_after() {
        let cancel = Cancel::default();
        let waiting = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!cancel.is_cancelled());
        cancel.cancel();
        assert!(waiting.await.is_ok());
        cancel.cancelled().await;
    }
}
