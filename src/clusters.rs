//! Opens the clusters of a document: the only place that turns a location into a [`Cluster`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Access, Cluster, DirectoryCluster, KubernetesCluster, LockName, ObjectKey};
use crate::config::{ClusterSpec, Location, Relay};

/// Two clusters of a document that are one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the clusters {one} and {other} have the same directory")]
pub struct SameDirectory {
    one: String,
    other: String,
}

/// The clusters of a document by name, for a program that a person runs.
pub fn open(
    relay: &Relay,
    opener: &Opener,
) -> Result<BTreeMap<String, Arc<dyn Cluster>>, SameDirectory> {
    refuse_same_directory(relay)?;
    Ok(opener.open_all(relay))
}

/// Opens clusters one at a time; nothing is connected yet.
#[derive(Clone)]
pub struct Opener {
    /// What other writers are told of us.
    pub identity: String,
    /// What `inCluster` leads to.
    pub in_cluster: Access,
}

impl Opener {
    /// For a program that a person runs; `identity` is what other writers are told of it.
    pub fn by_hand(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            in_cluster: Access::InCluster,
        }
    }

    /// The clusters of a relay that are in reach, by name.
    pub fn open_all(&self, relay: &Relay) -> BTreeMap<String, Arc<dyn Cluster>> {
        let home = self.open(relay, relay.home(), None);
        let mut clusters = BTreeMap::new();
        for spec in relay.in_reach() {
            let name = spec.name.to_string();
            let cluster = match spec.name == relay.home().name {
                true => home.clone(),
                false => self.open(relay, spec, Some(&home)),
            };
            clusters.insert(name, cluster);
        }
        clusters
    }

    /// Opens a cluster. `home` is the first management cluster, unless this is it.
    fn open(
        &self,
        relay: &Relay,
        spec: &ClusterSpec,
        home: Option<&Arc<dyn Cluster>>,
    ) -> Arc<dyn Cluster> {
        match &spec.location {
            Location::Directory(path) => Arc::new(DirectoryCluster::new(
                spec.name.as_str(),
                &spec.namespace,
                path.clone(),
            )),
            _ => Arc::new(self.kubernetes(relay, spec, home)),
        }
    }

    /// Opens a cluster that is one of Kubernetes: objects of its API name no others.
    pub fn kubernetes(
        &self,
        relay: &Relay,
        spec: &ClusterSpec,
        home: Option<&Arc<dyn Cluster>>,
    ) -> KubernetesCluster {
        let name = spec.name.as_str();
        let cluster = self.kubernetes_at(relay, name, &spec.namespace, &spec.location, home);
        match home {
            None => cluster,
            Some(_) => cluster.without_records(),
        }
    }

    /// Opens a namespace of a Kubernetes cluster.
    pub fn kubernetes_at(
        &self,
        relay: &Relay,
        name: &str,
        namespace: &str,
        location: &Location,
        home: Option<&Arc<dyn Cluster>>,
    ) -> KubernetesCluster {
        let access = match (location, home) {
            (Location::Kubeconfig { file, context }, _) => Access::File {
                file: file.clone(),
                context: context.clone(),
            },
            (Location::KubeconfigSecret { name, key }, Some(home)) => Access::Secret {
                home: home.clone(),
                secret: ObjectKey::secret(name),
                data_key: key.clone(),
            },
            // The document refuses a home whose kubeconfig would lie in itself, and nobody opens a
            // cluster that is out of reach.
            (
                Location::InCluster
                | Location::KubeconfigSecret { .. }
                | Location::Directory(_)
                | Location::Enrolled,
                _,
            ) => self.in_cluster.clone(),
        };
        let lock = LockName {
            lease: format!("relay-pki-{}-lock", relay.name),
            identity: self.identity.clone(),
        };
        KubernetesCluster::new(name, namespace, access, lock)
    }
}

/// Refuses two clusters that are one directory by different names: each would take the other's
/// certificate for a foreign one, for ever.
fn refuse_same_directory(relay: &Relay) -> Result<(), SameDirectory> {
    let mut seen = BTreeMap::new();
    for spec in &relay.clusters {
        let Location::Directory(path) = &spec.location else {
            continue;
        };
        let Ok(real) = path.canonicalize() else {
            // Not made yet.
            continue;
        };
        if let Some(other) = seen.insert(real, &spec.name) {
            return Err(SameDirectory {
                one: other.to_string(),
                other: spec.name.to_string(),
            });
        }
    }
    Ok(())
}
