//! What AWS allows and what it does not: permissions, quotas, modes, keys.

use std::time::Duration;

use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::{KeyType, PrivateKey};
use relay_pki_authority::{AuthorityError, Outcome, Profile, Provider};
use relay_pki_testbed::AwsServer;
use serde_json::json;

use super::chains::{Relay, collected, leaf, leaf_for};
use super::clients::{self, KeyFile, REGION};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_lived_mode_is_seven_days() {
    let relay = Relay::with(&json!({}), |settings| settings.short_lived = true).await;
    collected(&relay.signer, &leaf("c1", 6 * 24)).await.unwrap();
    let refused = collected(&relay.signer, &leaf("c2", 8 * 24))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, AuthorityError::Rejected { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("7d or less"), "{refused}");
    // Root, signer, leaf: AWS was not even asked for the other one.
    assert_eq!(relay.account.calls("IssueCertificate"), 3);
    let modes = relay.account.state()["authorities"].clone();
    let mode = |index: usize| modes[index]["UsageMode"].as_str().unwrap().to_owned();
    assert_eq!(
        [mode(0), mode(1)],
        ["GENERAL_PURPOSE", "SHORT_LIVED_CERTIFICATE"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_call_is_made_again_and_then_given_back() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let throttle = |times: u32| {
        let order =
            json!({ "operation": "IssueCertificate", "effect": "throttle", "times": times });
        relay.account.fault(order);
    };
    throttle(2);
    collected(&relay.signer, &leaf("c1", 24)).await.unwrap();
    throttle(3);
    let error = relay.signer.sign(&leaf("c2", 24)).await.unwrap_err();
    let AuthorityError::Unavailable {
        reason,
        retry_after,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        reason.contains("ThrottlingException: Rate exceeded"),
        "{reason}"
    );
    assert_eq!(*retry_after, Some(Duration::from_secs(2)));
    collected(&relay.signer, &leaf("c2", 24)).await.unwrap();
    assert_eq!(relay.account.issued(), 4);
}

/// More needs at once than the quota of a second: none is refused, none is bought twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_stays_below_the_quota() {
    let quota = json!({ "quotas": { "IssueCertificate": 5 } });
    let relay = Relay::with(&quota, |settings| settings.issue_rate = Some(4)).await;
    let calls = relay.account.calls("IssueCertificate");
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..12 {
        let signer = relay.signer.clone();
        let name = format!("c{number}");
        crowd.spawn(async move { collected(&signer, &leaf(&name, 24)).await });
    }
    while let Some(one) = crowd.join_next().await {
        one.unwrap().unwrap();
    }
    assert_eq!(relay.account.calls("IssueCertificate"), calls + 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_cannot_is_said_before_it_is_asked() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let calls = relay.account.calls("IssueCertificate");
    let ed25519 = forge::csr(&PrivateKey::generate(KeyType::Ed25519).unwrap(), "c1");
    let mut cross = leaf("c1", 24);
    cross.profile = Profile::Root;
    for request in [leaf_for(ed25519, "c1", 24), cross] {
        let refused = relay.root.sign(&request).await.unwrap_err();
        assert!(
            matches!(refused, AuthorityError::Unsupported { .. }),
            "{refused}"
        );
    }
    assert!(!relay.provider.capabilities().cross_certificates);
    assert_eq!(relay.account.calls("IssueCertificate"), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named() {
    let account = AwsServer::emulator().account(&json!({
        "policy": { "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "acm-pca:List*", "Resource": "*" },
        ] },
    }));
    let provider = clients::provider(&account, |_| {});
    provider.check().await.unwrap();
    let generation = relay_pki_authority::Generation {
        relay: "limits".to_owned(),
        level: relay_pki_authority::Level::Signer,
        number: 1,
    };
    let request = relay_pki_authority::SignerRequest {
        generation,
        subject: forge::subject("signer"),
        key_type: KeyType::EcdsaP256,
    };
    let error = provider.prepare_signer(&request).await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    let said = error.to_string();
    assert!(
        said.contains("acm-pca:CreateCertificateAuthority"),
        "{said}"
    );
    assert!(
        said.contains("give relay-pki's identity the permission"),
        "{said}"
    );
    assert!(!said.contains(&account.secret_key), "{said}");
}

/// The keys are read again at once after they were refused, and not for every call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_keys_are_found() {
    let account = AwsServer::emulator().account(&json!({}));
    let file = KeyFile::with(&account.access_key, "wrong");
    let provider = clients::provider(&account, |settings| {
        settings.credentials = Some(file.clone())
    });
    let error = provider.check().await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("InvalidSignatureException"),
        "{error}"
    );
    file.replace(&account.access_key, &account.secret_key);
    for _ in 0..3 {
        provider.check().await.unwrap();
    }
    assert_eq!(file.reads(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_and_nothing_said() {
    let account = AwsServer::emulator().account(&json!({}));
    let closed =
        |settings: &mut crate::Settings| settings.endpoint = Some("http://127.0.0.1:9".to_owned());
    let error = clients::provider(&account, closed)
        .check()
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    let broken = KeyFile::with("", "");
    broken.replace("x\n[other]\nkey", "y");
    let provider = clients::provider(&account, |settings| {
        settings.credentials = Some(broken);
        settings.profile = Some("elsewhere".to_owned());
    });
    let error = provider.check().await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("under [elsewhere]"), "{error}");
    let debug = format!(
        "{:?}",
        crate::Settings {
            credentials: Some(KeyFile::of(&account)),
            region: Some(REGION.to_owned()),
            ..crate::Settings::default()
        }
    );
    assert!(!debug.contains(&account.secret_key), "{debug}");
}

/// A slow answer is waited for once, not for ever, and costs nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_has_a_limit() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let slow =
        json!({ "operation": "IssueCertificate", "effect": "slow", "seconds": 9, "times": 1 });
    relay.account.fault(slow);
    let before = relay.account.issued();
    let begun = std::time::Instant::now();
    let outcome = relay.signer.sign(&leaf("c1", 24)).await.unwrap();
    assert!(matches!(outcome, Outcome::Pending { .. }));
    assert!(begun.elapsed() < Duration::from_secs(20));
    // The first attempt is carried out too, a little later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(relay.account.issued(), before + 1);
}
