use kube::ResourceExt as _;

use super::{Relay, RelayCluster};
use crate::config::{self, Assembled, ClusterObject, ConfigError, RelayObject};

/// The relay that a `Relay` and its `RelayCluster` objects say: those of `clusters` that refer to
/// it. See [`config::assemble`] for what becomes of objects that are wrong.
///
/// Of two objects about one cluster the older one holds.
///
/// # Errors
///
/// Everything that is wrong with the `Relay` itself.
pub fn assemble<'a>(
    relay: &Relay,
    clusters: impl IntoIterator<Item = &'a RelayCluster>,
) -> Result<Assembled, ConfigError> {
    let (name, namespace) = (relay.name_any(), relay.namespace().unwrap_or_default());
    let mut own: Vec<&RelayCluster> = clusters
        .into_iter()
        .filter(|cluster| cluster.spec.relay_ref.name == name)
        .filter(|cluster| cluster.metadata.namespace == relay.metadata.namespace)
        .collect();
    own.sort_by_cached_key(|cluster| {
        let created = cluster.metadata.creation_timestamp.as_ref();
        // What is not stored yet is younger than anything that is.
        (created.is_none(), created.cloned(), cluster.name_any())
    });
    let clusters: Vec<ClusterObject<'_>> = own
        .iter()
        .map(|cluster| ClusterObject {
            name: cluster.metadata.name.as_deref().unwrap_or_default(),
            spec: &cluster.spec.document,
        })
        .collect();
    let relay = RelayObject {
        name: &name,
        namespace: &namespace,
        spec: &relay.spec.document,
    };
    config::assemble(relay, &clusters)
}
