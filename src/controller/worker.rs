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
use relay_pki_authority::{KeyStore, Level};
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
use crate::authorities;
use crate::cluster::{Change, Cluster, ClusterError, KubernetesCluster, Version};
use crate::config::{ClusterSpec, Relay, Role};
use crate::crd;
use crate::engine::{Applied, Cancel, ClusterState, Fleet, Observed, Observer, StepError};
use crate::journal::{ClusterKeyStore, Scope};
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

type Sender = mpsc::Sender<(String, Change)>;
type SharedObserver = Shared<BoxFuture<'static, Result<Arc<Observer>, ClusterError>>>;

/// What a look came to.
enum Done {
    Home(Result<HomeRound, ClusterError>),
    Cluster(String, Box<Result<ClusterRound, ClusterError>>),
}

/// A cluster that is open.
struct Handle {
    spec: ClusterSpec,
    cluster: Arc<KubernetesCluster>,
    watch: AbortHandle,
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
    looks: JoinSet<Done>,
    changes: (Sender, mpsc::Receiver<(String, Change)>),
    status_due: Option<Instant>,
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
            looks: JoinSet::new(),
            changes: mpsc::channel(1024),
            status_due: None,
            cancel,
        };
        worker.take(desired);
        worker
    }

    pub(super) async fn run(mut self, mut desired: watch::Receiver<Arc<Desired>>) {
        loop {
            self.launch();
            let wake = [self.agenda.next(), self.status_due]
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
                    Ok(Done::Home(result)) => self.finish_home(result),
                    Ok(Done::Cluster(name, result)) => self.finish_cluster(&name, *result),
                    Err(error) => {
                        // A bug. Others go on; what broke is looked at again with the resync.
                        tracing::error!(%error, "a look at a cluster was aborted");
                    }
                },
                Some((cluster, change)) = self.changes.1.recv() => self.changed(&cluster, change),
                () = tokio::time::sleep_until(wake) => {}
            }
            if self.status_due.is_some_and(|at| at <= Instant::now()) {
                self.publish_relay();
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
                self.home_verdict = Some(Verdict {
                    reachable: None,
                    ..Verdict::not_ready(
                        "Suspended",
                        "nothing is renewed or repaired while spec.suspend is true",
                    )
                });
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
        for (name, problems) in &assembled.rejected {
            self.learn(name, None, Verdict::invalid(problems));
        }
        self.open(&assembled.relay);
        let workloads = || {
            let clusters = assembled.relay.clusters.iter();
            clusters.filter(|spec| spec.role == Role::Workload)
        };
        let names = workloads().map(|spec| spec.name.as_str());
        self.agenda.set([HOME].into_iter().chain(names), now);
        let in_use: BTreeSet<String> = workloads()
            .map(|spec| spec.name.to_string())
            .chain(assembled.rejected.keys().cloned())
            .chain(
                assembled
                    .relay
                    .management()
                    .map(|spec| spec.name.to_string()),
            )
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
                    watch: old.watch,
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
        let keys: Arc<dyn KeyStore> = Arc::new(ClusterKeyStore::new(home.clone()));
        let open = self.handles.iter();
        let open = open.map(|(name, handle)| {
            let cluster: Arc<dyn Cluster> = handle.cluster.clone();
            (name.clone(), cluster)
        });
        self.fleet = Some(Arc::new(Fleet {
            clusters: open.collect(),
            providers: authorities::open(relay, &home, &keys),
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
        let entry = match self.handles.get(cluster) {
            Some(handle) if handle.spec.role == Role::Workload => cluster,
            Some(_) => HOME,
            None => return,
        };
        let now = Instant::now();
        match change {
            // It could be reached: if it failed before, it may do so no more.
            Change::Begun if self.agenda.fails(entry) => self.agenda.retry(entry, now),
            Change::Begun => {}
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
                self.looks
                    .spawn(async move { Done::Home(round::home(&fleet, &cancel).await) });
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
                let result = match observer.await {
                    Ok(observer) => round::cluster(&fleet, &observer, &spec, &cancel).await,
                    Err(error) => Err(error),
                };
                Done::Cluster(name, Box::new(result))
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

    fn finish_home(&mut self, result: Result<HomeRound, ClusterError>) {
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
        self.agenda.finished(HOME, outcome, now);
        if let Ok(round) = result {
            let about = self.desired.reference();
            // A change by hand, or the first time? What was ready before was complete.
            let was_ready = self.home_verdict.as_ref().is_some_and(|v| v.ready);
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            self.context.events.done(&about, &round.applied.done, drift);
            for spec in fleet.relay.management() {
                let name = spec.name.as_str();
                if let Some(state) = round.observed.clusters.get(name) {
                    let verdict = match state {
                        Ok(_) => verdict.clone(),
                        Err(error) => Verdict::of_error(error),
                    };
                    self.learn(name, state.as_ref().ok().cloned(), verdict);
                }
                if drift {
                    self.context.drifted(&fleet.relay.name, name);
                }
            }
            let epoch = epoch(&fleet.relay, &round.observed);
            if round.applied.done.is_empty() && self.epoch.as_ref() != Some(&epoch) {
                self.epoch = Some(epoch);
                self.agenda.ask_all(now);
                // Asking for everything asks for this too, and it was just done.
                self.agenda.settle(HOME, outcome);
            }
            self.home = Some(round.observed);
        }
        if !matches!(outcome, Outcome::Acted) {
            self.tell_if_new(&verdict);
            self.home_verdict = Some(verdict);
        }
        self.status_soon();
    }

    fn finish_cluster(&mut self, name: &str, result: Result<ClusterRound, ClusterError>) {
        let now = Instant::now();
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        let mut clusters = fleet.relay.clusters.iter();
        let spec = clusters.find(|spec| spec.name.as_str() == name);
        let Some(spec) = spec else {
            return;
        };
        let verdict = Verdict::of_cluster(&result);
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
        self.agenda.finished(name, outcome, now);
        if let Ok(round) = &result {
            let was_ready = self.known.get(name).is_some_and(|known| known.was_ready);
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            let about = self.desired.reference_of(name);
            self.context.events.done(&about, &round.applied.done, drift);
            if drift {
                self.context.drifted(&fleet.relay.name, name);
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
                self.context.conflicted(self.desired.name());
            }
        }
        let pending = |error: &StepError| matches!(error, StepError::Pending { .. });
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
        };
        if object.is_some() {
            let spec = self.handles.get(name).map(|handle| &handle.spec);
            let relay = self.fleet.as_ref().map(|fleet| &fleet.relay);
            let status = crd::RelayClusterStatus {
                observed_generation: generation,
                conditions: known.conditions.clone(),
                ..view::cluster(relay, spec, known.state.as_ref())
            };
            self.context.clusters.say(name, &status);
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
        let at = Instant::now() + STATUS_PAUSE;
        self.status_due = Some(self.status_due.map_or(at, |due| due.min(at)));
    }

    /// Writes the status of the Relay, and what the metrics say of it.
    fn publish_relay(&mut self) {
        self.status_due = None;
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
            ..view::relay(self.fleet.as_deref(), self.home.as_ref(), &self.known)
        };
        self.context.relays.say(self.desired.name(), &status);
        if let (Some(fleet), Some(home)) = (&self.fleet, &self.home) {
            self.context.measure(fleet, home, &self.known);
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
