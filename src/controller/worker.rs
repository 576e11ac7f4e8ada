//! One relay, worked on by one task.
//!
//! The management clusters are one entry of the agenda, every workload cluster is another. The loop
//! never waits for a cluster: looks run beside it and report back.

mod clusters;
mod epoch;
mod finish;
mod tell;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;

use self::clusters::Handle;
use self::epoch::Epoch;
pub(super) use self::finish::Known;
use super::agenda::{Agenda, Outcome};
use super::context::Context;
use super::desired::Desired;
use super::rotations;
use super::round::{self, ClusterRound, HomeRound};
use super::verdict::Verdict;
use crate::audit::Report;
use crate::cluster::{Change, ClusterError};
use crate::config::{ClusterSpec, Relay, Role};
use crate::engine::{Cancel, Fleet, Observed, Observer, Outlook};
use crate::enrolment::Revoker;
use crate::metrics::{Enrolments, RelayFacts};

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

/// While a rotation waits: how often its gate is looked at.
const GATE: Duration = Duration::from_secs(10);

/// The relay's own status is written at most that often.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// When everything is audited for the first time, and how often from then on.
const FIRST_AUDIT: Duration = Duration::from_secs(30);
const AUDIT: Duration = Duration::from_secs(3600);

/// How often the records of the clusters that enrol are read, for what is told of them: there are thousands,
/// and ends of certificates are hours away.
const ENROLMENTS: Duration = Duration::from_secs(300);

type Sender = mpsc::Sender<(String, Change)>;
type SharedObserver = Shared<BoxFuture<'static, Result<Arc<Observer>, ClusterError>>>;

/// What a look came to.
enum Done {
    Home(Box<Result<HomeRound, ClusterError>>, Instant),
    Cluster(String, Box<Result<ClusterRound, ClusterError>>, Instant),
    /// What is told of the whole relay, and when it was asked for.
    Facts(Option<RelayFacts>, Instant),
    /// None if it was cancelled.
    Audit(Option<Box<Report>>),
    /// What agents that enrol have shown and said.
    Enrolments(Result<Enrolments, ClusterError>),
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
    /// How the rotation of root or signer stands.
    rotation: Outlook,
    /// What was said of the Relay.
    conditions: Vec<Condition>,
    known: BTreeMap<String, Known>,
    epoch: Option<Epoch>,
    epochs: u64,
    /// The generation of the Relay that `home_verdict` is about.
    home_generation: Option<i64>,
    tasks: JoinSet<Done>,
    /// Which entry of the agenda a task is a look at.
    looks: HashMap<task::Id, String>,
    changes: (Sender, mpsc::Receiver<(String, Change)>),
    status_due: Option<Instant>,
    status_pause: Duration,
    audit_due: Instant,
    enrolments: Arc<Enrolments>,
    enrolments_due: Instant,
    revoker: Revoker,
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
            rotation: Outlook::default(),
            conditions: said,
            known: BTreeMap::new(),
            epoch: None,
            epochs: 0,
            home_generation: None,
            tasks: JoinSet::new(),
            looks: HashMap::new(),
            changes: mpsc::channel(1024),
            status_due: None,
            status_pause: STATUS_PAUSE,
            audit_due: Instant::now() + FIRST_AUDIT,
            enrolments: Arc::default(),
            enrolments_due: Instant::now(),
            revoker: Revoker::start(cancel.clone()),
            cancel,
        };
        worker.take(desired);
        worker
    }

    pub(super) async fn run(mut self, mut desired: watch::Receiver<Arc<Desired>>) {
        loop {
            self.launch();
            let timers = [self.audit_due, self.enrolments_due].map(Some);
            let wake = [self.agenda.next(), self.status_due]
                .into_iter()
                .chain(timers)
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
                Some(done) = self.tasks.join_next_with_id() => match done {
                    Ok((id, done)) => {
                        self.looks.remove(&id);
                        self.finish(done);
                    }
                    Err(error) => self.aborted(&error),
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
            if self.enrolments_due <= now {
                self.ask_enrolments();
            }
        }
        // Steps that were begun are finished: they end by their own time limits.
        while self.tasks.join_next().await.is_some() {}
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Home(result, begun) => self.finish_home(*result, begun),
            Done::Cluster(name, result, begun) => self.finish_cluster(&name, *result, begun),
            Done::Facts(facts, asked) => self.publish_relay(facts, asked),
            Done::Audit(Some(report)) => {
                self.context.metrics.audited(self.desired.name(), &report);
            }
            Done::Audit(None) => {}
            Done::Enrolments(result) => self.finish_enrolments(result),
        }
    }

    /// A task panicked, which is a bug. Others go on, and what it looked at is looked at again.
    fn aborted(&mut self, error: &task::JoinError) {
        tracing::error!(%error, "a look was aborted");
        if let Some(name) = self.looks.remove(&error.id()) {
            self.agenda.finished(&name, Outcome::Failed, Instant::now());
        }
    }

    /// Takes in what the objects say now.
    fn take(&mut self, desired: Arc<Desired>) {
        let before = std::mem::replace(&mut self.desired, desired.clone());
        let now = Instant::now();
        let assembled = match &desired.assembled {
            Ok(assembled) if !desired.is_suspended() => assembled,
            _ => {
                if desired.is_suspended() {
                    self.agenda.set([].into_iter(), now);
                }
                // What was asked for before goes on being kept, as long as nobody says it right.
                if let Some(verdict) = desired.objection() {
                    self.tell_if_new(&verdict);
                    self.home_verdict = Some(verdict);
                }
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
            clusters.filter(|spec| spec.role == Role::Workload && spec.is_in_reach())
        };
        let names = workloads().map(|spec| spec.name.as_str());
        self.agenda.set([HOME].into_iter().chain(names), now);
        let enrolling = || relay.clusters.iter().filter(|spec| !spec.is_in_reach());
        for spec in enrolling() {
            let verdict = self.judged(spec.name.as_str(), Verdict::enrolls());
            self.learn(spec.name.as_str(), None, verdict);
        }
        let in_use: BTreeSet<String> = workloads()
            .chain(enrolling())
            .map(|spec| spec.name.to_string())
            .chain(assembled.rejected.keys().cloned())
            .chain(relay.management().map(|spec| spec.name.to_string()))
            .collect();
        self.known.retain(|name, _| in_use.contains(name));
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
                let revoker = self.revoker.clone();
                let left_out = self.left_out(&fleet);
                let wanted = self.desired.written.rotations.clone();
                let (context, relay) = (self.context.clone(), self.desired.written.relay.clone());
                self.agenda.started(HOME);
                let look = self.tasks.spawn(async move {
                    let begun = Instant::now();
                    let result = round::home(&fleet, &left_out, &wanted, &revoker, &cancel).await;
                    if let Ok(round) = &result {
                        rotations::publish(&context, &relay, &fleet, round, &wanted).await;
                    }
                    Done::Home(Box::new(result), begun)
                });
                self.looks.insert(look.id(), name);
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
            let entry = name.clone();
            let look = self.tasks.spawn(async move {
                let begun = Instant::now();
                let result = match observer.await {
                    Ok(observer) => round::cluster(&fleet, &observer, &spec, &cancel).await,
                    Err(error) => Err(error),
                };
                Done::Cluster(name, Box::new(result), begun)
            });
            self.looks.insert(look.id(), entry);
        }
    }

    /// The clusters whose objects are wrong and that are not worked on, with what is wrong.
    fn left_out(&self, fleet: &Fleet) -> BTreeMap<String, String> {
        let Ok(assembled) = &self.desired.assembled else {
            return BTreeMap::new();
        };
        let known = |name: &str| {
            let mut clusters = fleet.relay.clusters.iter();
            clusters.any(|spec| spec.name.as_str() == name)
        };
        let rejected = assembled.rejected.iter().filter(|(name, _)| !known(name));
        rejected
            .map(|(name, problems)| (name.clone(), Verdict::invalid(problems).message))
            .collect()
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
}
