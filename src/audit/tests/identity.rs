use rcgen::{DnType, KeyPair, SanType};

use super::fixture::client_params;
use super::world::{CLIENT, SERVER, World};

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[tokio::test]
async fn r0501_another_name() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| {
        params.subject_alt_names = vec![dns("cluster-1.gloo-mesh")];
    });
    world.assert("R0501", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0502_another_common_name() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "gloo-mesh-agent");
    });
    world.assert("R0502", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0503_a_copied_client_secret() {
    let mut world = World::sound();
    let copy = world.object("cluster-2", CLIENT).clone();
    world.insert("cluster-1", copy);
    world.assert("R0503", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0504_a_name_that_is_not_covered() {
    let mut world = World::sound();
    world.yaml = world.yaml.replace(
        "server: { validity: 90d }",
        "server: { validity: 90d, extraDnsNames: [relay.example.com] }",
    );
    world.issue("mgmt-2", SERVER, |params| {
        params.subject_alt_names.push(dns("relay.example.com"));
    });
    world.assert("R0504", &["mgmt"]).await;
    let mut world = World::sound();
    world.issue("mgmt", SERVER, |params| {
        params.subject_alt_names = vec![dns("gloo-mesh-mgmt-server.gloo-mesh")];
    });
    world.assert("R0504", &["mgmt"]).await;
    let report = world.audit().await;
    assert!(
        report.findings[0]
            .what
            .ends_with("does not cover *.gloo-mesh")
    );
}

#[tokio::test]
async fn r0505_one_key_in_two_clusters() {
    let mut world = World::sound();
    let key = KeyPair::from_pem(&world.text("cluster-2", CLIENT, "tls.key")).unwrap();
    let mut params = client_params("cluster-3");
    params.serial_number = Some(vec![7; 20].into());
    let chain = world.signer.sign(&params, &key) + &world.signer.pem;
    world.put_leaf("cluster-3", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0505", &["cluster-3"]).await;
}

#[tokio::test]
async fn r0506_more_names() {
    for name in [dns("elsewhere"), SanType::IpAddress([10, 0, 0, 1].into())] {
        let mut world = World::sound();
        world.issue("cluster-1", CLIENT, |params| {
            params.subject_alt_names.push(name)
        });
        world.assert("R0506", &["cluster-1"]).await;
    }
}

#[tokio::test]
async fn r0507_the_name_of_another_cluster() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| {
        params.subject_alt_names.push(dns("cluster-2"));
    });
    world.assert("R0507", &["cluster-1"]).await;
}
