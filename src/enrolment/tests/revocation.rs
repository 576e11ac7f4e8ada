use std::time::Duration;

use relay_pki_authority::x509::Certificate;

use super::super::{Publication, publish_revocations};
use super::client::{key, request};
use super::world::World;
use crate::clock::{Clock as _, SystemClock};
use crate::eventually::until;
use crate::journal::EnrolledCertificate;

#[tokio::test]
async fn a_revoked_cluster_gets_nothing_on_any_replica() {
    let world = World::with("  enrolment: { tokens: shared }\n").await;
    let replicas = [world.replica().await, world.replica().await];
    let client = world.client(&replicas[0]).await;
    let own = key();
    let body = request(&own, "cluster-1");
    let token = world.token("cluster-1").await;
    let first = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let spare = world.token("cluster-1").await;
    let registry = world.registry();
    until("the certificate is recorded", async || {
        let known = registry.get("cluster-1").await.unwrap();
        !known.certificates.is_empty()
    })
    .await;
    let now = SystemClock.now();
    let revoked = registry
        .revoke("cluster-1", Some("lost"), &[], now)
        .await
        .unwrap();
    let serial = first.serial().unwrap().to_string();
    let serials = |known: &[EnrolledCertificate]| -> Vec<String> {
        known.iter().map(|known| known.serial.clone()).collect()
    };
    assert_eq!(
        serials(&revoked.certificates),
        std::slice::from_ref(&serial)
    );
    assert!(!revoked.before);
    let _revoker = world.revoker().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shared = world.home.objects();
    let shared = shared
        .iter()
        .find(|object| object.key.name == "relay-identity-token-secret")
        .map(|object| String::from_utf8(object.data["token"].expose().to_vec()).unwrap());
    for replica in &replicas {
        let client = world.client(replica).await;
        let agent = client.with(&own, &first);
        let answer = agent.reenroll(&body).await.unwrap();
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("is revoked"), "{}", answer.text());
        assert_eq!(client.enroll("cluster-1", &spare, &body).await.status, 401);
        let answer = client
            .enroll("cluster-1", shared.as_ref().unwrap(), &body)
            .await;
        assert_eq!(answer.status, 403);
        // Its word counts for nothing; others are not concerned.
        let other = world.token("cluster-2").await;
        let body = request(&key(), "cluster-2");
        assert_eq!(client.enroll("cluster-2", &other, &body).await.status, 200);
    }
    // The lists say so, for whoever has no access to the records.
    let list = client.get_path("/crl").await.unwrap();
    assert_eq!(list.headers["content-type"], "application/pkix-crl");
    let text = openssl_crl(&["-inform", "DER"], &list.body, &world.signer().await);
    assert!(
        text.to_uppercase().contains(&serial.to_uppercase()),
        "{text}"
    );
    let lists = client.get_path("/crl.pem").await.unwrap();
    openssl_crl(&[], &lists.body, &world.signer().await);
    let published = world.home.objects();
    let published = published
        .iter()
        .find(|object| object.key.name == "relay-pki-relay-crl")
        .unwrap();
    assert_eq!(published.data["ca.crl"].expose(), lists.body.as_ref());
    // Let in again, it starts anew: what it had stays revoked.
    assert!(registry.lift("cluster-1", SystemClock.now()).await.unwrap());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let agent = client.with(&own, &first);
    assert_eq!(agent.reenroll(&body).await.unwrap().status, 403);
    let token = world.token("cluster-1").await;
    let second = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let agent = client.with(&own, &second);
    assert_eq!(agent.reenroll(&body).await.unwrap().status, 200);
}

/// A list as OpenSSL shows it, once it has verified the signature.
fn openssl_crl(form: &[&str], list: &[u8], issuer: &Certificate) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (file, ca) = (dir.path().join("crl"), dir.path().join("ca"));
    std::fs::write(&file, list).unwrap();
    std::fs::write(&ca, issuer.to_pem()).unwrap();
    let output = std::process::Command::new("openssl")
        .args(["crl", "-noout", "-text", "-in"])
        .arg(file)
        .args(form)
        .arg("-CAfile")
        .arg(ca)
        .output()
        .unwrap();
    let verdict = String::from_utf8_lossy(&output.stderr);
    assert!(verdict.contains("verify OK"), "{verdict}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nothing_is_published_where_nothing_was_revoked() {
    let world = World::new().await;
    let unneeded = publish_revocations(&world.fleet).await.unwrap();
    assert_eq!(unneeded, Publication::Unneeded);
    let now = SystemClock.now();
    let certificate = EnrolledCertificate {
        serial: "4f00".to_owned(),
        signer: 1,
        not_before: now,
        not_after: now + jiff::SignedDuration::from_hours(1),
        pem: None,
    };
    let registry = world.registry();
    let certificates = [certificate];
    registry
        .revoke("cluster-1", None, &certificates, now)
        .await
        .unwrap();
    let written = publish_revocations(&world.fleet).await.unwrap();
    let Publication::Written { certificates, .. } = written else {
        panic!("{written:?}");
    };
    assert_eq!(certificates, 1);
    let again = publish_revocations(&world.fleet).await.unwrap();
    assert_eq!(again, Publication::Current);
    // Once more is the same decision.
    let revoked = registry.revoke("cluster-1", None, &[], now).await.unwrap();
    assert!(revoked.before && revoked.certificates.len() == 1);
}
