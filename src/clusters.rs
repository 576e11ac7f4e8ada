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

/// The clusters of a document by name. `identity` is what other writers are told of us.
pub fn open(
    relay: &Relay,
    identity: &str,
) -> Result<BTreeMap<String, Arc<dyn Cluster>>, SameDirectory> {
    refuse_same_directory(relay)?;
    let home = open_one(relay, relay.home(), None, identity);
    let mut clusters = BTreeMap::new();
    for spec in &relay.clusters {
        let name = spec.name.to_string();
        let cluster = match spec.name == relay.home().name {
            true => home.clone(),
            false => open_one(relay, spec, Some(&home), identity),
        };
        clusters.insert(name, cluster);
    }
    Ok(clusters)
}

/// One cluster; nothing is connected yet. `home` is the first management cluster, unless this is it.
pub fn open_one(
    relay: &Relay,
    spec: &ClusterSpec,
    home: Option<&Arc<dyn Cluster>>,
    identity: &str,
) -> Arc<dyn Cluster> {
    let (name, namespace) = (spec.name.as_str(), spec.namespace.as_str());
    let access = match (&spec.location, home) {
        (Location::Directory(path), _) => {
            return Arc::new(DirectoryCluster::new(name, namespace, path.clone()));
        }
        (Location::Kubeconfig { file, context }, _) => Access::File {
            file: file.clone(),
            context: context.clone(),
        },
        (Location::KubeconfigSecret { name, key }, Some(home)) => Access::Secret {
            home: home.clone(),
            secret: ObjectKey::secret(name),
            data_key: key.clone(),
        },
        // The document refuses a home whose kubeconfig would lie in itself.
        (Location::InCluster, _) | (Location::KubeconfigSecret { .. }, None) => Access::InCluster,
    };
    let lock = LockName {
        lease: format!("relay-pki-{}-lock", relay.name),
        identity: identity.to_owned(),
    };
    let cluster = KubernetesCluster::new(name, namespace, access, lock);
    match home {
        None => Arc::new(cluster),
        Some(_) => Arc::new(cluster.without_records()),
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
