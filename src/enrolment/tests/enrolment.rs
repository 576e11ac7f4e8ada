use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{CertificateChain, PeerRole, verify_path};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{key, request};
use super::world::{World, document, fleet, parse, text};
use crate::clock::{Clock as _, ManualClock, SystemClock};
use crate::cluster::Cluster as _;
use crate::engine::{Fleet, Goal};
use crate::eventually::until;
use crate::rotation::Steering;

#[tokio::test]
async fn an_agent_enrols_with_its_token_and_renews_with_its_certificate() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (first, token) = (key(), world.token("cluster-1").await);
    let body = request(&first, "cluster-1");
    let answer = client.enroll("cluster-1", &token, &body).await;
    let certificate = answer.certificate();
    assert_eq!(
        answer.headers["content-type"],
        "application/pkcs7-mime; smime-type=certs-only"
    );
    assert_eq!(answer.headers["content-transfer-encoding"], "base64");
    assert!(answer.headers.contains_key("content-length"));
    assert_eq!(certificate.dns_names(), ["cluster-1"]);
    assert_eq!(certificate.common_name(), Some("cluster-1"));
    let chain = vec![certificate.clone(), world.signer().await];
    let chain = CertificateChain::new(chain).unwrap();
    let roots = world.roots().await;
    verify_path(&chain, &roots, PeerRole::Client, SystemClock.now()).unwrap();

    let agent = client.with(&first, &certificate);
    let second = key();
    let renewed = agent.reenroll(&request(&second, "cluster-1")).await;
    let renewed = renewed.unwrap().certificate();
    assert_ne!(renewed.public_key(), certificate.public_key());
    // The same key again, and the new certificate in turn.
    let again = agent.reenroll(&request(&first, "cluster-1")).await;
    assert_eq!(
        again.unwrap().certificate().public_key(),
        certificate.public_key()
    );
    let next = client.with(&second, &renewed);
    let next = next.reenroll(&request(&key(), "cluster-1")).await;
    assert_eq!(next.unwrap().status, 200);
}

#[tokio::test]
async fn nobody_gets_a_certificate_of_somebody_else() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    for (user, name, status) in [
        ("cluster-2", "cluster-1", 403),
        ("cluster-2", "cluster-2", 401),
        ("", "cluster-2", 401),
        ("cluster-1", "cluster-2", 403),
        ("pushed", "pushed", 401),
        ("nobody", "nobody", 401),
    ] {
        let answer = client.enroll(user, &token, &request(&own, name)).await;
        assert_eq!(answer.status, status, "{user} {name}: {}", answer.text());
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401
        );
    }
    let body = request(&own, "cluster-1");
    let wrong = client.enroll("cluster-1", "guess", &body).await;
    assert_eq!(wrong.status, 401);
    // None of that has used the token up.
    let answer = client.enroll("", &token, &request(&own, "cluster-1")).await;
    let certificate = answer.certificate();
    let agent = client.with(&own, &certificate);
    let answer = agent.reenroll(&request(&own, "cluster-2")).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("cluster-1"), "{}", answer.text());
    // A renewal needs the certificate, and a token is no certificate.
    let answer = client.reenroll(&request(&own, "cluster-1")).await.unwrap();
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn certificates_of_others_open_no_door() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let own = key();
    let mut parameters = rcgen::CertificateParams::new(vec!["cluster-1".to_owned()]).unwrap();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "cluster-1");
    let foreign = parameters.self_signed(&own).unwrap();
    let foreign = relay_pki_authority::x509::Certificate::from_der(foreign.der()).unwrap();
    let stranger = client.with(&own, &foreign);
    assert!(
        stranger
            .reenroll(&request(&own, "cluster-1"))
            .await
            .is_err()
    );
    // The relay server's own certificate is of the relay, and no agent's.
    let stored = world
        .home
        .read(&crate::cluster::ObjectKey::secret(
            "relay-server-tls-secret",
        ))
        .await
        .unwrap()
        .unwrap();
    let server = crate::relay::decode_tls(&stored.object).unwrap();
    let pkcs8 = rustls::pki_types::PrivatePkcs8KeyDer::from(server.key.pkcs8_der());
    let pair = rcgen::KeyPair::try_from(&pkcs8).unwrap();
    let server = client.with(&pair, server.chain.leaf());
    assert!(server.reenroll(&request(&own, "cluster-1")).await.is_err());
}

#[tokio::test]
async fn ca_certificates_say_what_they_are_and_are_acknowledged() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let answer = client.get("cacerts").await.unwrap();
    let digest = world.roots().await.digest().to_string();
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with(&format!("\"{digest}.")), "{tag}");
    let certificates = answer.certificates();
    assert!(certificates.contains(&world.signer().await));
    assert!(certificates.contains(&world.roots().await.anchors()[0]));
    let held = [("if-none-match", tag.as_str())];
    let answer = client.get_with("cacerts", &held).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
    // A stranger acknowledges nothing, an agent does.
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    let certificate = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let acknowledged = || async {
        world
            .registry()
            .get("cluster-1")
            .await
            .unwrap()
            .acknowledged
    };
    assert_eq!(acknowledged().await, None);
    let agent = client.with(&own, &certificate);
    let answer = agent.get_with("cacerts", &held).await.unwrap();
    assert_eq!(answer.status, 304);
    for _ in 0..50 {
        if acknowledged().await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(acknowledged().await.unwrap().bundle, digest);
    // Once is enough.
    let writes = world.home.writes();
    agent.get_with("cacerts", &held).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.home.writes(), writes);
    let serial = |known: &crate::journal::EnrolledCertificate| known.serial.clone();
    let known = world
        .registry()
        .get("cluster-1")
        .await
        .unwrap()
        .certificates;
    let own_serial = certificate.serial().unwrap().to_string();
    assert_eq!(known.iter().map(serial).collect::<Vec<_>>(), [own_serial]);
}

#[tokio::test]
async fn attributes_name_the_key_that_is_wanted() {
    let world = World::with("  agents: { keyType: ecdsa-p384 }\n").await;
    let replica = world.replica().await;
    let answer = world.client(&replica).await.get("csrattrs").await.unwrap();
    assert_eq!(answer.headers["content-type"], "application/csrattrs");
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &answer.body);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attributes");
    std::fs::write(&file, der.unwrap()).unwrap();
    let output = std::process::Command::new("openssl")
        .args(["asn1parse", "-inform", "DER", "-in"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for wanted in ["id-ecPublicKey", "secp384r1", "ecdsa-with-SHA384"] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test]
async fn a_new_server_certificate_and_a_new_signer_are_taken_up() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    let old = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let agent = client.with(&own, &old);
    let presented = || async {
        let stream = client.connect().await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let before = presented().await;
    let signer = world.signer().await;
    world.begin(Level::Signer).await;
    // Its agents are no part of this.
    for cluster in ["cluster-1", "cluster-2"] {
        let waive = Steering::Waive {
            cluster: cluster.to_owned(),
            until: SystemClock.now() + SignedDuration::from_hours(1),
            reason: "they are not asked".to_owned(),
        };
        world.steer(&waive).await;
    }
    world.reach(Goal::Rotation).await;
    assert_ne!(world.signer().await, signer);
    for _ in 0..100 {
        if presented().await != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(presented().await, before);
    // The certificate of the old signer still counts, and what comes is of the new one.
    let renewed = agent.reenroll(&body).await.unwrap().certificate();
    assert!(renewed.is_issued_by(&world.signer().await));
    let all = client.get("cacerts").await.unwrap().certificates();
    assert!(all.contains(&signer) && all.contains(&world.signer().await));
}

#[tokio::test]
async fn an_agent_that_is_no_more_registered_is_refused() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    let certificate = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let agent = client.with(&own, &certificate);
    assert_eq!(agent.reenroll(&body).await.unwrap().status, 200);
    let without = text("").replace(
        "    - { name: cluster-1, role: workload, delivery: enroll }\n",
        "",
    );
    let pushed = text("").replace(
        "cluster-1, role: workload, delivery: enroll",
        "cluster-1, role: workload, directory: c1",
    );
    for document in [without, pushed] {
        let fleet = fleet(&world.home, parse(&document));
        replica.fleet.send_replace(Some(Arc::new(fleet)));
        until("it is refused", async || {
            agent.reenroll(&body).await.unwrap().status == 403
        })
        .await;
        let answer = agent.reenroll(&body).await.unwrap();
        assert!(
            answer.text().contains("does not enrol"),
            "{}",
            answer.text()
        );
        assert_eq!(client.enroll("cluster-1", &token, &body).await.status, 401);
        replica.fleet.send_replace(Some(world.fleet.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = client.speaking(version);
        for _ in 0..3 {
            let mut stream = client.connect().await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full), "{version:?}");
            // Tickets come with the first bytes of a reply.
            let ask = b"GET /crl HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(ask).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.starts_with(b"HTTP/1.1 404"));
        }
    }
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    let certificate = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let mut open = client.with(&own, &certificate).open().await.unwrap();
    let renewal = || {
        let body = http_body_util::Full::new(bytes::Bytes::from(body.clone()));
        super::client::post("simplereenroll").body(body).unwrap()
    };
    let answer = super::client::send(&mut open, renewal()).await.unwrap();
    assert_eq!(answer.status, 200);
    let later = SystemClock.now() + jiff::SignedDuration::from_hours(31 * 24);
    let aged = Fleet {
        clock: Arc::new(ManualClock::new(later)),
        ..fleet(&world.home, document(""))
    };
    replica.fleet.send_replace(Some(Arc::new(aged)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = super::client::send(&mut open, renewal()).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("not valid any more"),
        "{}",
        answer.text()
    );
}
