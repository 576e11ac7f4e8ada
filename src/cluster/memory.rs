use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    Cluster, ClusterError, Expected, LockGuard, Object, ObjectKey, Rollout, Stored, Version,
    Workloads, rules,
};
use crate::config::Workload;

/// A cluster in memory, for tests and for rehearsals. Clones are handles of the same cluster.
#[derive(Clone)]
pub struct MemoryCluster {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, (Object, u64)>,
    workloads: BTreeMap<Workload, Rollout>,
    /// Counts up over the whole cluster, as a `resourceVersion` does: no version ever comes back.
    version: u64,
    reads: usize,
    writes: usize,
    is_locked: bool,
}

impl MemoryCluster {
    /// An empty cluster.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            state: Arc::default(),
        }
    }

    /// How many times it was listed or read.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    /// How many writes and deletions took effect.
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    /// Everything in it.
    pub fn objects(&self) -> Vec<Object> {
        let state = self.state();
        state
            .objects
            .values()
            .map(|(object, _)| object.clone())
            .collect()
    }

    /// Puts `object` there whatever was there, as another controller or a person would.
    pub fn overwrite(&self, object: Object) {
        self.state().put(object);
    }

    /// Runs `workload` there, rolled out.
    pub fn install(&self, workload: &Workload) {
        let mut state = self.state();
        let rollout = Rollout {
            version: state.next_version(),
            annotations: BTreeMap::new(),
            open: None,
        };
        state.workloads.insert(workload.clone(), rollout);
    }

    /// Replaces the pods of every workload that was restarted, as the controllers of Kubernetes do.
    pub fn roll_out(&self) {
        let mut state = self.state();
        let version = state.next_version();
        for rollout in state.workloads.values_mut() {
            if rollout.open.take().is_some() {
                rollout.version = version.clone();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn conflict(&self, key: &ObjectKey) -> ClusterError {
        ClusterError::Conflict {
            cluster: self.name.to_string(),
            object: key.clone(),
        }
    }
}

impl State {
    fn put(&mut self, mut object: Object) -> Version {
        object.secret_type = rules::effective_type(&object).map(str::to_owned);
        let version = self.next_version();
        self.objects
            .insert(object.key.clone(), (object, self.version));
        version
    }

    fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version.to_string())
    }
}

fn stored((object, version): &(Object, u64)) -> Stored {
    Stored {
        object: object.clone(),
        version: Version(version.to_string()),
        place: object.key.to_string(),
        exposed: false,
    }
}

struct Unlock(Arc<Mutex<State>>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_locked = false;
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn list(
        &self,
        selector: (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        let mut state = self.state();
        state.reads += 1;
        let selected = |entry: &&(Object, u64)| rules::is_selected(&entry.0, selector, wanted);
        Ok(state
            .objects
            .values()
            .filter(selected)
            .map(stored)
            .collect())
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        let mut state = self.state();
        state.reads += 1;
        Ok(state.objects.get(key).map(stored))
    }

    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError> {
        rules::check_writable(&self.name, object)?;
        let mut state = self.state();
        match (state.objects.get(&object.key), expected) {
            (None, Expected::Absent) => {}
            (Some((old, version)), Expected::At(at)) if version.to_string() == at.0 => {
                rules::check_change(&self.name, &object.key.to_string(), false, old, object)?;
            }
            _ => return Err(self.conflict(&object.key)),
        }
        state.writes += 1;
        Ok(state.put(object.clone()))
    }

    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        let mut state = self.state();
        match state.objects.get(key) {
            Some((_, version)) if version.to_string() == expected.0 => {}
            _ => return Err(self.conflict(key)),
        }
        state.writes += 1;
        state.objects.remove(key);
        Ok(())
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        let mut state = self.state();
        if state.is_locked {
            return Err(ClusterError::Locked {
                cluster: self.name.to_string(),
                holder: "this process".to_owned(),
            });
        }
        state.is_locked = true;
        Ok(LockGuard::new(Unlock(Arc::clone(&self.state))))
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        Some(self)
    }
}

#[async_trait]
impl Workloads for MemoryCluster {
    async fn rollout(&self, workload: &Workload) -> Result<Option<Rollout>, ClusterError> {
        Ok(self.state().workloads.get(workload).cloned())
    }

    async fn restart(
        &self,
        workload: &Workload,
        (key, value): (&str, &str),
        expected: &Version,
    ) -> Result<bool, ClusterError> {
        let mut state = self.state();
        let version = state.next_version();
        let found = state.workloads.get_mut(workload);
        let Some(found) = found.filter(|found| found.version == *expected) else {
            return Ok(false);
        };
        let old = found.annotations.insert(key.to_owned(), value.to_owned());
        if old.as_deref() != Some(value) {
            found.version = version;
            found.open = Some("0 of 1 updated, 1 ready, 1 old".to_owned());
            state.writes += 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use super::*;
    use crate::cluster::conformance;
    use crate::config::WorkloadKind;

    #[tokio::test]
    async fn conforms() {
        let cluster = MemoryCluster::new("mgmt");
        conformance::check(&cluster, &cluster.clone())
            .await
            .unwrap();
        assert!(cluster.objects().is_empty());
        assert!(cluster.reads() > 0 && cluster.writes() > 0);
    }

    #[tokio::test]
    async fn its_workloads_conform() {
        let cluster = MemoryCluster::new("c1");
        let workload = conformance::workload(WorkloadKind::Deployment);
        cluster.install(&workload);
        conformance::check_workload(&cluster, &workload)
            .await
            .unwrap();
        cluster.roll_out();
        let found = cluster.rollout(&workload).await.unwrap().unwrap();
        assert_eq!(found.open, None);
    }
}
