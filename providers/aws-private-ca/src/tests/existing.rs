//! A CA that somebody else made, and one that another account shares.

use std::sync::Arc;

use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::KeyType;
use relay_pki_authority::{AuthorityError, Level, Progress, Provider, SignerRequest, checked};
use relay_pki_testbed::{AwsAccount, AwsServer};
use serde_json::json;

use super::chains::{Relay, collected, generation, leaf, leaf_for, root_request};
use super::clients;

fn given(account: &AwsAccount, arn: &str) -> Arc<dyn Provider> {
    let arn = arn.parse().unwrap();
    let provider = clients::provider(account, |settings| {
        settings.region = None;
        settings.authority = Some(arn);
    });
    checked(Arc::new(provider))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_ca_is_used_and_left_alone() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let arns = relay.arns();
    let (corp, signers) = (
        given(&relay.account, &arns[0]),
        given(&relay.account, &arns[1]),
    );
    corp.check().await.unwrap();
    let mut request = root_request();
    request.subject = forge::subject("another name");
    request.validity = leaf("x", 24).validity;
    let Progress::Done(root) = corp.create_root(&request).await.unwrap() else {
        panic!("pending");
    };
    assert_eq!(&root, relay.root.certificate());
    request.key_type = KeyType::Rsa2048;
    let error = corp.create_root(&request).await.unwrap_err();
    assert!(
        error.to_string().contains("write keyType: ecdsa-p256"),
        "{error}"
    );

    let at = generation(Level::Signer, 1);
    let signer = signers.open(&at, relay.root.anchors()).await.unwrap();
    collected(&signer, &leaf("c1", 24)).await.unwrap();
    // A root is no signer.
    let error = corp.open(&at, relay.root.anchors()).await.err().unwrap();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );

    let prepare = SignerRequest {
        generation: at.clone(),
        subject: forge::subject("signer"),
        key_type: KeyType::EcdsaP256,
    };
    let error = signers.prepare_signer(&prepare).await.unwrap_err();
    assert!(
        error.to_string().contains("leave certificateAuthority out"),
        "{error}"
    );
    let error = signers.destroy(&at).await.unwrap_err();
    assert!(error.to_string().contains("--status DISABLED"), "{error}");
    for write in ["UpdateCertificateAuthority", "DeleteCertificateAuthority"] {
        assert_eq!(relay.account.calls(write), 0);
    }
    // Once its owner has done it, it is done.
    relay.provider.destroy(&at).await.unwrap();
    signers.destroy(&at).await.unwrap();
    assert!(signers.open(&at, relay.root.anchors()).await.is_err());
}

/// The managed permissions of AWS RAM grant base templates only, and nothing that writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_of_another_account() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let guest = AwsServer::emulator().account(&json!({}));
    let arn = &relay.arns()[1];
    guest.share(arn, &["client"]);
    let provider = given(&guest, arn);
    let at = generation(Level::Signer, 1);
    let signer = provider.open(&at, relay.root.anchors()).await.unwrap();
    let exact = forge::csr_with(&forge::private_key(), "c1", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("c1".try_into().unwrap())];
    });
    collected(&signer, &leaf_for(exact, "c1", 24))
        .await
        .unwrap();
    // A request that says something else needs a template that takes the names from us.
    let error = collected(&signer, &leaf("c2", 24)).await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("RAM permission"), "{error}");
}

/// China and GovCloud have template ARNs of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_partitions() {
    for (partition, region) in [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")] {
        let order = json!({ "partition": partition });
        let relay = Relay::with(&order, |settings| {
            settings.region = Some(region.to_owned());
        })
        .await;
        let issuance = collected(&relay.signer, &leaf("c1", 24)).await.unwrap();
        let reference = issuance.reference.unwrap();
        assert!(
            reference.starts_with(&format!("arn:{partition}:acm-pca:{region}:")),
            "{reference}"
        );
    }
}
