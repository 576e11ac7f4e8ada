//! One look at a part of the fleet, and what it came to: observe → plan → apply.
//!
//! The management clusters, with the CAs, are one part; every workload cluster is another. So a
//! cluster that hangs, refuses or is slow holds up nobody else.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use super::rotations::{self, Refusals};
use crate::cluster::ClusterError;
use crate::config::ClusterSpec;
use crate::crd::RelayRotation;
use crate::engine::{
    Action, Applied, Apply, Cancel, ClusterState, Fleet, Goal, Observed, Observer, Outlook, Plan,
    Problem, observe, plan,
};
use crate::enrolment::Revoker;
use crate::evidence;

/// What came of a look at the management clusters.
pub(super) struct HomeRound {
    /// What was there at the end.
    pub(super) observed: Observed,
    /// What was done.
    pub(super) applied: Applied,
    /// What stands in the way.
    pub(super) problems: Vec<Problem>,
    /// How the rotation of root or signer stands.
    pub(super) rotation: Outlook,
    /// What RelayRotation objects asked for in vain.
    pub(super) refusals: Refusals,
}

/// What came of a look at a workload cluster.
pub(super) struct ClusterRound {
    /// What was there at the beginning.
    pub(super) state: ClusterState,
    /// What was done.
    pub(super) applied: Applied,
    /// What stands in the way.
    pub(super) problems: Vec<Problem>,
    /// What keeps the whole relay from being worked on.
    pub(super) blocked: Option<Problem>,
    /// Whether something on the CAs or in a management cluster has to be done first.
    pub(super) home_first: bool,
}

/// Brings the CAs, the records and the management clusters to where they should be.
///
/// The write lock is taken only if something is to be done, and what to do is then decided anew.
/// `left_out` are clusters whose objects are wrong: a rotation counts them as missing. The `revoker` hears
/// what was read.
pub(super) async fn home(
    fleet: &Arc<Fleet>,
    left_out: &BTreeMap<String, String>,
    wanted: &[Arc<RelayRotation>],
    revoker: &Revoker,
    cancel: &Cancel,
) -> Result<HomeRound, ClusterError> {
    let (mut observed, plan) = plan_home(fleet, left_out).await?;
    revoker.hear(fleet, &observed.journal);
    let asked = rotations::wants_something(fleet, &observed, wanted);
    if plan.steps.is_empty() && plan.settled.is_empty() && !asked {
        return Ok(HomeRound {
            applied: Applied::default(),
            refusals: rotations::refusals(fleet, &observed, wanted),
            observed,
            problems: plan.problems,
            rotation: plan.rotation,
        });
    }
    let lock = fleet.home()?.lock().await?;
    let done = async {
        let mut refused = Refusals::new();
        if asked {
            observed = plan_home(fleet, left_out).await?.0;
            refused = rotations::obey(fleet, &mut observed, wanted).await?;
        }
        let (observed, plan) = plan_home(fleet, left_out).await?;
        let (problems, rotation) = (plan.problems.clone(), plan.rotation.clone());
        let applied = Apply::new(fleet, &observed)
            .run(plan, cancel, &|_| ())
            .await;
        refused.extend(rotations::refusals(fleet, &observed, wanted));
        Ok(HomeRound {
            refusals: refused,
            observed,
            applied,
            problems,
            rotation,
        })
    };
    let done = done.await;
    lock.release().await;
    done
}

async fn plan_home(
    fleet: &Fleet,
    left_out: &BTreeMap<String, String>,
) -> Result<(Observed, Plan), ClusterError> {
    let observer = Observer::begin(fleet).await?;
    let journal = observer.journal();
    let mut observed = match journal.roots.is_empty() || journal.rotation().is_some() {
        // Whether this relay is new or has lost its records shows in the other clusters, and so does
        // whether a rotation may go on.
        true => observe(fleet).await?,
        false => {
            let home = fleet.relay.home();
            let mut reads: Vec<BoxFuture<'_, _>> = Vec::new();
            for spec in fleet.relay.management() {
                if spec.name != home.name {
                    let read = observer.cluster(fleet, spec);
                    reads.push(async move { (spec.name.to_string(), read.await) }.boxed());
                }
            }
            observer.observed(join_all(reads).await.into_iter().collect())
        }
    };
    observed.evidence.left_out = left_out.clone();
    evidence::gather(fleet, &mut observed).await;
    let mut plan = plan(&fleet.relay, &Goal::Reconcile, &observed, fleet.clock.now());
    // What is restarted where depends on the whole fleet, which only this look has seen.
    let management = |name: &str| {
        let mut clusters = fleet.relay.management();
        clusters.any(|spec| spec.name.as_str() == name)
    };
    plan.steps
        .retain(|step| management(&step.cluster) || matches!(step.action, Action::Restart { .. }));
    plan.problems.retain(|problem| management(&problem.cluster));
    Ok((observed, plan))
}

/// Brings one workload cluster to where it should be, by the records that `observer` read.
pub(super) async fn cluster(
    fleet: &Fleet,
    observer: &Observer,
    spec: &ClusterSpec,
    cancel: &Cancel,
) -> Result<ClusterRound, ClusterError> {
    let state = observer.cluster(fleet, spec).await?;
    let name = spec.name.as_str();
    let observed = observer.observed(BTreeMap::from([(name.to_owned(), Ok(state.clone()))]));
    let mut plan = plan(&fleet.relay, &Goal::Reconcile, &observed, fleet.clock.now());
    let ours =
        |step: &crate::engine::Step| step.cluster == name && matches!(step.action, Action::Put(_));
    let home_first = !plan.steps.iter().all(ours);
    let authorities_first = plan
        .steps
        .iter()
        .any(|step| !matches!(step.action, Action::Put(_)) && !step.is_apart());
    // What follows from a CA that is still to be made cannot be written yet.
    plan.steps.retain(|step| ours(step) && !authorities_first);
    let (problems, others): (Vec<_>, Vec<_>) = std::mem::take(&mut plan.problems)
        .into_iter()
        .partition(|problem| problem.cluster == name);
    // A plan that came to the clusters has something to say about every Secret of them.
    let empty = plan.steps.is_empty() && plan.unchanged == 0 && problems.is_empty();
    let blocked = others
        .into_iter()
        .next()
        .filter(|_| empty && !authorities_first);
    let applied = Apply::new(fleet, &observed)
        .run(plan, cancel, &|_| ())
        .await;
    Ok(ClusterRound {
        state,
        applied,
        problems,
        blocked,
        home_first,
    })
}
