use rcgen::KeyPair;

use super::world::{CLIENT, IDENTITY, SERVER, SIGNING, TRUST, World};
use crate::journal::Status;
use relay_pki_authority::Level;

#[tokio::test]
async fn r0101_signing_secret_in_a_workload_cluster() {
    let mut world = World::sound();
    let copy = world.object("mgmt", SIGNING).clone();
    world.insert("cluster-1", copy.clone());
    world.assert("R0101", &["cluster-1"]).await;
    // Found without labels too: it is asked for by name.
    world.disown("cluster-1", SIGNING);
    let (codes, _) = world.codes().await;
    assert!(codes.contains(&"R0101".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn r0102_an_unrelated_key_beside_the_bundle() {
    let mut world = World::sound();
    let key = KeyPair::generate().unwrap().serialize_pem();
    world.set("cluster-1", TRUST, "tls.key", key.as_bytes());
    world.assert("R0102", &["cluster-1"]).await;
    // What cannot be read as a key may still be one.
    world.set(
        "cluster-1",
        TRUST,
        "tls.key",
        b"-----BEGIN RSA PRIVATE KEY-----\n",
    );
    world.assert("R0102", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0103_a_ca_key_in_a_workload_cluster() {
    for place in ["relay-pki-gloo-mesh-root-g1", SIGNING] {
        let mut world = World::sound();
        let key = world.entry("mgmt", place, "tls.key");
        world.set("cluster-2", TRUST, "tls.key", &key);
        world.assert("R0103", &["cluster-2"]).await;
    }
    // Our own key Secret, copied.
    let mut world = World::sound();
    let copy = world.object("mgmt", "relay-pki-gloo-mesh-root-g1").clone();
    world.insert("cluster-2", copy);
    world.assert("R0103", &["cluster-2"]).await;
    // A client Secret over the signer's key.
    let mut world = World::sound();
    let key = KeyPair::from_pem(&world.signer.key.serialize_pem()).unwrap();
    let leaf = world
        .signer
        .sign(&super::fixture::client_params("cluster-1"), &key);
    let chain = leaf + &world.signer.pem;
    world.put_leaf("cluster-1", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0103", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0104_the_root_key_in_the_management_trust_secret() {
    let mut world = World::sound();
    let key = world.root.key.serialize_pem();
    world.set("mgmt", TRUST, "tls.key", key.as_bytes());
    world.assert("R0104", &["mgmt"]).await;
}

#[tokio::test]
async fn r0105_a_secret_that_others_can_read() {
    for secret in [SERVER, IDENTITY, SIGNING, "relay-pki-gloo-mesh-signer-g1"] {
        let mut world = World::sound();
        world.exposed.insert(("mgmt".to_owned(), secret.to_owned()));
        if secret.starts_with("relay-pki-") {
            // The provider would refuse to use it, which is not what this is about.
            world.keys = Some(std::sync::Arc::new(
                relay_pki_authority::MemoryKeyStore::default(),
            ));
        }
        world.assert("R0105", &["mgmt"]).await;
    }
    // Certificates alone may be read by anybody.
    let mut world = World::sound();
    world
        .exposed
        .insert(("cluster-1".to_owned(), TRUST.to_owned()));
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0106_the_server_uses_a_ca_key() {
    let mut world = World::sound();
    let key = KeyPair::from_pem(&world.signer.key.serialize_pem()).unwrap();
    let leaf = world.signer.sign(&super::fixture::server_params(), &key);
    let chain = leaf + &world.signer.pem;
    world.put_leaf("mgmt", SERVER, &chain, &key.serialize_pem());
    world.assert("R0106", &["mgmt"]).await;
}

#[tokio::test]
async fn r0107_the_key_of_a_retired_signer() {
    let mut world = World::sound();
    let old = world.root.signer(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "relay signer 0");
    });
    let mut record = world.generation(Level::Signer, 2, Status::Retired);
    record.pem = Some(old.pem.clone());
    world.record(&record);
    world.key_of(&record, &old.key.serialize_pem());
    world.assert("R0107", &["mgmt"]).await;
}

#[tokio::test]
async fn r0108_a_key_without_a_record() {
    for (cluster, name) in [
        ("mgmt", "relay-pki-gloo-mesh-signer-g7"),
        ("mgmt", "relay-pki-gloo-mesh-issuance-agent-cluster-1"),
        ("mgmt-2", "something-else"),
    ] {
        let mut world = World::sound();
        let key = KeyPair::generate().unwrap().serialize_pem();
        world.put(cluster, name, &[("tls.key", &key)]);
        world.assert("R0108", &[cluster]).await;
    }
}

#[tokio::test]
async fn r0109_the_server_secret_in_a_workload_cluster() {
    let mut world = World::sound();
    let copy = world.object("mgmt", SERVER).clone();
    world.insert("cluster-1", copy);
    world.assert("R0109", &["cluster-1"]).await;
}
