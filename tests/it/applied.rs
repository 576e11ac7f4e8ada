//! What relay-pki writes into directories, applied to real clusters with `kubectl`.

use std::path::Path;

use relay_pki_testbed::ApiServer;

use crate::support::fleet::{CLIENT, Fleet, SERVER, clusters};
use crate::support::handshake::rustls_to_rustls;
use crate::support::kube::Clusters;
use crate::support::verifiers::AUTHORITY;

const WORKLOADS: [&str; 3] = ["c1", "c2", "c3"];

fn apply(server: &ApiServer, directory: &Path) {
    let directory = directory.to_str().unwrap();
    server.must(&["apply", "-R", "-f", directory], "");
}

#[test]
fn the_manifests_apply_as_they_are_and_the_relay_works_from_them() {
    let real = Clusters::new("applied");
    let spec = format!(
        "  namespace: {}\n  server: {{ extraDnsNames: [{AUTHORITY}] }}\n{}",
        real.namespace(),
        clusters(&WORKLOADS)
    );
    let fleet = Fleet::bootstrapped(&spec);
    let servers = std::iter::once(real.management()).chain(real.workloads());
    let mut applied = 0;
    for (server, cluster) in servers.zip(["mgmt"].iter().chain(&WORKLOADS)) {
        apply(server, &fleet.path(&format!("clusters/{cluster}")));
        let manifests = fleet.manifests(cluster).into_iter();
        let secrets = manifests.filter(|(_, manifest)| manifest.kind == "Secret");
        for (_, written) in secrets {
            let mut read = real.secret(server, &written.name);
            // kubectl's own.
            read.annotations
                .remove("kubectl.kubernetes.io/last-applied-configuration");
            assert_eq!(read, written, "{cluster}");
            applied += 1;
        }
        let labelled = real.secrets(server, "app.kubernetes.io/managed-by=relay-pki");
        assert!(!labelled.is_empty(), "{cluster}");
    }
    assert!(applied > WORKLOADS.len());

    let server = real.secret(real.management(), SERVER);
    for (workload, name) in real.workloads().iter().zip(WORKLOADS) {
        let client = real.secret(workload, CLIENT);
        assert_eq!(rustls_to_rustls(&server, &client), Ok(name.to_owned()));
    }
}
