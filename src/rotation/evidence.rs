use std::collections::BTreeMap;

use crate::journal::{Acknowledgement, EnrolmentRecord, Presented};

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
}

impl From<EnrolmentRecord> for AgentEvidence {
    fn from(record: EnrolmentRecord) -> Self {
        Self {
            acknowledged: record.acknowledged,
            presented: record.presented,
        }
    }
}
