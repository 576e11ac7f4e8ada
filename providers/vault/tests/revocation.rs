//! Revocation where a mount is set otherwise than by default.

use std::sync::Arc;

use jiff::Timestamp;
use relay_pki_authority::conformance::{Fixture as _, forge};
use relay_pki_authority::x509::{Certificate, RevocationList};
use relay_pki_authority::{
    Authority, AuthorityError, Level, Outcome, Profile, Provider, RevocationListRequest,
    RevocationRequest, RevokedCertificate, checked,
};
use relay_pki_testbed::Vault;
use serde_json::json;

use crate::backend::Backend;
use crate::generations::{certified, days, generation, root};

/// A signer of Vault's, and a certificate of it.
async fn issued(provider: &Arc<dyn Provider>) -> (Arc<dyn Authority>, Certificate) {
    let anchors = root(provider, 1).await;
    let chain = certified(provider, 1, &anchors).await;
    let signer = generation(Level::Signer, 1);
    let installed = provider.install_signer(&signer, &chain, &anchors).await;
    installed.unwrap();
    let signer = provider.open(&signer, &anchors).await.unwrap();
    let csr = forge::csr(&forge::private_key(), "cluster-1");
    let (profile, now) = (Profile::AgentClient, Timestamp::now());
    let request = forge::leaf_request(csr, profile, "cluster-1", days(1), now);
    let Outcome::Issued(issuance) = signer.sign(&request).await.unwrap() else {
        panic!("Vault signs at once");
    };
    (signer, issuance.chain.leaf().clone())
}

fn request(leaf: &Certificate) -> RevocationRequest {
    RevocationRequest {
        serial: leaf.serial().unwrap(),
        certificate: Some(leaf.clone()),
    }
}

async fn list(
    signer: &Arc<dyn Authority>,
    leaf: &Certificate,
) -> Result<RevocationList, AuthorityError> {
    let request = RevocationListRequest {
        number: 1,
        validity: days(1),
        revoked: vec![RevokedCertificate {
            serial: leaf.serial().unwrap(),
            at: Timestamp::now(),
        }],
    };
    signer.revocation_list(&request).await
}

/// Lists that are made anew at certain times only lack what was revoked since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_waits_for_its_turn_is_made_anew() {
    let backend = Backend::start().await;
    let config = format!("{}/config/crl", backend.mount);
    let slow = json!({ "auto_rebuild": true, "auto_rebuild_grace_period": "1h" });
    Vault::shared().admin("POST", &config, &slow);
    let provider = checked(backend.provider().await);
    let (signer, leaf) = issued(&provider).await;
    signer.revoke(&request(&leaf)).await.unwrap();
    let made = list(&signer, &leaf).await.unwrap();
    assert_eq!(made.serials(), [leaf.serial().unwrap()]);
}

/// Lists that are turned off are empty, which would say that everything is good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_is_not_taken_for_an_answer() {
    let backend = Backend::start().await;
    let config = format!("{}/config/crl", backend.mount);
    Vault::shared().admin("POST", &config, &json!({ "disable": true }));
    let provider = checked(backend.provider().await);
    let (signer, leaf) = issued(&provider).await;
    signer.revoke(&request(&leaf)).await.unwrap();
    let refused = list(&signer, &leaf).await.unwrap_err().to_string();
    assert!(refused.contains("disable=false"), "{refused}");
}

/// The roles of the docs page keep nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_number_alone_is_not_enough() {
    let backend = Backend::start().await;
    let provider = checked(backend.provider().await);
    let (signer, leaf) = issued(&provider).await;
    let by_number = RevocationRequest {
        certificate: None,
        ..request(&leaf)
    };
    let refused = signer.revoke(&by_number).await.unwrap_err().to_string();
    assert!(refused.contains("not found"), "{refused}");
    let number = leaf.serial().unwrap().with_colons();
    assert!(refused.contains(&number), "{refused}");
}
