//! What the objects of the API ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use super::verdict::Verdict;
use crate::config::{Assembled, ConfigError, Problem};
use crate::crd::{self, Relay, RelayCluster, RelayRotation};

/// A Relay and its RelayClusters as they are written.
#[derive(Clone)]
pub(super) struct Written {
    /// The Relay itself.
    pub(super) relay: Arc<Relay>,
    /// The RelayClusters that refer to it, by name.
    pub(super) clusters: BTreeMap<String, Arc<RelayCluster>>,
    /// The RelayRotations that refer to it, the oldest first.
    pub(super) rotations: Vec<Arc<RelayRotation>>,
}

impl Written {
    pub(super) fn of(
        relay: Arc<Relay>,
        all: &[Arc<RelayCluster>],
        rotations: &[Arc<RelayRotation>],
    ) -> Self {
        let name = relay.name_any();
        let own = all.iter();
        let own = own.filter(|cluster| cluster.spec.relay_ref.name == name);
        let rotations = rotations.iter();
        let rotations = rotations.filter(|it| it.spec.relay_ref.name == name);
        let mut rotations: Vec<_> = rotations.cloned().collect();
        rotations.sort_by_key(|it| {
            let created = it.metadata.creation_timestamp.as_ref();
            (created.map(|at| at.0), it.name_any())
        });
        Self {
            rotations,
            clusters: own
                .map(|cluster| (cluster.name_any(), cluster.clone()))
                .collect(),
            relay,
        }
    }

    /// Whether the two ask for the same: status and bookkeeping do not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        fn asked(meta: &ObjectMeta) -> (Option<&str>, Option<i64>, bool) {
            let deleted = meta.deletion_timestamp.is_some();
            (meta.uid.as_deref(), meta.generation, deleted)
        }
        let clusters = |written: &Self| -> Vec<_> {
            let clusters = written.clusters.values();
            let asked = clusters.map(|cluster| {
                let (uid, generation, deleted) = asked(&cluster.metadata);
                (uid.map(str::to_owned), generation, deleted)
            });
            asked.collect()
        };
        // The status counts, too: what was refused, or begun, must not be taken for new.
        let rotations = |written: &Self| -> Vec<_> {
            let rotations = written.rotations.iter();
            let asked = rotations.map(|it| {
                let (uid, generation, deleted) = asked(&it.metadata);
                let phase = it
                    .status
                    .as_ref()
                    .map(|status| (status.number, status.phase.clone()));
                (uid.map(str::to_owned), generation, deleted, phase)
            });
            asked.collect()
        };
        asked(&self.relay.metadata) == asked(&other.relay.metadata)
            && rotations(self) == rotations(other)
            && self.clusters.len() == other.clusters.len()
            && self.clusters.keys().eq(other.clusters.keys())
            && clusters(self) == clusters(other)
    }
}

/// One relay as its objects say it now.
pub(super) struct Desired {
    /// As it is written.
    pub(super) written: Written,
    /// What that comes to.
    pub(super) assembled: Result<Assembled, ConfigError>,
}

impl Desired {
    /// Clusters that are being deleted do not count any more.
    pub(super) fn of(written: Written) -> Self {
        let clusters = written.clusters.values().map(Arc::as_ref);
        let staying = clusters.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
        let assembled = crd::assemble(&written.relay, staying);
        Self { written, assembled }
    }

    pub(super) fn name(&self) -> &str {
        self.written
            .relay
            .metadata
            .name
            .as_deref()
            .unwrap_or_default()
    }

    /// Whether nothing is to be done for now.
    pub(super) fn is_suspended(&self) -> bool {
        let relay = &self.written.relay;
        relay.spec.suspend || relay.metadata.deletion_timestamp.is_some()
    }

    /// Why nothing of this is done: what is wrong with the Relay, or that it is to be left alone.
    pub(super) fn objection(&self) -> Option<Verdict> {
        if let Err(error) = &self.assembled {
            return Some(Verdict::invalid(error.problems()));
        }
        self.written.relay.spec.suspend.then(|| Verdict {
            reachable: None,
            ..Verdict::not_ready(
                "Suspended",
                "nothing is renewed or repaired while spec.suspend is true",
            )
        })
    }

    /// The object of a cluster, if there is one.
    pub(super) fn cluster(&self, name: &str) -> Option<&RelayCluster> {
        self.written.clusters.get(name).map(Arc::as_ref)
    }

    /// What tells the Relay from another one of its name.
    pub(super) fn uid(&self) -> Option<&str> {
        self.written.relay.metadata.uid.as_deref()
    }

    /// The same for the object of a cluster.
    pub(super) fn uid_of(&self, cluster: &str) -> Option<&str> {
        self.cluster(cluster)?.metadata.uid.as_deref()
    }

    /// What is wrong with the object of a cluster, if it is refused.
    pub(super) fn rejected(&self, cluster: &str) -> Option<&[Problem]> {
        let assembled = self.assembled.as_ref().ok()?;
        assembled.rejected.get(cluster).map(Vec::as_slice)
    }

    /// The Relay, for Events about it.
    pub(super) fn reference(&self) -> ObjectReference {
        self.written.relay.object_ref(&())
    }

    /// The RelayCluster of a cluster, for Events about it; the Relay where there is none.
    pub(super) fn reference_of(&self, cluster: &str) -> ObjectReference {
        match self.cluster(cluster) {
            Some(object) => object.object_ref(&()),
            None => self.reference(),
        }
    }

    pub(super) fn generation(&self) -> i64 {
        self.written.relay.metadata.generation.unwrap_or(0)
    }

    pub(super) fn generation_of(&self, cluster: &str) -> i64 {
        let object = self.cluster(cluster);
        object
            .and_then(|object| object.metadata.generation)
            .unwrap_or(0)
    }
}
