//! One relay, worked on by one task.
//!
//! The management clusters are one entry of the agenda, every workload cluster is another. The loop
//! never waits for a cluster: looks run beside it and report back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use relay_pki_authority::Level;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::agenda::{Agenda, Outcome};
use super::conditions::conditions;
use super::context::Context;
use super::desired::Desired;
use super::round::{self, ClusterRound, HomeRound};
use super::verdict::Verdict;
use super::{due, events, view};
use crate::audit::{Report, audit};
use crate::authorities;
use crate::cluster::{Change, Cluster, ClusterError, KubernetesCluster, Version};
use crate::config::{ClusterSpec, Relay, Role};
use crate::crd;
use crate::engine::{Applied, Cancel, ClusterState, Fleet, Observed, Observer, StepError};
use crate::journal::Scope;
use crate::metrics::{Contact, Contacts, RelayFacts, facts};
use crate::relay;

/// The entry of the agenda for the CAs and the management clusters. No cluster has an empty name.
const HOME: &str = "";

/// Everything is looked at that often, whether or not anything seems to have changed.
const RESYNC: Duration = Duration::from_secs(600);

/// Where something stands in the way that a person has to move, nobody may tell us when that is done.
const RECHECK: Duration = Duration::from_secs(60);

/// When the write lock was held by somebody else, or something else has to be done first.
const SHORTLY: Duration = Duration::from_secs(2);

/// How long what was read of the home cluster serves looks at other clusters that are begun after it.
const OBSERVER_LIFE: Duration = Duration::from_secs(2);

/// How many clusters are looked at side by side, and how many of those that failed last time: they take
/// their time, and must not take that of the others.
const CONCURRENCY: usize = 32;
const FAILING_CONCURRENCY: usize = 8;

/// The relay's own status is written at most that often.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// When everything is audited for the first time, and how often from then on.
const FIRST_AUDIT: Duration = Duration::from_secs(30);
const AUDIT: Duration = Duration::from_secs(3600);

type Sender = mpsc::Sender<(String, Change)>;
type SharedObserver = Shared<BoxFuture<'static, Result<Arc<Observer>, ClusterError>>>;

/// What a look came to.
enum Done {
    Home(Box<Result<HomeRound, ClusterError>>, Instant),
    Cluster(String, Box<Result<ClusterRound, ClusterError>>, Instant),
    /// What is told of the whole relay, and when it was asked for.
    Facts(Option<RelayFacts>, Instant),
    Audit(Box<Report>),
}

/// A cluster that is open.
struct Handle {
    spec: ClusterSpec,
    cluster: Arc<KubernetesCluster>,
    watch: AbortHandle,
    /// Whether its watch has told of everything once.
    watched: bool,
}

/// What is known of a cluster.
pub(super) struct Known {
    /// As it was seen last.
    pub(super) state: Option<ClusterState>,
    pub(super) verdict: Verdict,
    /// What was said of it.
    conditions: Vec<Condition>,
    /// When it last answered.
    pub(super) contact: Option<Timestamp>,
    /// What objects we have seen, to tell our own writes from those of others.
    versions: HashSet<Version>,
    was_ready: bool,
    basis: Basis,
}

/// What a cluster was judged by: while it is the same, whatever has to be put right was changed by
/// somebody else.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Basis {
    /// How often what workload clusters depend on has changed.
    epochs: u64,
    relay: i64,
    cluster: i64,
}

/// What workload clusters depend on.
#[derive(Debug, PartialEq)]
struct Epoch {
    bundle: Option<String>,
    signer: Option<u32>,
    requests: Vec<(Scope, u64)>,
    tokens: [Option<crate::relay::TokenDigest>; 2],
}

/// Works on one relay until its sender of `desired` goes or it is cancelled.
pub(super) struct Worker {
    context: Arc<Context>,
    desired: Arc<Desired>,
    fleet: Option<Arc<Fleet>>,
    handles: BTreeMap<String, Handle>,
    agenda: Agenda,
    observer: Option<(Instant, SharedObserver)>,
    home: Option<Observed>,
    home_verdict: Option<Verdict>,
    /// What was said of the Relay.
    conditions: Vec<Condition>,
    known: BTreeMap<String, Known>,
    epoch: Option<Epoch>,
    epochs: u64,
    /// The generation of the Relay that `home_verdict` is about.
    home_generation: Option<i64>,
    looks: JoinSet<Done>,
    changes: (Sender, mpsc::Receiver<(String, Change)>),
    status_due: Option<Instant>,
    status_pause: Duration,
    audit_due: Instant,
    cancel: Cancel,
}

impl Worker {
    pub(super) fn new(context: Arc<Context>, desired: Arc<Desired>, cancel: Cancel) -> Self {
        // A new leader goes on with what the one before it has said.
        let said = desired.written.relay.status.as_ref();
        let said = said
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        let mut worker = Self {
            context,
            desired: desired.clone(),
            fleet: None,
            handles: BTreeMap::new(),
            agenda: Agenda::default(),
            observer: None,
            home: None,
            home_verdict: None,
            conditions: said,
            known: BTreeMap::new(),
            epoch: None,
            epochs: 0,
            home_generation: None,
            looks: JoinSet::new(),
            changes: mpsc::channel(1024),
            status_due: None,
            status_pause: STATUS_PAUSE,
            audit_due: Instant::now() + FIRST_AUDIT,
            cancel,
        };
        worker.take(desired);
        worker
    }

    pub(super) async fn run(mut self, mut desired: watch::Receiver<Arc<Desired>>) {
        loop {
            self.launch();
            let wake = [self.agenda.next(), self.status_due, Some(self.audit_due)]
                .into_iter()
                .flatten()
                .min();
            let wake = wake.unwrap_or_else(|| Instant::now() + RESYNC);
            // What is due but finds no free slot is launched when a look ends.
            let wake = match wake <= Instant::now() {
                true => Instant::now() + Duration::from_millis(50),
                false => wake,
            };
            tokio::select! {
                () = self.cancel.cancelled() => break,
                changed = desired.changed() => match changed {
                    Ok(()) => {
                        let new = desired.borrow_and_update().clone();
                        self.take(new);
                    }
                    Err(_) => break,
                },
                Some(done) = self.looks.join_next() => match done {
                    Ok(Done::Home(result, begun)) => self.finish_home(*result, begun),
                    Ok(Done::Cluster(name, result, begun)) => {
                        self.finish_cluster(&name, *result, begun);
                    }
                    Ok(Done::Facts(facts, asked)) => self.publish_relay(facts, asked),
                    Ok(Done::Audit(report)) => {
                        self.context.metrics.audited(self.desired.name(), &report);
                    }
                    Err(error) => {
                        // A bug. Others go on; what broke is looked at again with the resync.
                        tracing::error!(%error, "a look at a cluster was aborted");
                    }
                },
                Some((cluster, change)) = self.changes.1.recv() => self.changed(&cluster, change),
                () = tokio::time::sleep_until(wake) => {}
            }
            let now = Instant::now();
            if self.status_due.is_some_and(|at| at <= now) {
                self.gather();
            }
            if self.audit_due <= now {
                self.audit();
            }
        }
        // Steps that were begun are finished: they end by their own time limits.
        while self.looks.join_next().await.is_some() {}
        for handle in self.handles.values() {
            handle.watch.abort();
        }
    }

    /// Takes in what the objects say now.
    fn take(&mut self, desired: Arc<Desired>) {
        let before = std::mem::replace(&mut self.desired, desired.clone());
        let now = Instant::now();
        let assembled = match &desired.assembled {
            Ok(assembled) if !desired.is_suspended() => assembled,
            Ok(_) => {
                self.agenda.set([].into_iter(), now);
                let verdict = Verdict {
                    reachable: None,
                    ..Verdict::not_ready(
                        "Suspended",
                        "nothing is renewed or repaired while spec.suspend is true",
                    )
                };
                if desired.written.relay.spec.suspend {
                    self.tell_if_new(&verdict);
                }
                self.home_verdict = Some(verdict);
                self.status_soon();
                return;
            }
            Err(error) => {
                // What was asked for before goes on being kept, as long as nobody says it right.
                let verdict = Verdict::invalid(error.problems());
                self.tell_if_new(&verdict);
                self.home_verdict = Some(verdict);
                self.status_soon();
                return;
            }
        };
        self.forget_replaced(&before);
        for (name, problems) in &assembled.rejected {
            let state = self.known.get(name).and_then(|known| known.state.clone());
            self.learn(name, state, Verdict::invalid(problems));
        }
        let relay = self.with_kept(&assembled.relay, assembled.rejected.keys());
        self.open(&relay);
        let workloads = || {
            let clusters = relay.clusters.iter();
            clusters.filter(|spec| spec.role == Role::Workload)
        };
        let names = workloads().map(|spec| spec.name.as_str());
        self.agenda.set([HOME].into_iter().chain(names), now);
        let in_use: BTreeSet<String> = workloads()
            .map(|spec| spec.name.to_string())
            .chain(assembled.rejected.keys().cloned())
            .chain(relay.management().map(|spec| spec.name.to_string()))
            .collect();
        let gone = self.known.keys().filter(|name| !in_use.contains(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.known.remove(&name);
            self.context.clusters.forget(&name);
        }
        // Each change of the Relay may concern everybody; one of a cluster, only that cluster.
        self.agenda.retry(HOME, now);
        let relay_changed = before.generation() != desired.generation();
        for spec in workloads() {
            let name = spec.name.as_str();
            if relay_changed {
                self.agenda.ask(name, now);
            }
            if before.generation_of(name) != desired.generation_of(name) {
                self.agenda.retry(name, now);
            }
        }
        self.status_soon();
    }

    /// Forgets what was said of objects that were deleted and made anew under their names.
    fn forget_replaced(&mut self, before: &Desired) {
        let now = Instant::now();
        if before.uid() != self.desired.uid() {
            self.conditions.clear();
        }
        for name in self.desired.written.clusters.keys() {
            let old = before.uid_of(name);
            if old.is_some() && old != self.desired.uid_of(name) {
                self.known.remove(name);
                self.agenda.retry(name, now);
            }
        }
    }

    /// A relay with those clusters as they were that are `rejected` now: as long as nobody says it
    /// right, what was said before goes on being kept, unless it is another cluster's by now.
    fn with_kept<'a>(&self, relay: &Relay, rejected: impl Iterator<Item = &'a String>) -> Relay {
        let mut relay = relay.clone();
        for handle in rejected.filter_map(|name| self.handles.get(name)) {
            let old = &handle.spec;
            let taken = |spec: &ClusterSpec| {
                spec.name == old.name
                    || (spec.location == old.location && spec.namespace == old.namespace)
            };
            if !relay.clusters.iter().any(taken) {
                relay.clusters.push(old.clone());
            }
        }
        relay
    }

    /// What is wrong with the object of a cluster goes before how the cluster is.
    fn judged(&self, name: &str, verdict: Verdict) -> Verdict {
        match self.desired.rejected(name) {
            Some(problems) => Verdict::invalid(problems),
            None => verdict,
        }
    }

    /// Opens the clusters of a relay; those that are as before stay open.
    fn open(&mut self, relay: &Relay) {
        let opener = self.context.opener();
        let home_spec = relay.home();
        let unchanged = |handles: &BTreeMap<String, Handle>, spec: &ClusterSpec| {
            let handle = handles.get(spec.name.as_str())?;
            let same = handle.spec.location == spec.location
                && handle.spec.namespace == spec.namespace
                && handle.spec.role == spec.role;
            same.then(|| handle.cluster.clone())
        };
        let label = relay::selector(&relay.name);
        let label = (label.0.to_owned(), label.1.to_owned());
        let home = unchanged(&self.handles, home_spec);
        let home_is_new = home.is_none();
        let home = match home {
            Some(home) => home,
            None => Arc::new(opener.kubernetes(relay, home_spec, None)),
        };
        let mut handles = BTreeMap::new();
        for spec in &relay.clusters {
            let name = spec.name.to_string();
            let is_home = spec.name == home_spec.name;
            let kept = match is_home {
                true if !home_is_new => Some(home.clone()),
                true => None,
                // Its kubeconfig is read from the home cluster.
                false if home_is_new => None,
                false => unchanged(&self.handles, spec),
            };
            let handle = match (kept, self.handles.remove(&name)) {
                (Some(cluster), Some(old)) => Handle {
                    spec: spec.clone(),
                    cluster,
                    ..old
                },
                (_, old) => {
                    if let Some(old) = old {
                        old.watch.abort();
                    }
                    let cluster = match is_home {
                        true => home.clone(),
                        false => {
                            let home: Arc<dyn Cluster> = home.clone();
                            Arc::new(opener.kubernetes(relay, spec, Some(&home)))
                        }
                    };
                    let watch = self.watch(&name, cluster.clone(), label.clone());
                    Handle {
                        spec: spec.clone(),
                        cluster,
                        watch,
                        watched: false,
                    }
                }
            };
            handles.insert(name, handle);
        }
        for old in self.handles.values() {
            old.watch.abort();
        }
        self.handles = handles;
        let home: Arc<dyn Cluster> = home;
        let open = self.handles.iter();
        let open = open.map(|(name, handle)| {
            let cluster: Arc<dyn Cluster> = handle.cluster.clone();
            (name.clone(), cluster)
        });
        self.fleet = Some(Arc::new(Fleet {
            clusters: open.collect(),
            providers: authorities::measured(
                authorities::open(&relay.providers, &home),
                &relay.providers,
                &self.context.metrics,
            ),
            clock: self.context.clock.clone(),
            relay: relay.clone(),
        }));
        self.observer = None;
    }

    fn watch(
        &self,
        name: &str,
        cluster: Arc<KubernetesCluster>,
        label: (String, String),
    ) -> AbortHandle {
        let (name, all) = (name.to_owned(), self.changes.0.clone());
        let task = tokio::spawn(async move {
            let (sender, mut own) = mpsc::channel(16);
            let forward = async {
                while let Some(change) = own.recv().await {
                    if all.send((name.clone(), change)).await.is_err() {
                        return;
                    }
                }
            };
            let watch = cluster.watch((&label.0, &label.1), sender);
            tokio::select! { () = watch => {}, () = forward => {} }
        });
        task.abort_handle()
    }

    /// Somebody wrote something. If it was us, we have seen it already.
    fn changed(&mut self, cluster: &str, change: Change) {
        let Some(handle) = self.handles.get_mut(cluster) else {
            return;
        };
        let entry = match handle.spec.role {
            Role::Workload => cluster,
            Role::Management => HOME,
        };
        let now = Instant::now();
        match change {
            Change::Begun => {
                let again = std::mem::replace(&mut handle.watched, true);
                if self.agenda.fails(entry) {
                    // It could be reached: perhaps it fails no more.
                    self.agenda.retry(entry, now);
                } else if again {
                    // What was deleted while nobody watched is told by nobody.
                    self.agenda.ask(entry, now);
                }
            }
            // Whether it is down shows when it is looked at.
            Change::Broken => self.agenda.ask(entry, now),
            Change::Object(_, Some(version)) => {
                let known = self.known.get(cluster);
                if !known.is_some_and(|known| known.versions.contains(&version)) {
                    self.agenda.ask(entry, now);
                }
            }
            Change::Object(_, None) => self.agenda.ask(entry, now),
        }
    }

    /// Begins every look that is due and has a free slot.
    fn launch(&mut self) {
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        if self.desired.is_suspended() {
            return;
        }
        let now = Instant::now();
        for (name, asked, failing) in self.agenda.ready(now) {
            if name == HOME {
                let (fleet, cancel) = (fleet.clone(), self.cancel.clone());
                self.agenda.started(HOME);
                self.looks.spawn(async move {
                    let begun = Instant::now();
                    Done::Home(Box::new(round::home(&fleet, &cancel).await), begun)
                });
                continue;
            }
            // Without a look at the home cluster nothing is known about the others.
            let limit = if failing {
                FAILING_CONCURRENCY
            } else {
                CONCURRENCY
            };
            let running = self.agenda.running(failing);
            if self.home.is_none() || running >= limit {
                continue;
            }
            let mut clusters = fleet.relay.clusters.iter();
            let spec = clusters.find(|spec| spec.name.as_str() == name);
            let Some(spec) = spec.cloned() else { continue };
            let observer = self.observer(&fleet, asked);
            let (fleet, cancel) = (fleet.clone(), self.cancel.clone());
            self.agenda.started(&name);
            self.looks.spawn(async move {
                let begun = Instant::now();
                let result = match observer.await {
                    Ok(observer) => round::cluster(&fleet, &observer, &spec, &cancel).await,
                    Err(error) => Err(error),
                };
                Done::Cluster(name, Box::new(result), begun)
            });
        }
    }

    /// What the home cluster holds, read after `asked` and not long ago.
    fn observer(&mut self, fleet: &Arc<Fleet>, asked: Instant) -> SharedObserver {
        if let Some((begun, observer)) = &self.observer
            && *begun >= asked
            && begun.elapsed() < OBSERVER_LIFE
        {
            return observer.clone();
        }
        let begun = Instant::now();
        let fleet = fleet.clone();
        let read = async move { Observer::begin(&fleet).await.map(Arc::new) };
        let observer = read.boxed().shared();
        self.observer = Some((begun, observer.clone()));
        observer
    }

    fn finish_home(&mut self, result: Result<HomeRound, ClusterError>, begun: Instant) {
        let now = Instant::now();
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        let (verdict, outcome) = match &result {
            Err(error @ ClusterError::Locked { .. }) => {
                tracing::info!(relay = %fleet.relay.name, %error, "waiting");
                self.agenda
                    .finished(HOME, Outcome::Later(now + SHORTLY), now);
                return;
            }
            Err(error) => (Verdict::of_error(error), Outcome::Failed),
            Ok(round) => (
                Verdict::of_round(&round.problems, &round.applied),
                self.outcome(&round.applied, round.problems.is_empty(), || {
                    due::of_home(&fleet.relay, &round.observed)
                }),
            ),
        };
        self.reconciled(&verdict, outcome, begun);
        self.agenda.finished(HOME, outcome, now);
        if let Ok(round) = result {
            let about = self.desired.reference();
            // A change by hand, or the first time? What was ready before was complete.
            let was_ready = self.home_verdict.as_ref().is_some_and(|v| v.ready)
                && self.home_generation == Some(self.desired.generation());
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            self.context.events.done(&about, &round.applied.done, drift);
            for spec in fleet.relay.management() {
                let name = spec.name.as_str();
                if let Some(state) = round.observed.clusters.get(name) {
                    let verdict = match state {
                        Ok(_) => verdict.clone(),
                        Err(error) => Verdict::of_error(error),
                    };
                    let verdict = self.judged(name, verdict);
                    self.learn(name, state.as_ref().ok().cloned(), verdict);
                }
                if drift {
                    self.context.metrics.drift_repaired(&fleet.relay.name, name);
                }
            }
            let epoch = epoch(&fleet.relay, &round.observed);
            if round.applied.done.is_empty() && self.epoch.as_ref() != Some(&epoch) {
                self.epoch = Some(epoch);
                self.epochs += 1;
                self.agenda.ask_all(now);
                // Asking for everything asks for this too, and it was just done.
                self.agenda.settle(HOME, outcome);
            }
            self.home = Some(round.observed);
        }
        if !matches!(outcome, Outcome::Acted) {
            self.tell_if_new(&verdict);
            self.home_verdict = Some(verdict);
            self.home_generation = Some(self.desired.generation());
        }
        self.status_soon();
    }

    fn finish_cluster(
        &mut self,
        name: &str,
        result: Result<ClusterRound, ClusterError>,
        begun: Instant,
    ) {
        let now = Instant::now();
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        let mut clusters = fleet.relay.clusters.iter();
        let spec = clusters.find(|spec| spec.name.as_str() == name);
        let Some(spec) = spec else {
            return;
        };
        let verdict = self.judged(name, Verdict::of_cluster(&result));
        let outcome = match &result {
            Err(_) => Outcome::Failed,
            Ok(round) if round.home_first || round.blocked.is_some() => {
                self.agenda.ask(HOME, now);
                let pause = if round.blocked.is_some() {
                    RECHECK
                } else {
                    SHORTLY
                };
                Outcome::Later(now + pause)
            }
            Ok(round) => self.outcome(&round.applied, round.problems.is_empty(), || {
                due::of_cluster(&fleet.relay, spec, &round.state)
            }),
        };
        self.reconciled(&verdict, outcome, begun);
        self.agenda.finished(name, outcome, now);
        if let Ok(round) = &result {
            let was_ready = match self.known.get(name) {
                Some(known) => known.was_ready && known.basis == self.basis(name),
                // The leader before this one has said so.
                None => self.said_ready(name),
            };
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            let about = self.desired.reference_of(name);
            self.context.events.done(&about, &round.applied.done, drift);
            if drift {
                self.context.metrics.drift_repaired(&fleet.relay.name, name);
            }
        }
        let state = result.ok().map(|round| round.state);
        match outcome {
            // The next look says how it is; meanwhile it is not as bad as it was.
            Outcome::Acted => {
                if let Some(known) = self.known.get_mut(name) {
                    known.state = state.or(known.state.take());
                }
            }
            _ => self.learn(name, state, verdict),
        }
        self.status_soon();
    }

    fn reconciled(&self, verdict: &Verdict, outcome: Outcome, begun: Instant) {
        let word = match outcome {
            Outcome::Failed => "error",
            Outcome::Settled(_) if !verdict.ready => "blocked",
            Outcome::Settled(_) | Outcome::Acted | Outcome::Later(_) => "success",
        };
        self.context.metrics.reconciled(word, begun.elapsed());
    }

    /// What comes after a look, by what was done.
    fn outcome(
        &self,
        applied: &Applied,
        free: bool,
        due: impl FnOnce() -> Option<Timestamp>,
    ) -> Outcome {
        let now = Instant::now();
        let conflict =
            |error: &StepError| matches!(error, StepError::Cluster(ClusterError::Conflict { .. }));
        for failure in &applied.failed {
            if conflict(&failure.error) {
                self.context.metrics.conflict(self.desired.name());
            }
        }
        let pending = |error: &StepError| {
            matches!(
                error,
                StepError::Pending { .. } | StepError::Awaiting { .. }
            )
        };
        if applied
            .failed
            .iter()
            .any(|failure| !pending(&failure.error))
        {
            return Outcome::Failed;
        }
        if let Some(pause) = applied.pending {
            return Outcome::Later(now + pause.max(Duration::from_secs(1)));
        }
        if !applied.done.is_empty() {
            return Outcome::Acted;
        }
        let rest = if free { RESYNC } else { RECHECK };
        let due = due().map(|at| {
            let left = at.duration_since(self.context.clock.now());
            Duration::try_from(left).unwrap_or(SHORTLY)
        });
        Outcome::Settled(now + due.map_or(rest, |due| due.min(rest)))
    }

    fn basis(&self, cluster: &str) -> Basis {
        Basis {
            epochs: self.epochs,
            relay: self.desired.generation(),
            cluster: self.desired.generation_of(cluster),
        }
    }

    /// Whether the object of a cluster says that what is asked for now was there.
    fn said_ready(&self, cluster: &str) -> bool {
        let object = self.desired.cluster(cluster);
        let status = object.and_then(|object| object.status.as_ref());
        status.is_some_and(|status| {
            let mut ready = status.conditions.iter().filter(|c| c.type_ == "Ready");
            status.observed_generation == self.desired.generation_of(cluster)
                && ready.any(|c| c.status == "True")
        })
    }

    /// Notes how a cluster is, and says so where it is new.
    fn learn(&mut self, name: &str, state: Option<ClusterState>, verdict: Verdict) {
        let now = self.context.clock.now();
        let before = self.known.remove(name);
        let contact = match verdict.reachable {
            Some(true) => Some(now),
            _ => before.as_ref().and_then(|known| known.contact),
        };
        let changed = before.as_ref().is_none_or(|before| {
            (before.verdict.ready, before.verdict.reason) != (verdict.ready, verdict.reason)
        });
        // Being ready after having been so is no news after a restart of ours either.
        let object = self.desired.cluster(name);
        let said = object.and_then(|object| object.status.as_ref());
        let said = said
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        let said = before
            .as_ref()
            .map_or(said, |before| before.conditions.clone());
        let mut ready = said.iter().filter(|c| c.type_ == "Ready");
        let said_ready = ready.any(|c| c.status == "True");
        let first_and_ready = before.is_none() && verdict.ready && said_ready;
        if changed && !first_and_ready && object.is_some() {
            self.context
                .events
                .verdict(&self.desired.reference_of(name), &verdict);
        }
        let was_ready = verdict.ready
            || before
                .as_ref()
                .is_some_and(|before| before.was_ready && state.is_some());
        let versions = match &state {
            Some(state) => view::versions(state),
            None => before
                .as_ref()
                .map(|b| b.versions.clone())
                .unwrap_or_default(),
        };
        let state = state.or(before.and_then(|before| before.state));
        let generation = self.desired.generation_of(name);
        let known = Known {
            conditions: conditions(&verdict, generation, &said, now),
            state,
            verdict,
            contact,
            versions,
            was_ready,
            basis: self.basis(name),
        };
        if object.is_some() {
            let spec = self.handles.get(name).map(|handle| &handle.spec);
            let relay = self.fleet.as_ref().map(|fleet| &fleet.relay);
            let status = crd::RelayClusterStatus {
                observed_generation: generation,
                conditions: known.conditions.clone(),
                ..view::cluster(relay, spec, known.state.as_ref())
            };
            if let Some(object) = object {
                self.context.clusters.say(object, &status);
            }
        }
        self.known.insert(name.to_owned(), known);
    }

    fn tell_if_new(&self, verdict: &Verdict) {
        let before = self.home_verdict.as_ref();
        let same = before
            .is_some_and(|before| (before.ready, before.reason) == (verdict.ready, verdict.reason));
        if !same {
            self.context
                .events
                .verdict(&self.desired.reference(), verdict);
        }
    }

    fn status_soon(&mut self) {
        let at = Instant::now() + self.status_pause;
        self.status_due = Some(self.status_due.map_or(at, |due| due.min(at)));
    }

    /// Gathers what is to be told of the relay as a whole. With many clusters that takes a while.
    fn gather(&mut self) {
        self.status_due = None;
        let asked = Instant::now();
        let (Some(fleet), Some(home)) = (self.fleet.clone(), self.home.clone()) else {
            self.publish_relay(None, asked);
            return;
        };
        let mut observed = home;
        let mut contacts = Contacts::default();
        for (name, known) in &self.known {
            let Some(state) = known.state.clone() else {
                continue;
            };
            if let Some(at) = known.contact {
                let state = state.clone();
                contacts.insert(name, Contact { at, state });
            }
            let seen = match known.verdict.reachable {
                Some(false) => Err(ClusterError::Unavailable {
                    cluster: name.clone(),
                    operation: "look at it".to_owned(),
                    reason: known.verdict.message.clone(),
                }),
                _ => Ok(state),
            };
            observed.clusters.insert(name.clone(), seen);
        }
        let names = self.known.keys();
        let failing = names.filter(|name| self.agenda.fails(name)).cloned();
        let failing: BTreeSet<String> = failing.collect();
        self.looks.spawn_blocking(move || {
            let now = fleet.clock.now();
            let facts = facts(&fleet.relay, &observed, &failing, &contacts, now);
            Done::Facts(Some(facts), asked)
        });
    }

    /// Checks everything, once in a while: the findings are told as metrics.
    fn audit(&mut self) {
        self.audit_due = Instant::now() + AUDIT;
        if let Some(fleet) = self.fleet.clone()
            && self.home.is_some()
        {
            self.looks.spawn(async move {
                let now = fleet.clock.now();
                Done::Audit(Box::new(audit(&fleet, now).await))
            });
        }
    }

    /// Writes the status of the Relay, and what the metrics say of it.
    fn publish_relay(&mut self, facts: Option<RelayFacts>, asked: Instant) {
        // What takes long is not done all the time.
        self.status_pause = STATUS_PAUSE.max(asked.elapsed() * 10);
        let Some(own) = &self.home_verdict else {
            return;
        };
        let now = self.context.clock.now();
        let not_ready: Vec<&str> = self
            .known
            .iter()
            .filter(|(_, known)| !known.verdict.ready)
            .map(|(name, _)| name.as_str())
            .collect();
        let total = match &self.desired.assembled {
            Ok(assembled) => assembled.relay.clusters.len() + assembled.rejected.len(),
            Err(_) => self.known.len(),
        };
        let ready = self.known.len() - not_ready.len();
        let verdict = match own.ready {
            true if ready < total => {
                Verdict::not_ready("ClustersNotReady", view::missing(ready, total, &not_ready))
            }
            _ => own.clone(),
        };
        let generation = self.desired.generation();
        self.conditions = conditions(&verdict, generation, &self.conditions, now);
        self.conditions
            .retain(|condition| condition.type_ != "Reachable");
        let status = crd::RelayStatus {
            observed_generation: generation,
            conditions: self.conditions.clone(),
            clusters: Some(view::counts(ready, total, &not_ready)),
            earliest_failure: facts.as_ref().and_then(view::earliest_failure),
            ..view::relay(self.fleet.as_deref(), self.home.as_ref(), &self.known)
        };
        self.context
            .relays
            .say(&self.desired.written.relay, &status);
        if let Some(facts) = facts {
            self.context.metrics.relay(facts);
        }
    }
}

fn epoch(relay: &Relay, observed: &Observed) -> Epoch {
    let journal = &observed.journal;
    let home = observed.clusters.get(relay.home().name.as_str());
    let home = home.and_then(|state| state.as_ref().ok());
    let token = |slot: Option<&crate::engine::Held<crate::engine::TokenState>>| {
        Some(slot?.content.as_ref().ok()?.digest)
    };
    Epoch {
        bundle: journal
            .published_roots()
            .ok()
            .map(|bundle| bundle.digest().to_string()),
        signer: journal.active(Level::Signer).map(|record| record.number),
        requests: journal
            .requests
            .iter()
            .map(|(scope, kept)| (scope.clone(), kept.record.number))
            .collect(),
        tokens: [
            token(home.and_then(|home| home.identity_token.as_ref())),
            token(home.and_then(|home| home.forwarding_token.as_ref())),
        ],
    }
}
