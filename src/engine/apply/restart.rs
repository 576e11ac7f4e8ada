//! Restarting workloads.

use super::super::limited;
use super::{Apply, StepError};
use crate::config::{ClusterSpec, Workload};
use crate::rotation::RESTARTED_FOR;

/// How often a workload is looked at anew that somebody changes at the same moment. Its controller does, at
/// each pod that comes and goes.
const ATTEMPTS: usize = 5;

impl Apply<'_> {
    /// Starts a workload anew, unless its pods are of a template that has `mark` already.
    pub(super) async fn restart(
        &self,
        spec: &ClusterSpec,
        workload: &Workload,
        mark: &str,
    ) -> Result<(), StepError> {
        let cluster = self.fleet.cluster(spec.name.as_str())?;
        let refused = |reason: String| StepError::Refused { reason };
        let Some(workloads) = cluster.workloads() else {
            return Err(refused(format!("{workload} does not run in a directory")));
        };
        for _ in 0..ATTEMPTS {
            let operation = format!("read {workload}");
            let found = limited(cluster.name(), &operation, workloads.rollout(workload)).await?;
            let Some(found) = found else {
                return Err(refused(format!(
                    "{workload} is not there any more; install it, or take it out of rotation.restart"
                )));
            };
            if found
                .annotations
                .get(RESTARTED_FOR)
                .is_some_and(|it| it == mark)
            {
                return Ok(());
            }
            let call = workloads.restart(workload, (RESTARTED_FOR, mark), &found.version);
            if limited(cluster.name(), &format!("restart {workload}"), call).await? {
                tracing::info!(
                    target: "relay_pki::rotation",
                    relay = self.fleet.relay.name,
                    cluster = cluster.name(),
                    %workload,
                    "restarting"
                );
                return Ok(());
            }
        }
        Err(refused(format!(
            "{workload} was changed by somebody else {ATTEMPTS} times while it was to be restarted; \
             see who does that"
        )))
    }
}
