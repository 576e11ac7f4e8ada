//! What the objects of the API ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};

use crate::config::{Assembled, ConfigError};
use crate::crd::{self, DeletionPolicy};

/// One relay as its objects say it now.
pub(super) struct Desired {
    /// The Relay itself.
    pub(super) relay: Arc<crd::Relay>,
    /// Its RelayClusters by name.
    pub(super) clusters: BTreeMap<String, Arc<crd::RelayCluster>>,
    /// What they come to.
    pub(super) assembled: Result<Assembled, ConfigError>,
}

impl Desired {
    /// Puts a Relay and the RelayClusters that refer to it together. Clusters that are being deleted
    /// do not count any more.
    pub(super) fn of(relay: Arc<crd::Relay>, all: &[Arc<crd::RelayCluster>]) -> Self {
        let name = relay.name_any();
        let clusters: BTreeMap<String, Arc<crd::RelayCluster>> = all
            .iter()
            .filter(|cluster| cluster.spec.relay_ref.name == name)
            .map(|cluster| (cluster.name_any(), cluster.clone()))
            .collect();
        let staying = clusters.values().map(Arc::as_ref);
        let staying = staying.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
        let assembled = crd::assemble(&relay, staying);
        Self {
            relay,
            clusters,
            assembled,
        }
    }

    /// Whether nothing is to be done for now.
    pub(super) fn is_suspended(&self) -> bool {
        self.relay.spec.suspend || self.relay.metadata.deletion_timestamp.is_some()
    }

    /// Whether the two ask for the same: status and bookkeeping of the objects do not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let relay = |desired: &Self| {
            let meta = &desired.relay.metadata;
            (
                meta.uid.clone(),
                meta.generation,
                meta.deletion_timestamp.is_some(),
                meta.finalizers.clone(),
            )
        };
        let cluster = |cluster: &Arc<crd::RelayCluster>| {
            let meta = &cluster.metadata;
            (
                meta.uid.clone(),
                meta.generation,
                meta.deletion_timestamp.is_some(),
                meta.finalizers.clone(),
                meta.annotations.clone(),
            )
        };
        relay(self) == relay(other)
            && self.clusters.len() == other.clusters.len()
            && self.clusters.iter().zip(&other.clusters).all(
                |((one_name, one), (other_name, other))| {
                    one_name == other_name && cluster(one) == cluster(other)
                },
            )
    }

    /// The Relay, for Events about it.
    pub(super) fn reference(&self) -> ObjectReference {
        self.relay.object_ref(&())
    }

    /// The RelayCluster of a cluster, for Events about it; the Relay where there is none.
    pub(super) fn reference_of(&self, cluster: &str) -> ObjectReference {
        match self.clusters.get(cluster) {
            Some(object) => object.object_ref(&()),
            None => self.reference(),
        }
    }

    pub(super) fn generation(&self) -> i64 {
        self.relay.metadata.generation.unwrap_or(0)
    }

    pub(super) fn generation_of(&self, cluster: &str) -> i64 {
        let object = self.clusters.get(cluster);
        object
            .and_then(|object| object.metadata.generation)
            .unwrap_or(0)
    }

    /// Clusters whose objects are being deleted and wait for our finalizer.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (&String, &Arc<crd::RelayCluster>)> {
        self.clusters.iter().filter(|(_, cluster)| {
            cluster.metadata.deletion_timestamp.is_some()
                && cluster.finalizers().iter().any(|f| f == crd::FINALIZER)
        })
    }
}

/// Whether an object has to have our finalizer.
pub(super) fn wants_finalizer(policy: DeletionPolicy) -> bool {
    policy == DeletionPolicy::Delete
}
