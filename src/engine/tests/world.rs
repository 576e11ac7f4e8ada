//! A fleet in memory that outlives the processes that work on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::{KeyStore, Level, Metering, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use super::backend::{Backend, Ledger};
use super::document::Document;
use super::oracle::Oracle;
use crate::clock::{Clock as _, ManualClock};
use crate::cluster::fault::Faults;
use crate::cluster::{
    Cluster, ClusterError, Expected, LockGuard, MemoryCluster, Object, ObjectKey, Stored, Version,
    Workloads,
};
use crate::config::{ClusterSpec, Relay};
use crate::engine::{Applied, Apply, Cancel, Fleet, Goal, Observed, Plan, observe, plan};
use crate::evidence;
use crate::journal::{ClusterKeyStore, RequestRecord, RotationRecord, Scope, Why};
use crate::relay::{SecretRole, secret_name};
use crate::rotation::{Begun, Refusal, Request, Steering, begin, steer};
use crate::transcript::{self, Deed};

pub(super) const BOOTSTRAP: Goal = Goal::Bootstrap {
    adopt: false,
    prune_keys: false,
};
pub(super) const ADOPT: Goal = Goal::Bootstrap {
    adopt: true,
    prune_keys: false,
};

/// Rounds after which something obviously goes in circles.
const ROUNDS: usize = 60;

pub(super) struct World {
    pub(super) document: Document,
    pub(super) relay: Relay,
    pub(super) stores: BTreeMap<String, MemoryCluster>,
    pub(super) clock: ManualClock,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
    pub(super) metering: Metering,
    /// Looks at everything after each write, where a test asks for that.
    pub(super) oracle: Option<Arc<Oracle>>,
    /// Lets other tasks in before each call, where a test asks for that.
    pub(super) interleave: Option<u64>,
}

pub(super) fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

impl World {
    pub(super) fn new(document: Document) -> Self {
        let mut world = Self {
            relay: document.parse(),
            document,
            stores: BTreeMap::new(),
            clock: ManualClock::new(start()),
            faults: Faults::new(),
            ledger: Ledger::default(),
            metering: Metering::Free,
            oracle: None,
            interleave: None,
        };
        world.reload();
        world
    }

    /// The same clusters, their content copied, in a world of its own.
    pub(super) fn copy(&self) -> Self {
        let copy = Self {
            clock: ManualClock::new(self.clock.now()),
            metering: self.metering,
            ..Self::new(self.document.clone())
        };
        for (name, store) in &self.stores {
            for object in store.objects() {
                copy.stores[name].overwrite(object);
            }
        }
        copy
    }

    pub(super) fn watched(mut self) -> Self {
        self.oracle = Some(Arc::new(Oracle::new(&self)));
        self
    }

    /// Takes a changed document in.
    pub(super) fn reload(&mut self) {
        self.relay = self.document.parse();
        for spec in &self.relay.clusters {
            let name = spec.name.to_string();
            let store = || MemoryCluster::new(&name);
            self.stores.entry(name.clone()).or_insert_with(store);
        }
    }

    pub(super) fn spec(&self, cluster: &str) -> &ClusterSpec {
        let mut clusters = self.relay.clusters.iter();
        clusters.find(|spec| spec.name.as_str() == cluster).unwrap()
    }

    pub(super) fn home(&self) -> &MemoryCluster {
        &self.stores[self.relay.home().name.as_str()]
    }

    /// A fresh process: new handles, nothing remembered.
    pub(super) fn fleet(&self) -> Fleet {
        let clusters: BTreeMap<String, Arc<dyn Cluster>> = self
            .relay
            .clusters
            .iter()
            .map(|spec| {
                let name = spec.name.to_string();
                let watched = Watched {
                    inner: self.stores[&name].clone(),
                    oracle: self.oracle.clone(),
                    yields: self.interleave.map(AtomicU64::new),
                };
                let cluster: Arc<dyn Cluster> = Arc::new(self.faults.wrap(watched));
                (name, cluster)
            })
            .collect();
        let home = clusters[self.relay.home().name.as_str()].clone();
        let providers = self.relay.providers.iter().map(|(name, config)| {
            let keys: Arc<dyn KeyStore> = Arc::new(ClusterKeyStore::of(config, &home));
            let inner: Arc<dyn Provider> = Arc::new(SelfSigned::new(name, keys));
            let backend = Backend::new(
                inner,
                self.ledger.clone(),
                self.metering,
                self.faults.clone(),
            );
            (name.clone(), checked(Arc::new(backend)))
        });
        Fleet {
            relay: self.relay.clone(),
            providers: providers.collect(),
            clusters,
            clock: Arc::new(self.clock.clone()),
        }
    }

    pub(super) async fn observe(&self) -> Observed {
        self.look(&self.fleet()).await.unwrap()
    }

    /// Looks at everything, as the verbs do.
    async fn look(&self, fleet: &Fleet) -> Result<Observed, ClusterError> {
        let mut observed = observe(fleet).await?;
        evidence::gather(fleet, &mut observed).await;
        Ok(observed)
    }

    pub(super) async fn plan(&self, goal: &Goal) -> Plan {
        plan(&self.relay, goal, &self.observe().await, self.clock.now())
    }

    /// One round.
    pub(super) async fn round(&self, goal: &Goal) -> Result<(Plan, Applied), ClusterError> {
        let fleet = self.fleet();
        let observed = self.look(&fleet).await?;
        let plan = plan(&self.relay, goal, &observed, self.clock.now());
        let applied = Apply::new(&fleet, &observed)
            .run(plan.clone(), &Cancel::default(), &|_| {})
            .await;
        Ok((plan, applied))
    }

    /// Rounds until there is nothing more to do, or the process is dead. The last plan.
    pub(super) async fn run(&self, goal: &Goal) -> Option<Plan> {
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            match self.round(goal).await {
                Ok((plan, _)) if plan.steps.is_empty() && plan.settled.is_empty() => {
                    return Some(plan);
                }
                Ok((_, applied)) => last = applied.failed,
                Err(error) if self.faults.is_crashed() => drop(error),
                Err(error) => panic!("{error}"),
            }
            if self.faults.is_crashed() {
                return None;
            }
        }
        panic!("no end to it: {last:?}");
    }

    /// Brings the fleet to a goal that must be reachable.
    pub(super) async fn reach(&self, goal: &Goal) {
        let plan = self.run(goal).await.expect("the process died");
        assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    }

    /// Writes rotation requests down, those of them that are not yet at `number`.
    pub(super) async fn request(&self, number: u64, scopes: &[Scope]) {
        let fleet = self.fleet();
        let Ok(observed) = observe(&fleet).await else {
            return;
        };
        for scope in scopes {
            let kept = observed.journal.requests.get(scope);
            if kept.is_some_and(|kept| kept.record.number >= number) {
                continue;
            }
            let at = self.clock.now();
            let object = RequestRecord { number, at }.encode(&self.relay.name, scope);
            let version = kept.and_then(|kept| kept.version.clone());
            let expected = version.map_or(Expected::Absent, Expected::At);
            let _ = fleet.home().unwrap().write(&object, &expected).await;
        }
    }

    /// Asks for a rotation and carries it through.
    pub(super) async fn rotate(&self, number: u64, scopes: &[Scope]) -> Option<Plan> {
        self.request(number, scopes).await;
        // Whoever is told that it could not be written asks again.
        self.request(number, scopes).await;
        if self.faults.is_crashed() {
            return None;
        }
        self.run(&rotate(scopes)).await
    }

    /// Writes a rotation down that somebody asks for, unless it is under way.
    pub(super) async fn begin(&self, request: &Request) {
        let fleet = self.fleet();
        let Ok(observed) = observe(&fleet).await else {
            return;
        };
        let begun = begin(&self.relay, &observed, request, self.clock.now());
        if let Begun::New(record) | Begun::Escalated(record) = begun.unwrap() {
            self.save(&observed, &record, &request.by).await;
        }
    }

    /// Begins a rotation in phases and carries it through, the soak times included.
    pub(super) async fn through(&self, level: Level) {
        self.begin(&request(level)).await;
        self.run(&Goal::Rotation).await;
        self.soak(&Goal::Rotation).await;
    }

    /// Lets both soak times of a rotation pass: that of the new certificates and that of the cut chains.
    /// The second is over at once where the first was the only one.
    pub(super) async fn soak(&self, goal: &Goal) {
        for _ in 0..2 {
            if self.faults.is_crashed() {
                return;
            }
            self.clock.advance(self.relay.rotation.soak);
            self.run(goal).await;
        }
    }

    /// A soak time later, by a clock that is right again if it was turned back.
    pub(super) async fn later(&self) {
        let journal = self.observe().await.journal;
        let last = journal.rotations.last_key_value();
        let last = last.map_or(SignedDuration::ZERO, |(_, kept)| {
            kept.record.since().duration_since(self.clock.now())
        });
        let behind = last.max(SignedDuration::ZERO);
        self.clock.advance(behind + self.relay.rotation.soak);
    }

    /// Leads the rotation under way.
    pub(super) async fn steer(&self, steering: Steering) -> Result<(), Refusal> {
        let observed = self.observe().await;
        let now = self.clock.now();
        let record = steer(&self.relay, &observed, &steering, "carol", now)?;
        self.save(&observed, &record, "carol").await;
        Ok(())
    }

    async fn save(&self, observed: &Observed, record: &RotationRecord, by: &str) {
        let mut journal = observed.journal.clone();
        let deed = Deed::of(by);
        let _ = transcript::record(&self.fleet(), &mut journal, record, &deed).await;
    }

    /// The rotation under way, or the last one.
    pub(super) async fn rotation(&self) -> RotationRecord {
        let journal = self.observe().await.journal;
        journal.rotations.last_key_value().unwrap().1.record.clone()
    }

    pub(super) fn object(&self, cluster: &str, role: SecretRole) -> Option<Object> {
        let name = secret_name(&self.relay, self.spec(cluster), role);
        let objects = self.stores[cluster].objects();
        objects
            .into_iter()
            .find(|object| object.key == ObjectKey::secret(name.clone()))
    }

    pub(super) async fn delete(&self, cluster: &str, role: SecretRole) {
        let key = ObjectKey::secret(secret_name(&self.relay, self.spec(cluster), role));
        let store = &self.stores[cluster];
        if let Some(stored) = store.read(&key).await.unwrap() {
            store.delete(&key, &stored.version).await.unwrap();
        }
    }

    /// Changes one entry of a Secret, as an operator with an editor would.
    pub(super) fn edit(&self, cluster: &str, role: SecretRole, entry: &str, value: &[u8]) {
        if let Some(mut object) = self.object(cluster, role) {
            let value = crate::cluster::SecretBytes::new(value);
            object.data.insert(entry.to_owned(), value);
            self.stores[cluster].overwrite(object);
        }
    }
}

pub(super) fn request(level: Level) -> Request {
    Request {
        level,
        by: "alice".to_owned(),
        why: Why::Requested,
        canary: Vec::new(),
        emergency: false,
    }
}

pub(super) fn rotate(scopes: &[Scope]) -> Goal {
    Goal::Rotate(scopes.iter().cloned().collect::<BTreeSet<Scope>>())
}

/// A cluster that tells the oracle of each write, and lets other tasks in before each call.
struct Watched {
    inner: MemoryCluster,
    oracle: Option<Arc<Oracle>>,
    yields: Option<AtomicU64>,
}

impl Watched {
    async fn pause(&self) {
        if let Some(state) = &self.yields {
            // A linear congruence is random enough to shuffle two tasks.
            let next = |n: u64| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            let n = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
            for _ in 0..(n.unwrap() >> 33) % 4 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn tell(&self, what: &str) {
        if let Some(oracle) = &self.oracle {
            oracle.check(&format!("{what} in {}", self.inner.name()));
        }
    }
}

#[async_trait]
impl Cluster for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    async fn list(
        &self,
        selector: (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        self.pause().await;
        self.inner.list(selector, wanted).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        self.pause().await;
        self.inner.read(key).await
    }

    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError> {
        self.pause().await;
        let outcome = self.inner.write(object, expected).await;
        self.tell(&format!("write of {}", object.key));
        outcome
    }

    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        self.pause().await;
        let outcome = self.inner.delete(key, expected).await;
        self.tell(&format!("deletion of {key}"));
        outcome
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        self.inner.lock().await
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        self.inner.workloads()
    }
}
