//! When something has to be renewed next.

use jiff::Timestamp;
use relay_pki_authority::Level;

use crate::config::{ClusterSpec, Delivery, Relay, Role};
use crate::engine::{ClusterState, Held, Observed, TlsState};
use crate::renewal::Renewal;

/// When the first certificate of a cluster is due; in the past if it already is.
pub(super) fn of_cluster(
    relay: &Relay,
    spec: &ClusterSpec,
    state: &ClusterState,
) -> Option<Timestamp> {
    let server = (spec.role == Role::Management).then(|| {
        let identity = format!("server-{}", spec.name);
        of_leaf(&state.server, &relay.server.renewal, &identity)
    });
    let pushed = spec.agent.as_ref();
    let pushed = pushed.filter(|agent| agent.delivery == Delivery::Push);
    let client = pushed.map(|agent| of_leaf(&state.client, &agent.renewal, spec.name.as_str()));
    [server, client].into_iter().flatten().flatten().min()
}

/// When the first thing is due that is not in a workload cluster.
pub(super) fn of_home(relay: &Relay, observed: &Observed) -> Option<Timestamp> {
    let signer = observed.journal.active(Level::Signer);
    let signer = signer.and_then(|record| {
        let validity = record.certificate.as_ref()?.validity().ok()?;
        Some(relay.signer.renewal.due_at(&validity, "signer"))
    });
    let clusters = relay.management().filter_map(|spec| {
        let state = observed.clusters.get(spec.name.as_str())?.as_ref().ok()?;
        of_cluster(relay, spec, state)
    });
    clusters.chain(signer).min()
}

fn of_leaf(slot: &Option<Held<TlsState>>, renewal: &Renewal, identity: &str) -> Option<Timestamp> {
    let content = slot.as_ref()?.content.as_ref().ok()?;
    Some(renewal.due_at(&content.leaf.validity().ok()?, identity))
}
