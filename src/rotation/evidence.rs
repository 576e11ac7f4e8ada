use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cluster::Rollout;
use crate::config::Workload;
use crate::journal::{Acknowledgement, EnrolmentRecord, Presented};

/// On a pod template: what its pods were started with, as [`mark`](super::mark) names it. Like kubectl's
/// `restartedAt` it makes the template another one; unlike it, it needs no clock, and who finds it there has
/// nothing left to do.
pub const RESTARTED_FOR: &str = "relay-pki.dev/restarted-for";

/// What was found out about the fleet besides its Secrets. It is gathered anew for each plan: a gate
/// never relies on what was seen earlier.
///
/// Without anything in it, a gate relies on the Secrets alone, as far as the document asks for
/// nothing else; what it asks for and nobody looked at keeps a gate shut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What was looked at, by cluster.
    pub clusters: BTreeMap<String, ClusterEvidence>,
    /// What the agents that enrol said and showed, by cluster: such clusters are not looked at.
    pub agents: BTreeMap<String, AgentEvidence>,
    /// Clusters that belong to the fleet and cannot be worked on at all, each with the reason. They
    /// are missing.
    pub left_out: BTreeMap<String, String>,
}

/// What was found out about one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterEvidence {
    /// What shows that the cluster does not use yet what it holds, in words: a workload that is not
    /// rolled out, an agent that is not connected, a handshake that failed.
    pub open: Vec<String>,
    /// The workloads that are restarted there, in order.
    pub workloads: Vec<WorkloadEvidence>,
}

/// What was found out about a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEvidence {
    /// Which one.
    pub workload: Workload,
    /// How it is, or why that is not known and what to do.
    pub found: Result<Rollout, String>,
}

/// How far the workloads of a cluster are with starting anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restarts<'a> {
    /// All of them run with what the cluster holds now.
    Done,
    /// This one comes next.
    Due(&'a Workload),
    /// One is rolled out at this moment.
    Rolling(String),
    /// One cannot be looked at.
    Unknown(String),
}

impl ClusterEvidence {
    /// How far the workloads are with starting with what `mark` names: one after the other, each rolled
    /// out before the next.
    pub fn restarts(&self, mark: &str) -> Restarts<'_> {
        for WorkloadEvidence { workload, found } in &self.workloads {
            match found {
                Err(reason) => return Restarts::Unknown(reason.clone()),
                Ok(rollout) => {
                    let restarted_for = rollout.annotations.get(RESTARTED_FOR);
                    if restarted_for.is_none_or(|found| found != mark) {
                        return Restarts::Due(workload);
                    }
                    if let Some(open) = &rollout.open {
                        return Restarts::Rolling(format!("{workload} is rolled out: {open}"));
                    }
                }
            }
        }
        Restarts::Done
    }
}

/// What is known of an agent that keeps its key to itself. It says which CA certificates it goes by only
/// once it has written them down and its workloads run with them; and it can show no certificate
/// that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentEvidence {
    /// What it said last.
    pub acknowledged: Option<Acknowledgement>,
    /// What it showed last.
    pub presented: Option<Presented>,
    /// When the last certificate ends that it is known to have.
    pub ends: Option<Timestamp>,
}

impl From<EnrolmentRecord> for AgentEvidence {
    fn from(record: EnrolmentRecord) -> Self {
        let presented = record.presented.as_ref().map(|shown| &shown.certificate);
        let known = record.latest().into_iter().chain(presented);
        Self {
            ends: known.map(|certificate| certificate.not_after).max(),
            acknowledged: record.acknowledged,
            presented: record.presented,
        }
    }
}
