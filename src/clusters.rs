//! Opens the clusters of a document: the only place that turns a location into a [`Cluster`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, DirectoryCluster};
use crate::config::{Location, Relay};

/// Two clusters of a document that are one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the clusters {one} and {other} have the same directory")]
pub struct SameDirectory {
    one: String,
    other: String,
}

/// The clusters of a document by name.
pub fn open(relay: &Relay) -> Result<BTreeMap<String, Arc<dyn Cluster>>, SameDirectory> {
    refuse_same_directory(relay)?;
    let open = |location: &Location, name: &str, namespace: &str| -> Option<Arc<dyn Cluster>> {
        match location {
            Location::Directory(path) => Some(Arc::new(DirectoryCluster::new(
                name,
                namespace,
                path.clone(),
            ))),
            _ => None,
        }
    };
    Ok(relay
        .clusters
        .iter()
        .filter_map(|spec| {
            let name = spec.name.to_string();
            let cluster = open(&spec.location, &name, &spec.namespace)?;
            Some((name, cluster))
        })
        .collect())
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
