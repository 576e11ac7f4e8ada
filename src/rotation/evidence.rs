use std::collections::BTreeMap;

/// What was found out about the fleet besides its Secrets. It is gathered anew for each plan: a gate
/// never relies on what was seen earlier.
///
/// Without anything in it, a gate relies on the Secrets alone, as far as the document asks for
/// nothing else; what it asks for and nobody looked at keeps a gate shut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What was looked at, by cluster.
    pub clusters: BTreeMap<String, ClusterEvidence>,
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
