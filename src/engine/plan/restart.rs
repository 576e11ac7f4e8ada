//! Planning of restarts: what reads certificates and roots only when it starts is started anew, once what
//! it will read is what the rotation wants.

use std::collections::BTreeSet;

use super::super::observed::Observed;
use super::super::step::{Action, Step};
use super::{Goal, Plan, rotation};
use crate::config::{ClusterSpec, Relay, Role};
use crate::journal::RotationRecord;
use crate::rotation::{Phase, Restarts, mark};

/// Plans the restart that is next in each cluster: in the management clusters first, because every agent
/// connects to what runs there; in the workload clusters only when all of those are rolled out.
pub(super) fn steps(plan: &mut Plan, relay: &Relay, goal: &Goal, observed: &Observed) {
    let Some(record) = plan.rotation.rotation.clone() else {
        return;
    };
    let begun = record.phase != Phase::Preparing && !record.phase.is_over();
    if !begun || !goal.advances() || relay.rotation.restart.is_empty() {
        return;
    }
    let mut unsettled: BTreeSet<String> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Put(_)))
        .map(|step| step.cluster.clone())
        .collect();
    unsettled.extend(plan.problems.iter().map(|problem| problem.cluster.clone()));
    let (management, workload): (Vec<_>, Vec<_>) = relay
        .clusters
        .iter()
        .filter(|spec| record.concerns(spec))
        .partition(|spec| spec.role == Role::Management);
    let mut servers_run = true;
    for spec in management {
        let settled = !unsettled.contains(spec.name.as_str());
        servers_run &= settled && cluster(plan, spec, observed, &record);
    }
    if servers_run {
        for spec in workload {
            if !unsettled.contains(spec.name.as_str()) {
                cluster(plan, spec, observed, &record);
            }
        }
    }
}

/// Whether every workload of a cluster runs with what it holds; plans the restart of the first that does
/// not.
fn cluster(
    plan: &mut Plan,
    spec: &ClusterSpec,
    observed: &Observed,
    record: &RotationRecord,
) -> bool {
    let name = spec.name.as_str();
    let Some(evidence) = observed.evidence.clusters.get(name) else {
        return true;
    };
    let Some(Ok(state)) = observed.clusters.get(name) else {
        return false;
    };
    let mark = mark(spec, state);
    match evidence.restarts(&mark) {
        Restarts::Done => return true,
        Restarts::Unknown(_) => {}
        Restarts::Rolling(_) => plan.rotation.rolling = true,
        Restarts::Due(workload) => plan.steps.push(Step {
            cluster: name.to_owned(),
            action: Action::Restart {
                workload: workload.clone(),
                mark,
            },
            cause: rotation::cause(record),
        }),
    }
    false
}
