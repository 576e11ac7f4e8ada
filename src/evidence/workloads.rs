//! Whether workloads run with what their cluster holds.

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};

use super::Found;
use crate::cluster::{Cluster, ClusterError};
use crate::config::{ClusterSpec, Relay, Workload};
use crate::engine::{CONCURRENCY, Fleet, Observed, limited};
use crate::rotation::{ClusterEvidence, Restarts, WorkloadEvidence, mark};

/// Looks at the workloads of every cluster that could be read, side by side.
pub(super) async fn gather(fleet: &Fleet, observed: &Observed) -> Found {
    let relay = &fleet.relay;
    // Boxed one by one: what a closure makes of references is `Send` for no task.
    let mut looks: Vec<BoxFuture<'_, _>> = Vec::new();
    for spec in relay.in_reach() {
        let readable = matches!(observed.clusters.get(spec.name.as_str()), Some(Ok(_)));
        let mut wanted = wanted(relay, spec).peekable();
        if readable
            && wanted.peek().is_some()
            && let Ok(cluster) = fleet.cluster(spec.name.as_str())
        {
            let look = look(cluster.as_ref(), wanted.collect());
            looks.push(async move { (spec, look.await) }.boxed());
        }
    }
    let mut looks = futures::stream::iter(looks).buffer_unordered(CONCURRENCY);
    let mut all = Found::new();
    while let Some((spec, workloads)) = looks.next().await {
        let name = spec.name.as_str();
        let Some(Ok(state)) = observed.clusters.get(name) else {
            continue;
        };
        let mut found = ClusterEvidence {
            workloads,
            ..ClusterEvidence::default()
        };
        let open = match found.restarts(&mark(spec, state)) {
            Restarts::Done => None,
            Restarts::Due(workload) => {
                Some(format!("{workload} still runs with what was there before"))
            }
            Restarts::Rolling(text) | Restarts::Unknown(text) => Some(text),
        };
        found.open = open.into_iter().collect();
        all.push((name.to_owned(), found));
    }
    all
}

fn wanted<'a>(relay: &'a Relay, spec: &ClusterSpec) -> impl Iterator<Item = &'a Workload> {
    let workloads = relay.rotation.restart.iter();
    workloads.filter(move |workload| workload.role == spec.role)
}

/// The workloads of a cluster, one after the other; all together may take no longer than one call.
async fn look(cluster: &dyn Cluster, wanted: Vec<&Workload>) -> Vec<WorkloadEvidence> {
    let Some(workloads) = cluster.workloads() else {
        return unknown(&wanted, |workload| {
            format!(
                "it is a directory, and {workload} cannot be restarted there; take that out of \
                 rotation.restart, and restart it yourself with rotation.approval: manual"
            )
        });
    };
    let all = async {
        let mut found = Vec::new();
        for workload in &wanted {
            found.push(WorkloadEvidence {
                workload: (*workload).clone(),
                found: match workloads.rollout(workload).await {
                    Ok(Some(rollout)) => Ok(rollout),
                    Ok(None) => Err(format!(
                        "{workload} is not there; install it, or take it out of rotation.restart"
                    )),
                    Err(error) => Err(reason(&error)),
                },
            });
        }
        Ok(found)
    };
    match limited(cluster.name(), "look at the workloads", all).await {
        Ok(found) => found,
        Err(error) => unknown(&wanted, |_| error.to_string()),
    }
}

fn unknown(wanted: &[&Workload], why: impl Fn(&Workload) -> String) -> Vec<WorkloadEvidence> {
    let evidence = |workload: &&Workload| WorkloadEvidence {
        workload: (*workload).clone(),
        found: Err(why(workload)),
    };
    wanted.iter().map(evidence).collect()
}

fn reason(error: &ClusterError) -> String {
    match error {
        ClusterError::Denied { .. } => {
            format!("{error}; docs/rotation.md says which rights a restart needs")
        }
        error => error.to_string(),
    }
}
