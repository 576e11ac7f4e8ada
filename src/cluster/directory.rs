//! A cluster as a directory of manifests: `kubectl apply -R -f DIRECTORY` installs it.
//!
//! Files are the only state. One writer at a time holds a lock on the directory; readers need none,
//! since a file only ever changes as a whole.

mod errors;
mod index;
mod lock;
mod scan;
mod steps;
mod store;
mod tenure;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Cluster, ClusterError, Expected, LockGuard, Object, ObjectKey, Stored, Version};
use steps::{OsSteps, Steps};
use store::Store;

/// One cluster's manifests in one directory.
///
/// The Secrets and ConfigMaps of the namespace may lie anywhere below it, in files of YAML or JSON.
/// New ones become `<name>.yaml` and `<name>.configmap.yaml`; an existing one is rewritten where it
/// lies. A file's permissions are 0600 once it has been written.
pub struct DirectoryCluster {
    store: Arc<Store>,
}

impl DirectoryCluster {
    /// The cluster `name` in the directory `path`, which need not exist yet: it reads as empty.
    pub fn new(name: &str, namespace: &str, path: PathBuf) -> Self {
        Self::with_steps(name, namespace, path, Box::new(OsSteps))
    }

    fn with_steps(name: &str, namespace: &str, path: PathBuf, steps: Box<dyn Steps>) -> Self {
        Self {
            store: Arc::new(Store::new(name, namespace, path, steps)),
        }
    }

    /// Runs `work` where blocking does no harm. It ends even if the caller goes away: half a write
    /// is worse than an unwanted one.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ClusterError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|_| {
                Err(self
                    .store
                    .unavailable("finish the file work", "it was aborted"))
            })
    }
}

#[async_trait]
impl Cluster for DirectoryCluster {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn location(&self) -> String {
        format!("directory {}", self.store.path().display())
    }

    async fn list(
        &self,
        (label, value): (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        let (label, value, wanted) = (label.to_owned(), value.to_owned(), wanted.to_vec());
        self.run(move |store| store.list((&label, &value), &wanted))
            .await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        let key = key.clone();
        self.run(move |store| store.read(&key)).await
    }

    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError> {
        let (object, expected) = (object.clone(), expected.clone());
        self.run(move |store| store.write(&object, &expected)).await
    }

    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        let (key, expected) = (key.clone(), expected.clone());
        self.run(move |store| store.delete(&key, &expected)).await
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        self.run(Store::lock).await
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod interruption_tests;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
