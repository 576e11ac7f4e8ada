//! What shows that certificates are in use, and not only there: gathered while a rotation is under way,
//! anew for each plan, for its gates.
//!
//! Everything is asked side by side. Whatever cannot be looked at costs its own time limit, and is said in the
//! evidence of its cluster.

mod address;
mod connected;
mod exposition;
mod handshake;
mod probe;
mod workloads;

use std::time::Duration;

use crate::engine::{Fleet, Observed};
use crate::rotation::{ClusterEvidence, Phase};

/// Longest that one machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many relay servers are asked side by side.
const ASIDE: usize = 8;

/// What was found out about clusters, by their names.
type Found = Vec<(String, ClusterEvidence)>;

/// Gathers what the document asks for into `observed`. Nothing while no rotation needs it.
pub(crate) async fn gather(fleet: &Fleet, observed: &mut Observed) {
    let Some(record) = observed.journal.rotation() else {
        return;
    };
    if record.phase == Phase::Preparing {
        return;
    }
    let found = {
        let observed = &*observed;
        let (workloads, probes, connected) = futures::join!(
            workloads::gather(fleet, observed),
            probe::gather(fleet, observed, record),
            connected::gather(fleet, record),
        );
        workloads.into_iter().chain(probes).chain(connected)
    };
    for (cluster, found) in found {
        let evidence = observed.evidence.clusters.entry(cluster).or_default();
        evidence.open.extend(found.open);
        evidence.workloads.extend(found.workloads);
    }
}

/// Something that shows that a cluster does not use what it holds.
fn open(cluster: &str, what: String) -> (String, ClusterEvidence) {
    let evidence = ClusterEvidence {
        open: vec![what],
        ..ClusterEvidence::default()
    };
    (cluster.to_owned(), evidence)
}
