use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

use super::fixture::{Ca, client_params, lives, sound};
use super::world::{CLIENT, SERVER, SIGNING, TRUST, World};

/// Another root, whose certificates nobody has a reason to accept.
fn stranger() -> (Ca, Ca) {
    let root = Ca::root(sound);
    let signer = root.signer(sound);
    (root, signer)
}

#[tokio::test]
async fn r0201_an_agent_refuses_the_server() {
    let mut world = World::sound();
    let (root, _) = stranger();
    // The agent is not ours, so that this is no drift too.
    world.set("cluster-3", CLIENT, "ca.crt", root.pem.as_bytes());
    world.assert("R0201", &["cluster-3"]).await;
    let report = world.audit().await;
    assert_eq!(report.findings.len(), 2, "one for each server");
    assert!(
        report.findings[0].evidence.contains("(own checks)"),
        "{:?}",
        report.findings[0]
    );
}

#[tokio::test]
async fn r0201_the_trust_secret_counts_where_there_is_no_client_secret() {
    let mut world = World::sound();
    let (root, _) = stranger();
    world.remove("cluster-3", crate::cluster::ObjectKind::Secret, CLIENT);
    world.set("cluster-3", TRUST, "ca.crt", root.pem.as_bytes());
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0201", "R0804", "R0805", "R0806"]);
}

#[tokio::test]
async fn r0202_a_server_refuses_an_agent() {
    let mut world = World::sound();
    let (_, signer) = stranger();
    let key = KeyPair::generate().unwrap();
    let chain = signer.sign(&client_params("cluster-3"), &key) + &signer.pem;
    world.put_leaf("cluster-3", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0202", &["cluster-3"]).await;
}

#[tokio::test]
async fn r0202_a_forged_signature() {
    let mut world = World::sound();
    // The right names and identifiers, the wrong key.
    let forger = Ca {
        key: KeyPair::generate().unwrap(),
        params: {
            let mut params = world.signer.params.clone();
            let key = &world.signer.key;
            params.key_identifier_method =
                rcgen::KeyIdMethod::PreSpecified(params.key_identifier(key));
            params
        },
        pem: String::new(),
    };
    let key = KeyPair::generate().unwrap();
    let chain = forger.sign(&client_params("cluster-1"), &key) + &world.signer.pem;
    world.put_leaf("cluster-1", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0202", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0203_key_and_certificate_do_not_match() {
    let mut world = World::sound();
    let key = KeyPair::generate().unwrap().serialize_pem();
    world.set("mgmt-2", SERVER, "tls.key", key.as_bytes());
    world.assert("R0203", &["mgmt-2"]).await;
}

#[tokio::test]
async fn r0204_something_is_missing_or_broken() {
    for (cluster, secret, entry, value) in [
        ("cluster-1", TRUST, "ca.crt", ""),
        ("cluster-1", TRUST, "ca.crt", "hello"),
        (
            "cluster-2",
            CLIENT,
            "tls.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
        ),
        ("mgmt-2", SERVER, "tls.key", ""),
    ] {
        let mut world = World::sound();
        world.set(cluster, secret, entry, value.as_bytes());
        world.assert("R0204", &[cluster]).await;
    }
}

#[tokio::test]
async fn r0205_the_server_certificate_as_signer() {
    let mut world = World::sound();
    for entry in ["tls.crt", "tls.key"] {
        let value = world.entry("mgmt", SERVER, entry);
        world.set("mgmt", SIGNING, entry, &value);
    }
    world.assert("R0205", &["mgmt"]).await;
    let report = world.audit().await;
    assert_eq!(
        report.findings[0].evidence,
        "it is the relay server's certificate"
    );
}

/// A signer under a stranger's root, in step in both management clusters and nowhere else.
fn foreign_signer(world: &mut World) -> Ca {
    world.unmanaged();
    let (root, signer) = stranger();
    for cluster in ["mgmt", "mgmt-2"] {
        world.set(cluster, SIGNING, "tls.crt", signer.pem.as_bytes());
        let key = signer.key.serialize_pem();
        world.set(cluster, SIGNING, "tls.key", key.as_bytes());
    }
    root
}

#[tokio::test]
async fn r0206_a_signer_that_leads_nowhere() {
    let mut world = World::sound();
    foreign_signer(&mut world);
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0206", "R0801"]);
}

#[tokio::test]
async fn r0207_a_server_that_refuses_its_own_signer() {
    let mut world = World::sound();
    let root = foreign_signer(&mut world);
    for cluster in ["mgmt", "mgmt-2"] {
        world.set(cluster, SIGNING, "ca.crt", root.pem.as_bytes());
    }
    let (codes, _) = world.codes().await;
    // The bundles differ too, which is what it comes from.
    assert_eq!(codes, ["R0207", "R0801", "R0807"]);
}

#[tokio::test]
async fn r0208_a_stray_certificate_in_the_chain() {
    let mut world = World::sound();
    let (_, signer) = stranger();
    let mut params = client_params("somebody");
    lives(&mut params, -5, 25);
    let stray = signer.sign(&params, &KeyPair::generate().unwrap());
    let chain = world.text("cluster-1", CLIENT, "tls.crt") + &stray;
    world.set("cluster-1", CLIENT, "tls.crt", chain.as_bytes());
    world.assert("R0208", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0208_not_for_a_signer_that_two_roots_certify() {
    let mut world = World::sound();
    let mut params = world.signer.params.clone();
    params.serial_number = Some(vec![9; 20].into());
    // The one that ends sooner does not count: there is a way through the other.
    lives(&mut params, -30, 20);
    let twin = world.root.sign(&params, &world.signer.key);
    let chain = world.text("cluster-1", CLIENT, "tls.crt") + &twin;
    world.set("cluster-1", CLIENT, "tls.crt", chain.as_bytes());
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0209_the_root_in_the_chain() {
    let mut world = World::sound();
    let chain = world.text("mgmt", SERVER, "tls.crt") + &world.root.pem;
    world.set("mgmt", SERVER, "tls.crt", chain.as_bytes());
    world.assert("R0209", &["mgmt"]).await;
}

#[tokio::test]
async fn r0210_an_intermediate_as_anchor() {
    let mut world = World::sound();
    let bundle = world.root.pem.clone() + &world.signer.pem;
    world.set("cluster-3", CLIENT, "ca.crt", bundle.as_bytes());
    world.assert("R0210", &["cluster-3"]).await;
}

#[tokio::test]
async fn an_old_root_beside_the_new_one_is_accepted() {
    let mut world = World::sound();
    // A cross-certificate of the signer's key under a second root, first in the chain.
    let (other, _) = stranger();
    let mut params = world.signer.params.clone();
    params.serial_number = Some(vec![8; 20].into());
    let cross = other.sign(&params, &world.signer.key);
    let key = KeyPair::generate().unwrap();
    let leaf = world.signer.sign(&client_params("cluster-1"), &key);
    let chain = leaf + &cross + &world.signer.pem;
    world.put_leaf("cluster-1", CLIENT, &chain, &key.serialize_pem());
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn only_webpki_objects_and_the_evidence_says_so() {
    fn only_other_names(params: &mut CertificateParams) {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    }
    let world = World::of(sound, only_other_names);
    let report = world.audit().await;
    let codes: Vec<String> = report
        .findings
        .iter()
        .map(|found| found.code.to_string())
        .collect();
    assert!(
        codes.iter().all(|code| code == "R0201" || code == "R0202"),
        "{codes:?}"
    );
    assert_eq!(codes.len(), 3 * 2 + 3, "{:#?}", report.findings);
    let evidence = &report.findings[0].evidence;
    assert!(
        evidence.contains("NameConstraintViolation") || evidence.contains("(webpki)"),
        "{evidence}"
    );
}

#[tokio::test]
async fn names_below_a_constraint_are_judged_one_by_one() {
    fn first_only(params: &mut CertificateParams) {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("cluster-1".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    }
    let report = World::of(sound, first_only).audit().await;
    let refused = report.findings.iter();
    let refused = refused.filter(|found| found.code.to_string() == "R0202");
    let clusters: Vec<&str> = refused.map(|found| found.cluster.as_str()).collect();
    assert_eq!(clusters, ["cluster-2", "cluster-3"]);
}
