//! Goes round: looks, decides, acts.

mod certificate;
mod wording;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, CertificateChain, KeyType, PeerRole, PrivateKey, TrustBundle, verify_path,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::anchors::CaCertificates;
use super::client::{Client, Terms};
use super::decision::{Action, Activity, Memory, Moment, Policy, Reason, Trouble, View};
use super::failure::Failure;
use super::holdings::Holdings;
use super::status::Status;
use super::store::{Store, StoreError};
use super::token::Tokens;
use super::workloads::{Progress, Workloads};
use super::{LOG, Options};
use crate::clock::Clock;
use crate::engine::Cancel;
use crate::relay::TokenDigest;
use crate::renewal::Renewal;

/// How long a server's verdict on a certificate is taken for granted.
const VERDICT_LIFE: Duration = Duration::from_secs(600);
/// Between two looks at a roll-out.
const ROLL_LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two certificates, however short they live.
const CERTIFICATE_PAUSE: Duration = Duration::from_secs(5);
/// Pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How often a server may hang up on us before we believe that it is about our certificate.
const HANG_UPS: u32 = 2;
/// By how much of its length a pause may be longer or shorter.
const POLL_JITTER: f64 = 0.1;

pub(super) struct Worker {
    policy: Policy,
    store: Arc<dyn Store>,
    tokens: Tokens,
    key_type: Option<KeyType>,
    workloads: Option<Workloads>,
    client: Client,
    clock: Arc<dyn Clock>,
    status: Status,
    cancel: Cancel,
    begun: Instant,
    memory: Memory,
    /// The key that a certificate was asked for and has not come: a token is good for one key.
    pending: Option<PrivateKey>,
    token: Option<(TokenDigest, Zeroizing<Vec<u8>>)>,
    hang_ups: u32,
    /// What was held, and said, at the last look: what changes is told once.
    seen: Option<BundleDigest>,
    said: Option<Trouble>,
    clock_is_wrong: bool,
}

/// Why an action did not work.
enum Error {
    Server(Failure),
    Store(StoreError),
    /// What the server gave is not believed, or what else is wrong.
    Other(String),
    Cancelled,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Worker {
    pub(super) fn new(options: Options, cancel: Cancel) -> Self {
        let workloads = options.workloads.filter(|workloads| !workloads.is_empty());
        Self {
            policy: Policy {
                cluster: options.cluster,
                renewal: Renewal {
                    at: options.renew_at,
                    schedule: None,
                },
                poll: options.poll,
                pins: options.pins,
                restarts: workloads.is_some(),
            },
            store: options.store,
            tokens: options.tokens,
            key_type: options.key_type,
            workloads,
            client: Client::new(options.server, options.clock.clone()),
            clock: options.clock,
            status: options.status,
            cancel,
            begun: Instant::now(),
            memory: Memory::default(),
            pending: None,
            token: None,
            hang_ups: 0,
            seen: None,
            said: None,
            clock_is_wrong: false,
        }
    }

    pub(super) async fn run(mut self) {
        tracing::info!(
            target: LOG,
            cluster = %self.policy.cluster, store = %self.store.place(), "the agent begins"
        );
        while !self.cancel.is_cancelled() {
            self.status.progress();
            let pause = self.turn().await;
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        tracing::info!(target: LOG, "the agent ends");
    }

    /// One look and what comes of it; how long to wait for the next.
    async fn turn(&mut self) -> Duration {
        let held = match unless_cancelled(&self.cancel, self.store.load()).await {
            Ok(Ok(held)) => held,
            Ok(Err(error)) => {
                let place = self.store.place();
                tracing::warn!(target: LOG, %place, %error, "what is held cannot be read");
                self.status.set_trouble(Some(error.to_string()));
                return STORE_PAUSE;
            }
            Err(_) => return Duration::ZERO,
        };
        self.look(&held).await;
        let moment = self.moment();
        let action = self.view(&held).next(moment);
        if let Action::Wait(until) = action {
            return until.saturating_sub(moment.up);
        }
        let activity = action.activity();
        let name = action.name();
        let result = self.act(&action, &held).await;
        match result {
            Ok(()) => {
                self.memory.reset(activity);
                self.status.acted(name, true);
            }
            Err(Error::Cancelled) => return Duration::ZERO,
            Err(error) => {
                self.status.acted(name, false);
                self.failed(&action, error, &held).await;
            }
        }
        Duration::ZERO
    }

    /// Takes in what has changed since the last look, and tells of it.
    async fn look(&mut self, held: &Holdings) {
        let up = self.begun.elapsed();
        let digest = held.anchors().map(TrustBundle::digest);
        if digest != self.seen {
            // Somebody, or we, put other roots there: what was found out with the old ones is void.
            self.seen = digest;
            self.memory.distrusted = false;
            self.memory.pins_fail = false;
            self.memory.poll_at = up;
            for activity in [Activity::Trust, Activity::Bundle, Activity::Certificate] {
                self.memory.reset(activity);
            }
        }
        let refused = self.memory.refused_token;
        let is_refused = |token: &TokenDigest| refused.is_some_and(|it| it.is(token, up));
        let read = unless_cancelled(&self.cancel, self.tokens.read(is_refused)).await;
        self.token = read.ok().flatten();
        let token = self.token.as_ref().map(|(digest, _)| *digest);
        if token != self.memory.token {
            self.memory.token = token;
            self.memory.reset(Activity::Certificate);
        }
        let moment = self.moment();
        let view = self.view(held);
        let trouble = view.trouble(moment);
        let need = view.need(moment);
        let times = held
            .usable()
            .map(|own| own.chain.leaf().not_after())
            .zip(view.due());
        self.status.set_certificate(times);
        let text = trouble.as_ref().map(|trouble| self.explain(trouble));
        if let Some(text) = text.as_ref().filter(|_| trouble != self.said) {
            tracing::warn!(target: LOG, cluster = %self.policy.cluster, "{text}");
        }
        self.said = trouble;
        let needed = need
            .filter(Reason::needs_token)
            .map(|reason| reason.to_string());
        self.status.set_trouble(text.or(needed));
    }

    fn view<'a>(&'a self, held: &'a Holdings) -> View<'a> {
        View {
            policy: &self.policy,
            held,
            memory: &self.memory,
        }
    }

    fn moment(&self) -> Moment {
        let now = self.clock.now();
        Moment {
            now: now.checked_add(self.client.ahead()).unwrap_or(now),
            up: self.begun.elapsed(),
        }
    }

    async fn act(&mut self, action: &Action, held: &Holdings) -> Result<(), Error> {
        match action {
            Action::BootstrapTrust => self.bootstrap_trust().await,
            Action::Repair => self.repair(held).await,
            Action::Rechain(chain) => self.rechain(chain, held).await,
            Action::Restart => self.restart(held).await,
            Action::Enrol(reason) => self.enrol(reason, held).await,
            Action::Renew(reason) => self.renew(reason, held).await,
            Action::Poll => self.poll(held).await,
            Action::Wait(_) => Ok(()),
        }
    }

    async fn bootstrap_trust(&mut self) -> Result<(), Error> {
        let asked = self.client.pinned_ca_certificates(&self.policy.pins);
        let found = unless_cancelled(&self.cancel, asked).await??;
        self.store.save(&found.roots, None).await?;
        tracing::info!(
            target: LOG,
            bundle = %found.roots.digest(), "the pinned root vouches for the server; its roots are taken"
        );
        self.memory.distrusted = false;
        self.memory.pins_fail = false;
        Ok(())
    }

    async fn repair(&mut self, held: &Holdings) -> Result<(), Error> {
        let anchors = anchors(held)?;
        self.store.save(anchors, None).await?;
        tracing::info!(target: LOG, bundle = %anchors.digest(), "the same roots are everywhere now");
        Ok(())
    }

    async fn rechain(&mut self, chain: &CertificateChain, held: &Holdings) -> Result<(), Error> {
        let (anchors, Some(identity)) = (anchors(held)?, held.usable()) else {
            return Ok(());
        };
        let moment = self.moment();
        let at = moment.now.max(chain.leaf().not_before());
        verify_path(chain, anchors, PeerRole::Client, at)
            .map_err(|error| Error::Other(error.to_string()))?;
        self.store
            .save(anchors, Some((&identity.key, chain)))
            .await?;
        tracing::info!(
            target: LOG,
            signers = chain.intermediates().len(), "the certificate is presented with other signers now"
        );
        self.memory.poll_at = moment.up;
        Ok(())
    }

    async fn restart(&mut self, held: &Holdings) -> Result<(), Error> {
        let bundle = anchors(held)?.digest();
        let Some(workloads) = &self.workloads else {
            return Ok(());
        };
        let rolled = unless_cancelled(&self.cancel, workloads.restart(&bundle)).await?;
        match rolled.map_err(|error| Error::Other(error.to_string()))? {
            Progress::Done => {
                tracing::info!(target: LOG, %bundle, "every workload runs with the roots");
                self.memory.rolled = Some(bundle);
                // Now it may be told.
                self.memory.poll_at = self.begun.elapsed();
            }
            Progress::Rolling { workload, state } => {
                tracing::debug!(target: LOG, %workload, state, "rolling out");
                let later = self.begun.elapsed() + ROLL_LOOK;
                self.memory.restart_at = later;
            }
        }
        Ok(())
    }

    async fn poll(&mut self, held: &Holdings) -> Result<(), Error> {
        let anchors = anchors(held)?;
        let moment = self.moment();
        let view = self.view(held);
        let told = view.acknowledged();
        let identity = view.presented(moment).cloned();
        let terms = Terms {
            trust: anchors,
            identity: identity.as_ref(),
        };
        let asked = self.client.ca_certificates(terms, told.as_ref());
        let news = unless_cancelled(&self.cancel, asked).await??;
        self.met();
        let shown = identity
            .as_ref()
            .map(|shown| shown.chain.leaf().fingerprint());
        self.memory.to_be_renewed = shown.filter(|_| news.renew);
        if identity.is_some() {
            self.hang_ups = 0;
        }
        let up = self.begun.elapsed();
        let pause = self
            .policy
            .poll
            .mul_f64(1.0 + POLL_JITTER * (2.0 * chance() - 1.0));
        self.memory.poll_at = up + pause;
        let Some(found) = news.certificates else {
            return Ok(());
        };
        // What is new is acknowledged at once.
        let known = self.memory.known.as_ref().map(CaCertificates::tag);
        if known != Some(found.tag()) {
            self.memory.poll_at = up;
        }
        self.take(found, anchors).await
    }

    /// Writes the roots that the server gives out, if they are others than those that are held.
    async fn take(&mut self, found: CaCertificates, held: &TrustBundle) -> Result<(), Error> {
        if found.roots != *held {
            let server = self.client.presented().map_err(Error::Other)?;
            let now = self.moment().now;
            if let Err(disbelief) = found.may_replace(held, &server, now) {
                // What the server shows now may be another certificate than when the connection was made.
                self.client.disconnect();
                return Err(Error::Other(disbelief.to_string()));
            }
            self.store.save(&found.roots, None).await?;
            tracing::info!(
                target: LOG,
                bundle = %found.roots.digest(), before = %held.digest(),
                roots = found.roots.anchors().len(), "other roots are trusted now"
            );
        }
        self.memory.known = Some(found);
        Ok(())
    }

    /// Asks for everything that a chain is made of, and takes what is new; what is held then.
    async fn refreshed(&mut self, held: &Holdings, present: bool) -> Result<Holdings, Error> {
        let anchors = anchors(held)?;
        let moment = self.moment();
        let identity = self.view(held).presented(moment).cloned();
        let identity = identity.filter(|_| present);
        let terms = Terms {
            trust: anchors,
            identity: identity.as_ref(),
        };
        let asked = self.client.ca_certificates(terms, None);
        let news = unless_cancelled(&self.cancel, asked).await??;
        self.met();
        if let Some(found) = news.certificates {
            self.take(found, anchors).await?;
        }
        Ok(self.store.load().await?)
    }

    /// The server answered, and it is the right one.
    fn met(&mut self) {
        self.memory.distrusted = false;
        self.memory.pins_fail = false;
        let ahead = self.client.ahead();
        let now = self.clock.now();
        self.status.contacted(now, ahead);
        let is_wrong = !ahead.is_zero();
        if is_wrong && !self.clock_is_wrong {
            let theirs = now.checked_add(ahead).unwrap_or(now);
            tracing::warn!(
                target: LOG,
                ours = %shown(now), server = %shown(theirs),
                "the clock of this machine is wrong, or the server's is; the server's is gone by; set the \
                 clock right"
            );
        }
        self.clock_is_wrong = is_wrong;
    }

    /// Tells of a failure, and learns from it.
    async fn failed(&mut self, action: &Action, error: Error, held: &Holdings) {
        let mut asked = None;
        let text = match &error {
            Error::Server(failure) => {
                asked = failure.retry_after();
                self.learn(failure, action, held).await;
                failure.to_string()
            }
            Error::Store(error) => error.to_string(),
            Error::Other(reason) => reason.clone(),
            Error::Cancelled => return,
        };
        let up = self.begun.elapsed();
        let again = self.memory.failed(action.activity(), up, chance(), asked);
        let seconds = again.saturating_sub(up).as_secs();
        tracing::warn!(
            target: LOG,
            cluster = %self.policy.cluster, action = action.name(), error = text, again_in_seconds = seconds,
            "it did not work"
        );
    }

    async fn learn(&mut self, failure: &Failure, action: &Action, held: &Holdings) {
        let refused_until = Some(self.begun.elapsed() + VERDICT_LIFE);
        match failure {
            Failure::Untrusted(_) => match action {
                Action::BootstrapTrust => self.memory.pins_fail = true,
                _ => self.memory.distrusted = true,
            },
            Failure::IdentityRefused(_) => self.memory.refused_until = refused_until,
            Failure::HungUp(_) if self.view(held).presented(self.moment()).is_some() => {
                self.hang_ups += 1;
                if self.hang_ups >= HANG_UPS && self.answers_strangers(held).await {
                    self.hang_ups = 0;
                    self.memory.refused_until = refused_until;
                }
            }
            _ => {}
        }
    }

    /// Whether the server answers those who show no certificate.
    async fn answers_strangers(&mut self, held: &Holdings) -> bool {
        let Some(trust) = held.anchors() else {
            return false;
        };
        let terms = Terms {
            trust,
            identity: None,
        };
        let asked = self.client.ca_certificates(terms, None);
        matches!(unless_cancelled(&self.cancel, asked).await, Ok(Ok(_)))
    }
}

fn anchors(held: &Holdings) -> Result<&TrustBundle, Error> {
    held.anchors()
        .ok_or_else(|| Error::Other("there are no roots".to_owned()))
}

/// Waits for `work`, but not if the agent is to end: whatever it is, it can be done again.
async fn unless_cancelled<T>(cancel: &Cancel, work: impl Future<Output = T>) -> Result<T, Error> {
    tokio::select! {
        () = cancel.cancelled() => Err(Error::Cancelled),
        done = work => Ok(done),
    }
}

/// A random number from 0 to 1: enough to keep a fleet from asking in step.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.5,
    }
}

/// In whole seconds, for people.
fn shown(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
