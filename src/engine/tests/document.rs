//! Relay documents to test with.

use std::path::Path;

use crate::config::Relay;

/// A cluster of the document.
#[derive(Debug, Clone)]
pub(super) struct ClusterDoc {
    pub(super) name: String,
    pub(super) management: bool,
    pub(super) agent: bool,
    pub(super) server_signed: bool,
}

/// What varies from test to test.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) clusters: Vec<ClusterDoc>,
    pub(super) extra_names: Vec<String>,
    pub(super) forwarding: bool,
    /// Settings of the one provider.
    pub(super) self_signed: &'static str,
    pub(super) ca_key: &'static str,
    pub(super) leaf_key: &'static str,
    /// What is said under `rotation`.
    pub(super) rotation: &'static str,
}

pub(super) fn management(name: &str) -> ClusterDoc {
    ClusterDoc {
        name: name.to_owned(),
        management: true,
        agent: false,
        server_signed: false,
    }
}

pub(super) fn workload(name: &str) -> ClusterDoc {
    ClusterDoc {
        management: false,
        agent: true,
        ..management(name)
    }
}

impl Document {
    /// `management` and `workload` clusters, everything else as by default.
    pub(super) fn new(managements: usize, workloads: usize) -> Self {
        let managements = (1..=managements).map(|n| management(&format!("mgmt-{n}")));
        let workloads = (1..=workloads).map(|n| workload(&format!("cluster-{n}")));
        Self {
            clusters: managements.chain(workloads).collect(),
            extra_names: Vec::new(),
            forwarding: true,
            self_signed: "{}",
            ca_key: "ecdsa-p256",
            leaf_key: "ecdsa-p256",
            rotation: "{}",
        }
    }

    pub(super) fn parse(&self) -> Relay {
        let mut text = format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n  \
             providers: {{ local: {{ selfSigned: {own} }} }}\n  \
             root: {{ provider: local, keyType: {ca} }}\n  \
             signer: {{ provider: local, keyType: {ca} }}\n  \
             server: {{ keyType: {leaf}, extraDnsNames: [{names}] }}\n  \
             agents: {{ keyType: {leaf} }}\n  tokens: {{ identity: {{}}{forwarding} }}\n  rotation: {rotation}\n  clusters:\n",
            rotation = self.rotation,
            own = self.self_signed,
            ca = self.ca_key,
            leaf = self.leaf_key,
            names = self.extra_names.join(", "),
            forwarding = if self.forwarding {
                ", forwarding: {}"
            } else {
                ""
            },
        );
        for cluster in &self.clusters {
            let role = if cluster.management {
                "management"
            } else {
                "workload"
            };
            let agent = match (cluster.management, cluster.agent) {
                (true, true) => ", agent: true",
                _ => "",
            };
            let delivery = if cluster.server_signed {
                ", delivery: server-signed"
            } else {
                ""
            };
            let name = &cluster.name;
            text.push_str(&format!(
                "    - {{ name: {name}, role: {role}, directory: c/{name}{agent}{delivery} }}\n"
            ));
        }
        match Relay::parse(&text, "relay.yaml", Path::new("")) {
            Ok(relay) => relay,
            Err(error) => panic!("{error}\n{text}"),
        }
    }
}
