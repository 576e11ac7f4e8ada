//! When something has to be renewed next.

use jiff::Timestamp;
use relay_pki_authority::Level;

use crate::config::{ClusterSpec, Relay};
use crate::engine::{ClusterState, Observed, leaves};

/// When the first certificate of a cluster is due; in the past if it already is.
pub(super) fn of_cluster(
    relay: &Relay,
    spec: &ClusterSpec,
    state: &ClusterState,
) -> Option<Timestamp> {
    leaves(relay, spec, state).filter_map(|leaf| leaf.due).min()
}

/// When the first thing is due that is not in a workload cluster.
pub(super) fn of_home(relay: &Relay, observed: &Observed) -> Option<Timestamp> {
    // Without leave to rotate by itself there is nothing to do about it.
    let signer = observed.journal.active(Level::Signer);
    let signer = signer.filter(|_| relay.rotation.automatic);
    let signer = signer.and_then(|record| {
        let validity = record.certificate.as_ref()?.validity().ok()?;
        Some(relay.signer.due_at(&validity))
    });
    let clusters = relay.management().filter_map(|spec| {
        let state = observed.clusters.get(spec.name.as_str())?.as_ref().ok()?;
        of_cluster(relay, spec, state)
    });
    clusters.chain(signer).min()
}
