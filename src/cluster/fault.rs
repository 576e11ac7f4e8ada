//! Clusters that fail on request, for tests and for rehearsals.
//!
//! One [`Faults`] is shared by every cluster of a fleet, as one process is: a crash ends all its
//! calls, and the n-th mutating call is the n-th of the process, whatever the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    Cluster, ClusterError, Expected, LockGuard, Object, ObjectKey, Rollout, Stored, Version,
    Workloads,
};
use crate::config::Workload;

/// What goes wrong with one mutating call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends before the call takes effect.
    CrashBefore,
    /// The process ends after the call took effect, before it is told so.
    CrashAfter,
    /// The call takes effect; its reply is lost.
    LostReply,
    /// The call is made twice, as a network does that loses the first reply; the second one is told.
    Twice,
    /// The call fails and has no effect.
    Refused,
    /// Somebody else was faster: a conflict, without effect.
    Conflict,
}

/// One mutating call that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The cluster.
    pub cluster: String,
    /// The object.
    pub object: ObjectKey,
    /// What was done to it.
    pub kind: EffectKind,
}

/// What a mutating call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// The object is new.
    Created,
    /// The object is another.
    Replaced,
    /// The object is gone.
    Deleted,
}

/// The script: which call fails how, and what happened so far. Clones are handles of the same one.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    mutations: usize,
    injected: usize,
    planned: BTreeMap<usize, Fault>,
    unreachable: BTreeSet<String>,
    is_crashed: bool,
    effects: Vec<Effect>,
}

impl Faults {
    /// Nothing goes wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `cluster`, failing by this script.
    pub fn wrap<C: Cluster>(&self, cluster: C) -> Faulty<C> {
        Faulty {
            inner: cluster,
            faults: self.clone(),
        }
    }

    /// The `n`-th mutating call, counted from 1 since the beginning, fails like this, once. The count
    /// goes on after [`revive`](Self::revive), so that a run crashes once.
    pub fn plan(&self, n: usize, fault: Fault) {
        self.script().planned.insert(n, fault);
    }

    /// Every call to the cluster of this name fails, until it is reachable again.
    pub fn set_reachable(&self, cluster: &str, is_reachable: bool) {
        let mut script = self.script();
        if is_reachable {
            script.unreachable.remove(cluster);
        } else {
            script.unreachable.insert(cluster.to_owned());
        }
    }

    /// The process ends now.
    pub fn crash(&self) {
        self.script().is_crashed = true;
    }

    /// Whether the process is dead, and every call fails.
    pub fn is_crashed(&self) -> bool {
        self.script().is_crashed
    }

    /// Starts the process again. Whoever held a lock has to drop it, as the operating system would.
    pub fn revive(&self) {
        self.script().is_crashed = false;
    }

    /// How many mutating calls there were, those that failed included.
    pub fn mutations(&self) -> usize {
        self.script().mutations
    }

    /// How many of them failed as planned.
    pub fn injected(&self) -> usize {
        self.script().injected
    }

    /// What took effect, in order. Finds what a look at the end state cannot: written twice.
    pub fn effects(&self) -> Vec<Effect> {
        self.script().effects.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster that fails by a script; see [`Faults::wrap`].
#[derive(Clone)]
pub struct Faulty<C> {
    inner: C,
    faults: Faults,
}

impl<C: Cluster> Faulty<C> {
    /// The cluster itself, which never fails.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    fn unavailable(&self, operation: &str, reason: &str) -> ClusterError {
        ClusterError::Unavailable {
            cluster: self.inner.name().to_owned(),
            operation: operation.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn check_alive(&self, operation: &str) -> Result<(), ClusterError> {
        let script = self.faults.script();
        if script.is_crashed {
            Err(self.unavailable(operation, "this process is dead"))
        } else if script.unreachable.contains(self.inner.name()) {
            Err(self.unavailable(operation, "no route to the cluster"))
        } else {
            Ok(())
        }
    }

    /// The fault of the next mutating call, if it has one. A call that cannot be made does not count.
    fn begin(&self, operation: &str) -> Result<Option<Fault>, ClusterError> {
        self.check_alive(operation)?;
        let mut script = self.faults.script();
        script.mutations += 1;
        let n = script.mutations;
        let fault = script.planned.remove(&n);
        script.injected += usize::from(fault.is_some());
        match fault {
            Some(Fault::CrashBefore) => {
                script.is_crashed = true;
                Err(self.unavailable(operation, "this process is dead"))
            }
            Some(Fault::Refused) => Err(self.unavailable(operation, "the call failed")),
            Some(Fault::Conflict | Fault::CrashAfter | Fault::LostReply | Fault::Twice) | None => {
                Ok(fault)
            }
        }
    }

    /// The same for a call about an object.
    fn begin_on(&self, operation: &str, key: &ObjectKey) -> Result<Option<Fault>, ClusterError> {
        match self.begin(operation)? {
            Some(Fault::Conflict) => Err(ClusterError::Conflict {
                cluster: self.inner.name().to_owned(),
                object: key.clone(),
            }),
            fault => Ok(fault),
        }
    }

    fn end<T>(
        &self,
        operation: &str,
        fault: Option<Fault>,
        outcome: Result<T, ClusterError>,
        effect: Option<(&ObjectKey, EffectKind)>,
    ) -> Result<T, ClusterError> {
        let mut script = self.faults.script();
        if let (Some((object, kind)), Ok(_)) = (effect, &outcome) {
            script.effects.push(Effect {
                cluster: self.inner.name().to_owned(),
                object: object.clone(),
                kind,
            });
        }
        match fault {
            Some(Fault::CrashAfter) => {
                script.is_crashed = true;
                Err(self.unavailable(operation, "this process is dead"))
            }
            Some(Fault::LostReply) => Err(self.unavailable(operation, "the reply was lost")),
            _ => outcome,
        }
    }
}

#[async_trait]
impl<C: Cluster> Cluster for Faulty<C> {
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
        self.check_alive("list the objects")?;
        self.inner.list(selector, wanted).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        self.check_alive(&format!("read {key}"))?;
        self.inner.read(key).await
    }

    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError> {
        let operation = format!("write {}", object.key);
        let fault = self.begin_on(&operation, &object.key)?;
        let outcome = self.inner.write(object, expected).await;
        let kind = match expected {
            Expected::Absent => EffectKind::Created,
            Expected::At(_) => EffectKind::Replaced,
        };
        let effect = Some((&object.key, kind));
        let outcome = self.end(&operation, fault, outcome, effect);
        match fault {
            Some(Fault::Twice) => self.inner.write(object, expected).await,
            _ => outcome,
        }
    }

    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        let operation = format!("delete {key}");
        let fault = self.begin_on(&operation, key)?;
        let outcome = self.inner.delete(key, expected).await;
        let effect = Some((key, EffectKind::Deleted));
        let outcome = self.end(&operation, fault, outcome, effect);
        match fault {
            Some(Fault::Twice) => self.inner.delete(key, expected).await,
            _ => outcome,
        }
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        self.check_alive("lock the cluster")?;
        self.inner.lock().await
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        self.inner.workloads().map(|_| self as &dyn Workloads)
    }
}

#[async_trait]
impl<C: Cluster> Workloads for Faulty<C> {
    async fn rollout(&self, workload: &Workload) -> Result<Option<Rollout>, ClusterError> {
        self.check_alive(&format!("read {workload}"))?;
        match self.inner.workloads() {
            Some(workloads) => workloads.rollout(workload).await,
            None => Ok(None),
        }
    }

    async fn restart(
        &self,
        workload: &Workload,
        annotation: (&str, &str),
        expected: &Version,
    ) -> Result<bool, ClusterError> {
        let operation = format!("restart {workload}");
        let fault = self.begin(&operation)?;
        let outcome = match self.inner.workloads() {
            Some(_) if fault == Some(Fault::Conflict) => Ok(false),
            Some(workloads) => workloads.restart(workload, annotation, expected).await,
            None => Ok(false),
        };
        self.end(&operation, fault, outcome, None)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
