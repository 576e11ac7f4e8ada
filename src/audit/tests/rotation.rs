use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, VerifiedCsr};
use relay_pki_authority::{Generation, KeyStore, KeyStoreError, Level, StoredKey};

use super::fixture::{Ca, days, now, sound};
use super::world::{CLIENT, IDENTITY, SERVER, World};
use crate::cluster::ObjectKind;
use crate::journal::{Scope, Status};
use crate::relay::REQUEST_ANNOTATION;

/// A key store that never answers.
struct Dead;

#[async_trait]
impl KeyStore for Dead {
    async fn load(&self, _: &Generation) -> Result<Option<StoredKey>, KeyStoreError> {
        Err(KeyStoreError::Unavailable {
            reason: "connection refused".to_owned(),
        })
    }

    async fn create(&self, _: &Generation, _: &StoredKey) -> Result<(), KeyStoreError> {
        panic!("the audit made a key");
    }

    async fn certify(&self, _: &Generation, _: &CertificateChain) -> Result<(), KeyStoreError> {
        panic!("the audit changed a key");
    }

    async fn destroy(&self, _: &Generation) -> Result<(), KeyStoreError> {
        panic!("the audit destroyed a key");
    }
}

#[tokio::test]
async fn r0901_a_backend_that_does_not_answer() {
    let mut world = World::sound();
    world.keys = Some(Arc::new(Dead));
    world.assert("R0901", &["mgmt"]).await;
    let report = world.audit().await;
    assert!(report.findings[0].evidence.contains("connection refused"));
}

#[tokio::test]
async fn r0902_a_provider_that_is_not_in_the_document() {
    let mut world = World::sound();
    let mut record = world.generation(Level::Signer, 1, Status::Active);
    record.provider = Some("corp");
    world.record(&record);
    world.assert("R0902", &["mgmt"]).await;
}

#[tokio::test]
async fn r0903_the_document_asks_for_another_key() {
    let mut world = World::sound();
    world.yaml = world.yaml.replace(
        "signer: { validity: 1y }",
        "signer: { validity: 1y, keyType: ecdsa-p384 }",
    );
    world.assert("R0903", &["mgmt"]).await;
}

#[tokio::test]
async fn r0904_a_root_out_of_reach() {
    let mut world = World::sound();
    let mut record = world.generation(Level::Root, 1, Status::Active);
    record.provider = None;
    world.record(&record);
    world.remove("mgmt", ObjectKind::Secret, &record.name());
    world.assert("R0904", &["mgmt"]).await;
}

#[tokio::test]
async fn r1001_a_record_without_key() {
    let mut world = World::sound();
    world.remove("mgmt", ObjectKind::Secret, "relay-pki-gloo-mesh-signer-g1");
    world.assert("R1001", &["mgmt"]).await;
}

#[tokio::test]
async fn r1002_a_key_that_does_not_match() {
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for key in [other.as_str(), "not a key", ""] {
        let mut world = World::sound();
        let name = "relay-pki-gloo-mesh-root-g1";
        world.set("mgmt", name, "tls.key", key.as_bytes());
        world.assert("R1002", &["mgmt"]).await;
    }
}

#[tokio::test]
async fn r1003_a_rotation_that_stopped() {
    for (scope, cluster, secret) in [
        (Scope::Agents, "cluster-1", CLIENT),
        (Scope::Agent("cluster-1".to_owned()), "cluster-1", CLIENT),
        (Scope::Server, "mgmt-2", SERVER),
        (Scope::Tokens, "mgmt", IDENTITY),
    ] {
        let mut world = World::sound();
        world.request(&scope, 3, 1);
        for object in world
            .objects
            .values_mut()
            .flat_map(|objects| objects.values_mut())
        {
            let number = "3".to_owned();
            object
                .annotations
                .insert(REQUEST_ANNOTATION.to_owned(), number);
        }
        assert_eq!(world.audit().await.findings, [], "all of it is done");
        let old = &mut world.object(cluster, secret).annotations;
        old.insert(REQUEST_ANNOTATION.to_owned(), "2".to_owned());
        world.assert("R1003", &[cluster]).await;
    }
}

#[tokio::test]
async fn r1003_a_signer_that_was_not_rotated() {
    let mut world = World::sound();
    world.request(&Scope::Signer, 3, 1);
    world.assert("R1003", &["mgmt"]).await;
    let mut record = world.generation(Level::Signer, 1, Status::Active);
    record.request = 3;
    world.record(&record);
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r1004_a_ca_that_was_begun() {
    let mut world = World::sound();
    let mut record = world.generation(Level::Signer, 2, Status::Prepared);
    record.pem = None;
    record.since = now() - days(1);
    world.record(&record);
    world.assert("R1004", &["mgmt"]).await;
    record.since = now();
    world.record(&record);
    assert_eq!(world.audit().await.findings, [], "it is being made");
}

#[tokio::test]
async fn r1005_two_active_roots() {
    let mut world = World::sound();
    let other = Ca::root(sound);
    let mut record = world.generation(Level::Root, 2, Status::Active);
    record.pem = Some(other.pem.clone());
    world.record(&record);
    world.key_of(&record, &other.key.serialize_pem());
    world.set_bundles(&(world.root.pem.clone() + &other.pem));
    world.assert("R1005", &["mgmt"]).await;
}

#[tokio::test]
async fn r1006_three_roots_at_once() {
    let mut world = World::sound();
    let mut bundle = world.root.pem.clone();
    for number in [2, 3] {
        let other = Ca::root(sound);
        let mut record = world.generation(Level::Root, number, Status::Retiring);
        record.pem = Some(other.pem.clone());
        record.provider = None;
        world.record(&record);
        bundle.push_str(&other.pem);
    }
    world.set_bundles(&bundle);
    world.assert("R1006", &["mgmt"]).await;
}

#[tokio::test]
async fn r1007_an_issuance_that_was_not_finished() {
    let mut world = World::sound();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let csr = VerifiedCsr::from_der(request.der()).unwrap().to_pem();
    let mut begin = |from: i64| {
        let record = serde_json::json!({
            "signer": 1,
            "issuer": 1,
            "notBefore": now() + days(from),
            "notAfter": now() + days(30),
        });
        let record = record.to_string();
        let entries = [("record", record.as_str()), ("tls.csr", csr.as_str())];
        let name = "relay-pki-gloo-mesh-issuance-agent-cluster-1";
        world.put_kind("mgmt", ObjectKind::ConfigMap, name, &entries);
        // Its key waits beside it.
        assert!(PrivateKey::from_pem(key.serialize_pem().as_bytes()).is_ok());
        world.put("mgmt", name, &[("tls.key", &key.serialize_pem())]);
    };
    begin(-1);
    begin(-1);
    world.assert("R1007", &["mgmt"]).await;
}

#[tokio::test]
async fn r1020_a_revoked_cluster() {
    let mut world = World::sound();
    let mut revoked = |cluster: &str, lifted: serde_json::Value| {
        let record = serde_json::json!({ "at": now(), "reason": "stolen", "lifted": lifted });
        let name = format!("relay-pki-gloo-mesh-revocation-{cluster}");
        let record = record.to_string();
        world.put_kind(
            "mgmt",
            ObjectKind::ConfigMap,
            &name,
            &[("record", record.as_str())],
        );
    };
    revoked("cluster-1", serde_json::Value::Null);
    revoked("cluster-2", serde_json::json!(now()));
    world.assert("R1020", &["cluster-1"]).await;
}

#[tokio::test]
async fn r1003_is_about_what_we_renew() {
    let mut world = World::sound();
    world.request(&Scope::Agents, 3, 1);
    for cluster in ["cluster-1", "cluster-2"] {
        let annotations = &mut world.object(cluster, CLIENT).annotations;
        annotations.insert(REQUEST_ANNOTATION.to_owned(), "3".to_owned());
    }
    // The relay server signs this one, even if somebody put our labels on it.
    world.object("cluster-3", CLIENT).labels = crate::relay::labels("gloo-mesh");
    assert_eq!(world.audit().await.findings, []);
    // And this one is not ours any more.
    world.object("cluster-1", CLIENT).annotations.clear();
    world.disown("cluster-1", CLIENT);
    world.assert("R0801", &["cluster-1"]).await;
}

#[tokio::test]
async fn r1008_records_that_are_gone() {
    let mut world = World::sound();
    for name in ["root-g1", "signer-g1"] {
        let name = format!("relay-pki-gloo-mesh-{name}");
        world.remove("mgmt", ObjectKind::ConfigMap, &name);
    }
    let report = world.audit().await;
    let found = |code: &str| report.findings.iter().any(|f| f.code.to_string() == code);
    assert!(found("R1008"), "{:?}", report.findings);
}
