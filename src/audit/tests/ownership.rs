use super::fixture::{Ca, sound};
use super::world::{CLIENT, FORWARDING, IDENTITY, SERVER, SIGNING, TRUST, World};
use crate::cluster::{ClusterError, ObjectKind};
use crate::relay;

fn unavailable(cluster: &str) -> ClusterError {
    ClusterError::Unavailable {
        cluster: cluster.to_owned(),
        operation: "list the relay Secrets".to_owned(),
        reason: "connection timed out after 10 s".to_owned(),
    }
}

#[tokio::test]
async fn r0401_one_dead_cluster_costs_itself_only() {
    let mut world = World::sound();
    world
        .failing
        .insert("cluster-2".to_owned(), unavailable("cluster-2"));
    world.assert("R0401", &["cluster-2"]).await;
    let report = world.audit().await;
    assert!(report.incomplete && report.findings.is_empty());
    assert_eq!(report.counts.clusters, 4);
    // What is wrong elsewhere is still found.
    world.set("cluster-1", IDENTITY, "token", b"");
    assert_eq!(world.audit().await.findings.len(), 1);
}

#[tokio::test]
async fn r0401_the_home_cluster_may_be_the_dead_one() {
    let mut world = World::sound();
    world.failing.insert("mgmt".to_owned(), unavailable("mgmt"));
    world.assert("R0401", &["mgmt"]).await;
}

#[tokio::test]
async fn r0402_not_permitted() {
    let mut world = World::sound();
    let error = ClusterError::Denied {
        cluster: "cluster-1".to_owned(),
        operation: "list Secrets".to_owned(),
        reason: "forbidden".to_owned(),
    };
    world.failing.insert("cluster-1".to_owned(), error);
    world.assert("R0402", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0403_a_broken_manifest() {
    let mut world = World::sound();
    let error = ClusterError::Malformed {
        cluster: "cluster-1".to_owned(),
        place: "c/secret.yaml:3:1".to_owned(),
        reason: "not YAML".to_owned(),
    };
    world.failing.insert("cluster-1".to_owned(), error);
    world.assert("R0403", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0404_a_broken_record() {
    let mut world = World::sound();
    let entries = [("record", "{")];
    let name = "relay-pki-gloo-mesh-root-g1";
    world.put_kind("mgmt", ObjectKind::ConfigMap, name, &entries);
    world.assert("R0404", &["mgmt"]).await;
}

#[tokio::test]
async fn r0801_a_foreign_secret() {
    let mut world = World::sound();
    world.disown("cluster-1", TRUST);
    world.assert("R0801", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0801_an_unmanaged_fleet_is_otherwise_sound() {
    let mut world = World::sound();
    world.unmanaged();
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0801"]);
}

#[tokio::test]
async fn r0802_another_relay() {
    let mut world = World::sound();
    world.object("cluster-1", TRUST).labels = relay::labels("other");
    world.assert("R0802", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0803_a_missing_secret() {
    for (cluster, secret) in [
        ("cluster-1", TRUST),
        ("cluster-1", CLIENT),
        ("cluster-2", IDENTITY),
        ("cluster-2", FORWARDING),
        ("mgmt-2", SERVER),
        ("mgmt-2", SIGNING),
    ] {
        let mut world = World::sound();
        world.remove(cluster, ObjectKind::Secret, secret);
        world.assert("R0803", &[cluster]).await;
    }
}

#[tokio::test]
async fn what_nobody_needs_is_not_missing() {
    let mut world = World::sound();
    world.yaml = world.yaml.replace(", forwarding: {}", "");
    world.yaml = world.yaml.replace(", delivery: server-signed", "");
    world.object("cluster-3", CLIENT).labels = relay::labels("gloo-mesh");
    for cluster in ["mgmt", "mgmt-2"] {
        world.remove(cluster, ObjectKind::Secret, SIGNING);
        world.remove(cluster, ObjectKind::Secret, FORWARDING);
    }
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0804_an_agent_that_has_not_come_yet() {
    let mut world = World::sound();
    world.remove("cluster-3", ObjectKind::Secret, CLIENT);
    world.assert("R0804", &["cluster-3"]).await;
}

#[tokio::test]
async fn r0805_a_published_root_is_not_there() {
    let mut world = World::sound();
    let new = Ca::root(sound);
    let mut record = world.generation(
        relay_pki_authority::Level::Root,
        2,
        crate::journal::Status::Published,
    );
    record.since = super::fixture::now();
    record.pem = Some(new.pem.clone());
    world.record(&record);
    world.key_of(&record, &new.key.serialize_pem());
    world.set_bundles(&(world.root.pem.clone() + &new.pem));
    assert_eq!(world.audit().await.findings, [], "both roots everywhere");
    let old = world.root.pem.clone();
    world.set("cluster-1", TRUST, "ca.crt", old.as_bytes());
    world.assert("R0805", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0806_an_anchor_that_is_not_published() {
    let mut world = World::sound();
    let stranger = Ca::root(sound);
    let bundle = world.root.pem.clone() + &stranger.pem;
    world.set("cluster-1", TRUST, "ca.crt", bundle.as_bytes());
    world.assert("R0806", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0807_bundles_that_differ() {
    let mut world = World::sound();
    world.unmanaged();
    let stranger = Ca::root(sound);
    let bundle = world.root.pem.clone() + &stranger.pem;
    world.set("cluster-1", TRUST, "ca.crt", bundle.as_bytes());
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0801", "R0807"]);
    let report = world.audit().await;
    let found = report
        .findings
        .iter()
        .find(|found| found.code.to_string() == "R0807");
    assert_eq!(found.unwrap().cluster, "cluster-1");
}

/// Puts a signer that is sound, but another one, into a management cluster.
fn other_signer(world: &mut World, clusters: &[&str]) {
    let signer = world.root.signer(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "relay signer 0");
    });
    for cluster in clusters {
        let key = signer.key.serialize_pem();
        world.set(cluster, SIGNING, "tls.crt", signer.pem.as_bytes());
        world.set(cluster, SIGNING, "tls.key", key.as_bytes());
    }
}

#[tokio::test]
async fn r0808_management_clusters_out_of_step() {
    let mut world = World::sound();
    other_signer(&mut world, &["mgmt-2"]);
    world.assert("R0808", &["mgmt-2"]).await;
}

#[tokio::test]
async fn r0809_not_the_active_signer() {
    let mut world = World::sound();
    other_signer(&mut world, &["mgmt", "mgmt-2"]);
    world.assert("R0809", &["mgmt", "mgmt-2"]).await;
}

#[tokio::test]
async fn r0723_a_type_that_does_not_fit() {
    for (secret, kind) in [
        (TRUST, "kubernetes.io/tls"),
        (IDENTITY, "kubernetes.io/tls"),
        (CLIENT, "kubernetes.io/dockerconfigjson"),
    ] {
        let mut world = World::sound();
        world.object("cluster-1", secret).secret_type = Some(kind.to_owned());
        world.assert("R0723", &["cluster-1"]).await;
    }
    let mut world = World::sound();
    world.object("cluster-1", CLIENT).secret_type = Some("kubernetes.io/tls".to_owned());
    assert_eq!(world.audit().await.findings, []);
}
